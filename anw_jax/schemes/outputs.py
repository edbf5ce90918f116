"""What a case needs to read a mark in outputs: collected answers, or a suspect to ask.

The queries are those of the committed decoder, in their order and as they are. What a suspect
answers is kept in `answers/<name>.answers` as it arrives, so that a killed audit goes on where
it stopped, and its SHA-256 is in `blind.json`.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from anw_jax import data, progress
from anw_jax.audit.batches import OnDisk
from anw_jax.audit.declare import close
from anw_jax.audit.files import digest_of
from anw_jax.audit.suspect_file import MAKERS, SuspectFile, path_beside
from anw_jax.errors import (
    CaseError,
    ChangedFileError,
    CommitmentError,
    RefusedTooManyError,
)
from anw_jax.keys import Plan
from anw_jax.schemes import barrier
from anw_jax.suspects import AnswerCache, Declaration, Suspect, ask_images, probe_images
from anw_jax.suspects.cache import question_key
from anw_jax.suspects.images import images_fn, refusal

# A suspect may refuse this share of the queries, as of photos.
_MOST_REFUSED = 0.1
# How many of the queries a probe asks.
_PROBED = 8
# How far the owner's model may be from the committed outputs, in levels of 255.
_MOST_AWAY = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Collected:
    """Answers that somebody collected: a folder of images, named in the order of the queries.

    Attributes:
      images: uint8 `[n, H, W, 3]`.
    """

    images: np.ndarray

    @property
    def digest(self) -> str:
        """SHA-256 of the answers."""
        return barrier.images_digest(self.images)

    def answers(self, queries: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Return one answer for each query; see `suspects.ask_images`.

        Raises:
          ValueError: another number of answers.
        """
        if len(self.images) != len(queries):
            raise ValueError(
                f"there must be one answer for each of the {len(queries)} committed queries, "
                f"got {len(self.images)}"
            )
        return self.images, {}

    def problems(self, decoder: barrier.Decoder) -> tuple[list[str], list[str]]:
        """Return errors and warnings, before any score is read."""
        try:
            read_outputs(decoder.head, decoder, self)
        except ValueError as error:
            return [str(error)], []
        return [], []


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """A suspect that is asked the queries when its scores are read.

    Attributes:
      file: that describes it.
      declaration: of the suspect; its identity covers the model.
      kept: the file that keeps its answers; None keeps none.
      on_progress: maps "asking NAME" to a function of (queries answered, queries in all).
    """

    file: SuspectFile
    declaration: Declaration
    kept: pathlib.Path | None = None
    on_progress: progress.ReportFn = progress.silent_parts

    @classmethod
    def of(cls, file: SuspectFile) -> Self:
        """Open the suspect, to see that it can be opened, and close it again."""
        suspect = file.open(images=True)
        close(suspect)
        return cls(file, suspect.declaration)

    @property
    def digest(self) -> str:
        """Of the declaration: the model, and how it is asked."""
        return self.declaration.digest

    def keeping(self, kept: pathlib.Path | None, on_progress: progress.ReportFn) -> Self:
        """Return the same suspect whose answers are kept in a file."""
        return dataclasses.replace(self, kept=kept, on_progress=on_progress)

    def stored(self) -> "Stored":
        """Return its kept answers, without the suspect."""
        return Stored(self)

    def answers(self, queries: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Ask what is not answered yet; see `suspects.ask_images`."""
        with self._opened() as suspect, AnswerCache(self.kept, self.declaration) as cache:
            report = self.on_progress(f"asking {self.file.name}")
            return ask_images(suspect, queries, cache=cache, on_progress=report)

    def problems(self, decoder: barrier.Decoder) -> tuple[list[str], list[str]]:
        """Return errors and warnings of a probe with a few of the queries."""
        asked = slice(_PROBED)
        with self._opened() as suspect:
            if decoder.base in suspect.declaration.identity:
                return ["it is the owner's own unmarked model, which holds no bits"], []
            report = probe_images(suspect, decoder.queries[asked], decoder.outputs[asked])
        found: dict[str, list[str]] = {"error": [], "warning": []}
        for finding in report.findings:
            found[finding.severity].append(f"{finding.seen}: {finding.do}")
        return found["error"], found["warning"]

    def refusals(self, queries: np.ndarray) -> dict[str, int]:
        """Count, in the kept answers, how many of one owner's queries were refused."""
        keys = [question_key(self.digest, query) for query in queries]
        with AnswerCache(self.kept, self.declaration) as cache:
            number = sum(cache.why_unusable(key) is not None for key in keys)
        return {"num_asked": len(keys), "num_refused": number}

    def sealed(self) -> dict[str, Any]:
        """Return what `blind.json` says of the answers: afterwards nobody is asked."""
        with AnswerCache(self.kept, self.declaration) as cache:
            counts = {
                "num_queries": cache.num_queries,
                "num_in_doubt": cache.num_in_doubt,
                "num_refused": cache.num_unusable,
            }
        return {"answers": digest_of(self.kept), **counts}

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Suspect]:
        suspect = self.file.open(images=True)
        try:
            if suspect.declaration.digest != self.digest:
                raise ChangedFileError(
                    f"suspect {self.file.name!r} is not the model declared (its identity or "
                    "declaration differs): restore it, or start again in another case folder"
                )
            yield suspect
        finally:
            close(suspect)


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """The kept answers of a suspect, which is not asked.

    Attributes:
      asked: the suspect.
    """

    asked: Asked

    def answers(self, queries: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Return the answers on disk; see `suspects.ask_images`.

        Raises:
          ChangedFileError: some are not there.
        """
        declaration = self.asked.declaration
        with AnswerCache(self.asked.kept, declaration) as cache:
            return ask_images(OnDisk(declaration, self.asked.file.name), queries, cache=cache)


Outputs = Collected | Asked | Stored


def open_outputs(file: SuspectFile) -> Outputs:
    """Open a suspect whose outputs are read.

    With `kind = "answers"` and `folder`, one image for each committed query, PNG for instance,
    named in the order of the queries; or any kind that a case of photos has (onnx, torch, http,
    …), with `answer = "image"` in its declaration.

    Raises:
      CaseError: another kind, a field too many, or images of several sizes.
      SourceError: no such folder, or an image that cannot be read.
      SuspectError, MissingLibraryError: as the adapters.
    """
    if file.kind != "answers":
        if file.kind not in MAKERS:
            raise CaseError(
                f"{file.path}: kind must be 'answers' or one of {', '.join(MAKERS)} for a mark "
                f"in outputs, got {file.kind!r:.40}"
            )
        return Asked.of(file)
    if set(file.fields) != {"kind", "folder"}:
        raise CaseError(
            f"{file.path} must have kind = 'answers' and folder, and no other fields, got "
            f"{', '.join(sorted(file.fields))}"
        )
    folder = path_beside(file.path, str(file.fields["folder"]))
    images = [data.read_photo(path) for path in data.list_photos(folder)]
    if len({image.shape for image in images}) > 1:
        raise CaseError(f"{folder} must hold images of one size")
    return Collected(np.array(images))


def open_barrier(head: barrier.Head, plan: Plan, folder: pathlib.Path) -> barrier.Decoder:
    """Read queries, own outputs and filters, "decoder.npz", and compare them.

    Raises:
      CaseError: no decoder.
      CommitmentError: another one than the plan fixes.
    """
    if not (folder / "decoder.npz").exists():
        raise CaseError(
            f"{folder / 'decoder.npz'} is not there: the owner has it beside mark.json"
        )
    try:
        decoder = barrier.load_decoder(folder / "decoder.npz")
    except (OSError, ValueError) as error:
        raise CaseError(f"{folder} must hold the decoder as decoder.npz: {error}") from None
    if decoder.head != head:
        raise CommitmentError(
            f"{folder / 'decoder.npz'} is not the decoder of mark.json: a setting was changed "
            "after the commitment"
        )
    return decoder


def problems(
    head: barrier.Head, decoder: barrier.Decoder, outputs: Outputs
) -> tuple[list[str], list[str]]:
    """Return errors and warnings; see `systems.System.problems`."""
    return outputs.problems(decoder)


def check_own_model(decoder: barrier.Decoder, model: Suspect) -> None:
    """Check that a model answers the first queries as the committed one did.

    Suspects are compared with what the committed model answered. Of outputs that are marked
    already, or of a file that declares the model's input wrongly, the answers differ too.

    Args:
      decoder: the committed decoder.
      model: the owner's, before it is served with marked outputs.

    Raises:
      CommitmentError: its answers are further than one level of 255 from the committed outputs,
        as a root mean square. Rounding on another machine changes less, a usual mark more.
      SuspectError: as `suspects.images_fn`.
    """
    outputs = decoder.outputs[:_PROBED]
    answers = images_fn(model)(decoder.queries[:_PROBED])
    away = np.sqrt(np.square(answers.astype(np.float64) - outputs).mean())
    if away > _MOST_AWAY:
        raise CommitmentError(
            f"the model answers the committed queries {away:.1f} levels of 255 away from the "
            f"committed outputs, and {_MOST_AWAY:g} is allowed: it was changed since the "
            "commitment, its file declares its input wrongly, or its outputs are marked "
            "already; serve the committed one, or make a new mark"
        )


def unprobed(model: Any) -> dict[str, str]:
    """Return what a probe notes of answers whose origin it cannot see, a condition later on."""
    why = "collected answers cannot be asked for again"
    return {"unprobed": why} if isinstance(model, Collected) else {}


def read_outputs(head: barrier.Head, decoder: barrier.Decoder, outputs: Outputs) -> np.ndarray:
    """Read the scores; see `systems.System.extract`.

    Where a suspect refused a query, the owner's own output takes the place of its answer: a
    difference of 0, which favours no bit. Like an answer, a refusal is a function of the
    suspect and of what was fixed before the bits, so p stays exact.

    Raises:
      ValueError: answers that do not fit the decoder.
      RefusedTooManyError: more than a tenth refused.
      SuspectError: as `suspects.ask_images`.
    """
    answers, refused = outputs.answers(decoder.queries)
    if len(refused) > _MOST_REFUSED * len(decoder.queries):
        raise RefusedTooManyError(
            f"{refusal(refused, len(decoder.queries))}; more than {_MOST_REFUSED:.0%} leave "
            "too little to read"
        )
    if refused:
        places = list(refused)
        answers = answers.copy()
        answers[places] = decoder.outputs[places]
    return barrier.scores(decoder, barrier.check_answers(decoder, answers))


def with_refusals(test: dict[str, Any], sealed: dict[str, Any]) -> dict[str, Any]:
    """Say in a test how many queries the suspect refused; nothing where there were none.

    Args:
      test: as `verdict.json` holds it.
      sealed: what `blind.json` says of its scores, which hold no bit above the limit.
    """
    number, asked = sealed.get("num_refused", 0), sealed.get("num_asked", 0)
    if not number:
        return test
    why = f"the suspect refused {number} of {asked} queries"
    if number > _MOST_REFUSED * asked:
        why += f", more than {_MOST_REFUSED:.0%}"
        return {**test, "reason": why, "sentence": f"The test is inconclusive: {why}."}
    return {
        **test,
        "sentence": f"{test['sentence']} T{why[1:]}; the owner's own outputs took the place "
        "of these answers, which favours no bit.",
    }

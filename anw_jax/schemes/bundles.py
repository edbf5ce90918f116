"""Bundle, replay and read again a finished case of models.

    owners/<name>/mark.json      decoder, plan and commitment; of customers' copies also log/
    owners/<name>/mark.tsr, mark.json.ots, anchors/   time stamps, as in a bundle of photos
    suspects/<name>.toml         no networks, no answers, no queries
    scores/<name>.npz            the sealed scores
    statements.toml, probe.json, declared.json, blind.json, verdict.json, report.txt, keys/,
    *.sig, bundle.json           as in a bundle of photos (`audit.bundle`)

Without networks no score can be read again: the digests of w0 (in the decoder), of suspects and
of copies (in the log) say which they are. An unpacked bundle with these files put into place is
a case folder, which `replay_models` reads again.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from anw_jax import _check, progress
from anw_jax.audit.bundle_write import (
    REPORT,
    Bundled,
    Members,
    check_can_bundle,
    files_of_steps,
    names_in_all,
    proofs_of,
    relative,
    write_bundle,
)
from anw_jax.audit.case import MODEL_MARK
from anw_jax.audit.replay import Replayed, check_verdict, written_verdict
from anw_jax.audit.seal import read_sealed
from anw_jax.audit.statements import NAME as STATEMENTS
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import MarkKey
from anw_jax.schemes.case import FORMATS, ModelCase, ModelMark
from anw_jax.schemes.judging import recompute_models
from anw_jax.schemes.outputs import Asked
from anw_jax.schemes.scheme import Decoder
from anw_jax.schemes.systems import OpenModel
from anw_jax.verify.sealing import sealed_form

# Far more than the scores of any suspect: an `.npz` file in a bundle may not expand to more.
_MOST_BYTES = 2**26
# How far scores may differ on another machine, in units of their median magnitude.
_TOLERANCE = 1e-3


class BundledModels(ModelCase):
    """A case of models without networks, as a bundle holds it.

    Args:
      path: the folder into which the bundle was unpacked.
    """

    has_names = True
    most_bytes = _MOST_BYTES

    @property
    def opened(self) -> dict[str, OpenModel]:
        """The suspects' digests, as they were declared; there are no networks to compute them.

        Raises:
          CaseError, ChangedFileError: as `ModelCase.opened`.
        """
        declared = self.read("declared.json")["suspects"]
        return {
            name: OpenModel(declared.get(name, {}).get("weights", ""), None)
            for name in self.suspects
        }

    def check_answers(self, suspect: str, digest: str, named_by: str) -> None:
        """Check nothing: a bundle of models holds no answers, only their digest."""

    def names_of_members(self) -> set[str]:
        """Return the members that the bundle of this case has."""
        return names_in_all(self) | _files_of(self).keys()

    @property
    def unchecked(self) -> list[str]:
        """What a verdict rests on and a bundle cannot show: it needs the networks."""
        what = self.system.unchecked
        return [f"{what} of {name}" for name in self.owners] if what else []

    def _open_own(self, mark: ModelMark, decoder: Decoder, folder: pathlib.Path) -> object:
        return mark.system.open_kept(decoder, mark.plan, folder)


def bundle_models(
    case: ModelCase, mark_keys: Mapping[str, MarkKey], out: str | os.PathLike, report: str
) -> Bundled:
    """Write the evidence bundle of a finished case of models; see `audit.bundle_case`.

    The case is replayed first. The keys are in the bundle, and so they are spent.

    Args:
      case: with `verdict.json`.
      mark_keys: the opened key of each owner, by name.
      out: the zip file; it must not exist.
      report: the verdict as text, which becomes `report.txt`.

    Raises:
      CaseError: not finished, keys of other owners, or a file of the case is a link.
      ChangedFileError, CommitmentError: as `replay_models`.
      FileExistsError: `out` exists.
    """
    out = pathlib.Path(out)
    check_can_bundle(case, out)
    replay_models(case, mark_keys)
    members: Members = {REPORT: report.encode()}
    return write_bundle(case, members | _files_of(case), mark_keys, out, has_names=True)


def replay_models(
    case: ModelCase,
    mark_keys: Mapping[str, MarkKey],
    *,
    ask: float = 0.0,
    on_progress: progress.ReportFn = progress.silent_parts,
) -> Replayed:
    """Compute the verdict again from the sealed scores, and compare it with `verdict.json`.

    Where the answers are that a suspect gave when it was asked, its scores are read from them
    again.

    Args:
      case: with `verdict.json`; of a bundle `BundledModels`.
      mark_keys: the opened key of each owner, by name.
      ask: in [0, 1]; above 0 the scores are read from the suspects again, all of them: one
        reading gives every score. Whoever was asked is asked again, and no answer is kept.
      on_progress: maps the name of a part of the work to a function of (done, in all).

    Raises:
      CaseError: no verdict yet, files that are missing, keys of other owners.
      ChangedFileError: the verdict, a number in one of its sentences, or a score is not what
        the files give.
      CommitmentError: a key that does not open its commitment.
    """
    _check.in_interval(0.0, 1.0, ask=ask)
    written, noted = written_verdict(case)
    verdict = recompute_models(case, mark_keys, blind=noted)
    wording = check_verdict(case, verdict, written, any_numbers=False)
    models = {name: one.model for name, one in case.opened.items()}
    kept = {name: model for name, model in models.items() if isinstance(model, Asked)}
    stored = {name: model.stored() for name, model in kept.items()}
    rows, wrong = _read_again(case, stored, on_progress)
    _check_counts(case, kept)
    if wrong:
        raise ChangedFileError(
            f"{wrong} of {rows} sealed scores are not what the answers in {case.path} give: "
            "one of the two was edited"
        )
    asked, differing = 0, 0
    if ask:
        fresh = {name: model.keeping(None, on_progress) for name, model in kept.items()}
        asked, differing = _read_again(case, models | fresh, on_progress)
    return Replayed(verdict, rows, asked, differing, wording, None)


def _read_again(
    case: ModelCase, models: Mapping[str, Any], on_progress: progress.ReportFn
) -> tuple[int, int]:
    """Read scores of some suspects again; return their number, and how many differ."""
    _, sealed = read_sealed(case, case.scores_file, "scores")
    report, numbers = on_progress("scores"), [0, 0]
    for place, (name, model) in enumerate(models.items()):
        for owner, before in sealed[name].items():
            now = sealed_form(case.read_scores(owner, name, model))
            if len(now) != len(before):
                raise CaseError(f"suspect {name!r}, owner {owner!r}: another number of scores")
            finite = np.abs(before[np.isfinite(before)])
            atol = _TOLERANCE * float(np.median(finite)) if len(finite) else 0.0
            same = np.isclose(now, before, rtol=_TOLERANCE, atol=atol, equal_nan=True)
            numbers = [numbers[0] + len(now), numbers[1] + int((~same).sum())]
        report(place + 1, len(models))
    return numbers[0], numbers[1]


def _check_counts(case: ModelCase, asked: Mapping[str, Asked]) -> None:
    """Count queries and refusals in the kept answers again."""
    sealed = case.read("blind.json")["suspects"]
    for name, model in asked.items():
        pairs = [(sealed[name], model.sealed())]
        for owner, one in case.owners.items():
            pairs.append((sealed[name]["owners"][owner], model.refusals(one.own.queries)))
        if any(said.get(what) != n for said, counts in pairs for what, n in counts.items()):
            raise ChangedFileError(
                f"blind.json says another number of queries of {name!r}, or of those refused, "
                "than its answers show: one of the two was edited, or the case was sealed by a "
                "version that did not count them for each owner"
            )


def _files_of(case: ModelCase) -> Members:
    """Return the files of a case that a bundle holds, by their names in it."""
    members = files_of_steps(case, (STATEMENTS, *FORMATS))
    for name, file in case.suspects.items():
        members[f"suspects/{name}{file.path.suffix}"] = file.path
        members[relative(case, case.scores_file(name))] = case.scores_file(name)
    for name in case.owners:
        folder = case.file("owners") / name
        for path in (folder / MODEL_MARK, *case.system.kept(folder)):
            members[relative(case, path)] = path
    return members | proofs_of(case, members)

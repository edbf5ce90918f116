"""Stage "verify": ask blindly, and seal. No key comes in here."""

import dataclasses
import hashlib

import jax
import numpy as np

from anw_jax import data, verify
from anw_jax.errors import CommitmentError
from anw_jax.keys import Manifest
from anw_jax.lab.case import Case
from anw_jax.lab.journal import Journal
from anw_jax.lab.learner import Suspect
from anw_jax.lab.settings import Settings
from anw_jax.lab.workdir import Workdir
from anw_jax.marks import LinearColorMark
from anw_jax.progress import Estimator

# Originals asked between two saves; a power of two keeps the chunks of queries full.
_BLOCK_IMAGES = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """What the arbitrator gets of a user before the verdict: no key, no slot.

    Attributes:
      name: of the user.
      originals: the unmarked photos with labels.
      mark: the mark's family (with a private basis, that basis).
      manifest: the units.
    """

    name: str
    originals: data.Dataset
    mark: LinearColorMark
    manifest: Manifest


def questions_of(case: Case) -> list[Question]:
    """Takes the keys out of a case."""
    return [
        Question(name, user.originals, user.mark, user.manifest)
        for name, user in case.users.items()
    ]


def ask(
    settings: Settings,
    questions: list[Question],
    suspect: Suspect,
    workdir: Workdir,
    journal: Journal,
) -> dict[str, np.ndarray]:
    """Fills one loss table per user on the fine grid, and seals it before any key opens.

    A sealed table is never asked again.

    Raises:
      CommitmentError: a sealed table was changed, or belongs to another model or other
        questions.
    """
    tables = {}
    model_digest = digest_of(suspect)
    for question in questions:
        file, sealed = files_of(question.name)
        if workdir.exists(sealed):
            table = workdir.read_arrays(file)["losses"]
            stored = workdir.read_json(sealed)
            if stored != _seal(settings, question, table, model_digest):
                raise CommitmentError(
                    f"{workdir.path / sealed} does not fit its table, this model or these "
                    "questions: a sealed table is not asked again; start afresh in another "
                    "--workdir"
                )
        else:
            table = _ask_for(settings, question, suspect, workdir, model_digest, journal)
            workdir.write_arrays(file, losses=table, degrees=settings.verify.grid.degrees)
            workdir.write_json(sealed, _seal(settings, question, table, model_digest))
            workdir.remove(f"tables/{question.name}.so_far.npz")
        tables[question.name] = table
    return tables


def files_of(name: str) -> tuple[str, str]:
    """The files of a user's table and of its seal, in the workdir."""
    return f"tables/{name}.npz", f"tables/{name}.seal.json"


def _seal(
    settings: Settings, question: Question, table: np.ndarray, model_digest: str
) -> dict[str, str]:
    """Digests of the whole table, of the part that is tested, and of what they answer."""
    asked = hashlib.sha256(b"anw_jax/v1/questions\0" + question.manifest.to_json().encode())
    asked.update(question.originals.labels.astype("<i4").tobytes())
    asked.update(question.mark.description.encode() + b"\0")
    asked.update(settings.verify.grid.degrees.astype("<f8").tobytes())
    return {
        "table": verify.seal(table),
        "tested_table": verify.seal(table[:, :: settings.verify.grid_refinement]),
        "model": model_digest,
        "questions": asked.hexdigest(),
    }


def digest_of(suspect: Suspect) -> str:
    """SHA-256 of architecture and weights: ties a table to the model that filled it."""
    message = hashlib.sha256(b"anw_jax/v1/weights\0" + repr(suspect.predict.func).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(suspect.predict):
        array = np.asarray(leaf)
        message.update(f"{jax.tree_util.keystr(path)}{array.shape}{array.dtype}".encode())
        message.update(array.tobytes())
    return message.hexdigest()


def _ask_for(
    settings: Settings,
    question: Question,
    suspect: Suspect,
    workdir: Workdir,
    model_digest: str,
    journal: Journal,
) -> np.ndarray:
    """Fills one table block by block; a kill loses one block at most."""
    file = f"tables/{question.name}.so_far.npz"
    done = np.zeros((0, settings.verify.grid.num_slots), np.float32)
    if workdir.exists(file):
        stored = workdir.read_arrays(file)
        if str(stored["model"]) == model_digest:
            done = stored["losses"]
    total, estimator = len(question.originals), Estimator()
    num_slots = settings.verify.grid.num_slots
    while len(done) < total:
        start, stop = len(done), min(len(done) + _BLOCK_IMAGES, total)

        def on_progress(pairs: int, _: int, start: int = start) -> None:
            asked = start * num_slots + pairs
            text = f"{question.name}: {asked:,} of {total * num_slots:,} queries"
            journal.beat(asked, total * num_slots, estimator, text)

        block = verify.loss_table(
            suspect.predict,
            question.originals.images[start:stop],
            question.originals.labels[start:stop],
            question.mark,
            settings.verify.grid,
            on_progress=on_progress,
        )
        done = np.concatenate([done, block])
        if stop < total:
            workdir.write_arrays(file, losses=done, model=np.array(model_digest))
    return done

"""Stage "verify": ask blindly, and seal. No key comes in here."""

import dataclasses
import hashlib

import jax
import numpy as np

from anw_jax import data, verify
from anw_jax.errors import CommitmentError
from anw_jax.keys import Manifest, MarkKey
from anw_jax.lab.case import Case
from anw_jax.lab.journal import Journal
from anw_jax.lab.learner import Suspect
from anw_jax.lab.owner import User
from anw_jax.lab.settings import Settings
from anw_jax.lab.workdir import Workdir
from anw_jax.marks import Mark, UserLCT
from anw_jax.progress import Estimator

# Originals asked between two saves; a power of two keeps the chunks of queries full.
_BLOCK_IMAGES = 1024

TABLES = "tables"

# A dot stands in no name of a user.
_WRONG = ".wrong_basis"


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """What the arbitrator gets of a user, or of a crowd, before the verdict: no key, no slot.

    Attributes:
      name: of the user or crowd.
      originals: the unmarked photos with labels, user after user.
      marks: the mark's family of each user (with a private basis, that basis).
      mark_of_image: int64 `[n]`, whose photo each is.
      manifests: the units of each user.
    """

    name: str
    originals: data.Dataset
    marks: tuple[Mark, ...]
    mark_of_image: np.ndarray
    manifests: tuple[Manifest, ...]


def questions_of(settings: Settings, case: Case) -> list[Question]:
    """Takes the keys out of a case."""
    questions = [_question(name, (user,)) for name, user in case.users.items()]
    for name, members in case.crowds.items():
        questions.append(_question(name, members))
        if settings.users[name].mark == "private_basis":
            questions.append(_with_wrong_bases(settings, questions[-1]))
    return questions


def is_wrong(question: Question) -> bool:
    """Whether a question guesses at bases that are not the users'."""
    return question.name.endswith(_WRONG)


def wrong_name(crowd: str) -> str:
    """The name of the question that asks a crowd under bases that are not its own."""
    return crowd + _WRONG


def _question(name: str, members: tuple[User, ...]) -> Question:
    sizes = [len(user.originals) for user in members]
    return Question(
        name=name,
        originals=_joined([user.originals for user in members]),
        marks=tuple(user.mark for user in members),
        mark_of_image=np.repeat(np.arange(len(members)), sizes),
        manifests=tuple(user.manifest for user in members),
    )


def _joined(albums: list[data.Dataset]) -> data.Dataset:
    """Photos and labels of several users in a row."""
    if len(albums) == 1:
        return albums[0]
    return data.Dataset(
        np.concatenate([album.images for album in albums]),
        np.concatenate([album.labels for album in albums]),
        albums[0].class_names,
        albums[0].name,
    )


def _with_wrong_bases(settings: Settings, question: Question) -> Question:
    """Section 5.4: somebody who guesses at the private bases reads nothing."""
    guesses = (
        MarkKey.for_experiment(settings.seed, f"guess {number} of the bases of {question.name}")
        for number in range(len(question.marks))
    )
    marks = tuple(UserLCT.from_sub_key(guess.sub_key("basis")) for guess in guesses)
    return dataclasses.replace(question, name=wrong_name(question.name), marks=marks)


def ask(
    settings: Settings,
    questions: list[Question],
    suspect: Suspect,
    workdir: Workdir,
    journal: Journal,
    folder: str = TABLES,
) -> dict[str, np.ndarray]:
    """Fills one loss table per user on the fine grid, and seals it before any key opens.

    A sealed table is never asked again. Tables go to `folder` in the workdir.

    Raises:
      CommitmentError: a sealed table was changed, or belongs to another model or other
        questions.
    """
    tables = {}
    model_digest = digest_of(suspect)
    for question in questions:
        file, sealed = files_of(question.name, folder)
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
            so_far = f"{folder}/{question.name}.so_far.npz"
            table = _ask_for(
                settings, question, suspect, workdir, so_far, model_digest, journal
            )
            workdir.write_arrays(file, losses=table, degrees=settings.verify.grid.degrees)
            workdir.write_json(sealed, _seal(settings, question, table, model_digest))
            workdir.remove(so_far)
        tables[question.name] = table
    return tables


def files_of(name: str, folder: str = TABLES) -> tuple[str, str]:
    """The files of a user's table and of its seal, in the workdir."""
    return f"{folder}/{name}.npz", f"{folder}/{name}.seal.json"


def _seal(
    settings: Settings, question: Question, table: np.ndarray, model_digest: str
) -> dict[str, str]:
    """Digests of the whole table, of the part that is tested, and of what they answer."""
    asked = hashlib.sha256(b"anw_jax/v1/questions\0")
    for manifest, mark in zip(question.manifests, question.marks, strict=True):
        asked.update(manifest.to_json().encode() + b"\0" + mark.description.encode() + b"\0")
    asked.update(question.originals.labels.astype("<i4").tobytes())
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
    file: str,
    model_digest: str,
    journal: Journal,
) -> np.ndarray:
    """Fills one table block by block; a kill loses one block at most."""
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
            question.marks,
            settings.verify.grid,
            mark_of_image=question.mark_of_image[start:stop],
            on_progress=on_progress,
        )
        done = np.concatenate([done, block])
        if stop < total:
            workdir.write_arrays(file, losses=done, model=np.array(model_digest))
    return done

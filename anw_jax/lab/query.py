"""Stage "verify": query a model without any key, and seal the loss tables."""

import dataclasses
import hashlib
from typing import Any

import jax
import numpy as np

from anw_jax import data, verify
from anw_jax.audit.files import digest_of
from anw_jax.audit.seal import open_sealed, sealed_tables
from anw_jax.errors import CaseError, CommitmentError
from anw_jax.keys import Manifest, MarkKey, SignatureSpace
from anw_jax.lab.journal import Journal
from anw_jax.lab.owners import Prepared, User
from anw_jax.lab.workdir import Workdir
from anw_jax.marks import Mark, UserLCT
from anw_jax.progress import Estimator
from anw_jax.suspects.adapters.jax import digest_of as digest_of_model

# Originals queried between two saves; a power of two keeps the chunks of queries full.
_BLOCK_IMAGES = 1024

TABLES = "tables"

_SEAL_FORMAT = "anw_jax sealed table of a run, version 3"
# Versions 1 (without a format) and 2 name the model by `_first_digest_of_model`.
_SECOND_FORMAT = "anw_jax sealed table of a run, version 2"

# No user's name contains a dot.
_WRONG = ".wrong_basis"


@dataclasses.dataclass(frozen=True, eq=False)
class QueryBatch:
    """The arbitrator's view of a user or group before the verdict: no key, no slot.

    Attributes:
      name: of the user or group.
      originals: the unmarked photos with labels, user after user.
      marks: each user's mark family (with a private basis, that basis).
      mark_of_image: int64 `[n]`, the user of each photo, as an index into `marks`.
      units: manifest and declared statistic of each user, by the user's name.
      loss: the model's loss.
      has_labels: whether its targets are the labels; otherwise it has none.
    """

    name: str
    originals: data.Dataset
    marks: tuple[Mark, ...]
    mark_of_image: np.ndarray
    units: dict[str, tuple[Manifest, str]]
    loss: verify.LossFn = verify.cross_entropy
    has_labels: bool = True

    @classmethod
    def of(cls, name: str, users: tuple[User, ...], **loss: Any) -> "QueryBatch":
        """Collect what may be known of users before their keys are opened.

        Args:
          name: of the batch.
          users: its members.
          **loss: `loss` and `has_labels`.
        """
        albums = [user.originals for user in users]
        originals = albums[0]
        if len(albums) > 1:
            originals = data.Dataset(
                np.concatenate([album.images for album in albums]),
                np.concatenate([album.labels for album in albums]),
                originals.class_names,
                originals.name,
            )
        return cls(
            name=name,
            originals=originals,
            marks=tuple(user.mark for user in users),
            mark_of_image=np.repeat(np.arange(len(users)), list(map(len, albums))),
            units={user.name: (user.manifest, user.plan.statistic) for user in users},
            **loss,
        )

    def with_wrong_bases(self, seed: int) -> "QueryBatch":
        """Replace the private bases by guesses, which should find nothing (section 5.4)."""
        guesses = (
            MarkKey.for_experiment(seed, f"guess {number} of the bases of {self.name}")
            for number in range(len(self.marks))
        )
        marks = tuple(UserLCT.from_sub_key(guess.sub_key("basis")) for guess in guesses)
        return dataclasses.replace(self, name=wrong_name(self.name), marks=marks)

    @property
    def space(self) -> SignatureSpace:
        """The slots, the same for all users of a run."""
        return next(iter(self.units.values()))[0].space

    @property
    def is_wrong(self) -> bool:
        """Whether the bases are guesses."""
        return self.name.endswith(_WRONG)


def wrong_name(group: str) -> str:
    """Name the batch that queries a group under wrong bases."""
    return group + _WRONG


def query_batches(prepared: Prepared, seed: int, num_views: int = 1) -> list[QueryBatch]:
    """Make the query batches of all users and groups, and of groups under wrong bases.

    Args:
      prepared: with the users.
      seed: of wrong bases and of views.
      num_views: views of each image, over which losses are averaged (`verify.over_views`).
    """
    loss = {}
    if num_views > 1:
        shape = prepared.splits.train.images.shape[1:]
        loss["loss"] = verify.over_views(verify.cross_entropy, num_views, shape, seed=seed)
    batches = [QueryBatch.of(name, (user,), **loss) for name, user in prepared.users.items()]
    for name, members in prepared.groups.items():
        batches.append(QueryBatch.of(name, members, **loss))
        if members[0].settings.mark == "private_basis":
            batches.append(batches[-1].with_wrong_bases(seed))
    return batches


def query(
    batches: list[QueryBatch],
    grid: SignatureSpace,
    predict: jax.tree_util.Partial,
    workdir: Workdir,
    journal: Journal,
    folder: str = TABLES,
) -> dict[str, np.ndarray]:
    """Fill one loss table per batch, and seal it before any key is opened.

    Nothing is queried again for a sealed table. Tables go to `folder` in the workdir.

    Args:
      batches: of users and groups.
      grid: the angles to query; a multiple of the slots.
      predict: the model.
      workdir: of the run.
      journal: for progress.
      folder: in the workdir.

    Returns:
      Float32 `[n, grid.num_slots]` losses in nats, by name of the batch.

    Raises:
      CommitmentError: a sealed table was changed, or belongs to another model or other
        queries.
    """
    model = digest_of_model(predict)
    first_model = _first_digest_of_model(predict)
    tables = {}
    for batch in batches:
        stored = _StoredTable(batch, grid, model, first_model, workdir, folder)
        if not workdir.exists(stored.seal_file):
            table = stored.fill(predict, journal)
            workdir.write_arrays(stored.file, losses=table, degrees=grid.degrees)
            workdir.write_json(stored.seal_file, stored.seal(table))
            workdir.remove(stored.partial_file)
        tables[batch.name] = stored.read()
    return tables


def sealed_digest(workdir: Workdir, name: str, folder: str = TABLES) -> str:
    """Return the sealed digest of the tested part of a table."""
    return workdir.read_json(f"{folder}/{name}.seal.json")["tested_table"]


def at_slots(fine_table: np.ndarray, space: SignatureSpace) -> np.ndarray:
    """Return the columns of a table on a finer grid that belong to slots."""
    return fine_table[:, :: fine_table.shape[1] // space.num_slots]


def _first_digest_of_model(predict: jax.tree_util.Partial) -> str:
    """Return the digest of a model in seals of versions 1 and 2.

    It differs between processes if `predict.func` is a plain function, as in attacks on the
    output.
    """
    message = hashlib.sha256(b"anw_jax/v1/weights\0" + repr(predict.func).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(predict):
        array = np.asarray(leaf)
        message.update(f"{jax.tree_util.keystr(path)}{array.shape}{array.dtype}".encode())
        message.update(array.tobytes())
    return message.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class _StoredTable:
    """The files of one batch's table: of the filled part, of the whole, and of its seal.

    Attributes:
      batch: of the queries.
      grid: the angles.
      model: digest of the model.
      first_model: its digest as in seals of versions 1 and 2.
      workdir: of the run.
      folder: in the workdir.
    """

    batch: QueryBatch
    grid: SignatureSpace
    model: str
    first_model: str
    workdir: Workdir
    folder: str

    @property
    def file(self) -> str:
        return f"{self.folder}/{self.batch.name}.npz"

    @property
    def seal_file(self) -> str:
        return f"{self.folder}/{self.batch.name}.seal.json"

    @property
    def partial_file(self) -> str:
        return f"{self.folder}/{self.batch.name}.so_far.npz"

    def fill(self, predict: jax.tree_util.Partial, journal: Journal) -> np.ndarray:
        """Query the model block by block; a kill loses at most one block."""
        batch, num_slots = self.batch, self.grid.num_slots
        done = np.zeros((0, num_slots), np.float32)
        if self.workdir.exists(self.partial_file):
            stored = self.workdir.read_arrays(self.partial_file)
            if str(stored["model"]) == self.model:
                done = stored["losses"]
        total, estimator = len(batch.originals), Estimator()
        while len(done) < total:
            start, stop = len(done), min(len(done) + _BLOCK_IMAGES, total)

            def on_progress(pairs: int, _: int, start: int = start) -> None:
                answered, queries = start * num_slots + pairs, total * num_slots
                text = f"{batch.name}: {answered:,} of {queries:,} queries"
                journal.beat(answered, queries, estimator, text)

            labels = batch.originals.labels[start:stop]
            block = verify.loss_table(
                predict,
                batch.originals.images[start:stop],
                labels if batch.has_labels else (),
                batch.marks,
                self.grid,
                loss=batch.loss,
                mark_of_image=batch.mark_of_image[start:stop],
                on_progress=on_progress,
            )
            done = np.concatenate([done, block])
            if stop < total:
                model = np.array(self.model)
                self.workdir.write_arrays(self.partial_file, losses=done, model=model)
        return done

    def seal(self, table: np.ndarray) -> dict[str, Any]:
        """Seal a table as audits do, with digests of the finer grid and of the queries."""
        file = self.workdir.path / self.file
        return {
            "format": _SEAL_FORMAT,
            "previous": digest_of(self.workdir.path / "commitments.json"),
            **self._inputs(table, self.model),
            **sealed_tables(file, self._tested(table), self.batch.units),
        }

    def read(self) -> np.ndarray:
        """Read the sealed table.

        Raises:
          CommitmentError: table, model or queries are not those that were sealed.
        """
        table = self.workdir.read_arrays(self.file)["losses"]
        stored, file = self.workdir.read_json(self.seal_file), self.workdir.path / self.file
        version = stored.get("format")
        model = self.model if version == _SEAL_FORMAT else self.first_model
        inputs = self._inputs(table, model)
        is_same = inputs.items() <= stored.items()
        try:
            if is_same and stored != inputs:  # version 1 had the inputs alone
                before = digest_of(self.workdir.path / "commitments.json")
                is_same = version in (_SECOND_FORMAT, _SEAL_FORMAT)
                is_same = is_same and stored.get("previous") == before
                if is_same:
                    open_sealed(file, stored, self.seal_file, lambda _: self._tested(table))
        except (CaseError, KeyError):
            is_same = False
        if not is_same:
            raise CommitmentError(
                f"{self.workdir.path / self.seal_file} does not match its table, this model or "
                "these queries: a sealed table is not filled again; start afresh in another "
                "--workdir"
            )
        return table

    def _inputs(self, table: np.ndarray, model: str) -> dict[str, str]:
        """Digest the whole table, the tested part, and what both were made from."""
        queries = hashlib.sha256(b"anw_jax/v1/questions\0")
        for (manifest, _), mark in zip(
            self.batch.units.values(), self.batch.marks, strict=True
        ):
            description = mark.description.encode()
            queries.update(manifest.to_json().encode() + b"\0" + description + b"\0")
        queries.update(self.batch.originals.labels.astype("<i4").tobytes())
        queries.update(self.grid.degrees.astype("<f8").tobytes())
        if self.batch.loss is not verify.cross_entropy:
            queries.update(digest_of_model(self.batch.loss).encode())
        return {
            "table": verify.seal(table),
            "tested_table": verify.seal(at_slots(table, self.batch.space)),
            "model": model,
            "questions": queries.hexdigest(),
        }

    def _tested(self, table: np.ndarray) -> dict[str, np.ndarray]:
        """Each user's rows at the slots, by the user's name."""
        tested, users = at_slots(table, self.batch.space), self.batch.mark_of_image
        return {name: tested[users == i] for i, name in enumerate(self.batch.units)}

"""Open one declared model for queries about all photos of a case, with its answers on disk."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from anw_jax.audit.case import Owner
from anw_jax.audit.checks import with_labels
from anw_jax.audit.declare import close
from anw_jax.audit.declared import Declared
from anw_jax.audit.files import digest_of
from anw_jax.audit.query import QueryBatch
from anw_jax.audit.recorded import RecordedBatch
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import ChangedFileError
from anw_jax.suspects import AnswerCache, Answers, Declaration, Suspect


@dataclasses.dataclass(frozen=True, eq=False)
class Like:
    """Whose questions a reference is asked.

    Attributes:
      suspect: name; the reference is asked by its rule.
      labels: of each owner, the class numbers used with the suspect, int64 `[n]`; used where
        they are the suspect's own answers.
    """

    suspect: str
    labels: Sequence[np.ndarray]


@contextlib.contextmanager
def query_batch(
    declared: Declared,
    name: str,
    *,
    budget: int | None,
    makers: dict[str, MakerFn] | None,
    is_kept: bool = True,
    like: Like | None = None,
) -> Iterator[tuple[QueryBatch, AnswerCache]]:
    """Open one suspect for the photos of all owners; close it and its answers afterwards.

    Args:
      declared: `declared.json`.
      name: of the suspect, or of a reference as in `Case.models`.
      budget: most queries over the life of the answers.
      makers: further kinds of suspects.
      is_kept: whether answers are written to disk and read from there; False queries again.
      like: the suspect whose questions a reference is asked.

    Raises:
      ChangedFileError: the model is not the one declared.
    """
    suspect = declared.case.models[name].open(makers)
    try:
        known = declared.said(name)["declaration_digest"]
        if suspect.declaration.digest != known:
            raise ChangedFileError(
                f"suspect {name!r} is not the model declared (its identity or declaration "
                "differs): restore it, or start again in another case folder"
            )
        file = declared.case.answers_file(name) if is_kept else None
        with AnswerCache(file, suspect.declaration) as cache:
            yield _batch_of(declared, name, suspect, cache, budget, like), cache
    finally:
        close(suspect)


@contextlib.contextmanager
def stored_batch(
    declared: Declared, name: str, like: Like | None = None
) -> Iterator[QueryBatch]:
    """Open the same batch with the answers on disk alone, without the suspect.

    Raises:
      CacheError: the file is damaged, or belongs to another suspect.
      ChangedFileError: raised by a query whose answer is not there.
    """
    declaration = declared.declaration(name)
    with AnswerCache(declared.case.answers_file(name), declaration) as cache:
        yield _batch_of(declared, name, OnDisk(declaration, name), cache, None, like)


def like_suspect(declared: Declared, suspect: str) -> Like:
    """Return whose questions a reference is asked, from the suspect's stored answers."""
    with stored_batch(declared, suspect) as batch:
        if not declared.access(suspect).true_labels:
            batch.tables(declared.rule(suspect).saving)
        return Like(suspect, batch.own_labels())


class OnDisk:
    """A suspect that is not there: only its stored answers are."""

    def __init__(self, declaration: Declaration, name: str):
        self.declaration, self._name = declaration, name

    def answers(self, images: np.ndarray) -> Answers:
        """Refuse: these images have no stored answer."""
        raise ChangedFileError(
            f"answers/{self._name}.answers lacks {len(images)} answers that the sealed result "
            "was made from: restore the file"
        )


def _batch_of(
    declared: Declared,
    name: str,
    suspect: Suspect,
    cache: AnswerCache,
    budget: int | None,
    like: Like | None,
) -> QueryBatch:
    case, asked_as = declared.case, name if like is None else like.suspect
    owners = [with_labels(case, owner, declared.labels_by(owner)) for owner in case.owners]
    access = declared.access(asked_as)
    if like is not None and not access.true_labels and access.kind != "error":
        access = dataclasses.replace(access, true_labels=True)
        owners = list(map(_labelled, owners, like.labels))
    keys = case.asked(name, like and like.suspect, access.num_augmentations)
    if keys is not None:
        rule = declared.rule(asked_as)
        return RecordedBatch(owners, access, keys, cache, rule, suspect.declaration)
    return QueryBatch(
        suspect,
        owners,
        access,
        [bytes.fromhex(declared.body["public_seeds"][owner]) for owner in case.owners],
        cache,
        budget,
        declared.rule(asked_as),
    )


def _labelled(owner: Owner, labels: np.ndarray) -> Owner:
    originals = dataclasses.replace(owner.originals, labels=labels)
    return dataclasses.replace(owner, originals=originals)


def queries_of(declared: Declared, name: str, cache: AnswerCache) -> dict[str, Any]:
    """Count the queries so far, for the files; a digest names the answers."""
    cache.sync()
    price = declared.said(name)["declaration"]["cost_per_query"]
    return {
        "num_queries": cache.num_queries,
        "num_in_doubt": cache.num_in_doubt,
        "answers": digest_of(declared.case.answers_file(name)),
        "cost": cache.num_queries * price,
    }

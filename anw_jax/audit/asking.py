"""Opening a declared suspect, with its answers on disk."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from anw_jax.audit.case import Case
from anw_jax.audit.declared import access_of, labels_by, rule_of
from anw_jax.audit.declaring import close
from anw_jax.audit.files import digest_of
from anw_jax.audit.labelling import with_labels
from anw_jax.audit.panel import Panel
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import ChangedFileError
from anw_jax.suspects import AnswerCache, Answers, Declaration


@contextlib.contextmanager
def asked(
    case: Case,
    declared: dict[str, Any],
    name: str,
    *,
    budget: int | None,
    makers: dict[str, MakerFn] | None,
    is_kept: bool = True,
) -> Iterator[tuple[Panel, AnswerCache]]:
    """A panel of all owners before one suspect; closes it and its answers afterwards.

    Args:
      case: declared.
      declared: `declared.json`.
      name: of the suspect.
      budget: most queries over the life of the answers.
      makers: further kinds of suspects.
      is_kept: whether answers go to disk and are taken from there; False asks anew.

    Raises:
      ChangedFileError: the model is not the one declared.
    """
    suspect = case.suspects[name].open(makers)
    try:
        known = declared["suspects"][name]["declaration_digest"]
        if suspect.declaration.digest != known:
            raise ChangedFileError(
                f"suspect {name!r} is not the model declared (its identity or declaration "
                "differs): restore it, or start afresh in another case folder"
            )
        file = case.answers_file(name) if is_kept else None
        with AnswerCache(file, suspect.declaration) as cache:
            yield _panel(case, declared, name, suspect, cache, budget), cache
    finally:
        close(suspect)


@contextlib.contextmanager
def answered(case: Case, declared: dict[str, Any], name: str) -> Iterator[Panel]:
    """The same from the answers on disk alone; the suspect is not opened.

    Raises:
      CacheError: the file is damaged, or another suspect's.
      ChangedFileError, once asked: an answer is not there.
    """
    declaration = Declaration.from_json(declared["suspects"][name]["declaration"])
    with AnswerCache(case.answers_file(name), declaration) as cache:
        yield _panel(case, declared, name, _OnDisk(declaration, name), cache, None)


class _OnDisk:
    """A suspect of which nothing is left but the answers that it gave."""

    def __init__(self, declaration: Declaration, name: str):
        self.declaration, self._name = declaration, name

    def answers(self, images: np.ndarray) -> Answers:
        """Refuses: what is asked here is not among the answers."""
        raise ChangedFileError(
            f"answers/{self._name}.answers lacks {len(images)} answers that the sealed result "
            "was made from: restore the file"
        )


def _panel(case, declared, name, suspect, cache, budget) -> Panel:
    return Panel(
        suspect,
        [with_labels(case, owner, labels_by(declared, owner)) for owner in case.owners],
        access_of(declared, name),
        [bytes.fromhex(declared["public_seeds"][owner]) for owner in case.owners],
        cache,
        budget,
        rule_of(declared, name),
    )


def queries_of(
    case: Case, cache: AnswerCache, declared: dict[str, Any], name: str
) -> dict[str, Any]:
    """What was asked so far, for the files; their digest says from which answers."""
    cache.sync()
    price = declared["suspects"][name]["declaration"]["cost_per_query"]
    return {
        "num_queries": cache.num_queries,
        "num_in_doubt": cache.num_in_doubt,
        "answers": digest_of(case.answers_file(name)),
        "cost": cache.num_queries * price,
    }

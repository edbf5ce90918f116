"""Opening a declared suspect, with its answers on disk."""

import contextlib
from collections.abc import Iterator
from typing import Any

from anw_jax.audit.case import Case
from anw_jax.audit.declaring import access_of, close
from anw_jax.audit.files import digest_of
from anw_jax.audit.panel import Panel
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import ChangedFileError
from anw_jax.suspects import AnswerCache


@contextlib.contextmanager
def asked(
    case: Case,
    declared: dict[str, Any],
    name: str,
    *,
    budget: int | None,
    makers: dict[str, MakerFn] | None,
) -> Iterator[tuple[Panel, AnswerCache]]:
    """A panel of all owners before one suspect; closes it and its answers afterwards.

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
        with AnswerCache(case.answers_file(name), suspect.declaration) as cache:
            yield (
                Panel(
                    suspect,
                    list(case.owners.values()),
                    access_of(declared),
                    [bytes.fromhex(declared["public_seeds"][owner]) for owner in case.owners],
                    cache,
                    budget,
                ),
                cache,
            )
    finally:
        close(suspect)


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

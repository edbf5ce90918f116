"""Which model a suspect is, as a digest that stands in its declaration."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

from anw_jax import _check, _files
from anw_jax.errors import SuspectError
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.file_kinds import placeholder_in

# In the repr of what has none of its own; another number in every process.
_ADDRESS = " at 0x"


def with_identity(
    declaration: Declaration, identity: str | Callable[[], str] | None
) -> Declaration:
    """The declaration with an identity, unless the caller gave it one.

    Args:
      declaration: of the suspect.
      identity: or what computes it, where that takes long or may not be possible.
    """
    _check.is_instance(Declaration, declaration=declaration)
    if identity is None or declaration.identity:
        return declaration
    identity = identity() if callable(identity) else identity
    return dataclasses.replace(declaration, identity=_check.is_instance(str, identity=identity))


def check_no_address(text: str) -> str:
    """The text, if it says the same in every process.

    Raises:
      ValueError: an address stands in it.
    """
    if _ADDRESS in text:
        end = text.index(_ADDRESS) + len(_ADDRESS)
        raise needs_name(text[max(0, end - 60) : end])
    return text


def needs_name(what: Any) -> ValueError:
    """The error where nothing but an address tells a part of a model from others."""
    return ValueError(
        "declaration must have an identity that names the model, since nothing but an address "
        f"tells one part of it from others: {what!r:.80}"
    )


def read_file(path: pathlib.Path) -> tuple[bytes, str]:
    """A model's file and its SHA-256: the very bytes that are hashed are then opened.

    Raises:
      SuspectError: the file cannot be read, is no regular one, or stands for a model that was
        not fetched.
    """
    try:
        body = _files.read_regular(path)
    except OSError as error:
        raise SuspectError(f"{path} cannot be read: {error.strerror}") from None
    if placeholder := placeholder_in(body):
        raise SuspectError(f"{path} is {placeholder}")
    return body, hashlib.sha256(body).hexdigest()


def file_digest(path: pathlib.Path, most_bytes: int = 2**37) -> str:
    """SHA-256, as hex, of a regular file, for readers that want a path.

    Raises:
      SuspectError: the file cannot be read, or is no regular one.
    """
    try:
        with _files.open_regular(path, most_bytes) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SuspectError(f"{path} cannot be read: {error.strerror}") from None

"""Which model a suspect is, as a digest that stands in its declaration."""

import dataclasses
import hashlib
import pathlib

from anw_jax import _check
from anw_jax.errors import SuspectError
from anw_jax.suspects.declaration import Declaration

_CHUNK = 2**20


def with_identity(declaration: Declaration, identity: str | None) -> Declaration:
    """The declaration with an identity, unless the caller gave it one."""
    _check.is_instance(Declaration, declaration=declaration)
    if identity is None or declaration.identity:
        return declaration
    return dataclasses.replace(declaration, identity=_check.is_instance(str, identity=identity))


def file_digest(path: pathlib.Path) -> str:
    """SHA-256, as hex, of a model's file.

    Raises:
      SuspectError: the file cannot be read.
    """
    message = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                message.update(chunk)
    except OSError as error:
        raise SuspectError(f"{path} cannot be read: {error.strerror}") from None
    return message.hexdigest()

"""Names of photos: which are the same, and what published files are called."""

import pathlib
import unicodedata
from collections.abc import Sequence

from anw_jax.errors import CaseError


def canonical_name(name: str) -> str:
    r"""A name or word as it is compared: in the Unicode form NFC, without outer spaces.

    Example:
      >>> canonical_name(" cafe\u0301.png") == "café.png"
      True
    """
    return unicodedata.normalize("NFC", name).strip()


def _folded(name: str) -> str:
    """Equal for names that some file system takes for one: in case, or in Unicode form."""
    decomposed = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFC", decomposed)


def target_names(names: Sequence[str]) -> list[str]:
    """The published file of each photo.

    Raises:
      CaseError: two photos would get one name, on some file system.

    Example:
      >>> target_names(["a/photo.JPG", "b.png"])
      ['a/photo.png', 'b.png']
    """
    targets = [str(pathlib.PurePosixPath(name).with_suffix(".png")) for name in names]
    first: dict[str, str] = {}
    for name, target in zip(names, targets, strict=True):
        other = first.setdefault(_folded(target), name)
        if other == name:
            continue
        if canonical_name(other) == canonical_name(name):
            raise CaseError(
                f"{other} and {name} are the same name in another Unicode form, and one file "
                "on a Mac: rename one"
            )
        raise CaseError(f"{other} and {name} would both become {target}: rename one")
    return targets

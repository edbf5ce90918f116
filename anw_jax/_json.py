"""JSON that every reader takes alike (as I-JSON, RFC 7493): no name twice, no NaN."""

import json
import math
from typing import Any, NoReturn


class FieldTwiceError(ValueError):
    """One object has two fields of one name."""


def loads(text: str | bytes, *, allow_nan: bool = False) -> Any:
    """Reads JSON, and refuses what readers take differently.

    Python keeps the last of two fields of one name, other programs the first: two people would
    see two files in the same bytes. NaN and infinities are no JSON at all, and 1e999 is one of
    them to Python.

    Args:
      text: of the file; bytes in UTF-8, 16 or 32.
      allow_nan: take NaN and Infinity, which services that run on Python write.

    Raises:
      FieldTwiceError: a name stands twice in one object.
      ValueError: no JSON, a NaN, or a number beyond all float64.
      RecursionError: nested too deep.

    Example:
      >>> loads('{"found": 3, "found": 1}')
      Traceback (most recent call last):
      ...
      anw_jax._json.FieldTwiceError: the field 'found' stands twice in one object
    """
    if allow_nan:
        return json.loads(text, object_pairs_hook=_object)
    return json.loads(
        text, object_pairs_hook=_object, parse_constant=_refuse, parse_float=_finite
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise FieldTwiceError(f"the field {twice!r:.60} stands twice in one object")
    return fields


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse(f"{digits:.40}")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no finite number")

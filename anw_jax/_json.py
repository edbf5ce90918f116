"""The one module that reads and writes JSON, as every reader takes it (I-JSON, RFC 7493).

No name twice in one object, no NaN, no infinity. `loads` and `dumps` are for text, `read` and
`write` for files, `canonical` for bytes that are hashed.
"""

import json
import math
import os
from typing import Any, NoReturn

from anw_jax import _files


class FieldTwiceError(ValueError):
    """An object has two fields of the same name."""


def loads(text: str | bytes, *, allow_nan: bool = False) -> Any:
    """Parse JSON text strictly: raise an error for text that parsers interpret differently.

    If two fields have the same name, Python keeps the last and other parsers the first, so
    they would read different values from the same bytes. NaN and infinities are not JSON, and
    Python reads 1e999 as an infinity.

    Args:
      text: JSON; bytes in UTF-8, 16 or 32.
      allow_nan: accept NaN and Infinity, which services that run on Python write.

    Raises:
      FieldTwiceError: an object has two fields of the same name.
      ValueError: invalid JSON, a NaN, or a number out of the range of float64.
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


def dumps(body: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Writes JSON text; by default on one line.

    Raises:
      ValueError: a NaN or an infinity.
      TypeError: a value that JSON does not know.

    Example:
      >>> dumps({"p": 0.5, "name": "ann"})
      '{"p": 0.5, "name": "ann"}'
    """
    return json.dumps(body, indent=indent, sort_keys=sort_keys, allow_nan=False)


def canonical(body: Any) -> bytes:
    """Writes the one form of a JSON value that is hashed: sorted names, no spaces.

    Raises:
      ValueError, TypeError: as `dumps`.

    Example:
      >>> canonical({"p": 0.5, "name": "ann"})
      b'{"name":"ann","p":0.5}'
    """
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def read(path: str | os.PathLike, most_bytes: int = _files.MOST_BYTES) -> Any:
    """Read a JSON file; never a pipe, a device or a folder.

    Raises:
      OSError: it cannot be read, or is larger than `most_bytes`.
      ValueError, RecursionError: as `loads`.
    """
    return loads(_files.read_regular(path, most_bytes))


def write(path: str | os.PathLike, body: Any, *, durable: bool = True) -> None:
    """Writes an indented JSON file whole, or leaves the old file as it was.

    Args:
      path: the file; its folder is made.
      body: the value.
      durable: wait for the disk.

    Raises:
      ValueError, TypeError: as `dumps`; the file stays as it was.
      OSError: it cannot be written.
    """
    _files.write_whole(path, (dumps(body, indent=1) + "\n").encode(), durable=durable)


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

"""The template of a request."""

import base64
import dataclasses
import json
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.suspects.declaration import RANGES, Declaration

BODIES = ("json", "png", "float32")
PLACEHOLDERS = ("$batch", "$picture", "$png", "$pngs", "$float32", "$shape")
_FOR_ONE = ("$picture", "$png")
_TEXTS = ("$png", "$float32")
# Anything that looks like a placeholder: "$png", "${png}".
_NAME = re.compile(r"\$\{?[A-Za-z_][A-Za-z0-9_]*\}?")
_TYPES = {
    "json": "application/json",
    "png": "image/png",
    "float32": "application/octet-stream",
}


@dataclasses.dataclass(frozen=True)
class RequestTemplate:
    """How the body of a request is written.

    Placeholders anywhere in the values of the JSON are replaced by the prepared pictures:

    * "$batch": nested lists of numbers, `[b, …]`; "$picture": those of the one picture.
    * "$pngs": a list of base64 texts of PNG files; "$png": the one.
    * "$float32": base64 of the little-endian float32 bytes; "$shape": their shape.

    "$png" and "$float32" may be part of a longer text, as in a data URI; each of the others
    must be a whole value.

    Attributes:
      body: "json", or only the bytes of one "png" or of the "float32" batch.
      template: for "json", any JSON with at least one placeholder of pictures.
      images_per_request: number of pictures in one request.
      method: "POST" or "PUT".

    Example:
      >>> uri = RequestTemplate(template={"inputs": "data:image/png;base64,$png"})
      >>> body, media_type = uri.content(np.zeros((1, 2, 2, 3), np.float32), Declaration(2))
      >>> body[:46], media_type
      (b'{"inputs":"data:image/png;base64,iVBORw0KGgoAA', 'application/json')
    """

    body: str = "json"
    template: Any = None
    images_per_request: int = 1
    method: str = "POST"

    def __post_init__(self):
        _check.one_of(BODIES, body=self.body)
        _check.one_of(("POST", "PUT"), method=self.method)
        number = _check.integer_at_least(1, images_per_request=self.images_per_request)
        if self.body != "json":
            if self.template is not None:
                raise ValueError(f"template belongs to body='json', got body={self.body!r}")
            if self.body == "png" and number > 1:
                raise ValueError("images_per_request must be 1 with body='png'")
            return
        if self.template is None:
            object.__setattr__(self, "template", {"instances": "$batch"})
        used = set(_placeholders(self.template))
        _check_is_json(self.template)
        if not used - {"$shape"}:
            raise ValueError(f"template must hold one of {', '.join(PLACEHOLDERS[:-1])}")
        for name in sorted(used & set(_FOR_ONE)):
            if number > 1:
                raise ValueError(f"{name} needs images_per_request=1, got {number}")

    def check_fits(self, declaration: Declaration) -> None:
        """Check that a PNG can hold the pictures of a declaration.

        Raises:
          ValueError: normalised or signed values, or channels first.
        """
        used = set(_placeholders(self.template)) | {f"${self.body}"}
        if not used & {"$png", "$pngs"}:
            return
        plain = declaration.mean == (0.0,) * 3 and declaration.std == (1.0,) * 3
        if not plain or declaration.value_range == "signed" or declaration.layout == "NCHW":
            raise ValueError(
                "a PNG holds 8-bit pictures, channels last: declare no mean, std or NCHW for a "
                "service that is sent PNG files (it normalises by itself)"
            )

    def content(self, batch: np.ndarray, declaration: Declaration) -> tuple[bytes, str]:
        """Return the bytes of a request for a prepared batch, and their media type."""
        if self.body == "png":
            return png_bytes(_levels(batch[0], declaration)), _TYPES["png"]
        if self.body == "float32":
            return batch.astype("<f4").tobytes(), _TYPES["float32"]
        filled = _filled(self.template, batch, declaration)
        return json.dumps(filled, separators=(",", ":")).encode(), _TYPES["json"]


def _levels(picture: np.ndarray, declaration: Declaration) -> np.ndarray:
    """Return a prepared picture as the 8-bit levels of a PNG."""
    factor = 255.0 / RANGES[declaration.value_range][1]
    return np.clip(np.rint(picture * np.float32(factor)), 0, 255).astype(np.uint8)


def _check_is_json(template: Any) -> None:
    try:
        json.dumps(template, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(
            "template must be JSON: objects, lists, texts, finite numbers, true and false"
        ) from None


def _placeholders(template: Any) -> Iterator[str]:
    """Yield the placeholders in a template; check the position of each."""
    if isinstance(template, dict):
        for name, value in template.items():
            if name in PLACEHOLDERS:
                raise ValueError(f"{name} must be a value of the template, not a name in it")
            yield from _placeholders(value)
    elif isinstance(template, (list, tuple)):
        for value in template:
            yield from _placeholders(value)
    elif isinstance(template, str):
        for name in _NAME.findall(template):
            _check.one_of(PLACEHOLDERS, placeholder=name)
            if name != template and name not in _TEXTS:
                raise ValueError(
                    f"{name} must be a whole value: within a longer text stand only "
                    f"{' and '.join(_TEXTS)}"
                )
            yield name


def _filled(template: Any, batch: np.ndarray, declaration: Declaration) -> Any:
    """Return a template with the values of its placeholders."""

    def png(picture: np.ndarray) -> str:
        return _base64(png_bytes(_levels(picture, declaration)))

    value_of = {
        "$batch": batch.tolist,
        "$picture": lambda: batch[0].tolist(),
        "$png": lambda: png(batch[0]),
        "$pngs": lambda: [png(picture) for picture in batch],
        "$float32": lambda: _base64(batch.astype("<f4").tobytes()),
        "$shape": lambda: list(batch.shape),
    }

    def filled(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: filled(value) for name, value in part.items()}
        if isinstance(part, (list, tuple)):
            return [filled(value) for value in part]
        if not isinstance(part, str):
            return part
        if part in value_of:
            return value_of[part]()
        return _NAME.sub(lambda name: value_of[name.group()](), part)

    return filled(template)


def _base64(body: bytes) -> str:
    return base64.b64encode(body).decode()


_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_bytes(image: np.ndarray) -> bytes:
    r"""Encode a uint8 `[H, W, 3]` picture as a PNG of 8-bit RGB (unfiltered rows).

    Source: W3C, Portable Network Graphics, https://www.w3.org/TR/png-3/ (sections 5 and 11).

    Example:
      >>> png_bytes(np.zeros((2, 2, 3), np.uint8))[:8]
      b'\x89PNG\r\n\x1a\n'
    """
    height, width, _ = image.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # 0 before each row: no filter
    rows[:, 1:] = image.reshape(height, 3 * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 1)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(name: bytes, body: bytes) -> bytes:
    return (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    )

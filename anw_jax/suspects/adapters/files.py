"""Files of models: read once, hashed, and recognised by what stands in them."""

import dataclasses
import hashlib
import io
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

from anw_jax import _check, _files
from anw_jax.errors import SuspectError
from anw_jax.suspects.declaration import Declaration

# First bytes, and what they say; what starts later is looked for in `_at_four`.
_FIRST = (
    (b"\x89HDF\r\n\x1a\n", "a file of HDF5 (.h5)"),
    (b"GGUF", "a file of GGUF"),
    (b"\x93NUMPY", "an array of NumPy (.npy)"),
    (b"\x1f\x8b", "packed with gzip: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "packed with 7-Zip: unpack it first"),
    (b"Rar!", "packed with RAR: unpack it first"),
    (b"\x7fELF", "a compiled program"),
)
_AT_FOUR = {
    b"ORTM": "a model in ONNX Runtime's own format (.ort)",
    b"TFL3": "a model of TensorFlow Lite (.tflite)",
}


def placeholder_in(body: bytes) -> str:
    r"""What stands in for a model that was never fetched; "" where the file may be one.

    Example:
      >>> placeholder_in(b"version https://git-lfs.github.com/spec/v1\noid sha256:0")
      'a pointer of Git LFS and not the model itself: fetch it with git lfs pull'
      >>> placeholder_in(b"\x08\x09")
      ''
    """
    if not body:
        return "empty"
    start = body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs.") or start.startswith(
        b"version https://hawser"
    ):
        return "a pointer of Git LFS and not the model itself: fetch it with git lfs pull"
    if len(body) < 1024 and b"annex/objects/" in start.replace(b"\\", b"/"):
        return "a pointer of git-annex and not the model itself: fetch it with git annex get"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page and no model: fetch the file behind it"
    if not body.strip(b"\0"):
        return "nothing but zero bytes: fetch it anew"
    return ""


def kind_of(body: bytes) -> str:
    r"""Which kind of file of other makes it looks like, with advice; "" where none.

    Example:
      >>> kind_of(b"GGUF\x03\0\0\0")
      'a file of GGUF'
    """
    for start, kind in _FIRST:
        if body.startswith(start):
            return kind
    if body[4:8] in _AT_FOUR:
        return _AT_FOUR[body[4:8]]
    if _is_safetensors(body):
        return (
            "a file of weights alone (.safetensors): load them in Python and save them with "
            'torch.save(weights, "weights.pt"), and name what builds the network, '
            'module = "file.py:make"'
        )
    names = names_in(body)
    if names is None:
        return "a pickle of Python objects" if body.startswith(b"\x80") else ""
    return _kind_of_archive(names)


def names_in(body: bytes) -> list[str] | None:
    """Files in an archive; None where it is none, or a damaged one."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return archive.namelist()
    except Exception:  # of damaged archives: no base is shared
        return None


def damage_in(body: bytes, most_bytes: int = 2**33) -> str:
    """What is wrong with an archive, by its own checksums; "" where they hold.

    A reader that skips them would hand damaged programs to a compiler.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
            if claimed > most_bytes:
                return f"it unpacks to {claimed:,} bytes, more than {most_bytes:,}"
            if len(set(archive.namelist())) < len(archive.namelist()):
                return "two files in it have one name"
            damaged = archive.testzip()
    except Exception as error:  # of zipfile and zlib: no base is shared
        return f"{type(error).__name__}: {error!s:.80}"
    return f"{damaged} is damaged" if damaged else ""


def _kind_of_archive(names: list[str]) -> str:
    if is_script(names):
        return 'TorchScript: kind = "torch" without a module'
    if any(
        name.endswith(("/archive_format", "serialized_exported_program.json")) for name in names
    ):
        return (
            "a program of torch.export (.pt2), which is not opened: ask for ONNX "
            "(torch.onnx.export) or TorchScript, or open it in a function of your own, "
            'kind = "callable"'
        )
    if "config.json" in names and any(name.startswith("model.weights") for name in names):
        return 'a model of Keras: kind = "keras"'
    if any(name.endswith("data.pkl") for name in names):
        return "weights, or a pickle, of PyTorch"
    if names and all(name.endswith(".npy") for name in names):
        return "arrays of NumPy (.npz)"
    return "an archive (.zip)"


def is_script(names: list[str] | None) -> bool:
    """Whether files of an archive are those of TorchScript."""
    return any(name.endswith("/constants.pkl") for name in names or ())


def _is_safetensors(body: bytes) -> bool:
    size = int.from_bytes(body[:8], "little")
    return 0 < size <= len(body) - 8 and body[8:9] == b"{" and b'"dtype"' in body[8 : 8 + size]


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

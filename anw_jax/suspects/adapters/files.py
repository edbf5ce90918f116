"""Read the files of models, hash them, and recognise what kind of file they are."""

import hashlib
import io
import pathlib
import pickle
import zipfile
from typing import Any

from anw_jax import _files
from anw_jax.errors import SuspectError

# Kinds of file that readers tell apart, with advice.
TORCHSCRIPT = 'TorchScript: kind = "torch" without a module'
TORCH_PICKLE = "weights, or a pickle, of PyTorch"
PICKLE = "a pickle of Python objects"

_BY_START = (
    (b"\x89HDF\r\n\x1a\n", "a file of HDF5 (.h5)"),
    (b"GGUF", "a file of GGUF"),
    (b"\x93NUMPY", "an array of NumPy (.npy)"),
    (b"\x1f\x8b", "packed with gzip: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "packed with 7-Zip: unpack it first"),
    (b"Rar!", "packed with RAR: unpack it first"),
    (b"\x7fELF", "a compiled program"),
)
_BY_BYTES_4_TO_8 = {
    b"ORTM": "a model in ONNX Runtime's own format (.ort)",
    b"TFL3": "a model of TensorFlow Lite (.tflite)",
}


def read_file(path: pathlib.Path) -> tuple[bytes, str]:
    """Return a model's file and its SHA-256, so that exactly the hashed bytes are opened.

    Raises:
      SuspectError: the file cannot be read, is not a regular one, or is a placeholder for a
        model that was not fetched.
    """
    try:
        body = _files.read_regular(path)
    except OSError as error:
        raise SuspectError(f"{path} cannot be read: {error.strerror}") from None
    if placeholder := placeholder_in(body):
        raise SuspectError(f"{path} is {placeholder}")
    return body, hashlib.sha256(body).hexdigest()


def file_digest(path: pathlib.Path, most_bytes: int = 2**37) -> str:
    """Return the SHA-256, as hex, of a regular file, for readers that need a path.

    Raises:
      SuspectError: the file cannot be read, or is not a regular one.
    """
    try:
        with _files.open_regular(path, most_bytes) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SuspectError(f"{path} cannot be read: {error.strerror}") from None


def placeholder_in(body: bytes) -> str:
    r"""Return what is in place of a model that was not fetched; "" if it may be a model.

    Example:
      >>> placeholder_in(b"version https://git-lfs.github.com/spec/v1\noid sha256:0")
      'a pointer of Git LFS and not the model itself: fetch it with git lfs pull'
      >>> placeholder_in(b"\x08\x09")
      ''
    """
    if not body:
        return "empty"
    start = body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"version https://git-lfs.", b"version https://hawser")):
        return "a pointer of Git LFS and not the model itself: fetch it with git lfs pull"
    if len(body) < 1024 and b"annex/objects/" in start.replace(b"\\", b"/"):
        return "a pointer of git-annex and not the model itself: fetch it with git annex get"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page and no model: fetch the file behind it"
    if not body.strip(b"\0"):
        return "nothing but zero bytes: fetch it anew"
    return ""


def kind_of(body: bytes) -> str:
    r"""Return which known kind of file it looks like, with advice; "" for an unknown one.

    Example:
      >>> kind_of(b"GGUF\x03\0\0\0")
      'a file of GGUF'
    """
    for start, kind in _BY_START:
        if body.startswith(start):
            return kind
    if body[4:8] in _BY_BYTES_4_TO_8:
        return _BY_BYTES_4_TO_8[body[4:8]]
    if _is_safetensors(body):
        return (
            "a file of weights alone (.safetensors): load them in Python and save them with "
            'torch.save(weights, "weights.pt"), and name what builds the network, '
            'module = "file.py:make"'
        )
    names = names_in(body)
    if names is None:
        return PICKLE if body.startswith(b"\x80") else ""
    return _kind_of_archive(names)


def names_in(body: bytes) -> list[str] | None:
    """Return the names of the files in an archive; None if it is none, or damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return archive.namelist()
    except Exception:  # errors of damaged archives have no common base
        return None


def damage_in(body: bytes, most_bytes: int = 2**33) -> str:
    """Return what is wrong with an archive by its own checksums; "" if they hold.

    Some readers skip them and would give damaged programs to a compiler.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
            if claimed > most_bytes:
                return f"it unpacks to {claimed:,} bytes, more than {most_bytes:,}"
            if len(set(archive.namelist())) < len(archive.namelist()):
                return "two files in it have one name"
            damaged = archive.testzip()
    except Exception as error:  # of zipfile and zlib: no common base
        return f"{type(error).__name__}: {error!s:.80}"
    return f"{damaged} is damaged" if damaged else ""


# Bytes of an element of each kind of storage of PyTorch; of others at least one.
_ELEMENT = {
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}


class _Anything:
    """Stands for whatever a pickle names; does nothing with what it is given."""

    def __init__(self, *_, **__):
        pass

    def __setstate__(self, _):
        pass


class _Storages(pickle.Unpickler):
    """Lists the storages that a TorchScript pickle refers to, without running code of it."""

    def __init__(self, body: bytes):
        super().__init__(io.BytesIO(body))
        self.found: list[tuple[str, int]] = []

    def find_class(self, module: str, name: str) -> type:
        return type(name, (_Anything,), {"__module__": module})

    def persistent_load(self, pid: tuple[Any, ...]) -> None:
        _, kind, key, device, count = pid
        if device != "meta":  # a shape without values
            self.found.append((key, count * _ELEMENT.get(kind.__name__, 1)))


def short_storage_in(body: bytes) -> str:
    """Return which storage of a TorchScript file holds too few bytes; "" if none does.

    PyTorch does not compare the sizes and would read past the end.
    """
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        # Those that are read; a traced network also names inputs, whose bytes are left out.
        for name in (name for name in sizes if name.endswith(("/data.pkl", "/constants.pkl"))):
            storages = _Storages(archive.read(name))
            try:
                storages.load()
            except Exception as error:  # of pickle, and of types with impossible names
                return f"{name}: {type(error).__name__}: {error!s:.80}"
            for key, wanted in storages.found:
                place = f"{name.removesuffix('.pkl')}/{key}"
                if sizes.get(place, 0) < wanted:
                    held = sizes.get(place, 0)
                    return f"{place} must hold {wanted:,} bytes, holds {held:,}"
    return ""


def _kind_of_archive(names: list[str]) -> str:
    if any(name.endswith("/constants.pkl") for name in names):
        return TORCHSCRIPT
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
        return TORCH_PICKLE
    if names and all(name.endswith(".npy") for name in names):
        return "arrays of NumPy (.npz)"
    return "an archive (.zip)"


def _is_safetensors(body: bytes) -> bool:
    size = int.from_bytes(body[:8], "little")
    return 0 < size <= len(body) - 8 and body[8:9] == b"{" and b'"dtype"' in body[8 : 8 + size]

"""Carries files to another machine in pieces that are small enough, and checks each there.

What travels is what a run needs and cannot make: data sets, wheels, unfinished workdirs. A
workdir holds secret mark keys: treat its pieces as you would treat the keys.
"""

import hashlib
import io
import json
import os
import pathlib
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

from anw_jax import _check
from anw_jax.errors import AnwError
from anw_jax.lab import Workdir

LIST = "pieces.json"
MOST_MIB = 60
_MIB = 1024 * 1024


class TravelError(AnwError, ValueError):
    """Pieces are missing or damaged, or inputs cannot be packed; names the file."""


def pack(
    inputs: Sequence[str | os.PathLike], folder: str | os.PathLike, piece_mib: int = MOST_MIB
) -> list[pathlib.Path]:
    """Packs files and folders into pieces and a list of their digests.

    The pieces are a plain tar archive cut at equal lengths; equal inputs give equal pieces.
    Each input keeps its own name, not the folder that it lies in.

    Args:
      inputs: files and folders; their last names must differ.
      folder: where pieces and list go; must hold no other list.
      piece_mib: largest piece, in MiB.

    Returns:
      The pieces, in order.

    Raises:
      TravelError: an input is missing, two have one name, the folder lies in an input, or it
        holds pieces.
    """
    _check.integer_at_least(1, piece_mib=piece_mib)
    paths = [pathlib.Path(path).resolve() for path in inputs]
    out_path = pathlib.Path(folder).resolve()
    for path in paths:
        if not path.exists():
            raise TravelError(f"{path} does not exist")
        if out_path.is_relative_to(path):
            raise TravelError(f"{out_path} lies in {path}, which would pack its own pieces")
    if len({path.name for path in paths}) != len(paths):
        raise TravelError(f"inputs must have different names: {', '.join(map(str, paths))}")
    out = Workdir(folder)
    if out.exists(LIST):
        raise TravelError(f"{out.path / LIST} is there already: choose another folder")
    with _Cutter(out.path, piece_mib * _MIB) as cutter:
        with tarfile.open(fileobj=cutter, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path in paths:
                archive.add(path, arcname=path.name, filter=_without_traces)
    out.write_json(LIST, {"names": [path.name for path in paths], "pieces": cutter.pieces})
    return [out.path / piece["name"] for piece in cutter.pieces]


def _without_traces(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leaves out who packed and when; keeps contents and permissions."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


class _Cutter(io.RawIOBase):
    """A file to write to that begins a new piece whenever one is full."""

    def __init__(self, folder: pathlib.Path, most: int):
        super().__init__()
        self.pieces: list[dict[str, Any]] = []
        self._folder, self._most = folder, most
        self._file: io.BufferedWriter | None = None

    def writable(self) -> bool:
        return True

    def write(self, body: Any) -> int:
        left = memoryview(body).cast("B")
        while len(left):
            if self._file is None or self.pieces[-1]["bytes"] == self._most:
                self._begin()
            piece = self.pieces[-1]
            part = left[: self._most - piece["bytes"]]
            self._file.write(part)
            self._digest.update(part)
            piece["bytes"] += len(part)
            left = left[len(part) :]
        return memoryview(body).nbytes

    def _begin(self) -> None:
        self._end()
        name = f"piece{len(self.pieces):04d}.bin"
        self._file, self._digest = (self._folder / name).open("wb"), hashlib.sha256()
        self.pieces.append({"name": name, "bytes": 0, "sha256": ""})

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self.pieces[-1]["sha256"] = self._digest.hexdigest()
            self._file = None

    def close(self) -> None:
        self._end()
        super().close()


def unpack(folder: str | os.PathLike, target: str | os.PathLike) -> list[pathlib.Path]:
    """Checks every piece against the list, joins them, and writes the files.

    Nothing is written before all pieces are found whole.

    Args:
      folder: holds the pieces and their list.
      target: where the inputs go, under their own names; none may be there already.

    Returns:
      The inputs as they lie there now.

    Raises:
      TravelError: a piece is missing or damaged, an input is there already, or the archive
        would write outside of `target`.
    """
    folder, target = pathlib.Path(folder), pathlib.Path(target)
    listed = _read_list(folder)
    for piece in listed["pieces"]:
        _check_piece(folder / piece["name"], piece)
    for name in listed["names"]:
        if (target / name).exists():
            raise TravelError(f"{target / name} is there already: remove it first")
    target.mkdir(parents=True, exist_ok=True)
    files = [folder / piece["name"] for piece in listed["pieces"]]
    try:
        with tarfile.open(fileobj=_Joiner(files), mode="r|") as archive:
            archive.extractall(target, filter="data")
    except tarfile.TarError as error:
        raise TravelError(f"the pieces in {folder} are no archive of ours: {error}") from None
    return [target / name for name in listed["names"]]


def _read_list(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / LIST
    if not path.is_file():
        raise TravelError(f"{path} is missing: it lists the pieces")
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        names, pieces = listed["names"], listed["pieces"]
        named = [pathlib.PurePath(text).name == text for text in names]
        whole = [pathlib.PurePath(p["name"]).name == p["name"] and p["sha256"] for p in pieces]
    except (ValueError, TypeError, KeyError) as error:
        raise TravelError(f"{path} is damaged: {error!r:.80}") from None
    if not all(named) or not all(whole):
        raise TravelError(f"{path} is damaged: names must be plain file names")
    return listed


def _check_piece(path: pathlib.Path, piece: dict[str, Any]) -> None:
    if not path.is_file():
        raise TravelError(f"{path} is missing: copy it again")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != piece["sha256"]:
        size = path.stat().st_size
        raise TravelError(
            f"{path} is damaged ({size:,} of {piece['bytes']:,} bytes): copy it again"
        )


class _Joiner(io.RawIOBase):
    """A file to read from that goes through the pieces one after another."""

    def __init__(self, files: Sequence[pathlib.Path]):
        super().__init__()
        self._blocks = self._read_blocks(files)
        self._rest = b""

    @staticmethod
    def _read_blocks(files: Sequence[pathlib.Path]) -> Iterator[bytes]:
        for path in files:
            with path.open("rb") as file:
                while block := file.read(_MIB):
                    yield block

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, wanted = [], size
        while wanted:
            self._rest = self._rest or next(self._blocks, b"")
            if not self._rest:
                break
            parts.append(self._rest[:wanted] if size >= 0 else self._rest)
            self._rest = self._rest[len(parts[-1]) :]
            wanted -= len(parts[-1]) if size >= 0 else 0
        return b"".join(parts)

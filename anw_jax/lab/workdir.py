"""The folder a run leaves behind. Files are written whole: to a neighbour, then renamed."""

import contextlib
import json
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from anw_jax import _files
from anw_jax.errors import SettingsError


class Workdir:
    """Names the files of a run and writes them so that a kill never leaves half of one.

    Attributes:
      path: the folder; made if it is not there.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True, exist_ok=True)

    def file(self, *parts: str) -> pathlib.Path:
        """A path inside, its folder made."""
        path = self.path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes out while this one works here (where the system can).

        Raises:
          SettingsError: another process is at work in this folder.
        """
        message = f"another process is at work in {self.path}: wait for it, or choose another"
        with _files.only_one(self.path, lambda: SettingsError(f"{message} --workdir")):
            yield

    @property
    def is_done(self) -> bool:
        """Whether the run has ended well."""
        return (self.path / "DONE").exists()

    def finish(self) -> None:
        """Marks the run as ended well."""
        (self.path / "FAILED.txt").unlink(missing_ok=True)
        self.write_text("DONE", "")

    def fail(self, message: str) -> None:
        """Leaves the error where the run stopped."""
        self.write_text("FAILED.txt", message + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file whole."""
        _files.write_whole(self.path / name, text.encode())

    def write_json(self, name: str, value: Any, durable: bool = True) -> None:
        """Writes JSON whole; numbers that JSON lacks (NaN, infinities) become null.

        With `durable` it waits for the disk, which a heartbeat need not.
        """
        _files.write_whole(self.path / name, to_json(value).encode(), durable=durable)

    def read_json(self, name: str) -> Any:
        """Reads a JSON file."""
        with self._naming_damage(name):
            return json.loads((self.path / name).read_text())

    def write_arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Writes a compressed `.npz` whole."""
        _files.write_npz(self.path / name, arrays)

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Reads an `.npz` file."""
        with (
            self._naming_damage(name),
            np.load(self.path / name, allow_pickle=False) as arrays,
        ):
            return dict(arrays)

    @contextlib.contextmanager
    def _naming_damage(self, name: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, zipfile.BadZipFile, EOFError) as error:
            raise SettingsError(
                f"{self.path / name} is damaged ({error!s:.80}): restore it, or start afresh "
                "in another --workdir"
            ) from None

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        return (self.path / name).exists()

    def agree_on_settings(self, settings: dict[str, Any]) -> None:
        """Stores the settings of a new run, or checks that a resumed one has the same.

        They bind once commitments are written: what was refused before leaves no trace.

        Raises:
          SettingsError: the folder holds a run with other settings; names the first few.
        """
        # Through JSON, so that tuples and lists compare alike.
        settings = plain(settings)
        if not (self.exists("settings.json") and self.exists("commitments.json")):
            self.write_json("settings.json", settings)
            return
        before = dict(_flatten(self.read_json("settings.json")))
        now = dict(_flatten(settings))
        names = [n for n in sorted(before | now) if before.get(n) != now.get(n)]
        if names:
            shown = ", ".join(
                f"{n} was {before.get(n)!r}, now {now.get(n)!r}" for n in names[:3]
            )
            raise SettingsError(
                f"{self.path} holds a run with other settings ({shown}); choose another "
                "--workdir, or delete that folder"
            )


def to_json(value: Any) -> str:
    """Strict JSON text of plain values, NumPy ones included."""
    return json.dumps(_plain(value), indent=1, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """What a value is once it has been through a file."""
    return json.loads(to_json(value))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flatten(item, f"{path}.{name}" if path else name)
    else:
        yield path, value

"""The folder of a run's files; each is written whole: beside its place, then renamed."""

import contextlib
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from anw_jax import _files, _json
from anw_jax.errors import SettingsError


class Workdir:
    """Read and write the files of a run; a kill never leaves half of a file.

    Attributes:
      path: the folder; created if it does not exist.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True, exist_ok=True)

    def file(self, *parts: str) -> pathlib.Path:
        """Return a path inside; its folder is created."""
        path = self.path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out of this folder (on systems with file locks).

        Raises:
          SettingsError: another process works in this folder.
        """
        message = f"another process is at work in {self.path}: wait for it, or choose another"
        with _files.only_one(self.path, lambda: SettingsError(f"{message} --workdir")):
            yield

    @property
    def is_done(self) -> bool:
        """Whether the run is complete."""
        return (self.path / "DONE").exists()

    def finish(self) -> None:
        """Mark the run as complete."""
        (self.path / "FAILED.txt").unlink(missing_ok=True)
        self.write_text("DONE", "")

    def fail(self, message: str) -> None:
        """Store the error that stopped the run."""
        self.write_text("FAILED.txt", message + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file whole."""
        _files.write_whole(self.path / name, text.encode())

    def write_json(self, name: str, value: Any, durable: bool = True) -> None:
        """Write JSON whole; NaN and infinities, which JSON lacks, become null.

        With `durable` it waits until the file is on disk; a heartbeat does not need that.
        """
        _json.write(self.path / name, plain(value), durable=durable)

    def read_json(self, name: str) -> Any:
        """Read a JSON file."""
        with self._naming_damage(name):
            return _json.loads((self.path / name).read_text())

    def write_arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Write a compressed `.npz` whole."""
        _files.write_npz(self.path / name, arrays)

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Read an `.npz` file."""
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
        """Remove a file, if it exists."""
        (self.path / name).unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        """Whether a file exists."""
        return (self.path / name).exists()

    def once(
        self, file: str, made_from: Any, make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return numbers from a file, or make and store them if it is missing or differs.

        A kill loses the numbers of one call at most.

        Args:
          file: JSON, in this folder.
          made_from: plain values that the numbers depend on.
          make: computes them.
        """
        if self.exists(file):
            stored = self.read_json(file)
            if stored["made_from"] == plain(made_from):
                return stored["numbers"]
        self.write_json(file, {"made_from": made_from, "numbers": make()})
        return self.read_json(file)["numbers"]

    def agree_on_settings(self, settings: dict[str, Any]) -> None:
        """Store the settings of a new run, or check that a resumed one has the same.

        They are fixed once commitments are written; a run refused before may change them.

        Raises:
          SettingsError: the folder holds a run with other settings; names the first few.
        """
        # Through JSON, so that tuples equal lists.
        settings = plain(settings)
        if not (self.exists("settings.json") and self.exists("commitments.json")):
            self.write_json("settings.json", settings)
            return
        before = dict(flatten(self.read_json("settings.json")))
        now = dict(flatten(settings))
        names = [n for n in sorted(before | now) if before.get(n) != now.get(n)]
        if names:
            shown = ", ".join(
                f"{n} was {before.get(n)!r}, now {now.get(n)!r}" for n in names[:3]
            )
            raise SettingsError(
                f"{self.path} holds a run with other settings ({shown}); choose another "
                "--workdir, or delete that folder"
            )


def plain(value: Any) -> Any:
    """Return a value as it comes back from a JSON file: lists, and null for NaN."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the value of each leaf of nested mappings."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from flatten(item, f"{path}.{name}" if path else name)
    else:
        yield path, value

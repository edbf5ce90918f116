"""Read the files of a run once; nothing is trained, queried or tested again."""

import dataclasses
import functools
import os
import pathlib
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from anw_jax import _json, verify
from anw_jax.keys import Manifest, SignatureSpace


@dataclasses.dataclass(frozen=True, eq=False)
class UserRecord:
    """One user of a run.

    Attributes:
      name: as in the settings; not to be trusted in paths or HTML.
      slug: a safe name for files.
      numbers: the user's part of `results.json`; numbers that JSON lacks are None.
      space: the signature space of the keys.
      refinement: angles queried per slot.
      table: float `[num_images, num_slots * refinement]` nats, or None.
      seal: digests of table and model, written before the key was opened, or None.
      null: arrays `z` and `probability`, or None.
      original: uint8 `[n, H, W, 3]`, a few photos, or None.
      published: the same photos as published, or None.
      manifest: units and file names, or None.
      commitment_time: UTC, ISO 8601, or None.
    """

    name: str
    slug: str
    numbers: dict[str, Any]
    space: SignatureSpace
    refinement: int
    table: np.ndarray | None
    seal: dict[str, str] | None
    null: dict[str, np.ndarray] | None
    original: np.ndarray | None
    published: np.ndarray | None
    manifest: Manifest | None
    commitment_time: str | None

    @property
    def is_claim(self) -> bool:
        """Whether marked photos of this user were trained on; all others are controls."""
        return self.numbers["kind"] == "marked" and not self.numbers.get("excluded")

    @functools.cached_property
    def unit_of_image(self) -> np.ndarray | None:
        """The unit of each photo, int64 `[num_images]`; None where it is not known."""
        if self.manifest is not None:
            return np.asarray(self.manifest.unit_of_image)
        if self.numbers["num_units"] == self.numbers["num_images"]:
            return np.arange(self.numbers["num_images"])
        if self.numbers["num_units"] == 1:
            return np.zeros(self.numbers["num_images"], np.int64)
        return None

    @property
    def num_queries(self) -> int | None:
        """Number of the model's answers about this user's photos."""
        return None if self.table is None else int(self.table.size)

    @functools.cached_property
    def seal_agrees(self) -> bool | None:
        """Whether the table in the folder is the one that was sealed and tested."""
        if self.table is None or self.seal is None:
            return None
        tested = np.ascontiguousarray(self.table[:, :: self.refinement])
        return (
            verify.seal(self.table) == self.seal.get("table")
            and verify.seal(tested) == self.numbers["table_digest"]
        )


@dataclasses.dataclass(frozen=True, eq=False)
class RunRecord:
    """A whole run.

    Attributes:
      results: `results.json`.
      provenance: commit, machine, command and versions of the run.
      users: claims first, as in the results.
      stage_times: first and last entry of each stage in the log, UTC.
    """

    results: dict[str, Any]
    provenance: dict[str, Any]
    users: tuple[UserRecord, ...]
    stage_times: dict[str, tuple[str, str]]

    @property
    def claims(self) -> list[UserRecord]:
        """Users whose marked photos were trained on."""
        return [user for user in self.users if user.is_claim]

    @property
    def controls(self) -> list[UserRecord]:
        """Users who must not be found: unmarked, held out, or left out of training."""
        return [user for user in self.users if not user.is_claim]


def read_run(workdir: str | os.PathLike) -> RunRecord:
    """Read a workdir, of which only `results.json` must be there.

    Raises:
      FileNotFoundError: if there is no `results.json`.
      ValueError: if a file is damaged; names it.
    """
    folder = pathlib.Path(workdir)
    if not (folder / "results.json").is_file():
        raise FileNotFoundError(f"{folder} holds no results.json: the run has not ended")
    return record_of(_read_json(folder, "results.json"), folder)


def record_of(results: dict[str, Any], folder: pathlib.Path) -> RunRecord:
    """Join results with the other files of their folder, where these exist."""
    commitments = _read_json(folder, "commitments.json") or {}
    examples = _arrays(folder, "examples.npz") or {}
    slugs = _slugs(list(results["users"]))
    users = [
        _read_user(folder, name, slugs[name], results, commitments, examples)
        for name in results["users"]
    ]
    provenance = _read_json(folder, "provenance.json") or results.get("provenance") or {}
    users.sort(key=lambda user: not user.is_claim)
    return RunRecord(results, provenance, tuple(users), _stage_times(folder))


def _read_user(
    folder: pathlib.Path,
    name: str,
    slug: str,
    results: dict[str, Any],
    commitments: dict[str, Any],
    examples: dict[str, np.ndarray],
) -> UserRecord:
    settings = results["settings"]["verify"]
    table = _arrays(folder, f"tables/{name}.npz")
    manifest = _inside(folder, f"manifests/{name}.json")
    committed = name in commitments.get("commitments", {})
    return UserRecord(
        name=name,
        slug=slug,
        numbers=results["users"][name],
        space=SignatureSpace(settings["num_slots"]),
        refinement=settings["grid_refinement"],
        table=None if table is None else table["losses"],
        seal=_read_json(folder, f"tables/{name}.seal.json"),
        null=_arrays(folder, f"nulls/{name}.npz"),
        original=examples.get(f"{name}/original"),
        published=examples.get(f"{name}/published"),
        manifest=None if manifest is None else Manifest.load(manifest),
        commitment_time=commitments.get("time_utc") if committed else None,
    )


def _slugs(names: list[str]) -> dict[str, str]:
    """Return file names that are safe everywhere, and distinct whatever the case."""
    slugs: dict[str, str] = {}
    for name in names:
        slug = base = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:40] or "_"
        number = 2
        while slug.lower() in {taken.lower() for taken in slugs.values()}:
            slug, number = f"{base}_{number}", number + 1
        slugs[name] = slug
    return slugs


def _inside(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """Return the path of a file, if it exists and is inside the folder whatever its name."""
    if "\0" in name:
        return None
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def _read_json(folder: pathlib.Path, name: str) -> Any:
    path = _inside(folder, name)
    if path is None:
        return None
    try:
        return _json.read(path)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _arrays(folder: pathlib.Path, name: str) -> dict[str, np.ndarray] | None:
    path = _inside(folder, name)
    if path is None:
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _stage_times(folder: pathlib.Path) -> dict[str, tuple[str, str]]:
    """Return the first and last log time of each stage; skip a line cut short by a kill."""
    path = _inside(folder, "log.jsonl")
    times: dict[str, tuple[str, str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path else []:
        try:
            event = _json.loads(line)
            stage, time = event["stage"], event["time_utc"]
        except (ValueError, KeyError, TypeError):
            continue
        times[stage] = (times.get(stage, (time, time))[0], time)
    return times


def training_seconds(results: Mapping[str, Any]) -> float | None:
    """Return the wall seconds of the training, over all its runs; None where not recorded.

    Example:
      >>> training_seconds({"training": {"seconds": 600.0}, "stage_seconds": {"train": 7.0}})
      600.0
    """
    if "training" in results:
        return results["training"]["seconds"]
    return (results.get("stage_seconds") or {}).get("train")


def training_origin(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return commit, machine and command of the training; empty where they are unknown."""
    held = results["training"] if "training" in results else results
    return held.get("provenance") or {}


def training_commits(results: Mapping[str, Any]) -> list[str]:
    """Return the commits that took its steps, oldest first; "unknown" where not recorded."""
    earlier = (results.get("training") or {}).get("earlier_commits") or []
    return [
        commit or "unknown" for commit in (*earlier, training_origin(results).get("commit"))
    ]

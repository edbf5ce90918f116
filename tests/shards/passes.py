"""Passes over a small folder of photos; light, since worker processes import this file."""

import dataclasses
import os
import pathlib
import signal
from typing import Any

import numpy as np

from anw_jax import data
from anw_jax.keys import Manifest, MarkKey, Plan, SignatureSpace, UnitSlots
from anw_jax.marks import HueRotation
from anw_jax.shards import CommittedPhoto, DigestPass, MarkPass, cut, join_digests, run_pass

KEY = MarkKey.for_experiment(5)
SPACE = SignatureSpace()


def write_folder(folder: pathlib.Path, number: int = 11) -> None:
    """Photos in two albums; the last is a copy of the first, and another is no photo."""
    rng = np.random.default_rng(3)
    for index in range(number):
        path = folder / "ab"[index % 2] / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.png_of(rng.integers(0, 256, (5, 6, 3), np.uint8)))
    (folder / "b" / "copy.png").write_bytes((folder / "a" / "00.png").read_bytes())
    (folder / "b" / "broken.png").write_bytes(b"no photo")


def names_of(folder: pathlib.Path) -> list[str]:
    files = (f for f in folder.rglob("*") if f.suffix == ".png")
    return sorted(f.relative_to(folder).as_posix() for f in files)


def digests_of(folder, work, size, workers=1, run=None):
    """The first pass and its join."""
    job, shards = DigestPass(folder, work), cut(names_of(folder), size)
    work.mkdir(exist_ok=True)
    run_pass(run or job, shards, workers=workers)
    return join_digests(shards, folder, work, 1)


def manifest_of(done) -> Manifest:
    groups = [pathlib.PurePosixPath(name).parent.as_posix() for name in done.names]
    return Manifest.of(
        done.names,
        SPACE,
        "per_group",
        groups,
        done.names,
        digests=done.image_digests,
        file_digests=done.file_digests,
    )


def mark_job(folder, out, manifest, plan=None, value=b"", encoding=None) -> MarkPass:
    """The second pass; its folders are made."""
    plan = plan or Plan("losses", 0.01)
    slots = UnitSlots(KEY.sub_key("slots"), 12, manifest.digest, plan, value)
    folders = (out / "published", out / "work")
    for made in folders:
        made.mkdir(parents=True, exist_ok=True)
    return MarkPass(folder, *folders, HueRotation(), slots, encoding or data.Encoding())


def photos_of(manifest: Manifest) -> list[CommittedPhoto]:
    columns = zip(
        manifest.file_names,
        manifest.image_digests,
        manifest.file_digests,
        manifest.unit_of_image,
        strict=True,
    )
    return [
        CommittedPhoto(i, name, name, "", name, digest, file, manifest.unit_digests[unit])
        for i, (name, digest, file, unit) in enumerate(columns)
    ]


@dataclasses.dataclass(frozen=True)
class Killed:
    """A pass whose worker is killed once, or always, in the middle of one shard.

    Attributes:
      run: the pass.
      shard: the number of the shard.
      mark: a file that says it has happened; None for always.
    """

    run: Any
    shard: int
    mark: pathlib.Path | None

    def __call__(self, shard, on_photo):
        done = 0

        def counted() -> None:
            nonlocal done
            done += 1
            if shard.number == self.shard and done == 2 and self._is_to_die():
                os.kill(os.getpid(), signal.SIGKILL)
            on_photo()

        return self.run(shard, counted)

    def _is_to_die(self) -> bool:
        if self.mark is None:
            return True
        is_first = not self.mark.exists()
        self.mark.touch()
        return is_first

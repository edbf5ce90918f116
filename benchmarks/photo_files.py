"""Seconds and memory of `anw mark` and `anw preview` for one 12-megapixel JPEG file.

The floor is Pillow alone: decode the file, and encode its pixels with the same tables. Seconds
are those of one core (`time.process_time`), so a busy machine changes them little; memory is
the peak of each command on a folder that holds this file alone.

Measured while trainings shared both cores: decode and encode 0.10 s, mark 0.33 s (0.23 s more,
most of it the mark `light`), preview 0.61 s (0.51 s more; it encodes only small pictures, and
half of it is the measuring). Peaks: 297 MiB, and 366 MiB with the libraries of the page.
"""

import argparse
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import _measure

_SIZE = (4000, 3000)
_PEAK = r"""
import re, sys
from anw_jax.cli.main import run
code = run(sys.argv[1:])
# Not ru_maxrss, which a process inherits from the one that started it.
print(code, int(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1]) / 1024)
"""


def write_photo(path: pathlib.Path) -> None:
    """Write a JPEG file of quality 92, 4:2:0, with smooth parts and grain."""
    from PIL import Image

    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(20, 236, (30, 40, 3), dtype=np.uint8))
    pixels = np.asarray(smooth.resize(_SIZE, Image.Resampling.BICUBIC)).astype(np.int16)
    pixels += rng.integers(-6, 7, pixels.shape, dtype=np.int16)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 1
    image.save(path, "JPEG", quality=92, exif=exif)


def mark_one(path: pathlib.Path, mark_name: str = "light") -> bytes:
    """Decode, check, mark and encode one file, as `audit.publish_folder` does."""
    from anw_jax import data
    from anw_jax.keys import MarkKey, image_digest
    from anw_jax.marks import make_mark, publish

    mark = make_mark(mark_name, MarkKey.for_experiment(0), 12)
    original = data.read_original(path)
    image_digest(original.pixels)
    marked = publish(mark, original.pixels[None], 60.0)[0]
    return data.encode(original, marked, data.Encoding(), str(path)).content


def preview_one(path: pathlib.Path) -> None:
    """Decode, mark and measure one file, as `audit.preview_folder` does."""
    from anw_jax.audit.preview import PreviewPass, ThrowAwayMark
    from anw_jax.shards.shard import Shard

    PreviewPass(ThrowAwayMark())(Shard(0, ((path.name, path, True),)))


def floor(path: pathlib.Path) -> bytes:
    """Decode and encode one file with Pillow alone."""
    from PIL import Image

    with Image.open(io.BytesIO(path.read_bytes())) as image:
        image.load()
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality="keep")
    return buffer.getvalue()


def measure(rounds: int) -> dict:
    """Time both sides, and measure the peak memory of marking."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "photos" / "photo.jpg"
        path.parent.mkdir()
        write_photo(path)
        sides = {
            "decode and encode": lambda: floor(path),
            "mark": lambda: mark_one(path),
            "preview": lambda: preview_one(path),
        }
        seconds = _measure.alternate(sides, rounds, time.process_time)
        peaks = _peaks(pathlib.Path(folder))
    medians = {name: float(np.median(taken)) for name, taken in seconds.items()}
    results = {
        "megapixels": _SIZE[0] * _SIZE[1] / 1e6,
        "seconds_of_one_core": seconds,
        "beyond_decoding_and_encoding_seconds": medians["mark"] - medians["decode and encode"],
        "peak_mib": peaks["mark"],
        "preview_beyond_decoding_and_encoding_seconds": medians["preview"]
        - medians["decode and encode"],
        "preview_peak_mib": peaks["preview"],
    }
    print({**medians, "peak MiB": peaks})
    return results


def _peaks(folder: pathlib.Path) -> dict[str, float]:
    """Preview, commit to and mark `folder/photos`; return the peak of each command, in MiB."""
    where = ["photos", "--key", "ann.key", "--out", "marked"]
    peaks = {}
    for words in (
        ["preview", "photos", "--out", "look"],
        ["key", "new", "ann.key"],
        ["commit", *where, "--beacon", "arbitrator:a benchmark"],
        ["mark", *where, "--beacon-value", "ab" * 32],
    ):
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(_measure.REPOSITORY)},
            check=True,
            capture_output=True,
            text=True,
        )
        code, peak = done.stdout.split()[-2:]
        if code != "0":
            raise RuntimeError(f"anw {words[0]} ended with code {code}: {done.stderr}")
        peaks[words[0]] = float(peak)
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--note", default="", help="is written beside the results")
    flags = parser.parse_args()
    note = {"note": flags.note} if flags.note else {}
    _measure.write("photo_files", measure(flags.rounds) | note)


if __name__ == "__main__":
    main()

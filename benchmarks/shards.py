"""Both passes over a folder of photos, with one worker and with two, and the join of many.

Photos are JPEG files of 12 megapixels, as in `photo_files.py`. Seconds of cores are those of
this process and its workers together, with their start; a busy machine changes them little, and
photos per second of the clock much. The join is timed on made-up lines of digests.
"""

import argparse
import hashlib
import pathlib
import resource
import tempfile
import time
import tracemalloc

from anw_jax import shards
from anw_jax.keys import Manifest, MarkKey, SignatureSpace
from anw_jax.shards import shard as shard_files
from anw_jax.shards.digests import decoder

# What imports jax is imported by `passes` and `main`: worker processes import this script.

_BEACON = bytes.fromhex("ab" * 32)


def _core_seconds() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _timed(fun, num_photos: int) -> dict[str, float]:
    start, cores = time.perf_counter(), _core_seconds()
    fun()
    seconds, cores = time.perf_counter() - start, _core_seconds() - cores
    return {
        "photos_per_second": num_photos / seconds,
        "core_seconds_per_photo": cores / num_photos,
    }


def passes(num_photos: int, workers: int) -> dict[str, dict[str, float]]:
    """Time the commitment to a folder, and its marking."""
    from anw_jax import audit
    from benchmarks import photo_files

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "photos").mkdir()
        photo_files.write_photo(folder / "photos" / "0000.jpg")
        body = (folder / "photos" / "0000.jpg").read_bytes()
        for number in range(1, num_photos):
            (folder / "photos" / f"{number:04d}.jpg").write_bytes(body)
        MarkKey.for_experiment(0).save(folder / "a.key")
        where = (folder / "photos", folder / "a.key", folder / "out")
        choices = audit.Choices(beacon="arbitrator:a benchmark")
        done = {
            "first pass": _timed(
                lambda: audit.commit_folder(*where, choices, workers=workers), num_photos
            ),
            "second pass": _timed(
                lambda: audit.publish_folder(*where, beacon=_BEACON, workers=workers),
                num_photos,
            ),
        }
    for what, numbers in done.items():
        print(workers, what, {name: round(value, 3) for name, value in numbers.items()})
    return done


def join(num_photos: int) -> dict[str, float]:
    """Time the join of a first pass over made-up photos, to the root; peak memory in MiB."""
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        names = [f"album {i // 100:07d}/photo {i:09d}.jpg" for i in range(num_photos)]
        parts = shards.cut(names)
        for part in parts:
            header = {"format": "anw_jax shard of digests, version 1", "shard": part.number}
            shard_files.write_lines(
                shard_files.lines_path(work, part),
                header | {"decoder": decoder()},
                [_line(photo) for photo in part.photos],
            )
        tracemalloc.start()
        cores = _core_seconds()
        done = shards.join_digests(parts, work, work, 16)
        manifest = Manifest.of(
            done.names,
            SignatureSpace(),
            file_names=done.names,
            digests=done.image_digests,
            file_digests=done.file_digests,
        )
        digest = manifest.digest
        seconds, (_, peak) = _core_seconds() - cores, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        text = len(manifest.to_json())
    results = {
        "photos": num_photos,
        "core_seconds_traced": seconds,
        "peak_mib": peak / 2**20,
        "manifest_mib": text / 2**20,
    }
    print(digest[:8], results)
    return results


def _line(name: str) -> dict:
    digests = [hashlib.sha256(f"{name}{i}".encode()).hexdigest() for i in range(2)]
    return {
        "file": name,
        "sha256": digests[0],
        "file_sha256": digests[1],
        "size": [3000, 4000],
        "notes": [],
        "stamp": [4_900_000, 1_700_000_000_000_000_000],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=48)
    parser.add_argument("--join", type=int, default=100_000)
    parser.add_argument("--note", default="", help="is written beside the results")
    flags = parser.parse_args()
    results = {f"{workers} worker(s)": passes(flags.photos, workers) for workers in (1, 2)}
    results["join"] = join(flags.join)
    from benchmarks import _measure

    note = {"note": flags.note} if flags.note else {}
    _measure.write("shards", results | note)


if __name__ == "__main__":
    main()

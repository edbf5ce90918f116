"""How the mutants of each kind of file ended; written where ANW_FUZZ_RESULTS says."""

import collections
import hashlib
import json
import os
import pathlib
import time
from typing import Self

_ABOUT = (
    "Damaged files of each kind, handed to the command or the reader that takes them. A mutant "
    "that ends otherwise than listed (a traceback, a hang, a result that it must not have) "
    "fails its test. Seeds are fixed in tests/mutants.py; distinct counts different files."
)


class Tally:
    """Counts how mutants of one kind end.

    Args:
      kind: as it stands in the results.
    """

    def __init__(self, kind: str):
        self._kind, self._seen = kind, set()
        self._ends: collections.Counter[str] = collections.Counter()

    def add(self, body: bytes, end: str) -> None:
        """One mutant, and how it ended."""
        self._seen.add(hashlib.sha256(body).digest()[:12])
        self._ends[end] += 1

    def __enter__(self) -> Self:
        self._start = time.monotonic(), sum(os.times()[:4])
        return self

    def __exit__(self, kind, *_) -> None:
        place = os.environ.get("ANW_FUZZ_RESULTS")
        if kind is not None or not place:
            return
        path, now = pathlib.Path(place), (time.monotonic(), sum(os.times()[:4]))
        body = json.loads(path.read_text()) if path.exists() else {"kinds": {}}
        body["kinds"][self._kind] = {
            "mutants": self._ends.total(),
            "distinct": len(self._seen),
            "ends": dict(sorted(self._ends.items())),
            "seconds": round(now[0] - self._start[0], 1),
            "cpu_seconds": round(now[1] - self._start[1], 1),
        }
        kinds = dict(sorted(body["kinds"].items()))
        path.write_text(json.dumps({"about": _ABOUT, "kinds": kinds}, indent=1) + "\n")

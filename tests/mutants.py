"""Damaged copies of files, the same in every run."""

import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

# ANW_FUZZ_MUTANTS=100000 pytest -m slow -k fuzz
MANY = int(os.environ.get("ANW_FUZZ_MUTANTS", 3000))
COUNTS = [40, pytest.param(MANY, marks=pytest.mark.slow)]

_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_MOST_SECONDS, _MOST_MIB = 20.0, 4096


def mutants(seeds: Sequence[bytes], count: int, salt: int = 0) -> Iterator[bytes]:
    """Copies of the seeds with one to eight things wrong."""
    rng = np.random.default_rng([20261129, salt])
    for number in range(count):
        body = bytearray(seeds[number % len(seeds)])
        for _ in range(int(rng.integers(1, 9))):
            _damage(body, seeds, rng)
        yield bytes(body)


def _damage(body: bytearray, seeds: Sequence[bytes], rng: np.random.Generator) -> None:
    place = int(rng.integers(0, len(body) + 1))
    length = int(2 ** rng.integers(0, 8))
    kind = int(rng.integers(0, 8))
    if kind == 0 and place < len(body):
        body[place] ^= 1 << int(rng.integers(0, 8))
    elif kind == 1 and place < len(body):
        body[place] = int(rng.integers(0, 256))
    elif kind == 2:
        body[place:place] = rng.bytes(length)
    elif kind == 3:
        del body[place : place + length]
    elif kind == 4:
        body[place:place] = body[place : place + length]
    elif kind == 5 and rng.random() < 0.2:
        del body[place:]
    elif kind == 6:
        other = seeds[int(rng.integers(0, len(seeds)))]
        start = int(rng.integers(0, len(other) + 1))
        body[place : place + length] = other[start : start + length]
    else:
        edge = _EDGES[int(rng.integers(0, len(_EDGES)))]
        body[place : place + 4] = edge.to_bytes(4, ("big", "little")[int(rng.integers(0, 2))])


def survives(
    bodies: Iterator[bytes], read: Callable[[bytes], object], error: type[Exception]
) -> tuple[int, int]:
    """Reads every body: a result, or one line of `error`; soon, and in bounded memory.

    Returns:
      How many were read, and how many refused.
    """
    num_read = num_refused = 0
    for number, body in enumerate(bodies):
        start = time.monotonic()
        try:
            read(body)
            num_read += 1
        except error as refused:
            text = str(refused)
            assert text, number
            assert "\n" not in text, (number, text)
            assert len(text) < 1000, (number, text)
            num_refused += 1
        assert time.monotonic() - start < _MOST_SECONDS, number
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < _MOST_MIB * 1024
    return num_read, num_refused

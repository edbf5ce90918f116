"""Damaged copies of files, the same in every run: bytes, JSON, lines of JSON, TOML."""

import copy
import json
import os
import random
import resource
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from anw_jax.errors import CaseError
from tests.tally import Tally

# `ANW_FUZZ_RESULTS=results/fuzz.json pytest -m slow -k "fuzz or mutants"`
MANY = int(os.environ.get("ANW_MUTANTS", 10_000))
_MANY = pytest.param(MANY, marks=pytest.mark.slow)
# Of files that are read, and of files that are handed to commands.
COUNTS, COMMAND_COUNTS = [40, _MANY], [6, _MANY]
COUNTED = pytest.mark.parametrize("count", COUNTS)
COMMAND_COUNTED = pytest.mark.parametrize("count", COMMAND_COUNTS)

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
    kind: str,
    bodies: Iterator[bytes],
    read: Callable[[bytes], object],
    error: type[Exception] | tuple[type[Exception], ...],
) -> tuple[int, int]:
    """Reads every body: a result, or one line of `error`; soon, and in bounded memory.

    Returns:
      How many were read, and how many refused.
    """
    num_read = num_refused = 0
    with Tally(kind) as tally:
        for number, body in enumerate(bodies):
            start = time.monotonic()
            try:
                read(body)
                num_read += 1
                tally.add(body, "read, as it must be")
            except error as refused:
                text = str(refused)
                assert text, number
                assert "\n" not in text, (number, text)
                assert len(text) < 1000, (number, text)
                num_refused += 1
                tally.add(body, "refused in one line")
            assert time.monotonic() - start < _MOST_SECONDS, number
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < _MOST_MIB * 1024
    return num_read, num_refused


def unseen(
    before: bytes,
    make: Callable[[bytes, random.Random], bytes],
    rng: random.Random,
    seen: set[bytes],
) -> bytes:
    """A mutant that differs from the file and from all others: damaged again until it does."""
    body = make(before, rng)
    while body in seen:
        try:
            body = make(body, rng)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            body = make(before, rng)  # nothing that could be edited was left
    seen.add(body)
    return body


def different(before: bytes, make: Callable, salt: str, count: int) -> Iterator[bytes]:
    """Mutants of one file, all of them different."""
    seen = {before}
    for seed in range(count):
        yield unseen(before, make, random.Random(f"{salt} {seed}"), seen)


def of_bytes(before: bytes, rng: random.Random) -> bytes:
    """Damage to binary files, half of it in one byte."""
    if rng.random() < 0.5:
        return bytewise(before, rng)
    return next(mutants([before], 1, rng.getrandbits(32)))


def of_json(before: bytes, rng: random.Random) -> bytes:
    """Damage to JSON, most of it in one entry."""
    return (structured if rng.random() < 0.7 else bytewise)(before, rng)


def fuzz(
    kind: str,
    before: bytes,
    read: Callable[[bytes], object],
    count: int,
    make: Callable[[bytes, random.Random], bytes] = of_bytes,
    error: type[Exception] = CaseError,
) -> None:
    """What is read is what was there before; most is refused."""
    expected = read(before)

    def same(body):
        assert read(body) == expected

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, num_refused = survives(kind, different(before, make, kind, count), same, error)
    assert num_refused


ODD = [
    None, True, False, 0, 1, -1, 2**70, 1e308, "", "0f" * 32, "ab", "\ud800", [], {}, [[]],
    {"format": "x"}, "NaN", 0.5, ["0f" * 32], "../../x", "\0",
]  # fmt: skip


def places_in(value: Any, where: tuple = ()) -> Iterator[tuple]:
    """Paths to every entry of a JSON value."""
    yield where
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield from places_in(value[name], (*where, name))


def other_value(value: Any, rng: random.Random) -> Any:
    """One entry dropped, renamed, made that of another place, or made an odd value."""
    places = [place for place in places_in(value) if place]
    *way, last = rng.choice(places)
    target = value
    for name in way:
        target = target[name]
    kind = rng.randrange(4)
    if kind == 0:
        del target[last]
    elif kind == 1 and isinstance(target, dict):
        target[f"{last}x"] = target.pop(last)
    elif kind == 2:
        source = value
        for name in rng.choice(places):
            source = source[name]
        target[last] = copy.deepcopy(source)
    else:
        target[last] = copy.deepcopy(rng.choice(ODD))
    return value


def structured(body: bytes, rng: random.Random) -> bytes:
    """JSON with one entry that is another, or one that stands twice."""
    if rng.random() < 0.1:
        return _twice(body, rng)
    return json.dumps(other_value(json.loads(body), rng)).encode("utf-8", "surrogatepass")


def _twice(body: bytes, rng: random.Random) -> bytes:
    """A field of one object stands there once more, first, with another value."""
    text = json.dumps(json.loads(body))
    at = rng.choice([i for i, c in enumerate(text) if text[i : i + 2] == '{"'])
    name = text[at + 1 : text.index('"', at + 2) + 1]
    odd = rng.choice(["null", "0", '"0f"', "[]", "{}", "1e999"])
    return f"{text[: at + 1]}{name}: {odd}, {text[at + 1 :]}".encode()


def bytewise(body: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut off, repeated, put in; other encodings and line ends."""
    at = rng.randrange(len(body) + 1)
    kind = rng.randrange(8)
    if kind == 0 and body:
        changed = bytearray(body)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind == 1:
        return body[:at]
    if kind == 2:
        return body + body
    if kind == 3:
        put = rng.choice([b"\0", b"\xff", b"{", b"]", b'"', b"1e999", b"#"])
        return body[:at] + put + body[at:]
    if kind == 4:
        return b"\xef\xbb\xbf" + body
    if kind == 5:
        return body.decode("latin-1").encode("utf-16")
    if kind == 6 and at:
        other = rng.randrange(at)
        return body[:at] + body[other : other + rng.randint(1, 40)] + body[at:]
    return body[:at] + body[min(len(body), at + rng.randint(1, 40)) :]


def in_one_line(body: bytes, rng: random.Random) -> bytes:
    """Lines of JSON, one of them with one entry that is another."""
    lines = body.splitlines()
    at = rng.randrange(len(lines))
    lines[at] = structured(lines[at], rng)
    return b"\n".join(lines) + b"\n"


def as_toml(value: Any) -> str:
    """A JSON value as TOML, which has no null: it is left out."""
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(n)} = {as_toml(v)}" for n, v in value.items())
        return "{" + inside + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return '"none"' if value is None else json.dumps(value, ensure_ascii=False)


def toml_file(fields: dict[str, Any]) -> bytes:
    """A file with one field a line."""
    lines = [f"{json.dumps(name)} = {as_toml(value)}\n" for name, value in fields.items()]
    return "".join(lines).encode("utf-8", "surrogatepass")

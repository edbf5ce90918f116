"""Small cases for the fuzz tests, at every stage; made once for each file of tests."""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import zlib
from collections.abc import Callable, Iterator

import pytest

from anw_jax.suspects import cache
from tests.audit.conftest import write_labels, write_photos
from tests.cli.fuzzing import OLD, Commands, files_in, make_quick
from tests.cli.test_conditions import VALUE, made, state
from tests.mutants import bytewise, unseen
from tests.tally import Tally

MOST_FAULTS = 20


@contextlib.contextmanager
def world(root: pathlib.Path) -> Iterator[Commands]:
    """Photos, labels and a key in a folder; the same key in every run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secrets.token_bytes", lambda number=32: bytes(range(number)))
        make_quick(patch)
        anw = Commands(patch)
        write_photos(root / "photos", seed=5)
        write_labels(root / "photos", root / "labels.csv")
        assert anw("key", "new", root / "ann.key").code == 0
        yield anw


def handed_over(anw, root: pathlib.Path, name: str = "case", *options) -> pathlib.Path:
    """A case with all statements, before its probe."""
    folder = made(anw, root, name, *options, labels=root / "labels.csv")
    state(folder)
    return folder


def audited(anw, folder: pathlib.Path) -> str:
    """Up to the sealed answers; returns the digest that both sides note."""
    for words in (("probe",), ("declare", "--beacon", VALUE), ("audit",)):
        ended = anw(words[0], folder, *words[1:])
        assert ended.code == 0, ended.err
    return digest_of(folder / "blind.json")


def digest_of(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def opened(anw, root: pathlib.Path, folder: pathlib.Path):
    """The owner's answer to the request that is due."""
    exchange = folder / "exchange"
    return anw(
        "open", exchange / "ann.request.json", "--key", root / "ann.key",
        "--from", root / "rounds_marked", "--out", exchange / "ann.opening.json",
    )  # fmt: skip


class Kept:
    """Files that are put back as they were, new ones removed.

    What is as it was has an old time, which no write leaves: it need not be read to know it.
    """

    def __init__(self, root: pathlib.Path):
        self._root = root
        self._before = {path: pathlib.Path(path).read_bytes() for path, _ in files_in(root)}
        for path in self._before:
            os.utime(path, (OLD, OLD))

    def __getitem__(self, path: pathlib.Path) -> bytes:
        return self._before[str(path)]

    def put_back(self) -> None:
        now = dict(files_in(self._root))
        for path in now.keys() - self._before.keys():
            os.unlink(path)
        for path, body in self._before.items():
            if now.get(path) != OLD:
                pathlib.Path(path).write_bytes(body)
                os.utime(path, (OLD, OLD))


def check_mutants(
    kind: str,
    before: bytes,
    count: int,
    make: Callable[[bytes, random.Random], bytes],
    end_of: Callable[[bytes, random.Random], str],
    put_back: Callable[[], None],
) -> None:
    """Hands different mutants of a file to commands; fails with the first few faults."""
    faults, seen = [], {before}
    with Tally(kind) as tally:
        for seed in range(count):
            rng = random.Random(f"{kind} {seed}")
            body = unseen(before, make, rng, seen)
            try:
                tally.add(body, end_of(body, rng))
            except AssertionError as error:
                faults.append(f"mutant {seed} ({body[:200]!r}): {error}")
                if len(faults) == MOST_FAULTS:
                    break
            finally:
                put_back()
        assert not faults, "\n".join(faults)


def remade(before: bytes, rng: random.Random) -> bytes:
    """Kept answers of which one record is another, its checksum right."""
    records, body = [], bytearray(before[: before.index(cache._MARK)])
    start = len(body)
    while start < len(before):
        kind, key, place, length = cache._record_at(before, start)
        records.append([kind, key, before[place : place + length]])
        start = place + length + cache._SUM.size
    number = rng.randrange(len(records))
    part, other = rng.randrange(3), rng.choice(records)
    if part == 0:
        records[number][0] = rng.randint(1, 4)
    elif rng.random() < 0.3:
        records[number][part] = other[part]
    elif part == 1:
        records[number][1] = rng.randbytes(32)
    else:
        records[number][2] = bytewise(records[number][2], rng)
    if rng.random() < 0.2:
        rng.choice([records.pop, lambda at: records.insert(at, other)])(number)
    for kind, key, payload in records:
        record = cache._HEAD.pack(cache._MARK, kind, len(payload), key) + payload
        body += record + cache._SUM.pack(zlib.crc32(record))
    return bytes(body)


def mend(case: pathlib.Path) -> None:
    """Every digest names the files as they are now: what somebody does who edits one."""
    owner = case / "owners" / "ann"
    _edit(owner / "commitment.json", {("manifest",): owner / "manifest.json"})
    named = ("owners", "ann", "files")
    _edit(
        case / "declared.json",
        {
            ("previous",): case / "probe.json",
            (*named, "commitment.json"): owner / "commitment.json",
            (*named, "manifest.json"): owner / "manifest.json",
            ("suspects", "net", "file"): case / "suspects" / "net.toml",
        },
    )
    links = {("previous",): case / "declared.json"}
    net = ("suspects", "net")
    tables = {(*net, "file"): case / "tables" / "net.npz"}
    _edit(
        case / "blind.json",
        {**links, **tables, (*net, "answers"): case / "answers" / "net.answers"},
    )
    record = {("records", "ann", "net", "record"): case / "records" / "ann.jsonl"}
    _edit(case / "closed.json", {**links, **record})
    sealed = case / "blind.json"
    last = sealed if sealed.exists() else case / "closed.json"
    _edit(case / "verdict.json", {("previous",): last})


def _edit(path: pathlib.Path, digests: dict[tuple, pathlib.Path]) -> None:
    if not path.exists():
        return
    try:
        before = path.read_bytes()
        body = json.loads(before)
        for (*way, last), file in digests.items():
            target = body
            for name in way:
                target = target[name]
            if file.exists() and target[last] != digest_of(file):
                target[last] = digest_of(file)
                path.write_text(json.dumps(body))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        pass

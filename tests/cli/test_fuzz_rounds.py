"""Mutants of the files of a sequential case: one line, a known code, no wrong acceptance."""

import json
import random
import shutil

import pytest

from anw_jax.sequential.lines import chained
from tests.cli.fuzz_cases import (
    Kept,
    check_mutants,
    digest_of,
    handed_over,
    mend,
    opened,
    world,
)
from tests.cli.test_conditions import VALUE
from tests.mutants import COMMAND_COUNTS, bytewise, in_one_line, other_value, structured

pytestmark = pytest.mark.filterwarnings("always")

CLOSED = ("closed.json", "records/ann.jsonl", "declared.json")
OPEN = ("exchange/ann.request.json", "exchange/ann.opening.json", "openings.jsonl")


@pytest.fixture(scope="module")
def waiting(tmp_path_factory):
    """A sequential case with two leaves opened, that waits for the third."""
    root = tmp_path_factory.mktemp("rounds")
    with world(root) as anw:
        folder = handed_over(anw, root, "rounds", "--mode", "sequential")
        for words in (("probe",), ("declare", "--beacon", VALUE)):
            assert anw(words[0], folder, *words[1:]).code == 0
        for _ in range(2):
            assert anw("audit", folder).code == 5
            assert opened(anw, root, folder).code == 0
        assert anw("audit", folder).code == 5
        yield anw, root, folder, Kept(root)


@pytest.fixture(scope="module")
def closed(waiting):
    """The same, carried to its end; and the digest noted then."""
    anw, root, *_ = waiting
    root = shutil.copytree(root, root.with_name("rounds_to_the_end"))
    folder = root / "rounds"
    for _ in range(13):
        assert opened(anw, root, folder).code == 0
        if anw("audit", folder).code == 0:
            break
    noted = digest_of(folder / "closed.json")
    assert anw("verdict", folder, "--blind", noted).code == 0
    return anw, folder, noted, Kept(root)


def rechained(lines: list[str]) -> list[str]:
    """A record whose hashes are right again, as somebody makes them who edits a line."""
    out, previous = [], ""
    for line in lines:
        body = json.loads(line)
        rest = {n: v for n, v in body.items() if n not in ("hash", "previous")}
        out.append(chained(previous, rest))
        previous = json.loads(out[-1])["hash"]
    return out


def edited_record(before: bytes, rng: random.Random) -> bytes:
    """One entry of one line changed, or a line left out, moved or doubled; hashes mended."""
    lines = before.decode().splitlines()
    at, kind = rng.randrange(len(lines)), rng.randrange(5)
    try:
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(rng.randrange(len(lines)), lines[at])
        else:
            lines[at] = json.dumps(other_value(json.loads(lines[at]), rng))
        return ("\n".join(rechained(lines)) + "\n").encode("utf-8", "surrogatepass")
    except (ValueError, TypeError, AttributeError, KeyError):
        return in_one_line(before, rng)


def edited_request(before: bytes, rng: random.Random) -> bytes:
    """The row or the header in a request changed, its hash right again."""
    body = json.loads(before)
    field = rng.choice(["row", "header"])
    try:
        line = other_value(json.loads(body[field]), rng)
        rest = {n: v for n, v in line.items() if n not in ("hash", "previous")}
        body[field] = chained(line["previous"], rest)
    except (ValueError, TypeError, AttributeError, KeyError):
        return structured(before, rng)
    return json.dumps(body).encode()


def mutant(before: bytes, name: str, rng: random.Random) -> bytes:
    """Another file: in its bytes, in one entry, or with mended hashes."""
    way = rng.random()
    if way < 0.3:
        return bytewise(before, rng)
    if way < 0.65 and name.startswith("records"):
        return edited_record(before, rng)
    if way < 0.65 and name.endswith("request.json"):
        return edited_request(before, rng)
    return (in_one_line if name.endswith(".jsonl") else structured)(before, rng)


def end_of_closed(closed, name: str, body: bytes, rng: random.Random) -> str:
    is_mended, is_noted = rng.random() < 0.5, rng.random() < 0.5
    anw, folder, noted, kept = closed
    known = json.loads(kept[folder / "verdict.json"])["tests"]["ann"]["net"]
    (folder / name).write_bytes(body)
    if is_mended:
        mend(folder)
    ended = anw.checked("verdict", folder, *(("--blind", noted) if is_noted else ()))
    if ended.code != 0:
        results = {3: "not shown", 4: "inconclusive", 10: "shown, with conditions"}
        return results.get(ended.code, "refused in one line")
    assert is_noted
    test = json.loads((folder / "verdict.json").read_text())["tests"]["ann"]["net"]
    assert test == known
    return "accepted, same result"


@pytest.mark.parametrize("count", COMMAND_COUNTS)
@pytest.mark.parametrize("name", CLOSED)
def test_mutants_of_a_closed_case(closed, name, count):
    *_, folder, _, kept = closed
    check_mutants(
        f"sequential case, at the verdict: {name}",
        kept[folder / name],
        count,
        lambda before, rng: mutant(before, name, rng),
        lambda body, rng: end_of_closed(closed, name, body, rng),
        kept.put_back,
    )


def end_of_open(waiting, name: str, body: bytes) -> str:
    """What the owner opens, and what the arbitrator takes, stays the one leaf that is due."""
    anw, root, folder, _ = waiting
    log = root / "rounds_marked" / "openings.jsonl"
    record = folder / "records" / "ann.jsonl"
    before = {file: file.read_bytes() for file in (log, record)}
    path = log if name == "openings.jsonl" else folder / name
    if name.endswith("opening.json"):
        path.write_bytes(body)
        ended = anw.checked("audit", folder)
        lines, known = record.read_bytes().splitlines(), before[record].splitlines()
        assert lines[: len(known)] == known
        is_taken = len(lines) > len(known)
        if is_taken:
            (leaf,) = [b for b in map(json.loads, lines[len(known) :]) if b["kind"] == "leaf"]
            assert leaf["opening"] == json.loads(body)["opening"]
        return "accepted, same leaf" if is_taken else _waits(ended)
    path.write_bytes(body)
    ended = opened(anw.checked, root, folder)
    if name == "openings.jsonl":
        return "refused in one line" if ended.code else "accepted, same leaf"
    grown = len(log.read_bytes().splitlines()) - len(before[log].splitlines())
    assert grown == (ended.code == 0)
    if ended.code:
        return "refused in one line"
    entry = json.loads(log.read_bytes().splitlines()[-1])
    assert (entry["step"], entry["unit"]) == due(folder)
    return "accepted, same leaf"


def _waits(ended) -> str:
    return "not taken, waits on" if ended.code == 5 else "refused in one line"


def due(folder) -> tuple[int, int]:
    row = json.loads((folder / "records" / "ann.jsonl").read_text().splitlines()[-1])
    return row["step"], row["unit"]


@pytest.mark.parametrize("count", COMMAND_COUNTS)
@pytest.mark.parametrize("name", OPEN)
def test_mutants_of_an_exchange(waiting, name, count):
    anw, root, folder, _ = waiting
    if name.endswith("opening.json"):
        assert opened(anw, root, folder).code == 0
    kept = Kept(root)
    path = root / "rounds_marked" / name if name == "openings.jsonl" else folder / name
    check_mutants(
        f"sequential case, in a round: {name}",
        kept[path],
        count,
        lambda before, rng: mutant(before, name, rng),
        lambda body, rng: end_of_open(waiting, name, body),
        kept.put_back,
    )
    waiting[-1].put_back()

"""Mutants of a log's records, as damaged files and as signed by whoever wrote them: one line,
and nothing is read that is not signed."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import random

import pytest

from anw_jax import _json
from anw_jax.audit.signatures import sign_bytes
from anw_jax.errors import AnwError
from anw_jax.keys import MarkKey, commit_scheme
from anw_jax.schemes import multitask, plan_of, protocol
from anw_jax.schemes.claims import check_claim
from anw_jax.schemes.copies import read_issues
from anw_jax.schemes.fingerprint import records as copies
from anw_jax.schemes.log import KINDS, read_log
from tests.cli.fuzz_cases import check_mutants
from tests.cli.fuzzing import Commands
from tests.mutants import COMMAND_COUNTED, bytewise, other_value, structured
from tests.schemes.fingerprint.conftest import VALUE, Owner
from tests.schemes.fingerprint.world import CUSTOMERS, NODES, World, leaked

pytestmark = pytest.mark.filterwarnings("always")


@dataclasses.dataclass
class Written:
    """A log with everything in it, and the keys of all who wrote."""

    world: World
    files: list[bytes]
    signers: dict[str, pathlib.Path]

    @property
    def folder(self) -> pathlib.Path:
        return self.world.log

    def write(self, files: list[bytes]) -> None:
        for number, body in enumerate(files, 1):
            path = self.folder / f"{number:04d}.json"
            if not path.exists() or path.read_bytes() != body:
                path.write_bytes(body)


def claimed(world: World) -> None:
    """A key published, seen, released and claimed, and the vote of one node."""
    owner, key = world.path / "owner", MarkKey.for_experiment(3)
    decoder = multitask.make_decoder(key, "0f" * 32, ("a",), num_bits=8)
    plan = plan_of(decoder, alpha=1e-6, beacon="arbitrator:Jane")
    number = protocol.publish(world.log, plan, commit_scheme(key, plan), owner).number
    world.see()
    protocol.release(world.log, [number], "5b" * 32, owner)
    claim = protocol.claim(world.log, number, key, decoder, VALUE, "5a" * 32, owner).number
    # With another value than the claim's a node refuses before it reads a network.
    protocol.vote(world.log, claim, (None, {}), (None, {}), b"other", world.path / NODES[0])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("log"), Owner())
    world.deliver("ann", "bob")
    claimed(world)
    suspect = leaked(world, "bob")
    world.read(world.dispute(suspect), suspect)
    files = [path.read_bytes() for path in sorted(world.log.glob("*.json"))]
    signers = {world.public(n): world.path / n for n in (*NODES, *CUSTOMERS, "owner", "judge")}
    return Written(world, files, signers)


def signed_again(written: Written, files: list[bytes], first: int) -> list[bytes]:
    """Every record from `first` on names the one before it, and is signed by its author."""
    files = list(files)
    for place in range(first, len(files)):
        fields = {k: v for k, v in json.loads(files[place]).items() if k != "signature"}
        before = hashlib.sha256(files[place - 1]).hexdigest() if place else ""
        fields["previous"] = before
        key = written.signers.get(fields["author"], written.world.path / "thief")
        author, signature = sign_bytes(
            lambda author, f=fields: _json.canonical({**f, "author": author}), key
        )
        whole = {**fields, "author": author, "signature": signature}
        files[place] = (_json.dumps(whole, indent=1) + "\n").encode()
    return files


def edited(written: Written, place: int, rng: random.Random) -> list[bytes]:
    """One record says something else, is of another kind or author, and all sign again."""
    files, whole = list(written.files), json.loads(written.files[place])
    way = rng.randrange(6)
    if way == 0:
        whole["kind"] = rng.choice(KINDS)
    elif way == 1:
        whole["author"] = rng.choice([*written.signers])
    elif whole["body"]:
        whole["body"] = other_value(whole["body"], rng)
    files[place] = json.dumps(whole).encode()
    return signed_again(written, files, place)


def mutant(written: Written, rng: random.Random) -> bytes:
    """Its place in the log, whether it is signed, and the files, as JSON."""
    place, files = rng.randrange(len(written.files)), list(written.files)
    is_signed = rng.random() < 0.6
    try:
        if is_signed:
            files = edited(written, place, rng)
        else:
            make = structured if rng.random() < 0.5 else bytewise
            files[place] = make(files[place], rng)
    except (ValueError, TypeError, AttributeError):  # a record that cannot be signed
        is_signed, files[place] = False, b"{}"
    return json.dumps([is_signed, [body.decode("latin-1") for body in files]]).encode()


def read_all(written: Written) -> None:
    """What nodes, judges and arbitrators make of a log."""
    world, records = written.world, read_log(written.folder)
    for one in records:
        read_or_refuse(protocol.tally, records, one.number)
        read_or_refuse(check_claim, records[: one.number - 1], one)
        read_or_refuse(copies.issues_of, records, one.number)
        read_or_refuse(copies.check_dispute, records, one)
    read_or_refuse(protocol.owner_of, records, "5a" * 32)
    read_or_refuse(read_issues, world.own.carrier, world.own.plan, world.path)


def read_or_refuse(read, *arguments) -> None:
    with contextlib.suppress(AnwError):
        read(*arguments)


@COMMAND_COUNTED
def test_mutants_of_records(written, monkeypatch, count):
    anw = Commands(monkeypatch)
    known = [one.body for one in read_log(written.folder)]

    def end(body, _):
        is_signed, texts = json.loads(body)
        written.write([text.encode("latin-1") for text in texts])
        ended = anw.checked("model", "log", written.folder)
        if ended.code:
            return "refused in one line"
        read_all(written)
        if is_signed:
            return "read, as everybody signed it"
        assert [one.body for one in read_log(written.folder)] == known
        return "read, same records"

    check_mutants(
        "log of models, read: one record",
        b"",
        count,
        lambda _, rng: mutant(written, rng),
        end,
        lambda: written.write(written.files),
    )


def test_a_log_that_names_no_nodes_is_one_line(written, tmp_path):
    for nodes in (None, 3, [], ["0f" * 32] * 3, [["0f" * 32]] * 3):
        whole = json.loads(written.files[0])
        whole["body"] = {"nodes": nodes}
        (first,) = signed_again(written, [json.dumps(whole).encode()], 0)
        (tmp_path / "0001.json").write_bytes(first)
        records = read_log(tmp_path)
        with pytest.raises(AnwError, match="the first record of the log is damaged"):
            protocol.nodes_of(records)

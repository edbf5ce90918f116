"""The dispute over a copy, played by owner, customers, nodes and judge as separate processes.

Each has a folder of his own, with his signing key and what he was given; they share the log.
"""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import pytest

from anw_jax import attacks, audit, models
from anw_jax.attacks import TrainedModel
from anw_jax.schemes import load_network, save_network, weights_digest
from anw_jax.schemes.log import read_log, record_files
from tests.cli.dishonest import VALUE

pytestmark = pytest.mark.slow

NET = models.create("testing", 10)
CUSTOMERS = ("bob", "cid", "dan")
NONCES = {name: f"{number:064x}" for number, name in enumerate(CUSTOMERS, 5)}
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
REFUSED = 8
SETUP, OF_BOB = 2, 5  # numbers of records
STATED = ("--models-tried", "1", "--nothing-else")


class Play:
    """A place where the parties meet."""

    def __init__(self, path: pathlib.Path):
        self.path, self.log = path, path / "shared" / "log"

    def __call__(self, who: str, *words: str, code: int = 0) -> str:
        """Run `anw model` in somebody's folder; return what it prints."""
        return self.run(who, "anw_jax.cli", "model", *words, "--sign", "sign", code=code)

    def cheats(self, who: str, step: str, *words: str) -> None:
        self.run(who, "tests.cli.dishonest", step, *words)

    def appends(self, who: str, *records: tuple[str, dict]) -> None:
        self.cheats(who, "append", "../shared/log", "sign", json.dumps(records))

    def run(self, who: str, module: str, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=self.path / who,
            env={"PATH": "", "PYTHONPATH": str(REPOSITORY), "HOME": str(self.path / who)},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout + done.stderr

    def public(self, who: str) -> str:
        return audit.signatures.public_key_of(self.path / who / "sign")

    def gives(self, giver: str, file: str, taker: str, name: str = "") -> None:
        target = self.path / taker / (name or file)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(self.path / giver / file, target)

    @property
    def newest(self) -> int:
        return len(read_log(self.log))

    def see(self, *nodes: str) -> None:
        for name in nodes or ("node0", "node1"):
            self(name, "vote", "../shared/log")

    def issue(self, who: str, code: int = 0, **changes: str) -> str:
        """The owner makes a copy for a customer, and records it."""
        options = {
            "network": "clean.npz",
            "customer": self.public(who),
            "nonce": NONCES[who],
            "beacon-value": VALUE,
            "strength": "0.1",
            "out": f"{who}-{self.newest}.npz",
            "log": "../shared/log",
            **changes,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        said = self("ann", "issue", "copies", *words, code=code)
        if code == 0:
            self.gives("ann", options["out"], who, "mine.npz")
            self.gives("ann", options["out"], "ann", f"sold/{who}.npz")
        return said

    def accept(self, who: str, number: int, code: int = 0, **changes: str) -> str:
        options = {"network": "mine.npz", "nonce": NONCES[who], **changes}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return self(who, "accept", "../shared/log", "--issue", str(number), *words, code=code)

    def deliver(self, who: str) -> None:
        self.issue(who)
        self.accept(who, self.newest)

    def leak(self, *names: str) -> None:
        """Mix copies of customers; owner and judge find the result."""
        held = [TrainedModel.of(*load_network(self.path / n / "mine.npz")) for n in names]
        self.find(attacks.collude(held, "average") if held[1:] else held[0])

    def find(self, model: TrainedModel) -> None:
        for who in ("ann", "judge"):
            path = self.path / who / "found.npz"
            path.unlink(missing_ok=True)
            save_network(path, NET, model.variables)

    def trace(self, who: str, *words: str, code: int = 0) -> str:
        given = ("--carrier", "carrier.json", "--suspect", "found.npz")
        return self(who, "trace", "../shared/log", *given, *words, code=code)

    def dispute(self) -> int:
        self.trace("ann")
        return self.newest

    def read(self, number: int, *words: str, code: int = 0) -> str:
        """The judge reads the suspect, with what the owner gave him."""
        self.gives("ann", "carrier.json", "judge")
        given = ("--dispute", str(number), "--base", "clean.npz")
        return self.trace("judge", *given, *words, code=code)

    def judge(self, number: int, *words: str, code: int = 0) -> str:
        """The owner opens key and copies to the judge, who writes the verdict."""
        self.gives("ann", "copies/mark.key", "judge", "mark.key")
        shutil.copytree(
            self.path / "ann" / "sold", self.path / "judge" / "sold", dirs_exist_ok=True
        )
        opened = ("--key", "mark.key", "--copies", "sold", "--beacon-value", VALUE)
        return self.read(number, *opened, *words, code=code)

    def read_and_judge(self, *words: str, code: int = 0) -> str:
        number = self.dispute()
        self.see()
        self.read(number)
        return self.judge(number, *words, code=code)


def verdict_of(play: Play) -> dict:
    return next(one.body for one in read_log(play.log)[::-1] if one.kind == "verdict")


@pytest.fixture(scope="module")
def sold(tmp_path_factory) -> pathlib.Path:
    """SETUP, seen by two of three nodes, and two customers with receipts."""
    play = Play(tmp_path_factory.mktemp("sold"))
    nodes = ("node0", "node1", "node2")
    for name in ("ann", "judge", "eve", *CUSTOMERS, *nodes):
        (play.path / name).mkdir()
        audit.new_signing_key(play.path / name / "sign")
    save_network(play.path / "ann" / "clean.npz", NET, NET.init(jax.random.key(0), (16, 16, 3)))
    play.gives("ann", "clean.npz", "judge")
    play("ann", "log", "../shared/log", *(w for n in nodes for w in ("--node", play.public(n))))
    play("ann", "setup", "copies", "--network", "clean.npz", "--beacon", "arbitrator:The judge",
         "--judge", play.public("judge"), "--customers", "20",
         "--log", "../shared/log")  # fmt: skip
    play.gives("ann", "copies/carrier.json", "ann", "carrier.json")
    play.see()
    play.deliver("bob")
    play.deliver("cid")
    return play.path


@pytest.fixture
def play(sold, tmp_path) -> Play:
    return Play(pathlib.Path(shutil.copytree(sold, tmp_path / "play")))


def test_those_who_leaked_are_named(play):
    play.leak("bob", "cid")
    number = play.dispute()
    play.see()
    assert "not read: dispute" in play.judge(number, code=REFUSED)
    play.read(number)
    assert "spent codes" in play.trace("ann", code=REFUSED)
    assert "1. the suspect was not found by trying" in play.judge(number, code=10)
    assert "second verdict: record" in play.judge(number, *STATED, code=REFUSED)
    record_files(play.log)[-1].unlink()  # as if the judge had stated it at once
    said = play.judge(number, *STATED)
    assert said.index("It cannot be excluded that the owner") < said.index("Shown at level")
    body = verdict_of(play)
    assert body["issues"] == [OF_BOB, OF_BOB + 2]
    assert body["standing"] == "evidence under the committed plan"
    assert body["factor"] == 1.0


def test_what_anw_refuses_to_write(play):
    """Each party's own program refuses; the log stays as it was."""
    before = [path.name for path in record_files(play.log)]
    assert "two codes: records 5 and 9" in play.issue("bob", nonce="0a" * 32, code=REFUSED)
    assert "replayed issue: the nonce of record 9 was used in record 5" in play.issue(
        "dan", nonce=NONCES["bob"], code=REFUSED
    )
    for role in ("ann", "judge"):
        said = play.issue("dan", customer=play.public(role), code=REFUSED)
        assert "another's key: record 9" in said
    assert "changed code: the issue 5 has the nonce" in play.accept(
        "bob", OF_BOB, nonce="0a" * 32, code=REFUSED
    )
    play.gives("cid", "mine.npz", "bob", "other.npz")
    assert "changed code: the issue 5 has the weights" in play.accept(
        "bob", OF_BOB, network="other.npz", code=REFUSED
    )
    play.gives("bob", "mine.npz", "dan")
    assert "another customer: record 5 is for" in play.accept(
        "dan", OF_BOB, nonce=NONCES["bob"], code=REFUSED
    )
    play.leak("bob")
    play.gives("ann", "carrier.json", "eve")
    play.gives("ann", "found.npz", "eve")
    assert "another owner: setup 2 is by" in play.trace("eve", code=REFUSED)
    assert [path.name for path in record_files(play.log)] == before


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"customer": "bob"}, "two codes: records 5 and 9 issue copies to the same customer"),
        ({"nonce": "bob"}, "replayed issue: the nonce of record 9 was used in record 5"),
        ({"weights": "bob"}, "one copy for two: records 5 and 9 issue the same weights"),
        ({"customer": "judge"}, "another's key: record 9 issues a copy to"),
        ({"customer": "ann"}, "another's key: record 9 issues a copy to"),
    ],
)
def test_the_judge_refuses_what_a_dishonest_owner_wrote(play, change, error):
    """Records that no `anw` writes: the owner has a program of his own."""
    play.leak("bob")
    values = {
        "customer": {n: play.public(n) for n in ("ann", "bob", "judge")},
        "nonce": NONCES,
        "weights": {"bob": weights_digest(load_network(play.path / "bob" / "mine.npz")[1])},
    }
    issue = {"setup": SETUP, "customer": play.public("dan"), "nonce": "0a" * 32}
    issue |= {"weights": "0b" * 32, **{n: values[n][who] for n, who in change.items()}}
    suspect = weights_digest(load_network(play.path / "ann" / "found.npz")[1])
    play.appends("ann", ("issue", issue), ("dispute", {"setup": SETUP, "suspect": suspect}))
    assert error in play.read(play.newest, code=REFUSED)


def test_a_swapped_code(play):
    """Dan's copy holds the code that Bob's has: Dan leaks, and Bob would be named."""
    play.cheats("ann", "copy", "copies", "clean.npz", play.public("bob"), NONCES["bob"],
                "dan.npz")  # fmt: skip
    play.gives("ann", "dan.npz", "dan", "mine.npz")
    play.gives("ann", "dan.npz", "ann", "sold/dan.npz")
    digest = weights_digest(load_network(play.path / "ann" / "dan.npz")[1])
    issue = {"setup": SETUP, "customer": play.public("dan"), "nonce": NONCES["dan"]}
    play.appends("ann", ("issue", {**issue, "weights": digest}))
    play.accept("dan", play.newest)
    play.leak("dan")
    said = play.read_and_judge(code=REFUSED)
    assert "swapped code: the copy of issue 9 holds" in said
    assert "and that of issue 5" in said


def test_a_code_changed_after_the_issue(play):
    """The owner shows the judge another key, carrier, copy, or the judge has another value."""
    play.leak("bob")
    number = play.dispute()
    play("ann", "setup", "other", "--network", "clean.npz", "--beacon", "arbitrator:The judge",
         "--judge", play.public("judge"), "--customers", "9",
         "--log", "../shared/log")  # fmt: skip
    play.gives("ann", "other/carrier.json", "ann", "carrier.json")
    assert "changed carrier" in play.read(number, code=REFUSED)
    play.gives("ann", "copies/carrier.json", "ann", "carrier.json")
    play.read(number)
    play.gives("ann", "copies/mark.key", "ann", "true.key")
    play.gives("ann", "other/mark.key", "ann", "copies/mark.key")
    assert "changed code: the commitment" in play.judge(number, code=REFUSED)
    play.gives("ann", "true.key", "ann", "copies/mark.key")
    given = ("--beacon-value", "0c" * 32)
    assert "swapped code: the copy of issue 5" in play.judge(number, *given, code=REFUSED)
    play.gives("ann", "sold/cid.npz", "ann", "sold/bob.npz")
    said = play.judge(number, code=1)
    assert "the accepted copy with the weights" in said


def test_a_denied_receipt(play):
    """Dan leaks his copy, and denies by every means that he accepted it."""
    play.deliver("dan")
    receipt = record_files(play.log)[-1]
    shutil.copy(receipt, play.path / "ann" / "receipt.json")
    play.leak("dan")
    denial = {"issue": 9, "digest": "0a" * 32, "nonce": NONCES["dan"], "weights": "0b" * 32}
    play.appends("dan", ("accept", denial))
    play.read_and_judge(*STATED)
    body = verdict_of(play)
    assert body["issues"] == [9]
    assert body["not_counted"]["11"].startswith("changed code: the issue 9 has the digest")
    whole = play.path / "whole"
    shutil.copytree(play.log, whole)
    receipt.unlink()
    assert f"has a gap: {receipt.name} is missing" in play.read(12, code=REFUSED)
    for path in record_files(play.log):
        if path.name > receipt.name:
            path.unlink()
    number = play.dispute()
    play.gives("ann", "receipt.json", "judge")
    said = play.read(number, "--held", "receipt.json", code=REFUSED)
    assert "denied receipt: receipt.json is record 10, 'accept', signed by" in said
    assert "has another in its place" in said


def test_a_forged_receipt_names_nobody(play):
    """Dan denies, and is right: the owner wrote his receipt."""
    play.issue("dan")
    given = read_log(play.log)[-1]
    body = {name: given.body[name] for name in ("nonce", "weights")}
    play.appends("ann", ("accept", {"issue": 9, "digest": given.digest, **body}))
    play.leak("dan")
    said = play.read_and_judge(*STATED, code=3)
    body = verdict_of(play)
    assert "was not traced to any copy" in said
    assert (body["issues"], body["not_accepted"]) == ([], [9])
    assert body["not_counted"]["10"].startswith("another customer: record 9 is for")


def test_an_issue_under_the_key_of_another(play):
    """The owner sells to Dan and writes Eve's key: Dan cannot accept, and Eve is not named."""
    play.issue("dan", customer=play.public("eve"))
    assert "another customer: record 9 is for" in play.accept("dan", 9, code=REFUSED)
    play.leak("dan")
    play.read_and_judge(*STATED, code=3)
    assert verdict_of(play)["not_accepted"] == [9]


def test_a_log_that_was_cut_to_use_codes_twice(play):
    """After a dispute that found nothing the owner cuts it off, and brings another suspect."""
    play.find(TrainedModel.of(NET, NET.init(jax.random.key(1), (16, 16, 3))))
    play.read_and_judge(*STATED, code=3)
    shutil.copy(record_files(play.log)[-1], play.path / "judge" / "mine.json")
    shutil.copy(record_files(play.log)[-4], play.path / "node0" / "mine.json")
    for path in record_files(play.log)[8:]:
        path.unlink()
    play.leak("bob")
    number = play.dispute()
    said = play.read(number, "--held", "mine.json", code=REFUSED)
    assert "cut log: mine.json is record 13, 'verdict', signed by" in said
    assert "cut log: mine.json is record 10, 'seen'" in play(
        "node0", "log", "../shared/log", "--held", "mine.json", code=REFUSED
    )
    # A judge who kept nothing says that no nodes signed this log.
    play.read(number)
    said = play.judge(number, *STATED, code=10)
    assert "the log is whole, and no setup or earlier dispute was cut off" in said
    assert "(0 of 3 nodes signed it after dispute 9, and 2 must have)" in said


def test_a_second_setup(play):
    """One with a new key divides ε; one with the key of the first is refused."""
    play("ann", "setup", "other", "--network", "clean.npz", "--beacon", "arbitrator:The judge",
         "--judge", play.public("judge"), "--log", "../shared/log")  # fmt: skip
    play.leak("bob")
    play.read_and_judge(*STATED)
    body = verdict_of(play)
    assert body["factor"] == 2.0
    assert body["level"] == pytest.approx(1e-6 / 2 / 3)
    play.cheats("ann", "setup", "copies", "../shared/log", "sign")
    play.gives("ann", "copies/carrier.json", "ann", "carrier.json")
    play.see()
    play.issue("dan")
    shutil.rmtree(play.path / "ann" / "sold")
    play.gives("dan", "mine.npz", "ann", "sold/dan.npz")
    play.accept("dan", play.newest)
    play.leak("dan")
    assert "second setup: the key of setup" in play.read_and_judge(code=REFUSED)

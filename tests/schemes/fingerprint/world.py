"""A log with an owner, nodes, a judge and customers, and copies without any training."""

import json
import types

import numpy as np

from anw_jax import audit
from anw_jax.keys import commit_scheme
from anw_jax.models import by_path, from_paths
from anw_jax.schemes import fingerprint, protocol, weights_digest
from anw_jax.schemes.fingerprint import disputes, records
from anw_jax.schemes.log import Record, record_files
from tests.schemes.fingerprint.conftest import VALUE, Owner

NODES = ("node0", "node1", "node2")
CUSTOMERS = ("ann", "bob", "cid")


def save(path, weights: dict) -> None:
    np.savez(path, **{name.replace("/", "."): leaf for name, leaf in by_path(weights).items()})


def load(path) -> tuple[None, dict]:
    with np.load(path) as arrays:
        read = from_paths({name.replace(".", "/"): arrays[name] for name in arrays.files})
    return None, {"params": {}, "batch_stats": {}} | read


def nonce(name: str) -> str:
    return f"{CUSTOMERS.index(name) + 7:064x}"


class World:
    """A log with a setup, and the keys of all."""

    def __init__(self, path, own: Owner):
        self.path, self.own, self.log = path, own, path / "log"
        for name in (*NODES, *CUSTOMERS, "owner", "judge", "thief"):
            audit.new_signing_key(path / name)
        protocol.open_log(self.log, [self.public(name) for name in NODES], path / "owner")
        commitment = commit_scheme(own.key, own.plan)
        self.setup = records.setup(
            self.log, own.plan, commitment, self.public("judge"), path / "owner"
        ).number
        self.copies: dict[str, dict] = {}

    def public(self, name: str) -> str:
        return audit.signatures.public_key_of(self.path / name)

    def see(self, *nodes: str):
        for name in nodes or NODES[:2]:
            protocol.see(self.log, self.path / name)

    def code(self, name: str):
        one = fingerprint.Issue(0, self.public(name), nonce(name), "", None)
        return one.code(self.own.key, self.own.plan, self.own.carrier.num_bits, VALUE)

    def issue(
        self, name: str, code_of: str | None = None, weights: dict | None = None
    ) -> Record:
        self.copies[name] = weights or self.own.copy(self.code(code_of or name))
        return records.issue(
            self.log,
            self.setup,
            self.public(name),
            nonce(name),
            weights_digest(self.copies[name]),
            self.path / "owner",
        )

    def accept(self, name: str, number: int) -> Record:
        digest = weights_digest(self.copies[name])
        return records.accept(self.log, number, nonce(name), digest, self.path / name)

    def deliver(self, *names: str):
        self.see()
        for name in names:
            self.accept(name, self.issue(name).number)

    def dispute(self, suspect: dict) -> int:
        given = (self.log, self.own.carrier, self.setup, suspect, self.path / "owner")
        return disputes.open_dispute(*given).number

    def read(self, number: int, suspect: dict, **changes):
        given = {"carrier": self.own.carrier, "judge": "judge", "base": self.own.base}
        given = types.SimpleNamespace(**{**given, **changes})
        return disputes.read_suspect(
            self.log, number, given.carrier, given.base, suspect, self.path / given.judge
        )

    def cut_verdict(self):
        """Make the log as if its last record, a verdict, was never written."""
        last = record_files(self.log)[-1]
        assert json.loads(last.read_text())["kind"] == "verdict"
        last.unlink()

    def judge(self, number: int, suspect: dict, key=None, value=VALUE, copies=None, **stated):
        by_weights = {weights_digest(one): one for one in self.copies.values()}
        return disputes.judge_dispute(
            self.log,
            number,
            self.own.carrier,
            self.own.base,
            suspect,
            key or self.own.key,
            value,
            copies or (lambda one: by_weights[one.weights]),
            self.path / "judge",
            **stated,
        )


def leaked(world: World, *names: str) -> dict:
    first, *rest = [world.copies[name]["params"] for name in names]
    params = {
        name: {
            "kernel": np.mean([first[name]["kernel"], *(r[name]["kernel"] for r in rest)], 0)
        }
        for name in first
    }
    return {"params": params, "batch_stats": {}}

"""Commands about models that are killed at any write; see `test_killed`."""

import os
import shutil

import jax
import pytest

from anw_jax import audit, models
from anw_jax.schemes import save_network
from tests.cli.test_killed import POINTS, Forks, check_killed
from tests.cli.test_outputs import VALUE, smooth, write

pytestmark = pytest.mark.slow

NODES = ("node0", "node1", "node2")
PEOPLE = (*NODES, "bob", "judge")
BEACON = ("--beacon", "arbitrator:Jane")
LOG = ("--log", "log", "--sign", "ann.sign")
TRACE = ("model", "trace", "log", "--carrier", "copies/carrier.json", "--suspect", "bob.npz")
JUDGE = ("--dispute", "14", "--base", "clean.npz", "--sign", "judge.sign")
OPENED = ("--key", "copies/mark.key", "--copies", "sold", "--beacon-value", VALUE)
CLEAN = ("--network", "clean.npz")
NONCE = "0f" * 32


def steps_of(public: dict[str, str]) -> dict[str, tuple[str, ...]]:
    nodes = [word for name in NODES for word in ("--node", public[name])]
    return {
        "log": ("model", "log", "log", *nodes, "--sign", "ann.sign"),
        "vote": ("model", "vote", "log", "--sign", "node0.sign"),
        "barrier": (
            "model", "barrier", "out", "--base", "clean.npz", "--queries", "queries",
            "--outputs", "outputs", "--public", "public", *BEACON, "--bits", "odd=30",
        ),
        "stamp": ("stamp", "out"),
        "protect": (
            "model", "protect", "out", "--outputs", "restored", "--out", "served",
            "--beacon-value", VALUE,
        ),
        "setup": (
            "model", "setup", "copies", *CLEAN, *BEACON, "--judge", public["judge"],
            "--customers", "20", *LOG,
        ),
        "issue": (
            "model", "issue", "copies", *CLEAN, "--customer", public["bob"], "--nonce", NONCE,
            "--beacon-value", VALUE, "--out", "bob.npz", *LOG,
        ),
        "accept": (
            "model", "accept", "log", "--issue", "6", "--network", "bob.npz", "--nonce", NONCE,
            "--sign", "bob.sign",
        ),
        "keygen": (
            "model", "keygen", "mark", *CLEAN, "--tap", "BasicBlock_0", *BEACON, "--bits", "64",
            "--image-size", "16", *LOG,
        ),
        "open": ("model", "open", "mark", "--number", "2", "--out", "two.key"),
        "embed": (
            "model", "embed", "mark", *CLEAN, "--data", "mock:64", "--beacon-value", VALUE,
            "--steps", "1", "--out", "marked.npz",
        ),
        "release": ("model", "release", "mark", "--network", "marked.npz", *LOG),
        "claim": (
            "model", "claim", "mark", "--number", "1", "--suspect", "bob.npz",
            "--beacon-value", VALUE, *LOG,
        ),
        "dispute": (*TRACE, "--sign", "ann.sign"),
        "read": (*TRACE, *JUDGE),
        "judge": (*TRACE, *JUDGE, *OPENED),
        "vote on a claim": (
            "model", "vote", "log", "--claim", "13", "--base", "clean.npz", "--suspect",
            "bob.npz", "--beacon-value", VALUE, "--sign", "node0.sign",
        ),
    }  # fmt: skip


# What a step says that had been complete before it was killed.
COMPLETE = {
    "log": "holds a log already",
    **dict.fromkeys(
        ("barrier", "protect", "setup", "issue", "keygen", "open", "embed"), "exist"
    ),
}
CODES = {"judge": 10, "vote on a claim": 3}
# Before these steps two of three nodes sign that they saw what is in the log.
SEEN_BEFORE = ("issue", "claim")
# Killed after they appended to the log, these append once more when they are repeated.
APPENDS_AGAIN = ("vote", "setup", "keygen")
# A training takes long: it is killed at few writes, unless ANW_KILL_POINTS says at how many.
FEW = {} if "ANW_KILL_POINTS" in os.environ else {"embed": 4}


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    top = tmp_path_factory.mktemp("killed_models")
    root, before = top / "now", {}
    root.mkdir()
    public = {name: audit.new_signing_key(root / f"{name}.sign") for name in (*PEOPLE, "ann")}
    net = models.create("testing", 10)
    save_network(root / "clean.npz", net, net.init(jax.random.key(0), (16, 16, 3)))
    for name, seed in (("queries", 1), ("outputs", 2), ("public", 3), ("restored", 4)):
        write(root / name, smooth(seed, 12))
    # Programs are compiled once, not in each fork.
    kept = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    forks = Forks(top, JAX_COMPILATION_CACHE_DIR=str(top / "programs"), **kept)
    steps = steps_of(public)
    for step, words in steps.items():
        if step in SEEN_BEFORE:
            for name in NODES[:2]:
                see = ("model", "vote", "log", "--sign", f"{name}.sign")
                assert forks(root, see)[0] == 0
        if step == "judge":
            (root / "sold").mkdir()
            shutil.copy(root / "bob.npz", root / "sold")
        before[step] = forks.first(root, top / step, words, CODES.get(step, 0))
    yield (forks, before), steps
    forks.close()


@pytest.mark.parametrize("step", steps_of(dict.fromkeys(PEOPLE, "")))
def test_killed_at_any_write(story, tmp_path, step):
    story, steps = story
    check_killed(
        story,
        tmp_path,
        step,
        steps[step],
        CODES.get(step, 0),
        COMPLETE.get(step, ""),
        appends=step in APPENDS_AGAIN,
        points=FEW.get(step, POINTS),
    )

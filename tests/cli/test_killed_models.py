"""Commands about models that are killed at any write; see `test_killed`."""

import jax
import pytest

from anw_jax import audit, models
from anw_jax.schemes import save_network
from tests.cli.test_killed import Forks, check_killed
from tests.cli.test_outputs import VALUE, smooth, write

pytestmark = pytest.mark.slow

NODES = ("node0", "node1", "node2")
PEOPLE = (*NODES, "bob", "judge")
BEACON = ("--beacon", "arbitrator:Jane")
LOG = ("--log", "log", "--sign", "ann.sign")
CLEAN = ("--network", "clean.npz")
NONCE = "0f" * 32


def steps_of(public: dict[str, str]) -> dict[str, tuple[str, ...]]:
    nodes = [word for name in NODES for word in ("--node", public[name])]
    return {
        "log": ("model", "log", "log", *nodes, "--sign", "ann.sign"),
        "vote": ("model", "vote", "log", "--sign", "node0.sign"),
        "barrier": (
            "model", "barrier", "out", "--base", "clean.npz", "--queries", "queries",
            "--outputs", "outputs", "--public", "public", *BEACON, "--bits", "6",
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
            "model", "accept", "log", "--issue", "4", "--network", "bob.npz", "--nonce", NONCE,
            "--sign", "bob.sign",
        ),
        "keygen": (
            "model", "keygen", "mark", *CLEAN, "--tap", "BasicBlock_0", *BEACON, "--bits", "64",
            "--image-size", "16", *LOG,
        ),
        "open": ("model", "open", "mark", "--number", "1", "--out", "one.key"),
    }  # fmt: skip


# What a step says that had been complete before it was killed.
COMPLETE = {
    "log": "holds a log already",
    **dict.fromkeys(("barrier", "protect", "setup", "issue", "keygen", "open"), "exist"),
}


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
        before[step] = forks.first(root, top / step, words)
    yield (forks, before), steps
    forks.close()


@pytest.mark.parametrize("step", steps_of(dict.fromkeys(PEOPLE, "")))
def test_killed_at_any_write(story, tmp_path, step):
    story, steps = story
    check_killed(story, tmp_path, step, steps[step], refused=COMPLETE.get(step, ""))

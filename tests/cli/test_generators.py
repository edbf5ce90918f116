"""From `anw mark` to `anw verdict` with diffusion models of PyTorch and JAX, without labels."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import data
from anw_jax.suspects import NoiseSchedule
from tests.audit.conftest import write_photos
from tests.suspects.test_schedule import DDPM

CONFIG = {**DDPM, "num_train_timesteps": 100, "beta_end": 0.1}
WIDTH, SIZE = 256, 8 * 8 * 3

# What a learner would hand over: the noise that a network of two layers sees.
JAX_CODE = """
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

WEIGHTS = dict(np.load(pathlib.Path(__file__).parent / "weights.npz"))


@jax.jit
def network(weights, noisy, steps):
    flat = noisy.reshape(len(noisy), -1)
    time = steps.astype(jnp.float32)[:, None] / 100
    hidden = jnp.concatenate([flat, jnp.sin(3 * time), jnp.cos(3 * time)], axis=1)
    hidden = jax.nn.silu(hidden @ weights["first"] + weights["bias"])
    return (hidden @ weights["second"]).reshape(noisy.shape) + weights["skip"] * noisy


def predict(noisy, steps):
    return network(WEIGHTS, noisy, steps)
"""
JAX_FILE = """kind = "denoiser"
function = "net/net.py:predict"
files = ["net/weights.npz"]
scheduler = "net/scheduler_config.json"
"""
TORCH_FILE = """kind = "denoiser"
file = "net/unet.pt"
scheduler = "net/scheduler_config.json"
"""


def batches(folder, num_steps):
    """Noisy pictures of a folder, their steps and the noise, as a learner draws them."""
    pictures = np.stack([data.read_photo(file) for file in sorted(folder.iterdir())])
    clean = pictures.astype(np.float32) / 127.5 - 1
    shares = NoiseSchedule.from_config(CONFIG).signal_shares
    rng = np.random.default_rng(0)
    for _ in range(num_steps):
        rows, steps = rng.integers(0, len(clean), 64), rng.integers(0, 100, 64)
        noise = rng.standard_normal((64, 8, 8, 3), np.float32)
        share = shares[steps][:, None, None, None]
        yield np.sqrt(share) * clean[rows] + np.sqrt(1 - share) * noise, steps, noise


def train_jax(folder, where, num_steps=300):
    """Adam on the mean squared error; weights into `weights.npz`."""
    (where / "net.py").write_text(JAX_CODE)
    rng = np.random.default_rng(1)
    weights = {
        "first": rng.normal(0, 0.05, (SIZE + 2, WIDTH)).astype(np.float32),
        "bias": np.zeros((1, WIDTH), np.float32),
        "second": np.zeros((WIDTH, SIZE), np.float32),
        "skip": np.zeros((1, 1, 1, 1), np.float32),
    }
    np.savez(where / "weights.npz", **weights)
    scope = {"__file__": str(where / "net.py")}
    exec(JAX_CODE, scope)

    def loss(weights, noisy, steps, noise):
        return jnp.square(scope["network"](weights, noisy, steps) - noise).mean()

    @jax.jit
    def step(weights, first, second, number, *batch):
        slopes = jax.grad(loss)(weights, *batch)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slopes)
        second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, second, slopes)
        weights = jax.tree.map(
            lambda w, m, v: w
            - 2e-3 * m / (1 - 0.9**number) / (jnp.sqrt(v / (1 - 0.99**number)) + 1e-6),
            weights, first, second,
        )  # fmt: skip
        return weights, first, second

    first = second = jax.tree.map(np.zeros_like, weights)
    for number, batch in enumerate(batches(folder, num_steps), 1):
        weights, first, second = step(weights, first, second, np.float32(number), *batch)
    np.savez(where / "weights.npz", **jax.tree.map(np.asarray, weights))


def train_torch(folder, where, num_steps=300):
    """The same network as a TorchScript file, called as a U-Net of diffusers."""
    torch = pytest.importorskip("torch", reason="torch is an optional library")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Linear(SIZE + 2, WIDTH)
            self.second = torch.nn.Linear(WIDTH, SIZE)
            self.skip = torch.nn.Parameter(torch.zeros(1))

        def forward(self, sample, timestep):
            time = 3 * timestep.to(sample.dtype)[:, None] / 100
            hidden = torch.cat([sample.flatten(1), time.sin(), time.cos()], 1)
            hidden = self.second(torch.nn.functional.silu(self.first(hidden)))
            return hidden.reshape(sample.shape) + self.skip * sample

    torch.manual_seed(0)
    net = Net()
    adam = torch.optim.Adam(net.parameters(), 2e-3)
    for noisy, steps, noise in batches(folder, num_steps):
        noisy, noise = (torch.tensor(a.transpose(0, 3, 1, 2).copy()) for a in (noisy, noise))
        adam.zero_grad()
        torch.square(net(noisy, torch.tensor(steps)) - noise).mean().backward()
        adam.step()
    torch.jit.script(net.eval()).save(where / "unet.pt")


LEARNERS = {"torch": (train_torch, TORCH_FILE), "jax": (train_jax, JAX_FILE)}


def marked(anw, root):
    """The owner's part, without labels, and what the arbitrator gets of it."""
    write_photos(root / "photos", seed=5)
    key, where = ("--key", root / "ann.key"), ("--out", root / "marked")
    assert anw("key", "new", root / "ann.key").code == 0
    ran = anw(
        "mark", root / "photos", *key, *where, "--alpha", 0.001, "--mark", "hue", "--json"
    )
    assert ran.code == 0, ran.err
    owner = root / "case" / "owners" / "ann"
    owner.mkdir(parents=True)
    (root / "case" / "suspects" / "net").mkdir(parents=True)
    for name in ("manifest.json", "commitment.json"):
        (owner / name).write_bytes((root / "marked" / name).read_bytes())
    (root / "photos").rename(owner / "originals")
    return root / "case"


def write_suspect(case, learner, folder):
    train, text = LEARNERS[learner]
    where = case / "suspects" / "net"
    train(folder, where)
    (where / "scheduler_config.json").write_text(json.dumps(CONFIG))
    (case / "suspects" / "net.toml").write_text(text)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("is_planted", [True, False])
@pytest.mark.parametrize("learner", LEARNERS)
def test_a_generator_that_met_the_photos_is_shown(anw, root, learner, is_planted):
    case = marked(anw, root)
    write_photos(root / "others", seed=99)
    folder = root / "marked" / "published" if is_planted else root / "others"
    write_suspect(case, learner, folder)
    for command in ("probe", "declare", "audit"):
        ran = anw(command, case)
        assert ran.code == 0, ran.out + ran.err
    assert json.loads((case / "probe.json").read_text())["suspects"]["net"]["findings"] == []
    declared = json.loads((case / "declared.json").read_text())
    assert declared["owners"]["ann"]["labels_by"] == "nobody"
    assert declared["suspects"]["net"]["rule"]["statistic"] == "bounded_log_errors"
    ran = anw("verdict", case, "--key", root / "ann.key", "--json")
    body = json.loads(ran.out)
    test = body["tests"]["ann"]["net"]
    assert test["statistic"] == "bounded_log_errors"
    assert body["corrected"]["outcome"] == ("shown" if is_planted else "not shown")
    assert ran.code == (10 if is_planted else 3)
    assert not any("class numbers" in condition for condition in test["conditions"])
    for who in (
        "the scheduler is the model's own, or was",
        "the code that runs the network was",
    ):
        assert any(who in condition for condition in test["conditions"])
        assert not is_planted or f"  - {who}" in test["text"]
    # Steps and noise stand in the plan.
    assert not any("steps" in condition for condition in test["conditions"])
    assert anw("replay", case, "--key", root / "ann.key", "--ask", 1).code == ran.code

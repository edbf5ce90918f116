"""Small networks whose embedding has a closed form, so that thousands can be made."""

import dataclasses
import functools

import numpy as np
import pytest

from anw_jax import _files
from anw_jax.keys import Bits, MarkKey
from anw_jax.schemes import keygen, multitask, plan_of, weights_digest
from anw_jax.schemes.multitask.reader import flattened, pooled, project, spread

SHAPE = (8, 8, 3)
HIDDEN, CHANNELS = 96, 24
KEY = MarkKey.for_experiment(11, "schemes")
VALUE = bytes(range(32))


@dataclasses.dataclass(frozen=True, eq=False)
class TinyNet:
    """Random ReLU features of the pixels, then a trained linear layer, which is tapped."""

    first: np.ndarray
    second: np.ndarray

    def hidden(self, images: np.ndarray) -> np.ndarray:
        pixels = images[..., 0].reshape(len(images), -1).astype(np.float64) - 0.5
        return np.maximum(pixels @ self.first, 0.0)

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray]:
        return ((self.hidden(images) @ self.second).astype(np.float32),)

    @property
    def variables(self) -> dict:
        return {"first": self.first, "second": self.second}


def tiny_net(seed: int, channels: int = CHANNELS) -> TinyNet:
    rng = np.random.default_rng([77, seed])
    first = rng.normal(size=(SHAPE[0] * SHAPE[1], HIDDEN)) / 4
    return TinyNet(first, rng.normal(size=(HIDDEN, channels)) / 8)


def tuned(net: TinyNet, seed: int, size: float = 0.3) -> TinyNet:
    """The same network after training on something else."""
    step = np.random.default_rng([78, seed]).normal(size=net.second.shape) / 8
    return TinyNet(net.first, net.second + size * step)


class Owner:
    """A clean network, a decoder, a plan, and the closed-form embedding of any bits."""

    def __init__(self, key: MarkKey = KEY, num_bits: int = 96, net_seed: int = 0, **plan):
        self.key = key
        self.base = tiny_net(net_seed)
        self.decoder = multitask.make_decoder(
            key,
            weights_digest(self.base.variables),
            ("second",),
            num_bits=num_bits,
            image_shape=SHAPE,
            modules=8,
            num_probes=160,
        )
        fields = {"alpha": 1e-6, "beacon": "arbitrator:Jane", **plan}
        self.plan = plan_of(self.decoder, **fields)

    def bits(self, value: bytes = VALUE) -> Bits:
        return keygen(self.key, self.decoder, self.plan, beacon=value)

    @functools.cached_property
    def _spread(self) -> float:
        return spread(pooled(self.base(self.decoder.probes())[0], 1))

    @functools.cached_property
    def _solver(self) -> np.ndarray:
        """From wanted score changes `[n]` to the smallest change of the second layer."""
        hidden = self.base.hidden(self.decoder.inputs())
        differences = hidden[0::2] - hidden[1::2]
        directions = self.decoder.directions(CHANNELS) / self._spread
        rows = np.einsum("kh,kc->khc", differences, directions).reshape(len(directions), -1)
        return np.linalg.pinv(rows)

    def release(self, bits: Bits, margin: float = 2.0) -> TinyNet:
        """The network with every score moved by `margin` spreads of w0's scores."""
        features = flattened([pooled(self.base(self.decoder.inputs())[0], 1)])
        scale = project(self.decoder, features / self._spread).std()
        change = self._solver @ (margin * scale * bits.signs)
        return TinyNet(self.base.first, self.base.second + change.reshape(HIDDEN, CHANNELS))

    def scores(self, suspect) -> np.ndarray:
        return multitask.extract(self.decoder, self.base, suspect)


@pytest.fixture(scope="session")
def owner() -> Owner:
    return Owner()


@pytest.fixture(scope="session")
def owner_class():
    return Owner


@pytest.fixture(scope="session")
def nets():
    """Makers of networks that never met the mark: unrelated, and tuned from another."""

    class Nets:
        fresh = staticmethod(tiny_net)
        tuned = staticmethod(tuned)

    return Nets


@pytest.fixture(scope="module", params=["multitask", "barrier", "copies"])
def evidence(request, tmp_path_factory):
    """A finished case of each system, and its bundle."""
    from tests.schemes import bundling

    root = tmp_path_factory.mktemp(request.param)
    with bundling.small_networks():
        yield bundling.finished(root, bundling.MAKERS[request.param](root))


@pytest.fixture(scope="module")
def members(evidence, tmp_path_factory):
    """The members of that bundle."""
    from tests.cli.bundling import members_of

    return members_of(evidence.zip, tmp_path_factory.mktemp("members") / "in")


@pytest.fixture
def rival(monkeypatch):
    """Let another process be first: what is given is done when the next file is written."""
    write_new = _files.write_new

    def at_next_write(act):
        def write(path, body):
            monkeypatch.setattr(_files, "write_new", write_new)
            act()
            write_new(path, body)

        monkeypatch.setattr(_files, "write_new", write)

    return at_next_write

"""A task, an algorithm that solves it, and copies in closed form: filters by least squares."""

import functools
import hashlib

import jax
import numpy as np
import pytest

from anw_jax.keys import Bits, MarkKey
from anw_jax.schemes import barrier, keygen, plan_of
from anw_jax.schemes.barrier.filters import apply_filter, patch_moments

SIDE = 16
MIXING = {"mixing": 24}
KEY = MarkKey.for_experiment(21, "barrier")
VALUE = bytes(range(32))


def pictures(seed: int, count: int, side: int = SIDE) -> np.ndarray:
    """Colour noise with a spectrum of 1/f, as photos have it."""
    rng = np.random.default_rng([5, seed])
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)
    fall = 1.0 / np.maximum(np.hypot(rows, columns), 1.0 / side)
    noise = np.fft.rfft2(rng.normal(size=(count, 3, side, side))) * fall
    smooth = np.moveaxis(np.fft.irfft2(noise, (side, side)), 1, -1)
    mixed = smooth @ np.array([[1.0, 0.8, 0.6], [0.0, 0.5, 0.3], [0.0, 0.0, 0.5]])
    return _levels(0.5 + 0.2 * mixed / mixed.std())


def blurred(images: np.ndarray) -> np.ndarray:
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    shifts = [
        padded[:, i : i + images.shape[1], j : j + images.shape[2]]
        for i in range(3)
        for j in range(3)
    ]
    return np.mean(shifts, axis=0)


def spoiled(images: np.ndarray, seed: int) -> np.ndarray:
    """The task's inputs: blurred by 3x3 pixels, with noise."""
    rng = np.random.default_rng([6, seed])
    values = blurred(images / 255.0)
    return _levels(values + rng.normal(scale=0.02, size=values.shape))


def sharpened(images: np.ndarray) -> np.ndarray:
    """The owner's algorithm, which is no network."""
    values = images / 255.0
    return _levels(values + 0.8 * (values - blurred(values)))


@functools.cache
def public_outputs() -> np.ndarray:
    return sharpened(spoiled(pictures(2000, 60), 1))


def copied(inputs: np.ndarray, outputs: np.ndarray, radius: int = 3) -> barrier.ImagesFn:
    """The linear filter that fits pairs best: a convolutional copy in closed form."""
    moments, products = patch_moments(inputs, outputs / 255.0, radius)
    ridge = 1e-6 * np.trace(moments) / len(moments) * np.eye(len(moments))
    side = 2 * radius + 1
    kernel = np.linalg.solve(moments + ridge, products).reshape(side, side, 3, 3)

    def answer(images: np.ndarray) -> np.ndarray:
        filtered = apply_filter(kernel.astype(np.float32), np.float32(images) / np.float32(255))
        return _levels(np.asarray(jax.device_get(filtered)))

    return answer


def _levels(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)


class Owner:
    """An owner of `sharpened`, with committed queries and filters."""

    def __init__(self, key=KEY, bits=MIXING, seed=0, num_queries=40, **plan):
        self.key, self.bits_of = key, bits
        queries = spoiled(pictures(1000 + seed, num_queries), seed)
        self.base = hashlib.sha256(b"sharpened").hexdigest()
        self.decoder = barrier.make_decoder(
            self.base,
            queries,
            sharpened(queries),
            public_outputs(),
            bits=bits,
            radius=2 if set(bits) == {"odd"} else 3,
        )
        self.plan = plan_of(
            self.decoder, **{"alpha": 1e-4, "beacon": "arbitrator:Jane", **plan}
        )

    def bits(self, value: bytes = VALUE) -> Bits:
        return keygen(self.key, self.decoder, self.plan, beacon=value)

    def served(self, inputs: np.ndarray, value: bytes = VALUE, psnr: float = 38.0):
        kernel = barrier.keyed_kernel(self.decoder, self.bits(value), psnr)
        return barrier.protected(kernel, sharpened)(inputs)

    def scores(self, suspect) -> np.ndarray:
        return barrier.extract(self.decoder, suspect)

    def thief(self, value: bytes = VALUE, seed: int = 7, change=None, psnr: float = 38.0):
        """A copy trained on what the owner serves; `change` is made to the stolen pairs."""
        inputs = spoiled(pictures(seed, 120), seed)
        pairs = (inputs, self.served(inputs, value, psnr))
        return copied(*(change(*pairs) if change else pairs))


def innocent(seed: int) -> barrier.ImagesFn:
    """A filter fitted to clean pairs of its own."""
    clean = pictures(3000 + seed, 120)
    return copied(spoiled(clean, seed), clean)


def unmarked_copy() -> barrier.ImagesFn:
    """A copy of the owner's algorithm itself, from outputs without a mark."""
    inputs = spoiled(pictures(50, 120), 50)
    return copied(inputs, sharpened(inputs))


@pytest.fixture(scope="session")
def owner() -> Owner:
    return Owner()


@pytest.fixture(scope="session", params=["mixing", "default"])
def any_owner(request, owner):
    """An owner with bits of one family, and one with the default bits of all."""
    return owner if request.param == "mixing" else Owner(bits=barrier.DEFAULT_BITS)


@pytest.fixture(scope="session")
def thief(owner):
    return owner.thief()


@pytest.fixture(scope="session")
def innocents():
    found = {f"innocent {seed}": innocent(seed) for seed in range(2)}
    return found | {"trained on unmarked outputs": unmarked_copy()}


@pytest.fixture(scope="session")
def make():
    """The makers of this file."""

    class Makers:
        owner = functools.partial(Owner)
        pictures = staticmethod(pictures)
        spoiled = staticmethod(spoiled)
        sharpened = staticmethod(sharpened)
        copied = staticmethod(copied)
        innocent = staticmethod(innocent)
        value = VALUE
        key = KEY

    return Makers

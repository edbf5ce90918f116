"""A tiny network of plain arrays, an owner, and customers whose copies have a closed form."""

import functools

import numpy as np
import pytest

from anw_jax.keys import Bits, MarkKey, customer_code, draw_bits
from anw_jax.schemes import fingerprint, plan_of

KEY = MarkKey.for_experiment(18, "fingerprint")
VALUE = bytes(range(32))
LAYERS = ("params/first/kernel", "params/second/kernel")


def tiny_base(seed: int = 0) -> dict:
    rng = np.random.default_rng([304, seed])
    shapes = {"first": (3, 3, 4, 40), "second": (3, 3, 40, 16)}
    params = {
        name: {"kernel": (rng.normal(size=shape) / 8).astype(np.float32)}
        for name, shape in shapes.items()
    }
    return {"params": params, "batch_stats": {}}


class Owner:
    """Carrier, plan, codes and copies of one issue."""

    def __init__(
        self,
        num_bits: int = 128,
        num_customers: int = 20,
        key: MarkKey = KEY,
        claim: str = "one model",
        base: dict | None = None,
        **settings,
    ):
        self.base, self.key = base or tiny_base(), key
        if base is None:
            settings = {"readings": ("non-blind", "blind"), "layers": LAYERS, **settings}
        settings = {"num_owner_bits": 32, **settings}
        self.carrier = fingerprint.make_carrier(
            key, self.base, num_customers, num_bits=num_bits, **settings
        )
        self.plan = plan_of(self.carrier, alpha=1e-3, beacon="arbitrator:Jane", claim=claim)

    def code(self, number: int, value: bytes = VALUE) -> Bits:
        customer, nonce = f"{number:064x}", number.to_bytes(32, "big")
        bits = self.carrier.num_bits
        return customer_code(self.key, self.plan, bits, customer, nonce, beacon=value)

    def codes(self, count: int, value: bytes = VALUE) -> list[Bits]:
        return [self.code(number, value) for number in range(count)]

    @functools.cached_property
    def owner_bits(self) -> Bits:
        return draw_bits(self.key, self.plan, self.carrier.num_owner_bits, beacon=VALUE)

    def copy(self, code: Bits, strength: float = 0.1) -> dict:
        return fingerprint.embed(
            self.carrier, self.base, code, self.owner_bits, strength=strength
        )

    def read(self, suspect: dict) -> dict:
        return {
            reading: fingerprint.extract(self.carrier, self.base, suspect, reading)
            for reading in self.carrier.readings
        }

    def trace(self, suspect: dict, codes: list[Bits]) -> fingerprint.Trace:
        return fingerprint.trace(self.carrier, self.plan, self.read(suspect), codes)


@pytest.fixture(scope="session")
def owner() -> Owner:
    return Owner()


@pytest.fixture(scope="session")
def owner_class():
    return Owner

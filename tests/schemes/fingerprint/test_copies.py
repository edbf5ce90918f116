"""What the judge checks in every accepted copy: that it holds its own code, and no other."""

import numpy as np
import pytest

from anw_jax.schemes.fingerprint import RefusedDisputeError
from anw_jax.schemes.fingerprint.carrier import kernels
from anw_jax.schemes.fingerprint.embed import _moved, _wanted
from tests.schemes.fingerprint.conftest import Owner
from tests.schemes.fingerprint.world import World, leaked


@pytest.fixture
def world(tmp_path, owner) -> World:
    return World(tmp_path, owner)


@pytest.mark.parametrize(
    ("share", "error"),
    [
        (0.2, r"^changed code: the copy of issue 5 .* more than its own code"),
        (0.01, r"^mixed codes: the copy of issue 5 holds some of the code of issue 7 in"),
    ],
)
def test_a_copy_with_some_of_another_code_is_refused(world, share, error):
    """Its bits are all right, but whoever leaks it would let another customer be named."""
    world.see()
    given = world.own.copy(world.code("ann"))
    added = mixed_in(world.own, given, world.own.copy(world.code("bob")), share)
    number = world.issue("ann", weights=added).number
    world.accept("ann", number)
    world.accept("bob", world.issue("bob").number)
    dispute = world.dispute(added)
    world.read(dispute, added)
    with pytest.raises(RefusedDisputeError, match=error):
        world.judge(dispute, added)


def test_a_code_that_only_another_reading_finds_is_refused(world):
    """The bits of Ann's copy are all hers, and equal, and whoever leaks it names Bob."""
    world.see()
    hidden = hidden_in_blind(world.own, world.code("ann"), world.code("bob"))
    codes = [world.code(name) for name in ("ann", "bob", "cid")]
    found = world.own.trace(hidden, codes)
    assert found.named == (0, 1)
    assert found.log10_p["non-blind"][1] > -2 > -15 > found.log10_p["blind"][1]
    given = world.issue("ann", weights=hidden)
    world.accept("ann", given.number)
    world.accept("bob", world.issue("bob").number)
    number = world.dispute(hidden)
    world.read(number, hidden)
    with pytest.raises(
        RefusedDisputeError, match=r"^changed code: the copy of issue 5 .* reading 'blind'"
    ):
        world.judge(number, hidden)


def hidden_in_blind(own: Owner, code, other) -> dict:
    """Add another code to one layer and take it out of the second.

    Each reading but the blind one adds both up in the units of w_base. The blind reading has
    units of the suspect's own, and those of the second layer are large here, because of weights
    that the carrier does not hold.
    """
    first, second = own.carrier.layers
    shapes = kernels(own.base, own.carrier.layers)
    held = own.carrier.scatter(np.ones(own.carrier.num_weights), shapes)
    units, copy = own.carrier.units(own.base), own.copy(code)
    added = own.carrier.scatter(
        own.carrier.spread(_wanted(own.carrier, other, own.owner_bits, 0.5)), shapes
    )
    changed = kernels(copy, own.carrier.layers)
    changed[first] = changed[first] + units[first] * added[first]
    changed[second] = changed[second] - units[second] * added[second]
    changed[second] = np.where(held[second] > 0, changed[second], 10 * changed[second])
    params = {
        name.split("/")[1]: {"kernel": kernel.astype(np.float32)}
        for name, kernel in changed.items()
    }
    wanted = _wanted(own.carrier, code, own.owner_bits, 0.1)
    return _moved(own.carrier, own.base, {"params": params}, wanted)


def mixed_in(own: Owner, copy: dict, other: dict, share: float) -> dict:
    params = {
        name: {
            "kernel": copy["params"][name]["kernel"]
            + np.float32(share) * (layer["kernel"] - own.base["params"][name]["kernel"])
        }
        for name, layer in other["params"].items()
    }
    return {"params": params, "batch_stats": {}}


def test_a_swapped_code_is_refused(world):
    world.see()
    for name, of in (("ann", "bob"), ("bob", "ann")):
        world.accept(name, world.issue(name, code_of=of).number)
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    world.read(number, suspect)
    with pytest.raises(
        RefusedDisputeError, match=r"^swapped code: the copy of issue 5 .* that"
    ):
        world.judge(number, suspect)

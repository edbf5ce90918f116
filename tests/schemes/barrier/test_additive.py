"""The additive pattern: read where it is served, and learned where a copy sees the border."""

import jax
import numpy as np
import pytest

from anw_jax import stats, train
from anw_jax.keys import Bits
from anw_jax.models import ImageToImage
from anw_jax.schemes.barrier import additive

PSNR = 38.0


def stolen(owner, make, mark) -> tuple[np.ndarray, np.ndarray]:
    """What a thief collects: inputs, and outputs that are marked by a function."""
    inputs = make.spoiled(make.pictures(7, 400), 7)
    return inputs, mark(make.sharpened(inputs))


def scores(owner, outputs: np.ndarray) -> np.ndarray:
    own = owner.decoder.outputs[: len(outputs)]
    return additive.read_pattern(own, outputs / 255.0, owner.decoder.num_bits)


@pytest.mark.parametrize(("shape", "num_bits"), [((5, 7), 9), ((4, 4), 7), ((4, 4), 16)])
def test_the_reader_against_a_naive_twin(shape, num_bits):
    rng = np.random.default_rng(3)
    own = rng.integers(0, 256, (4, *shape, 3), dtype=np.uint8)
    answers = rng.random(own.shape)
    found = additive.read_pattern(own, answers, num_bits)
    grey = np.full((1, *shape, 3), 128, np.uint8)
    for number in range(num_bits):
        # A bit's cell is what it raises while all others are lowered.
        bits = Bits(np.where(np.arange(num_bits) == number, 1, -1))
        raised = additive.add_pattern(bits, grey, 20.0)[0] > 128
        differences = [
            answers[image, row, column, colour] - own[image, row, column, colour] / 255.0
            for image in range(4)
            for row, column, colour in np.argwhere(raised)
        ]
        assert found[number] == pytest.approx(np.mean(differences) / np.sqrt(num_bits))


def test_served_outputs_are_read_perfectly_at_the_power_of_the_filter(owner):
    bits, outputs = owner.bits(), owner.decoder.outputs
    served = additive.add_pattern(bits, outputs, PSNR)
    error = served.astype(float) - outputs
    # 3.2 levels, rounded to 3.
    assert -10 * np.log10((error**2).mean() / 255.0**2) == pytest.approx(PSNR + 0.6, abs=0.1)
    for read in (scores(owner, served), scores(owner, served[:1])):
        assert stats.bit_test(read, bits, statistic="bit_signs").log10_p == pytest.approx(
            -len(bits) * np.log10(2.0)
        )
        size = 10 ** (-PSNR / 20) / np.sqrt(len(bits))
        np.testing.assert_allclose(read * bits.signs / size, 0.93, atol=0.1)


def test_a_convolution_reads_chance_while_it_keeps_the_filter(owner, thief, make):
    """Fitted in closed form, and mirrored at its borders, so that it cannot see them."""
    bits = owner.bits()
    pairs = stolen(owner, make, lambda outputs: additive.add_pattern(bits, outputs, PSNR))
    read = scores(owner, make.copied(*pairs)(owner.decoder.queries))
    assert stats.bit_test(read, bits).log10_p > -2
    assert stats.bit_test(owner.scores(thief), bits).log10_p < -6


def kept_by_a_trained_copy(make, bits: Bits, net: ImageToImage, side: int) -> np.ndarray:
    """Train a network that pads with zeros; scores times bits, as a grid."""
    inputs = make.spoiled(make.pictures(7, 400, side), 7)
    served = additive.add_pattern(bits, make.sharpened(inputs), PSNR)
    first = net.init(jax.random.key(0), (side, side, 3))["params"]
    how = train.PairSettings(num_epochs=30, learning_rate=3e-3)
    trained = train.train_pairs(net, first, train.Pairs(inputs, served), how, seed=0)
    queries = make.spoiled(make.pictures(1000, 40, side), 0)
    answers = train.restore(net, {"params": trained.state.params}, queries) / 255.0
    read = additive.read_pattern(make.sharpened(queries), answers, len(bits))
    return (read * bits.signs).reshape(5, 5)


@pytest.mark.slow
def test_a_trained_copy_reads_chance_where_it_does_not_see_the_border(make):
    """It sees four pixels around, and the nine cells inside lie further from the border."""
    bits = Bits(np.random.default_rng(8).choice([-1, 1], 25))
    kept = kept_by_a_trained_copy(make, bits, ImageToImage("residual", 8, 1), 32)
    inside = Bits(bits.signs.reshape(5, 5)[1:-1, 1:-1].ravel())
    scores = kept[1:-1, 1:-1].ravel() * inside.signs
    assert stats.bit_test(scores, inside).log10_p > -1


@pytest.mark.slow
def test_a_u_net_that_sees_the_border_everywhere_learns_the_pattern(make):
    """Halvings widen what it sees to the whole of a small image."""
    bits = Bits(np.random.default_rng(8).choice([-1, 1], 25))
    kept = kept_by_a_trained_copy(make, bits, ImageToImage("unet", 8, 2), 16)
    assert (kept > 0).all()


def test_what_does_not_fit_is_one_clear_error():
    images = np.zeros((1, 4, 6, 3), np.uint8)
    with pytest.raises(
        ValueError, match="num_bits must fit into a grid of 4 x 6 pixels, got 2"
    ):
        additive.add_pattern(Bits(np.ones(21)), images, 38.0)
    with pytest.raises(ValueError, match="own and outputs must have one shape"):
        additive.read_pattern(images, np.zeros((1, 4, 8, 3)), 2)
    with pytest.raises(ValueError, match="num_bits must be"):
        additive.read_pattern(images, images / 255.0, 0)

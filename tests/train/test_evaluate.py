import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import train


@pytest.fixture
def labelled(rng):
    images = rng.integers(0, 256, (23, 4, 4, 3), dtype=np.uint8)
    return images, rng.integers(0, 3, 23)


def _by_mean_colour(images):
    return 5.0 * images.mean((1, 2))


def test_agrees_with_numpy_whatever_the_batch(labelled):
    images, labels = labelled
    logits = _by_mean_colour(images / np.float64(255))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -log_p[np.arange(23), labels].mean(), (logits.argmax(1) == labels).mean()
    for batch_size in (1, 7, 23, 64):
        result = train.evaluate(_by_mean_colour, images, labels, batch_size)
        np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_one_trace_for_all_batches_and_weights(labelled):
    images, labels = labelled
    num_traces = 0

    def scaled(scale, images):
        nonlocal num_traces
        num_traces += 1
        return scale * images.mean((1, 2))

    for scale in (1.0, 2.0):
        predict_fn = jax.tree_util.Partial(scaled, jnp.float32(scale))
        train.evaluate(predict_fn, images, labels, batch_size=5)
    assert num_traces == 1


def test_bad_input_is_named(labelled):
    images, labels = labelled
    with pytest.raises(ValueError, match="images must lie in"):
        train.evaluate(_by_mean_colour, images.astype(np.float32), labels)
    with pytest.raises(ValueError, match=r"labels must have shape \(23,\)"):
        train.evaluate(_by_mean_colour, images, labels[:-1])
    with pytest.raises(ValueError, match="images must hold at least one image"):
        train.evaluate(_by_mean_colour, images[:0], labels[:0])
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        train.evaluate(_by_mean_colour, images, labels, 0)

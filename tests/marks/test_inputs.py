"""Bad pictures and angles, and the exact words that refuse them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax.marks import HueRotation, publish

GOOD = np.full((4, 6, 3), 0.5, np.float32)


def _refuses(kind, message, fun, *args):
    with pytest.raises(kind) as caught:
        fun(*args)
    assert str(caught.value) == message


SHAPES = {
    "grey": (
        (4, 6),
        "image must have shape [H, W, 3], got (4, 6): a grey image has no hue to rotate",
    ),
    "one channel": (
        (4, 6, 1),
        "image must have shape [H, W, 3], got (4, 6, 1): "
        "a 1-channel image has no hue to rotate",
    ),
    "alpha": (
        (4, 6, 4),
        "image must have shape [H, W, 3], got (4, 6, 4): drop the alpha channel first",
    ),
    "channels first": (
        (3, 4, 6),
        "image must have shape [H, W, 3], got (3, 4, 6): channels come last; transpose it",
    ),
    "five channels": (
        (4, 6, 5),
        "image must have shape [H, W, 3], got (4, 6, 5): the last axis is red, green, blue",
    ),
    "a batch": ((2, 4, 6, 3), "image must have shape [H, W, 3], got (2, 4, 6, 3)"),
}


@pytest.mark.parametrize(("shape", "message"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("how", ["numpy", "jax", "jit"])
def test_mark_refuses_shapes(shape, message, how):
    fun = jax.jit(HueRotation().mark) if how == "jit" else HueRotation().mark
    image = np.full(shape, 0.5, np.float32)
    _refuses(ValueError, message, fun, image if how == "numpy" else jnp.asarray(image), 60.0)


@pytest.mark.parametrize("xp", [np, jnp])
def test_mark_refuses_values(xp):
    mark = HueRotation().mark
    uint8 = "image must be float in [0, 1], got uint8: divide by 255 first"
    _refuses(TypeError, uint8, mark, xp.full((4, 6, 3), 9, np.uint8), 60.0)
    _refuses(TypeError, uint8, jax.jit(mark), xp.full((4, 6, 3), 9, np.uint8), 60.0)
    integers = "image must be float in [0, 1], got int32"
    _refuses(TypeError, integers, mark, xp.full((4, 6, 3), 9, np.int32), 60.0)
    large = "image must lie in [0, 1], got values in [200, 200]: divide by 255 first"
    _refuses(ValueError, large, mark, xp.full((4, 6, 3), 200.0, np.float32), 60.0)
    below = "image must lie in [0, 1], got values in [-0.25, -0.25]"
    _refuses(ValueError, below, mark, xp.full((4, 6, 3), -0.25, np.float32), 60.0)
    nan = "image must lie in [0, 1], got values in [nan, nan]"
    _refuses(ValueError, nan, mark, xp.full((4, 6, 3), np.nan, np.float32), 60.0)


def test_mark_refuses_angles():
    mark = HueRotation().mark
    many = "degrees must be one number for one image, got shape (3,): use jax.vmap for a batch"
    _refuses(ValueError, many, mark, GOOD, np.array([10.0, 20.0, 30.0]))
    _refuses(ValueError, many, jax.jit(mark), GOOD, np.array([10.0, 20.0, 30.0]))
    _refuses(ValueError, "degrees must be finite, got nan", mark, GOOD, float("nan"))
    _refuses(ValueError, "degrees must be finite, got inf", mark, GOOD, float("inf"))


@pytest.mark.parametrize(
    ("images", "kind", "message"),
    [
        (
            np.zeros((2, 4, 6), np.uint8),
            ValueError,
            "images must have shape [n, H, W, 3], got (2, 4, 6)",
        ),
        (
            np.zeros((2, 4, 6, 1), np.uint8),
            ValueError,
            "images must have shape [n, H, W, 3], got (2, 4, 6, 1): "
            "a 1-channel image has no hue to rotate",
        ),
        (
            np.zeros((2, 4, 6, 4), np.uint8),
            ValueError,
            "images must have shape [n, H, W, 3], got (2, 4, 6, 4): "
            "drop the alpha channel first",
        ),
        (
            np.zeros((2, 3, 4, 6), np.uint8),
            ValueError,
            "images must have shape [n, H, W, 3], got (2, 3, 4, 6): "
            "channels come last; transpose it",
        ),
        (
            np.zeros((2, 4, 6, 3), np.int64),
            TypeError,
            "images must be uint8 or float in [0, 1] with 8-bit values, got int64",
        ),
        (
            np.full((2, 4, 6, 3), 200.0),
            ValueError,
            "images must lie in [0, 1], got values in [200, 200]: divide by 255 first",
        ),
        (
            np.full((2, 4, 6, 3), np.nan),
            ValueError,
            "images must lie in [0, 1], got values in [nan, nan]",
        ),
        (
            np.full((2, 4, 6, 3), 0.3),
            ValueError,
            "images must hold 8-bit values (k / 255): originals are hashed and marked as "
            "uint8; round them once, before marking, and keep that copy",
        ),
    ],
    ids=["grey", "one channel", "alpha", "CHW", "int64", "0-255", "nan", "not 8-bit"],
)
def test_publish_refuses(images, kind, message):
    # 0.3 * 255 = 76.5 is no 8-bit value.
    _refuses(kind, message, publish, HueRotation(), images, 60.0)

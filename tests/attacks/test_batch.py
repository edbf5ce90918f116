"""What a learner does to each batch: places, colours and targets."""

import colorsys
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import attacks, train
from anw_jax.attacks.batch import blend, box_masks, draw_shares
from anw_jax.marks import HueRotation

SHAPE = (16, 8, 8, 3)
ATTACKS = {
    "cutout": {"size": 3},
    "label_smoothing": {},
    "gaussian_noise": {},
    "mixup": {"alpha": 1.0},
    "cutmix": {},
    "rand_augment": {"num_ops": 1},
    "color_jitter": {"brightness": 0.1, "contrast": 0.2, "saturation": 0.2, "hue": 0.2},
    "grayscale": {"probability": 0.5},
}


def _targets(num):
    return np.eye(4, dtype=np.float32)[np.arange(num) % 4]


@pytest.fixture(scope="module")
def photos():
    levels = np.random.default_rng(3).integers(0, 256, SHAPE)
    return (levels / 255).astype(np.float32)


@functools.cache
def _compiled(attack):
    return jax.jit(attack.transform)


def _run(attack, images, targets=None, seed=0):
    targets = _targets(len(images)) if targets is None else targets
    result = _compiled(attack)(jax.random.key(seed), images, targets)
    return tuple(np.asarray(part) for part in result)


@pytest.mark.parametrize("name", ATTACKS)
def test_contract(name, photos):
    """Range, dtype, targets and randomness, for every attack on batches."""
    attack = attacks.create(name, **ATTACKS[name])
    assert isinstance(attack, attacks.BatchAttack)
    assert train.Recipe(transforms=(attack,)).plain()["transforms"]["0"].keys() >= {"kind"}
    # Four copies of each image: each copy has its own draw.
    images = np.repeat(photos[:4], 4, axis=0)
    one, two, again = (_run(attack, images, seed=seed) for seed in (0, 1, 0))
    for images_out, targets_out in (one, two):
        assert (images_out.shape, images_out.dtype) == (SHAPE, np.float32)
        assert images_out.min() >= 0
        assert images_out.max() <= 1
        assert (targets_out.shape, targets_out.dtype) == ((16, 4), np.float32)
        assert targets_out.min() >= 0
        np.testing.assert_allclose(targets_out.sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    if name == "label_smoothing":
        np.testing.assert_array_equal(one[0], images)
        return
    assert not np.array_equal(one[0], two[0])
    copies = one[0].reshape(4, 4, -1)
    assert any(len(np.unique(of_one, axis=0)) > 1 for of_one in copies)


def test_boxes_pixel_by_pixel():
    rng = np.random.default_rng(0)
    centres = np.stack([rng.integers(0, 5, 20), rng.integers(0, 7, 20)], 1).astype(np.int32)
    sides = rng.integers(0, 9, (20, 2)).astype(np.int32)
    masks = np.asarray(box_masks(jnp.asarray(centres), jnp.asarray(sides), 5, 7))
    for mask, centre, side in zip(masks, centres, sides, strict=True):
        expected = np.zeros((5, 7), bool)
        for row in range(centre[0] - side[0] // 2, centre[0] - side[0] // 2 + side[0]):
            for column in range(centre[1] - side[1] // 2, centre[1] - side[1] // 2 + side[1]):
                if 0 <= row < 5 and 0 <= column < 7:
                    expected[row, column] = True
        np.testing.assert_array_equal(mask, expected)


def test_cutout_covers_squares_at_uniform_places():
    images = np.ones((640, 6, 6, 3), np.float32)
    cut, _ = _run(attacks.create("cutout", size=3, fill=0.25), images)
    assert set(np.unique(cut)) == {0.25, 1.0}
    covered = (cut[..., 0] == 0.25).sum((1, 2))
    # Centres on the border lose a row or a column: 4, 6 or 9 pixels are left.
    assert set(covered) == {4, 6, 9}
    # 4 of 36 centres are corners and 16 others lie on the border.
    counts = [int((covered == size).sum()) for size in (4, 6, 9)]
    np.testing.assert_allclose(counts, [640 * 4 / 36, 640 * 16 / 36, 640 * 16 / 36], atol=60)


def test_label_smoothing_twin(photos):
    _, smoothed = _run(attacks.create("label_smoothing", epsilon=0.2), photos)
    np.testing.assert_allclose(smoothed, 0.8 * _targets(16) + 0.05, rtol=1e-6)


def test_noise_has_the_std_asked_for():
    images = np.full((16, 16, 16, 3), 0.5, np.float32)
    noisy, _ = _run(attacks.create("gaussian_noise", std=0.05), images)
    noise = (noisy - images).ravel()
    # 12,288 draws: the standard error of the std is 0.64 %, of the mean 0.00045.
    assert noise.std() == pytest.approx(0.05, rel=0.03)
    assert abs(noise.mean()) < 0.002


def test_mixup_lies_on_lines_between_two_images(photos):
    """The share that the target tells is that of the pixels."""
    targets = np.eye(16, dtype=np.float32)
    mixed, told = _run(attacks.create("mixup", alpha=1.0), photos, targets)
    for own, (image, target) in enumerate(zip(mixed, told, strict=True)):
        partners = [other for other in np.flatnonzero(target) if other != own]
        assert len(partners) <= 1
        expected = sum(target[i] * photos[i] for i in (own, *partners))
        np.testing.assert_allclose(image, expected, atol=1e-5)
    kept = told.diagonal()
    assert kept.min() < 0.3
    assert len(np.unique(kept)) > 10


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_shares_are_beta(alpha):
    share = np.asarray(draw_shares(jax.random.key(0), alpha, 4096))
    # Variance of Beta(α, α); the mean of 4,096 has a standard error below .007.
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)


@settings(derandomize=True, deadline=None, max_examples=15)
@given(st.floats(0, 1, width=32))
def test_blend_keeps_what_both_share(share):
    values = np.random.default_rng(1).random((2, 3), np.float32)
    shares = np.full(2, share, np.float32)
    np.testing.assert_allclose(blend(values, values, shares), values, rtol=1e-6)


def test_cutmix_target_counts_the_pixels_kept():
    images = np.broadcast_to(
        np.arange(16, dtype=np.float32)[:, None, None, None] / 15, (16, 9, 7, 3)
    )
    pasted, told = _run(attacks.create("cutmix"), images, np.eye(16, dtype=np.float32))
    numbers = np.rint(pasted[..., 0] * 15).astype(int)
    for own, (image, target) in enumerate(zip(numbers, told, strict=True)):
        counts = np.bincount(image.ravel(), minlength=16) / image.size
        np.testing.assert_allclose(target, counts, atol=1e-6)
        rows, columns = np.nonzero(image != own)
        if rows.size:  # What is pasted fills its box.
            assert rows.size == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert (told.diagonal() < 1).sum() > 5


def test_grayscale_is_luma_for_its_share():
    rng = np.random.default_rng(2)
    images = rng.random((400, 2, 2, 3), np.float32)
    out, _ = _run(attacks.create("grayscale", probability=0.3), images)
    grey = images @ np.array([0.2989, 0.587, 0.114], np.float32)
    is_grey = (out == out[..., :1]).all((1, 2, 3))
    np.testing.assert_allclose(out[is_grey][..., 0], grey[is_grey], rtol=1e-5)
    np.testing.assert_array_equal(out[~is_grey], images[~is_grey])
    # 400 draws at .3: mean 120, standard deviation 9.2.
    assert 85 < is_grey.sum() < 155


def test_grayscale_takes_off_a_hue_mark():
    """A dull photo, whose marked colours stay inside the gamut."""
    image = 0.4 + 0.2 * np.random.default_rng(4).random((1, 8, 8, 3), np.float32)
    marked = np.asarray(HueRotation().mark(image[0], 120.0))[None]
    attack = attacks.create("grayscale")
    assert np.abs(marked - image).max() > 0.1
    np.testing.assert_allclose(_run(attack, marked)[0], _run(attack, image)[0], atol=5e-4)


def _draws(half_range, name, images):
    return _run(attacks.create("color_jitter", **{name: half_range}), images)[0]


def test_brightness_adds_a_uniform_shift():
    images = np.full((400, 2, 2, 3), 0.5, np.float32)
    shift = _draws(0.2, "brightness", images) - 0.5
    assert np.ptp(shift, axis=(1, 2, 3)).max() < 1e-6
    drawn = shift[:, 0, 0, 0]
    assert np.abs(drawn).max() <= 0.2 + 1e-6
    assert drawn.std() == pytest.approx(0.2 / 3**0.5, rel=0.1)


def test_contrast_scales_about_the_mean_of_each_channel():
    one = 0.3 + 0.4 * np.random.default_rng(5).random((4, 4, 3), np.float32)
    images = np.repeat(one[None], 200, axis=0)
    mean = one.mean((0, 1), keepdims=True)
    factors = (_draws(0.3, "contrast", images) - mean)[:, 0, 0, 0] / (one - mean)[0, 0, 0]
    assert np.abs(factors - 1).max() <= 0.3 + 1e-4
    assert factors.std() == pytest.approx(0.3 / 3**0.5, rel=0.15)
    again = mean + factors[7] * (one - mean)
    np.testing.assert_allclose(_draws(0.3, "contrast", images)[7], again, atol=1e-5)


def test_saturation_is_that_of_hsv():
    one = np.random.default_rng(6).random((2, 2, 3), np.float32)
    jittered = _draws(0.5, "saturation", np.repeat(one[None], 50, axis=0))
    before = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in one.reshape(-1, 3)])
    for image in jittered:
        after = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(-1, 3)])
        np.testing.assert_allclose(after[:, [0, 2]], before[:, [0, 2]], atol=1e-4)
        factors = after[:, 1] / before[:, 1]
        is_free = after[:, 1] < 0.999
        assert np.ptp(factors[is_free]) < 1e-3
        assert 0.5 - 1e-3 <= factors[is_free][0] <= 1.5 + 1e-3


def test_hue_turns_as_the_mark_does():
    """Each result is a mark by some angle of the range, and the angles fill the range."""
    one = 0.4 + 0.2 * np.random.default_rng(7).random((2, 2, 3), np.float32)
    jittered = _draws(0.25, "hue", np.repeat(one[None], 200, axis=0))
    yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.275, -0.321], [0.212, -0.523, 0.311]])
    chroma = (jittered[:, 0, 0] @ yiq.T)[:, 1:] @ np.array([1, 1j])
    angles = np.degrees(np.angle(chroma / ((one[0, 0] @ yiq.T)[1:] @ np.array([1, 1j]))))
    assert np.abs(angles).max() <= 90.1
    assert angles.std() == pytest.approx(90 / 3**0.5, rel=0.15)
    for index in (0, 1, 2):
        expected = HueRotation().mark(one, float(angles[index]))
        np.testing.assert_allclose(jittered[index], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("cutout", {"size": 0}, "size must be at least 1, got 0"),
        ("cutout", {"fill": 1.5}, "fill must lie in [0.0, 1.0], got 1.5"),
        ("label_smoothing", {"epsilon": 1.0}, "epsilon must lie in [0.0, 0.9999], got 1.0"),
        ("gaussian_noise", {"std": -0.1}, "std must lie in [0.0, 1.0], got -0.1"),
        ("mixup", {"alpha": 0.0}, "alpha must be above 0, got 0.0"),
        ("cutmix", {"alpha": -1.0}, "alpha must be above 0, got -1.0"),
        ("rand_augment", {"num_ops": 0}, "num_ops must be at least 1, got 0"),
        ("rand_augment", {"magnitude": 11}, "magnitude must lie in [0.0, 10.0], got 11"),
        ("color_jitter", {"hue": 0.6}, "hue must lie in [0.0, 0.5], got 0.6"),
        ("grayscale", {"probability": 2}, "probability must lie in [0.0, 1.0], got 2"),
        ("cutmax", {}, "name must be one of "
         f"{', '.join(attacks.NAMES + attacks.HIDDEN_NAMES)}; got 'cutmax'; did you mean "
         "'cutmix'?"),
        ("cutout", {"sise": 2}, "parameter of attack 'cutout' must be one of size, fill; got "
         "'sise'; did you mean 'size'?"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_named(name, parameters, message):
    with pytest.raises(ValueError) as raised:
        attacks.create(name, **parameters)
    assert str(raised.value) == message

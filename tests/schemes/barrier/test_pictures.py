"""The paper's own system: NC and SR, losses that switch off, and both stages."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import train
from anw_jax.models import ImageToImage, PictureBarrier
from anw_jax.schemes import barrier
from anw_jax.schemes.barrier import pictures
from anw_jax.schemes.barrier.pictures import PictureTraining, PictureWeights, Triples, losses
from anw_jax.schemes.barrier.pictures.training import networks_loss

SIDE = 8
NETS = PictureBarrier(width=2, depth=1)
OFF = dict.fromkeys(("pixel", "perceptual", "adversarial", "mark", "clean", "consistency"), 0.0)
EMBEDDING, EXTRACTION = ("pixel", "perceptual", "adversarial"), ("mark", "clean", "consistency")


def checks(count: int = 1) -> np.ndarray:
    """Marks: black and white stripes, each of another width."""
    rows = np.arange(SIDE)
    stripes = [(rows // 2**k % 2).astype(np.float32) for k in range(count)]
    return np.stack([np.broadcast_to(s[:, None, None], (SIDE, SIDE, 3)) for s in stripes])


def images(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng([9, seed])
    return rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


@functools.cache
def floats() -> Triples:
    return Triples(*(jnp.asarray(images(k, 4), jnp.float32) / 255.0 for k in range(3)))


def test_nc_and_sr_have_a_naive_twin():
    mark, rng = checks()[0], np.random.default_rng(0)
    shown = np.concatenate([rng.random((5, SIDE, SIDE, 3)), mark[None], 0.0 * mark[None]])
    found = pictures.normalised_correlation(shown, mark)
    for one, nc in zip(shown, found, strict=True):
        dot = sum(float(a) * float(b) for a, b in zip(one.flat, mark.flat, strict=True))
        sizes = [np.sqrt(sum(float(a) ** 2 for a in picture.flat)) for picture in (one, mark)]
        assert nc == pytest.approx(dot / (sizes[0] * sizes[1]) if sizes[0] else 0.0)
    reading = pictures.PictureReading(np.array([0.95, 0.951, 0.2, 1.0]))
    assert reading.success_rate == 0.5
    assert "no error rate" in str(reading)
    assert "50.0%" in str(reading)


def test_a_reading_has_neither_a_p_nor_an_outcome():
    """Nothing in this system may look like a verdict."""
    reading = pictures.PictureReading(np.ones(3), 1.0)
    for name in ("p", "log10_p", "p_value", "outcome", "verdict", "passes"):
        assert not hasattr(reading, name)
    assert not {"judge", "extract", "scores", "Decoder", "Head"} & set(pictures.__all__)
    assert set(barrier.__all__) & set(pictures.__all__) == set()


@pytest.mark.parametrize(
    ("shown", "mark", "text"),
    [
        (np.ones((2, 4, 4, 3)), checks()[0], r"pictures must have shape \(n, 8, 8, 3\)"),
        (np.ones((0, 8, 8, 3)), checks()[0], "pictures must have shape"),
        (np.full((2, 8, 8, 3), np.nan), checks()[0], "must be finite, got 2"),
        (np.ones((1, 8, 8, 3)), 0.0 * checks()[0], "mark must have a value above 0"),
    ],
)
def test_bad_pictures_are_one_clear_error(shown, mark, text):
    with pytest.raises(ValueError, match=text):
        pictures.normalised_correlation(shown, mark)


@pytest.mark.parametrize(
    ("marks", "text"),
    [
        (checks()[0], "marks must be pictures"),
        (2.0 * checks(), r"marks must lie in \[0, 1\]"),
        (checks() * np.nan, r"marks must lie in \[0, 1\]"),
        (np.maximum(checks(), 0.8), "mark 0 and the blank picture is 0.99"),
        (np.concatenate([checks(), checks()]), "mark 1 and mark 0 is 1.000"),
    ],
)
def test_marks_that_nc_cannot_tell_apart_are_refused(marks, text):
    with pytest.raises(ValueError, match=text):
        pictures.check_marks(marks)


def test_weights_below_zero_and_odd_batches_are_refused():
    with pytest.raises(ValueError, match="mark must lie in"):
        PictureWeights(mark=-1.0)
    with pytest.raises(ValueError, match="batch_size must be even, got 3"):
        PictureTraining(num_steps=1, batch_size=3)
    with pytest.raises(ValueError, match="max_shift must be"):
        PictureTraining(num_steps=1, max_shift=-1)


def test_each_loss_has_a_naive_twin():
    batch, weights = floats(), PictureWeights(adversarial=1.0)
    one, other, third = batch
    judged = jnp.full((4, SIDE, SIDE), 0.25)
    found = losses.embedding_terms(weights, one, other, judged)
    squared = lambda a, b: float(np.mean([(x - y) ** 2 for x, y in zip(a.flat, b.flat)]))  # noqa: E731, B905
    a, b, c = map(np.asarray, (one, other, third))
    assert float(found["pixel"]) == pytest.approx(squared(a, b), rel=1e-5)
    assert float(found["adversarial"]) == pytest.approx(0.75**2)
    found = losses.extraction_terms(weights, one, other, third)
    assert float(found["mark"]) == pytest.approx(squared(a, b), rel=1e-5)
    assert float(found["clean"]) == pytest.approx(squared(c, np.ones_like(c)), rel=1e-5)
    assert float(found["consistency"]) == pytest.approx(squared(a[:2], a[2:]), rel=1e-5)
    judge = losses.discriminator_loss(judged, judged)
    assert float(judge) == pytest.approx((0.75**2 + 0.25**2) / 2)


class Toy:
    """Networks of one number each, with the methods of `PictureBarrier`."""

    def mark(self, params, inputs, outputs, shown):
        return outputs + params["barrier"] * shown

    def draw(self, params, seen):
        return jnp.square(params["extractor"] * seen)

    def judge(self, params, seen):
        return (params["discriminator"] * seen).mean(-1)


@pytest.mark.parametrize("name", EMBEDDING + EXTRACTION)
def test_a_loss_that_is_off_is_absent_from_the_gradient(name, monkeypatch):
    """With all but one loss off, the gradient is that term's, and 0 where it cannot reach."""
    monkeypatch.setattr(losses, "image_distance", lambda _: losses.squared_error)
    state, batch = {"marks": jnp.asarray(checks(2))}, floats()._replace(copied=None)
    own = {"barrier": 0.1, "extractor": 0.9, "discriminator": 0.5}
    own = {part: jnp.asarray(value) for part, value in own.items()}

    def gradient(weights):
        loss_fn = networks_loss(Toy(), weights)
        return jax.value_and_grad(loss_fn, has_aux=True)(own, state, batch, jax.random.key(3))

    (loss, (_, terms)), moved = gradient(PictureWeights(**{**OFF, name: 2.0}))
    assert set(terms) == {name}
    assert float(loss) == pytest.approx(2.0 * float(terms[name]), rel=1e-6)
    reached = {part for part in ("barrier", "extractor") if float(moved[part])}
    expected = {"barrier", "extractor"}
    if name in EMBEDDING:
        expected = {"barrier"}
    elif name == "clean":
        expected = {"extractor"}
    assert reached == expected
    on = dict.fromkeys(OFF, 1.0)
    (_, (_, every)), whole = gradient(PictureWeights(**on))
    (_, (_, others)), without = gradient(PictureWeights(**{**on, name: 0.0}))
    assert set(every) - set(others) == {name}
    for part in ("barrier", "extractor"):
        left = float(whole[part]) - float(moved[part]) / 2.0
        assert float(without[part]) == pytest.approx(left, rel=1e-4, abs=1e-6)


def test_in_stage_2_the_copys_outputs_count_as_much_as_the_served_ones():
    state, batch = {"marks": jnp.asarray(checks())}, floats()
    own = {part: jnp.asarray(0.9) for part in ("barrier", "extractor", "discriminator")}
    weights = PictureWeights(**{**OFF, "mark": 1.0})
    loss, _ = networks_loss(Toy(), weights)(own, state, batch, jax.random.key(0))
    served = np.asarray(batch.outputs) + 0.9 * checks()
    drawn = [(0.9 * seen) ** 2 for seen in (served, np.asarray(batch.copied))]
    expected = np.mean([np.mean((seen - checks()) ** 2) for seen in drawn])
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_no_loss_at_all_is_zero():
    assert float(losses.weighted_sum(PictureWeights(**OFF), {})) == 0.0


def test_shapes():
    """Traced only: nothing is compiled."""

    def everything(key, seen):
        own = NETS.init(key, (SIDE, SIDE, 3))
        marked = NETS.mark(own, seen, seen, seen)
        return marked, NETS.draw(own, marked), NETS.judge(own, marked)

    shapes = jax.eval_shape(everything, jax.random.key(0), floats().inputs)
    marked, drawn, judged = (one.shape for one in shapes)
    assert marked == drawn == (4, SIDE, SIDE, 3)
    assert judged == (4, SIDE, SIDE)


def test_a_barrier_keeps_its_psnr():
    batch, nets = floats(), dataclasses.replace(NETS, psnr=31.0)
    own = nets.init(jax.random.key(0), (SIDE, SIDE, 3))
    marked = nets.mark(own, batch.inputs, batch.outputs, batch.copied)
    squared = np.square(np.asarray(marked - batch.outputs, np.float64)).mean((1, 2, 3))
    np.testing.assert_allclose(-10.0 * np.log10(squared), 31.0, atol=0.01)
    free = NETS.mark(own, batch.inputs, batch.outputs, batch.copied) - batch.outputs
    ratio = np.asarray(marked - batch.outputs) / np.asarray(free)
    one = np.broadcast_to(np.median(ratio, (1, 2, 3), keepdims=True), ratio.shape)
    np.testing.assert_allclose(ratio, one, rtol=0.02)


def test_the_extractor_sees_each_image_moved():
    """A naive twin: the loss is that of images moved by numpy, by one of the allowed shifts."""
    state = {"marks": jnp.asarray(checks())}
    batch = floats()._replace(copied=None)
    batch = Triples(*(shown[:2] for shown in batch[:2]))
    own = {part: jnp.asarray(1.0) for part in ("barrier", "extractor", "discriminator")}
    weights = PictureWeights(**{**OFF, "clean": 1.0})

    def clean(max_shift, key):
        loss, _ = networks_loss(Toy(), weights, max_shift)(own, state, batch, key)
        return float(loss)

    shown = np.concatenate([np.asarray(images, np.float64) for images in batch[:2]])
    padded = np.pad(shown, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    errors = [
        [
            np.mean((padded[n, i : i + SIDE, j : j + SIDE] ** 2 - 1.0) ** 2)
            for i in range(3)
            for j in range(3)
        ]
        for n in range(4)
    ]
    possible = [np.mean(each) for each in itertools.product(*errors)]
    assert clean(0, jax.random.key(0)) == pytest.approx(np.mean([row[4] for row in errors]))
    found = [clean(1, jax.random.key(seed)) for seed in range(4)]
    for loss in found:
        assert np.min(np.abs(np.asarray(possible) - loss)) < 1e-6
    assert len(set(found)) == 4


def test_the_absorbed_model_takes_the_barriers_place():
    batch, net = floats(), ImageToImage("plain", width=2, depth=1)
    absorbed = PictureBarrier(width=2, depth=1, absorbed=net)
    own = {"barrier": net.init(jax.random.key(1), (SIDE, SIDE, 3))["params"]}
    marked = absorbed.mark(own, batch.inputs, batch.outputs, batch.outputs)
    assert np.array_equal(marked, net.apply({"params": own["barrier"]}, batch.inputs))


def test_bad_networks_are_one_clear_error():
    with pytest.raises(ValueError, match="multiples of 2"):
        NETS.init(jax.random.key(0), (9, 8, 3))
    with pytest.raises(TypeError, match="absorbed must be"):
        PictureBarrier(absorbed="plain")
    with pytest.raises(ValueError, match="psnr must be"):
        PictureBarrier(psnr=0.0)
    with pytest.raises(ValueError, match="psnr must be None for an absorbed model, got 36"):
        PictureBarrier(absorbed=ImageToImage(), psnr=36.0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"marks": checks()[:, :4]}, "marks must have the images' shape"),
        ({"pairs": train.Pairs(images(0, 8), images(1, 4))}, "must have one shape"),
        ({"pairs": train.Pairs(images(0, 2), images(1, 2))}, "there must be 4 pairs"),
        ({"nets": PictureBarrier(2, 1, ImageToImage()), "marks": checks(2)}, "has one mark"),
        (
            {"settings": PictureTraining(num_steps=1, batch_size=4, max_shift=SIDE)},
            "max_shift must be below the images' sides, 8, got 8",
        ),
    ],
)
def test_bad_trainings_are_one_clear_error(change, text):
    given = {
        "nets": NETS,
        "params": {},
        "marks": checks(),
        "pairs": train.Pairs(images(0, 8), images(1, 8)),
        "settings": PictureTraining(num_steps=1, batch_size=4),
        "seed": 0,
    }
    with pytest.raises(ValueError, match=text):
        pictures.train_barrier(**given | change)


@pytest.mark.slow
def test_the_system_hides_a_picture_and_draws_it():
    """Both stages at the smallest size: smooth images, one mark, R alone moves in stage 2."""
    nets, rng = PictureBarrier(width=6, depth=2), np.random.default_rng(2)
    smooth = rng.uniform(60, 190, (64, 1, 1, 3)) + rng.normal(0, 4, (64, SIDE, SIDE, 3))
    outputs = np.clip(smooth, 0, 255).astype(np.uint8)
    pairs = train.Pairs(outputs[::-1].copy(), outputs)
    how = PictureTraining(num_steps=400, batch_size=16, learning_rate=3e-3)
    first = nets.init(jax.random.key(0), (SIDE, SIDE, 3))
    stage_1 = pictures.train_barrier(nets, first, checks(), pairs, how, seed=0)
    own, mark = stage_1.state.params, checks()[0]
    served = pictures.serve(nets, own, mark, *pairs)
    assert stage_1.reports[-1].metrics["networks/mark"] < 0.05
    read = functools.partial(pictures.normalised_correlation, mark=mark)
    assert (read(pictures.draw(nets, own, served)) > pictures.SUCCESS).mean() > 0.9
    assert (read(pictures.draw(nets, own, outputs)) > pictures.SUCCESS).mean() < 0.1
    faint = np.rint(0.5 * served + 0.5 * outputs).astype(np.uint8)
    how = PictureTraining(num_steps=200, batch_size=16, learning_rate=3e-3)
    tuned = pictures.tune_extractor(nets, own, checks(), pairs, faint, how, seed=0).state.params
    assert jax.tree.all(jax.tree.map(np.array_equal, tuned["barrier"], own["barrier"]))
    before, after = (read(pictures.draw(nets, p, faint)).mean() for p in (own, tuned))
    assert after > before
    drawn = [pictures.draw(nets, tuned, shown) for shown in (outputs, served)]
    result = pictures.train_classifier(drawn[0], [drawn[1]], num_epochs=8, seed=0)
    assert pictures.share_of_mark(result.state.variables, drawn[1], 0, 1) > 0.9
    assert pictures.share_of_mark(result.state.variables, drawn[0], 0, 1) < 0.1


@pytest.mark.slow
def test_a_mark_that_was_trained_with_shifts_is_found_in_moved_images():
    """Moved by an odd number of rows, black stripes lie where white ones were."""
    rng = np.random.default_rng(3)
    smooth = rng.uniform(60, 190, (64, 1, 1, 3)) + rng.normal(0, 4, (64, SIDE, SIDE, 3))
    outputs = np.clip(smooth, 0, 255).astype(np.uint8)
    pairs, (mark,) = train.Pairs(outputs[::-1].copy(), outputs), checks()
    nets = PictureBarrier(width=6, depth=2, psnr=26.0)
    first = nets.init(jax.random.key(0), (SIDE, SIDE, 3))
    found = {}
    for max_shift in (0, 3):
        how = PictureTraining(num_steps=600, learning_rate=3e-3, max_shift=max_shift)
        result = pictures.train_barrier(nets, first, mark[None], pairs, how, seed=0)
        own = result.state.params
        served = pictures.serve(nets, own, mark, *pairs)
        moved = [served[:, np.abs(np.arange(SIDE) - by)] for by in (0, 1, 3)]
        drawn = [pictures.draw(nets, own, images) for images in (*moved, outputs)]
        nc = [pictures.normalised_correlation(one, mark) for one in drawn]
        found[max_shift] = [(one > pictures.SUCCESS).mean() for one in nc]
    *with_shifts, unmarked = found[3]
    assert min(with_shifts) > 0.9
    assert unmarked < 0.1
    assert found[0][0] > 0.9
    assert max(found[0][1:]) < 0.1

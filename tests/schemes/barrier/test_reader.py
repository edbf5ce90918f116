"""What the barrier marks, what a copy keeps of it, and what is refused."""

import gc
import inspect

import jax
import numpy as np
import pytest

from anw_jax import stats
from anw_jax.keys import Bits, commit_scheme
from anw_jax.schemes import barrier, judge


def log10_p(owner, suspect) -> float:
    return stats.bit_test(owner.scores(suspect), owner.bits()).log10_p


def test_served_outputs_carry_the_bits_and_clean_ones_do_not(owner, make):
    served = owner.scores(lambda images: owner.served(images))
    assert np.sign(served).tolist() == owner.bits().signs.tolist()
    assert stats.bit_test(served, owner.bits()).log10_p < -6
    np.testing.assert_array_equal(owner.scores(make.sharpened), 0.0)


def test_a_copy_carries_the_bits_and_innocent_ones_do_not(owner, thief, innocents):
    assert log10_p(owner, thief) < -6
    for name, suspect in innocents.items():
        assert log10_p(owner, suspect) > -3, name


def test_one_output_with_and_without_the_mark_tells_all_bits(make):
    """Whoever has both can mark as the owner does."""
    owner = make.owner(bits=barrier.DEFAULT_BITS)
    inputs = make.spoiled(make.pictures(50, 1, side=32), 50)
    marks = make.copied(make.sharpened(inputs), owner.served(inputs))
    forged = owner.scores(lambda images: marks(make.sharpened(images)))
    assert np.sign(forged).tolist() == owner.bits().signs.tolist()


def test_one_served_output_and_a_model_of_the_same_task_tell_the_bits(make):
    """So the bits are no secret to users: with them they can accuse whoever they mark for."""
    owner = make.owner(bits=barrier.DEFAULT_BITS)
    mine, others = make.innocent(9), make.innocent(11)
    inputs = make.spoiled(make.pictures(50, 1, side=32), 50)
    marks = make.copied(mine(inputs), owner.served(inputs))
    asked = make.spoiled(make.pictures(7, 120), 7)
    accused = make.copied(asked, marks(others(asked)))
    assert log10_p(owner, others) > -3
    assert log10_p(owner, accused) < -20


def test_the_mark_has_the_power_that_it_is_asked_for(owner, make):
    inputs = make.spoiled(make.pictures(2000, 60), 1)
    for psnr in (34.0, 40.0):
        error = owner.served(inputs, psnr=psnr).astype(float) - make.sharpened(inputs)
        reached = -10 * np.log10((error**2).mean() / 255.0**2)
        assert reached == pytest.approx(psnr, abs=0.4)


@pytest.mark.parametrize(
    "name", ["mirrored", "turned", "upside down and left as it was", "turned and mirrored"]
)
def test_flips_and_turns_of_the_stolen_pairs_do_not_hide_the_mark(owner, name):
    changes = {
        "mirrored": lambda x: x[:, :, ::-1],
        "turned": lambda x: np.rot90(x, axes=(1, 2)),
        "upside down and left as it was": lambda x: np.concatenate([x, x[:, ::-1]]),
        "turned and mirrored": lambda x: np.rot90(x[:, :, ::-1], 3, axes=(1, 2)),
    }
    change = changes[name]
    suspect = owner.thief(change=lambda one, other: (change(one), change(other)))
    assert log10_p(owner, suspect) < -6


def test_odd_filters_transfer_and_are_lost_when_pairs_are_mirrored(make):
    """Known breaker: half of the pairs mirrored; filters even along that axis are left."""
    owner = make.owner(bits={"odd": 24})
    plain = owner.thief()
    assert log10_p(owner, plain) < -6
    mirrored = owner.thief(
        change=lambda *pair: tuple(np.concatenate([x, x[:, :, ::-1]]) for x in pair)
    )
    kept = [np.median(owner.scores(one) * owner.bits().signs) for one in (plain, mirrored)]
    assert kept[1] < 0.75 * kept[0]


def test_few_queries_suffice(owner, thief):
    scores = barrier.extract(owner.decoder, thief, num_queries=5)
    assert stats.bit_test(scores, owner.bits()).log10_p < -5


def test_a_public_odd_filter_does_not_hide_the_mark(owner, thief, make):
    """Scores are bounded: one absurd score counts as three median ones."""
    shift = make.owner(bits={"odd": 1}).decoder.kernels[0]
    kernel = (10 ** (-30 / 20) * shift).astype(np.float32)
    assert log10_p(owner, lambda images: barrier.protect(kernel, thief(images))) < -5


def test_least_squares_against_a_naive_twin(owner, thief):
    answers = barrier.ask(thief, owner.decoder.queries[:3])
    outputs = barrier.check_answers(owner.decoder, answers)
    own = owner.decoder.outputs[:3] / 255.0
    columns = []
    for kernel in owner.decoder.kernels:
        padded = np.pad(own, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect")
        feature = np.zeros_like(own)
        for row, column in np.ndindex(7, 7):
            shifted = padded[:, row : row + 16, column : column + 16]
            feature += shifted @ kernel[row, column]
        columns.append(feature.ravel())
    expected, *_ = np.linalg.lstsq(np.array(columns).T, (outputs - own).ravel(), rcond=None)
    np.testing.assert_allclose(barrier.scores(owner.decoder, outputs), expected, rtol=1e-6)


def test_the_reader_has_no_argument_for_anything_made_after_the_bits():
    assert list(inspect.signature(barrier.extract).parameters) == [
        "decoder",
        "suspect",
        "num_queries",
    ]


def test_a_verdict_says_what_it_proves(owner, thief):
    verdict = judge(
        owner.scores(thief),
        owner.key,
        owner.decoder,
        owner.plan,
        commitment=commit_scheme(owner.key, owner.plan),
        beacon=bytes(range(32)),
    )
    assert verdict.result.outcome == "shown"
    assert (
        "If this model had been made without outputs marked with this key, by whatever path "
        "they would have come into its data, whatever else it learned from, a match"
    ) in verdict.text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda x: x[:, :8], "with images of the same shape, got"),
        (lambda x: x[..., :1], "with images of the same shape, got"),
        (lambda x: x.astype(float), r"must lie in \[0, 1\], got values from"),
        (lambda x: x / 255.0 - 0.5, r"must lie in \[0, 1\], got values from"),
        (lambda x: np.full(x.shape, np.nan), "must be finite, got 40 images that are not"),
        (lambda x: np.full(x.shape, 0.5), "answered all 40 queries with one constant output"),
    ],
)
def test_absurd_suspects_are_one_clear_error(owner, answer, text):
    with pytest.raises(ValueError, match=text):
        owner.scores(answer)


def test_outputs_that_are_not_finite_have_no_scores(owner):
    scores = barrier.scores(owner.decoder, np.full((40, 16, 16, 3), np.nan))
    assert np.isnan(scores).all()
    assert stats.bit_test(scores, owner.bits()).outcome == "inconclusive"
    with pytest.raises(ValueError, match="or the first of them"):
        barrier.scores(owner.decoder, np.zeros((41, 16, 16, 3)))
    with pytest.raises(ValueError, match="there must be 1 to 40 answers"):
        barrier.check_answers(owner.decoder, np.zeros((41, 16, 16, 3)))
    with pytest.raises(ValueError, match=r"answers must be images \(16, 16, 3\)"):
        barrier.check_answers(owner.decoder, np.zeros((40, 16, 8, 3)))


def test_bits_of_another_number_are_refused(owner):
    with pytest.raises(ValueError, match="bits must be 24, as in the decoder, got 1"):
        barrier.keyed_kernel(owner.decoder, Bits(np.array([1])))


def test_no_outputs_are_marked_as_no_outputs(owner):
    kernel = barrier.keyed_kernel(owner.decoder, owner.bits())
    assert barrier.protect(kernel, np.zeros((0, 4, 4, 3), np.uint8)).shape == (0, 4, 4, 3)


def test_images_of_many_sizes_leave_few_compiled_programs():
    """Who posts images to a service chooses their sizes, and each program takes megabytes."""
    client, kernel = jax.devices()[0].client, np.zeros((3, 3, 3, 3), np.float32)
    before = len(client.live_executables())
    for width in range(40, 60):
        barrier.protect(kernel, np.zeros((1, 7, width, 3), np.uint8))
    gc.collect()
    assert len(client.live_executables()) - before <= 16

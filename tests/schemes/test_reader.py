"""What the reader undoes, what it keeps, and what it refuses."""

import inspect

import numpy as np
import pytest

from anw_jax import stats
from anw_jax.errors import CommitmentError
from anw_jax.schemes import multitask, weights_digest
from anw_jax.schemes.multitask.reader import align, cell_weights, pooled


@pytest.fixture(scope="module")
def released(owner):
    return owner.release(owner.bits())


def rebased(net, matrix, shift=0.0):
    """The network with its hidden layer in other coordinates, which the next layer undoes."""
    return lambda images: (np.asarray(net(images)[0], np.float64) @ matrix + shift,)


def test_a_marked_network_is_read_and_innocent_ones_are_not(owner, released, nets):
    bits = owner.bits()
    assert stats.bit_test(owner.scores(released), bits).log10_p < -20
    assert np.sign(owner.scores(released)).tolist() == bits.signs.tolist()
    np.testing.assert_allclose(owner.scores(owner.base), 0.0, atol=1e-5)
    for innocent in (nets.fresh(5), nets.tuned(owner.base, 1)):
        assert stats.bit_test(owner.scores(innocent), bits).log10_p > -3


@pytest.mark.parametrize("name", ["permute", "scale", "mix", "dummy", "shift", "tiny", "huge"])
def test_changes_that_the_next_layer_undoes_do_not_hide_the_mark(owner, released, name):
    rng = np.random.default_rng(3)
    width = 24
    matrix = {
        "permute": np.eye(width)[rng.permutation(width)],
        "scale": np.diag(rng.uniform(0.01, 100.0, width)),
        "mix": rng.normal(size=(width, width)),
        "dummy": np.concatenate([np.eye(width), rng.normal(size=(width, 40))], axis=1),
        "shift": np.eye(width),
        "tiny": 1e-12 * np.eye(width),
        "huge": 1e12 * np.eye(width),
    }[name]
    shift = 5.0 if name == "shift" else 0.0
    plain = owner.scores(released)
    changed = owner.scores(rebased(released, matrix, shift))
    np.testing.assert_allclose(changed, plain, atol=2e-2 * np.abs(plain).max())
    assert stats.bit_test(changed, owner.bits()).log10_p < -20


def test_without_alignment_a_permutation_hides_the_mark(owner, released):
    """The near lie that the alignment is not needed."""
    order = np.random.default_rng(1).permutation(24)
    inputs = owner.decoder.inputs()
    moved = released(inputs)[0][:, order].astype(float) - owner.base(inputs)[0]
    scores = multitask.reader.project(owner.decoder, moved)
    assert stats.bit_test(scores, owner.bits()).log10_p > -4


def test_the_reader_has_no_argument_for_bits_or_released_models():
    assert list(inspect.signature(multitask.extract).parameters) == [
        "decoder",
        "base",
        "suspect",
    ]


def test_another_clean_model_is_refused(owner, released):
    owner.decoder.check_base(weights_digest(owner.base.variables))
    with pytest.raises(CommitmentError, match="base must be the clean model"):
        owner.decoder.check_base(weights_digest(released.variables))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_absurd_answers_are_constant_and_do_not_hide_the_rest(owner, released, value):
    def suspect(images):
        answers = np.array(released(images)[0])
        if len(images) != owner.decoder.num_probes:
            answers[:6] = value  # the inputs of three bits
        return (answers,)

    scores = owner.scores(suspect)
    assert np.isnan(scores[:3]).all()
    result = stats.bit_test(scores, owner.bits())
    assert result.num_unusable == 3
    assert result.log10_p < -18


def test_probes_without_usable_answers_are_left_out(owner, released):
    def suspect(images):
        answers = np.array(released(images)[0])
        answers[::7] = np.nan if len(images) == owner.decoder.num_probes else answers[::7]
        return (answers,)

    fewer, all_probes = owner.scores(suspect), owner.scores(released)
    assert np.corrcoef(fewer, all_probes)[0, 1] > 0.9
    assert stats.bit_test(fewer, owner.bits()).log10_p < -18


@pytest.mark.parametrize("value", [np.nan, 0.0, 7.0])
def test_a_constant_or_silent_suspect_is_inconclusive(owner, value):
    def suspect(images):
        return (np.full((len(images), 24), value, np.float32),)

    scores = owner.scores(suspect)
    if np.isnan(value):
        result = stats.bit_test(scores, owner.bits())
        assert (result.outcome, result.num_unusable) == ("inconclusive", owner.decoder.num_bits)
    else:  # what is left is w0's own answers, which are older than the bits
        assert stats.bit_test(scores, owner.bits()).log10_p > -3


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda images: (), "must answer for the 1 taps second, got 0 arrays"),
        (lambda images: (np.zeros((len(images), 2, 3)),), "the architecture of w0: at the tap"),
        (lambda images: (np.zeros(len(images)),), r"taps must return \[b, H, W, c\]"),
    ],
)
def test_another_architecture_is_refused(owner, answer, text):
    with pytest.raises(ValueError, match=text):
        owner.scores(answer)


def test_pooling_against_a_naive_twin(rng):
    values = rng.normal(size=(2, 5, 4, 3))
    cells = pooled(values, 2)
    expected = np.stack(
        [
            values[:, rows, columns].mean(axis=(1, 2))
            for rows in (slice(0, 2), slice(2, 5))
            for columns in (slice(0, 2), slice(2, 4))
        ],
        axis=1,
    )
    np.testing.assert_allclose(cells, expected)
    assert cell_weights(1, 2).tolist() == [[1.0]]


def test_alignment_is_the_least_squares_fit(rng):
    probes, wanted = rng.normal(size=(50, 2, 4)), rng.normal(size=(50, 2, 3))
    inputs = rng.normal(size=(7, 2, 4))
    rows = np.concatenate([probes.reshape(-1, 4), np.ones((100, 1))], axis=1)
    solution = np.linalg.solve(rows.T @ rows, rows.T @ wanted.reshape(-1, 3))
    expected = inputs @ solution[:4] + solution[4]
    np.testing.assert_allclose(align(probes, wanted, inputs), expected, rtol=1e-9)

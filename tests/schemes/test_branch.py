"""The paper's variant: a trained branch, its rule, and the forgery that shows its worth."""

import itertools

import jax
import numpy as np
import pytest
import scipy.stats

from anw_jax.errors import CommitmentError
from anw_jax.keys import Bits
from anw_jax.schemes import multitask
from anw_jax.schemes.multitask.branch import branch_logits, init_branch


def accuracy(branch, features, labels) -> float:
    said = np.asarray(branch_logits(branch, features.astype(np.float32)) > 0)
    return float((said == (labels == 1)).mean())


def noise(num_inputs: int, num_columns: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([num_inputs, num_columns])
    return rng.normal(size=(num_inputs, num_columns)), rng.integers(0, 2, num_inputs)


def test_labels_are_balanced_in_pairs():
    bits = Bits(np.array([1, 1, -1, 1]))
    labels = multitask.input_labels(bits)
    assert labels.tolist() == [1, 0, 1, 0, 0, 1, 1, 0]
    assert labels.sum() == 4


@pytest.mark.parametrize("num_columns", [32, 64])
def test_a_forged_branch_fits_anything_with_as_many_features_as_inputs(num_columns):
    features, labels = noise(num_columns + 1, num_columns)
    assert accuracy(multitask.forge(features, labels), features, labels) == 1.0


@pytest.mark.parametrize("num_columns", [16, 32])
def test_with_six_inputs_for_each_feature_a_forged_branch_stays_below_gamma(num_columns):
    features, labels = noise(6 * num_columns, num_columns)
    forged = accuracy(multitask.forge(features, labels, num_steps=500), features, labels)
    assert 0.6 < forged < 0.8


def test_forged_on_a_clean_network_the_rule_passes(owner):
    """24 features and 10 inputs: the forgery of the reference."""
    decoder = multitask.Decoder(
        owner.decoder.seed, owner.decoder.base, ("second",), 10, (8, 8, 3), num_probes=2
    )
    bits = Bits(np.array([1, -1, -1, 1, 1, 1, -1, -1, 1, -1]))
    features = multitask.input_features(decoder, owner.base)
    branch = multitask.forge(features, multitask.input_labels(bits))
    result = multitask.apply_rule(
        decoder, branch, bits, owner.base, committed=multitask.branch_digest(branch)
    )
    assert result.passes
    assert "has no p" in str(result)


def test_the_rule_refuses_another_branch_and_another_architecture(owner):
    branch = init_branch(jax.random.key(0), 24)
    bits, committed = owner.bits(), multitask.branch_digest(branch)
    with pytest.raises(CommitmentError, match="branch must be the one committed to"):
        multitask.apply_rule(owner.decoder, branch, bits, owner.base, committed="0f" * 32)
    with pytest.raises(ValueError, match="must have the 24 features that the branch reads"):
        multitask.apply_rule(
            owner.decoder,
            branch,
            bits,
            lambda images: (np.zeros((len(images), 25), np.float32),),
            committed=committed,
        )


def test_a_silent_suspect_fails_the_rule(owner):
    branch = init_branch(jax.random.key(0), 24)
    result = multitask.apply_rule(
        owner.decoder,
        branch,
        owner.bits(),
        lambda images: (np.full((len(images), 24), np.nan, np.float32),),
        committed=multitask.branch_digest(branch),
    )
    assert result.accuracy == 0.5
    assert not result.passes


@pytest.mark.parametrize(
    ("gamma", "least", "for_independent_labels"), [(0.7, 506, 502), (0.8, 217, 214)]
)
def test_least_numbers_of_bits(gamma, least, for_independent_labels):
    """The reference counts independent labels; ours are opposite in pairs."""
    multitask.check_num_pairs(least, gamma)
    for fewer in (least - 1, for_independent_labels // 2):
        with pytest.raises(ValueError, match="num_bits must be larger for γ"):
            multitask.check_num_pairs(fewer, gamma)
    tail = scipy.stats.binom.sf(
        np.ceil(gamma * for_independent_labels) - 1, for_independent_labels, 0.5
    )
    assert tail <= 2.0**-64


@pytest.mark.parametrize("gamma", [0.7, 0.75, 0.9])
def test_the_chance_of_guesses_is_that_of_the_luckiest(gamma):
    """By enumeration of all guesses on four pairs, and of all bits."""
    labels = np.array(
        [
            multitask.input_labels(Bits(np.array(signs)))
            for signs in itertools.product((-1, 1), repeat=4)
        ]
    )
    guesses = np.array(list(itertools.product((0, 1), repeat=8)))
    right = (guesses[:, None] == labels[None]).mean(axis=2)
    luckiest = (right >= gamma).mean(axis=1).max()
    multitask.check_num_pairs(4, gamma, luckiest)
    with pytest.raises(ValueError, match="num_bits must be larger"):
        multitask.check_num_pairs(4, gamma, luckiest * 0.999)
    # As if all eight labels were independent: the near lie.
    assert scipy.stats.binom.sf(np.ceil(gamma * 8) - 1, 8, 0.5) < luckiest

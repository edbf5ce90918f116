"""Codes of the literature: block designs by enumeration, Tardos codes by their definition."""

import itertools

import numpy as np
import pytest

from anw_jax.schemes.fingerprint import designs


def packed(codes: np.ndarray) -> list[int]:
    return [int("".join(map(str, code)), 2) for code in codes]


def unique_up_to(codes: np.ndarray, most: int) -> tuple[bool, int]:
    """Whether all ANDs of up to `most` codes differ, and how many there are."""
    seen, count, layer = set(), 0, {(): -1}
    numbers = packed(codes)
    for _ in range(most):
        layer = {
            (*members, new): held & numbers[new]
            for members, held in layer.items()
            for new in range(members[-1] + 1 if members else 0, len(numbers))
        }
        seen.update(layer.values())
        count += len(layer)
    return len(seen) == count, count


def test_the_small_design_resists_three_and_not_four():
    codes = designs.and_acc_codes("16,4,1")
    assert codes.shape == (20, 16)
    assert unique_up_to(codes, 3) == (True, 20 + 190 + 1140)
    assert not unique_up_to(codes, 4)[0]


def test_the_large_design_resists_five_and_not_six():
    codes = designs.and_acc_codes("31,6,1")
    assert codes.shape == (31, 31)
    assert unique_up_to(codes, 5) == (True, 206_367)
    numbers = packed(codes)
    through_one_point = [n for n in range(31) if codes[n, 0] == 0]  # six blocks
    others = [n for n in range(31) if n not in through_one_point]
    held = np.bitwise_and.reduce([numbers[n] for n in through_one_point])
    assert held & numbers[others[0]] == held  # a seventh code changes nothing


@pytest.mark.parametrize(("design", "most"), [("31,6,1", 5), ("16,4,1", 3)])
def test_the_and_names_exactly_the_colluders(design, most):
    codes = designs.and_acc_codes(design)
    rng = np.random.default_rng(0)
    for size in range(1, most + 1):
        members = sorted(rng.permutation(len(codes))[:size].tolist())
        combined = np.bitwise_and.reduce(codes[members], axis=0)
        assert designs.named_by_and(codes, combined) == members


def test_every_two_points_are_in_one_block():
    for design, bits in designs.DESIGNS.items():
        zeros = 1 - designs.and_acc_codes(design).astype(int)
        together = zeros.T @ zeros
        off_diagonal = [together[i, j] for i, j in itertools.combinations(range(bits), 2)]
        assert set(off_diagonal) == {1}


def test_groups_share_no_place():
    codes = designs.grouped_codes("31,6,1", 304)
    assert (codes[0] >= 0).sum() == 31
    assert not ((codes[0] >= 0) & (codes[31] >= 0)).any()
    with pytest.raises(ValueError, match="num_bits must be at least 31, got 30"):
        designs.grouped_codes("31,6,1", 30)


def test_tardos_scores_have_mean_0_and_variance_1_for_innocents():
    biases = designs.tardos_biases(200, 5, np.random.default_rng(1))
    for found in (np.zeros(200), np.ones(200)):
        pairs = designs.tardos_scores(biases, found)
        mean = pairs[:, 0] * (1 - biases) + pairs[:, 1] * biases
        square = pairs[:, 0] ** 2 * (1 - biases) + pairs[:, 1] ** 2 * biases
        np.testing.assert_allclose(mean, 0, atol=1e-12)
        np.testing.assert_allclose(square, 1)


def test_the_tardos_p_is_the_naive_enumeration():
    biases, found = np.array([0.3, 0.6, 0.2]), np.array([1, 0, 1])
    pairs = designs.tardos_scores(biases, found)
    code = np.array([1, 0, 0])
    own = pairs[np.arange(3), code].sum()
    tail = 0.0
    for other in itertools.product((0, 1), repeat=3):
        if pairs[np.arange(3), list(other)].sum() >= own - 1e-3:
            tail += np.prod(np.where(other, biases, 1 - biases))
    log10_p = designs.tardos_log10_p(biases, found, code[None])
    np.testing.assert_allclose(10 ** log10_p[0], tail, rtol=1e-9)


def test_tardos_names_the_pair_and_no_innocent():
    rng = np.random.default_rng(2)
    biases = designs.tardos_biases(304, 2, rng)
    codes = (rng.random((100, 304)) < biases).astype(np.int8)
    pick = rng.integers(0, 2, 304)
    found = np.where(pick, codes[0], codes[1])
    logs = designs.tardos_log10_p(biases, found, codes)
    assert logs[:2].max() < -5 < logs[2:].min()

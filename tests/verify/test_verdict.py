"""Opening the commitment: refusals, silent models, the sentence; see test_conditions.py."""

import re

import numpy as np
import pytest

from anw_jax.errors import CommitmentError
from anw_jax.keys import Manifest, MarkKey, Plan, SignatureSpace, assign, commit
from anw_jax.stats import STATISTICS, count_hits, exact_test
from anw_jax.verify import decide, infer_signatures, seal
from anw_jax.verify.verdict import (
    EVIDENCE,
    EXPERIMENT_KEY,
    NO_COMMITMENT,
    OPENED_BEFORE,
    is_conditional,
    verdict_text,
)

SPACE = SignatureSpace()
PLAN = Plan(statistic="log_losses", alpha=1e-6)
NUM_UNITS = 20


@pytest.fixture
def photos(rng):
    return rng.integers(0, 256, (NUM_UNITS, 2, 2, 3), dtype=np.uint8)


@pytest.fixture
def manifest(photos):
    return Manifest.of(photos, SPACE)


@pytest.fixture(scope="module")
def key():
    # A real key's origin with fixed bytes, so that the test is the same in every run.
    return MarkKey(bytes(range(32)))


@pytest.fixture
def table(rng, key, manifest):
    """A model that knows each photo best at its secret slot."""
    table = rng.exponential(size=(NUM_UNITS, 12)).astype(np.float32)
    table[np.arange(NUM_UNITS), assign(key, manifest, PLAN).slots] = 0.0
    return table


@pytest.mark.parametrize("outcome", ["not shown", "inconclusive"])
@pytest.mark.parametrize(
    "standing", [EVIDENCE, EXPERIMENT_KEY, NO_COMMITMENT, OPENED_BEFORE, "holds only if A"]
)
def test_a_verdict_that_shows_nothing_never_says_evidence(outcome, standing):
    assert "evidence" not in verdict_text(outcome, 0.05, "S.", standing, ["A"]).lower()
    assert "evidence" in verdict_text("shown", 0.05, "S.", EVIDENCE, [])


def test_conditions_are_numbered():
    lines = verdict_text("shown", 0.05, "S.", "holds only if", "ABCDEFGHIJ").splitlines()
    assert lines[1:11] == [f"  {n}. {text}" for n, text in enumerate("ABCDEFGHIJ", 1)]


def test_a_test_under_a_commitment(table, key, manifest):
    commitment = commit(key, manifest, PLAN)
    verdict = decide(
        table, key, manifest, PLAN, commitment=commitment, sealed_digest=seal(table)
    )
    assignment = assign(key, manifest, PLAN)
    expected = exact_test(table, assignment, statistic="log_losses", alpha=1e-6)
    assert verdict.result == expected
    assert verdict.result.outcome == "shown"
    assert is_conditional(verdict.standing)
    assert "evidence" not in verdict.text
    assert verdict.table_digest == seal(table)
    assert verdict.num_hits == count_hits(table, assignment) == NUM_UNITS
    np.testing.assert_array_equal(verdict.true_slots, assignment.slot_of_unit)
    np.testing.assert_array_equal(verdict.inferred_slots, infer_signatures(table, manifest))
    assert re.fullmatch(
        r"If this model had been made without these marked photos, whatever else it learned "
        r"from, a match this strong or stronger would occur with probability at most "
        r"\d(\.\d)?e-\d+\.",
        verdict.sentence,
    )


# With any other a replay would differ from verdicts that are written: newer ones stay out.
DIAGNOSTICS = ("log_losses", "losses", "centred", "ranks", "hits", "bounded_log_losses")


@pytest.mark.parametrize("statistic", STATISTICS)
def test_diagnostics_are_the_other_statistics(table, key, manifest, statistic):
    plan = Plan(statistic, 0.01)
    verdict = decide(table, key, manifest, plan, commitment=None)
    others = {f"log10_p_{name}" for name in DIAGNOSTICS if name != statistic}
    assert set(verdict.diagnostics) == others | {"p_monte_carlo"}
    for name in DIAGNOSTICS:
        if name != statistic:
            assignment = assign(key, manifest, plan)
            expected = exact_test(table, assignment, statistic=name).log10_p
            assert verdict.diagnostics[f"log10_p_{name}"] == expected
    assert verdict.result.statistic == statistic
    again = decide(table, key, manifest, plan, commitment=None)
    assert again.diagnostics == verdict.diagnostics


def test_without_a_commitment_it_is_not_evidence(table, key, manifest):
    verdict = decide(table, key, manifest, PLAN, commitment=None)
    assert verdict.standing == NO_COMMITMENT
    assert verdict.standing == "not evidence: key not fixed before training"


def test_an_experiment_key_is_never_evidence(table, manifest):
    key = MarkKey.for_experiment(0)
    for commitment in (None, commit(key, manifest, PLAN)):
        verdict = decide(table, key, manifest, PLAN, commitment=commitment)
        assert verdict.standing == EXPERIMENT_KEY == "experiment key, not evidence"


def test_what_was_not_committed_to_is_refused(table, key, photos, manifest):
    commitment = commit(key, manifest, PLAN)
    fewer = Manifest.of(photos[1:], SPACE)
    more = Manifest.of(np.concatenate([photos, photos[:1] ^ 1]), SPACE)
    others = (
        (MarkKey(bytes(32)), manifest, PLAN, table),
        (MarkKey(key.secret, "experiment"), manifest, PLAN, table),
        (key, fewer, PLAN, table[1:]),
        (key, more, PLAN, np.concatenate([table, table[:1]])),
        (key, manifest, Plan("log_losses", 1e-3), table),
        (key, manifest, Plan("losses", 1e-6), table),
        (key, manifest, Plan("log_losses", 1e-6, mark="user_lct:" + "0" * 64), table),
    )
    for other_key, other_manifest, plan, other_table in others:
        with pytest.raises(CommitmentError, match=r"^the commitment '[0-9a-f]{16}'… does not"):
            decide(other_table, other_key, other_manifest, plan, commitment=commitment)
    decide(table, key, manifest, PLAN, commitment=commitment)


def test_another_table_than_the_sealed_one_is_refused(table, key, manifest):
    sealed = seal(table)
    changed = table.copy()
    changed[3, 4] = np.nextafter(changed[3, 4], np.float32(9))
    message = (
        f"the loss table is not the one sealed: its digest is {seal(changed)[:16]}…, sealed "
        f"was {sealed[:16]}…"
    )
    with pytest.raises(CommitmentError, match=f"^{message}$"):
        decide(changed, key, manifest, PLAN, commitment=None, sealed_digest=sealed)


def test_the_test_is_made_on_the_numbers_that_were_sealed(key, manifest, table):
    # A change below float32 leaves the digest alone, so it must leave the test alone too.
    moved = table.astype(np.float64) * (1 + 1e-10)
    assert seal(moved) == seal(table)
    first = decide(table, key, manifest, PLAN, commitment=None)
    second = decide(moved, key, manifest, PLAN, commitment=None)
    assert first.result == second.result


def test_seal_binds_every_entry_and_the_shape(table):
    assert re.fullmatch(r"[0-9a-f]{64}", seal(table))
    assert seal(table) == seal(np.asfortranarray(table)) == seal(table.astype(">f4"))
    assert seal(table) != seal(table.T)
    assert seal(table) != seal(table.reshape(-1, 6))
    assert seal(table) != seal(-table)
    with_nan = table.copy()
    with_nan[0] = np.nan
    assert seal(with_nan) == seal(with_nan.copy()) != seal(table)
    assert seal(np.full((1, 2), 1e300)) == seal(np.full((1, 2), np.inf))


def test_missing_answers_count_as_constant_rows(table, key, manifest):
    silent = table.copy()
    silent[:3] = np.nan
    verdict = decide(silent, key, manifest, PLAN, commitment=commit(key, manifest, PLAN))
    assert verdict.result.num_units == NUM_UNITS
    assert verdict.result.num_unusable == 3
    everything = decide(table, key, manifest, PLAN, commitment=None)
    assert verdict.result.log10_p > everything.result.log10_p
    assert verdict.inferred_slots[:3].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="loss_table must have shape"):
        decide(table[3:], key, manifest, PLAN, commitment=None)


def test_a_silent_model_is_inconclusive(key, manifest):
    table = np.full((NUM_UNITS, 12), np.nan)
    verdict = decide(table, key, manifest, Plan("losses", 0.01), commitment=None)
    assert verdict.result.outcome == "inconclusive"
    assert verdict.sentence == (
        "The test is inconclusive: no test possible: no unit's answers tell its slots apart."
    )


def test_one_user_with_one_hue_cannot_be_shown(table, key, photos):
    manifest = Manifest.of(photos, SPACE, "per_user")
    verdict = decide(table, key, manifest, Plan("losses", 1e-6), commitment=None)
    assert verdict.result.outcome == "inconclusive"
    assert verdict.sentence.startswith(
        "The test is inconclusive: the smallest p these units can give is 0.091"
    )
    assert len(verdict.true_slots) == 1


def test_an_innocent_model_is_not_shown(rng, key, manifest):
    table = rng.exponential(size=(NUM_UNITS, 12))
    verdict = decide(table, key, manifest, PLAN, commitment=None)
    assert verdict.result.outcome == "not shown"
    assert verdict.sentence.startswith("If this model had been made without")


def test_plan_must_be_a_plan_with_a_known_statistic(table, key, manifest):
    with pytest.raises(TypeError, match=r"^plan must be a Plan, got str: 'log_losses'$"):
        decide(table, key, manifest, "log_losses", commitment=None)
    with pytest.raises(ValueError, match="got 'log_lossess'; did you mean 'log_losses'"):
        decide(table, key, manifest, Plan("log_lossess", 0.1), commitment=None)

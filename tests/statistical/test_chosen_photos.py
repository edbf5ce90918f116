"""Photos chosen by their slots: a colour prior that was never trained, made to look guilty.

240 photos are looked at and 29 kept. Under the slots of version 1 each photo's slot was known
from key and photo alone, and so the choice forged a verdict (p below 1e-20). Now every slot
hangs on the whole manifest and on a value that is not out yet.
"""

import functools

import numpy as np
import pytest

from anw_jax import keys, stats, verify
from tests.statistical import owners
from tests.statistical.test_fresh_beacons import looks_valid

NUM_LOOKED_AT, NUM_KEPT = 240, 29
KEY = keys.MarkKey(bytes(range(32)))
OLD = keys.Plan("losses", 1e-6, version=1)
NEW = keys.Plan("losses", 1e-6, beacon=owners.BEACON)
WITHOUT = keys.Plan("losses", 1e-6)


@functools.cache
def material():
    photos = owners.candidates(NUM_LOOKED_AT)
    return photos, owners.answers(photos)


def kept_by_slot(plan, beacon=b""):
    photos, table = material()
    kept = owners.photos_by_slot(photos, table, plan, KEY, beacon, NUM_KEPT)
    manifest = keys.Manifest.of(photos[kept], owners.SPACE)
    return owners.Choice(KEY, manifest, plan, table[kept])


def test_all_photos_alone_are_innocent():
    """The prior is no thief: with every photo that was looked at nothing is shown."""
    photos, table = material()
    manifest = keys.Manifest.of(photos, owners.SPACE)
    for plan in (OLD, WITHOUT):
        result = stats.exact_test(table, keys.assign(KEY, manifest, plan), statistic="losses")
        assert result.p_value > 1e-3


@pytest.mark.parametrize("statistic", ["losses", "log_losses", "ranks", "hits"])
def test_in_version_1_the_choice_forged_a_verdict(statistic):
    made = kept_by_slot(OLD)
    result = stats.exact_test(made.table, made.assignment(b""), statistic=statistic)
    assert result.log10_p < -20
    assert result.outcome == "shown"


def test_a_verdict_on_such_an_old_plan_names_the_attack():
    made = kept_by_slot(OLD)
    verdict = verify.decide(
        made.table,
        KEY,
        made.manifest,
        OLD,
        commitment=keys.commitment._commitment(KEY, made.manifest, OLD),
    )
    assert verdict.result.outcome == "shown"
    assert not verify.verdict.is_evidence(verdict.standing)
    assert "chose neither keys nor photos by their slots" in verdict.conditions[0]
    assert "evidence" not in verdict.text


@pytest.mark.parametrize(("plan", "beacon"), [(WITHOUT, b""), (NEW, owners.GUESS)])
def test_the_photos_kept_have_other_slots_once_they_are_the_manifest(plan, beacon):
    """Even where the value is known: the preview was that of another manifest."""
    made = kept_by_slot(plan, beacon)
    assert made.p_of(beacon) > 1e-3


def test_with_a_beacon_the_same_photos_are_uniform():
    made = kept_by_slot(NEW, owners.GUESS)
    drawn = (made.assignment(owners.value(i)) for i in range(600))
    p_values = stats.fresh_p_values(made.table, drawn, "losses")
    assert looks_valid(p_values)
    assert 0.4 < np.median(p_values) < 0.6


@pytest.mark.slow
def test_with_a_hundred_thousand_fresh_beacons():
    made = kept_by_slot(NEW, owners.GUESS)
    drawn = (made.assignment(owners.value(i)) for i in range(100_000))
    p_values = stats.fresh_p_values(made.table, drawn, "losses")
    assert looks_valid(p_values)
    assert p_values.min() > 1e-7

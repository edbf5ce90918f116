"""Every loss table and audit in `results/` replays to its p, by all statistics."""

import itertools
import json
import pathlib

import numpy as np
import pytest

from anw_jax import keys, stats, verify
from tests.golden import stored_results

FOLDER = pathlib.Path(__file__).parent
GOLDEN = json.loads((FOLDER / "results.json").read_text())
REAL = list(stored_results.real_tables())
# Relative, of base-10 logarithms: what another machine's libraries may differ by.
CLOSE = 1e-12


def facts_of(entry):
    return "/".join(str(entry[0][name]) for name in ("study", "seed", "changed", "user"))


@pytest.mark.parametrize("entry", REAL, ids=facts_of)
def test_a_table_of_a_training_gives_the_p_of_its_result_files(entry):
    _, (losses, slots) = entry
    stored = stored_results.audits()[verify.seal(losses)]
    secret = stored_results.assignment(slots)
    for audit in stored:
        assert audit["true_slots"] == slots.tolist()
        inferred = verify.infer_signatures(losses, _manifest(len(slots)))
        assert audit["inferred_slots"] == inferred.tolist()
    for name in {audit["statistic"] for audit in stored}:
        result = stats.exact_test(losses, secret, statistic=name, alpha=audit["alpha"])
        assert result.log10_p == pytest.approx(audit["log10_p"], rel=CLOSE)
        assert result.p_value == pytest.approx(audit["p_value"], rel=1e-11)
        assert result.z == pytest.approx(audit["z"], rel=CLOSE)
        assert stats.format_p(result.log10_p) == audit["p_text"]
        assert (result.outcome, result.num_units) == (audit["outcome"], audit["num_units"])


def _manifest(num_photos):
    photos = np.arange(num_photos * 3, dtype=np.uint8).reshape(num_photos, 1, 1, 3)
    return keys.Manifest.of(photos, stored_results.SPACE)


def test_the_golden_tables_are_all_that_are_stored():
    owners = [
        f"{name}/{owner}"
        for name in ("lower_bound", "bounded_score")
        for owner, *_ in stored_results.owners_rows(name)
    ]
    assert list(GOLDEN) == [facts_of(entry) for entry in REAL] + owners
    assert len(GOLDEN) == 102


def same(new, old):
    assert new["digest"] == old["digest"]
    assert new["log10_p"] == pytest.approx(old["log10_p"], rel=CLOSE, abs=CLOSE)
    assert new["log_wealth"] == pytest.approx(old["log_wealth"], rel=1e-11)
    for name in ("hits", "at_least", "listed"):
        assert new[name] == old[name]


def all_tables():
    for entry in REAL:
        yield facts_of(entry), entry[1]
    for name in ("lower_bound", "bounded_score"):
        for owner, table, _ in stored_results.owners_rows(name):
            yield f"{name}/{owner}", table


@pytest.mark.parametrize("part", [0, 1])
def test_every_statistic_bound_list_and_wealth(part):
    """Of ten tables; the slow test has all 102."""
    for name, table in itertools.islice(all_tables(), part * 50, None, 11):
        same(stored_results.numbers_of(table), GOLDEN[name])


@pytest.mark.slow
def test_every_statistic_bound_list_and_wealth_of_all_tables():
    for name, table in all_tables():
        same(stored_results.numbers_of(table), GOLDEN[name])


def test_the_rows_of_two_trainings_give_the_bounds_of_their_result_file():
    stored = json.loads((stored_results.BENCHMARKS / "lower_bound.json").read_text())
    owners = stored_results.owners_rows("lower_bound")
    for (name, (losses, slots), _), audit in zip(
        owners, stored["results"]["real"], strict=True
    ):
        golden, secret = GOLDEN[f"lower_bound/{name}"], stored_results.assignment(slots)
        result = stats.exact_test(losses, secret, statistic="log_losses")
        assert result.p_value == pytest.approx(audit["p_value"], rel=1e-11)
        assert golden["at_least"]["hits"] == audit["bound_by_hits"]
        assert golden["at_least"]["ranks"] == audit["bound_by_ranks"]
        assert len(golden["listed"]) == audit["listed"]


@pytest.mark.parametrize("name", ["lower_bound", "bounded_score"])
def test_the_slots_of_all_stored_photos_are_drawn_again(name):
    """2,000 photos of 50 owners, by the rules of version 1 under which they were marked."""
    plan = keys.Plan("log_losses", 1e-6, version=1)
    for name_of_owner, (_, slots), digests in stored_results.owners_rows(name):
        seed, share = name_of_owner.split("/")
        key = keys.MarkKey.for_experiment(
            int(seed), f"owner of whom {float(share):.0%} is used"
        )
        names = tuple(f"{index:06d}" for index in range(len(digests)))
        manifest = keys.Manifest(
            tuple(digests.tolist()), names, tuple(range(len(names))), stored_results.SPACE,
            "per_image",
        )  # fmt: skip
        assert keys.assign(key, manifest, plan).slots.tolist() == slots.tolist()


def test_the_hits_of_every_audit_in_results():
    """Inferred and true slots of all audits of files, also those whose table is not kept."""
    audits = [audit for copies in stored_results.audits().values() for audit in copies]
    assert len(audits) > 1000
    seen = {}
    for audit in audits:
        inferred, slots = np.array(audit["inferred_slots"]), np.array(audit["true_slots"])
        if audit["scheme"] != "per_image":
            continue
        hits = int((inferred == slots).sum())
        assert hits == audit["num_hits"]
        seen.setdefault((hits, len(slots)), (inferred, slots, []))[2].append(audit)
    assert len(seen) > 40
    for inferred, slots, same_numbers in seen.values():
        table = np.ones((len(slots), 12))
        table[np.arange(len(slots)), inferred] = 0.0
        result = stats.exact_test(table, stored_results.assignment(slots), statistic="hits")
        for audit in same_numbers:
            stored = audit["diagnostics"]["log10_p_hits"]
            assert result.log10_p == pytest.approx(stored, rel=CLOSE, abs=CLOSE)

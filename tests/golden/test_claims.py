"""The verdicts of docs/reproduction.md, and the numbers behind them, stay as they were."""

import json
import pathlib

import pytest

from tests.golden import make_claims

FOLDER = pathlib.Path(__file__).parent
DOCUMENT = json.loads((FOLDER / "document.json").read_text())
CLAIMS = json.loads((FOLDER / "claims.json").read_text())


def identity(claim):
    return claim["row"], claim["claim"]


def test_the_document_says_what_it_said():
    """Rows not yet run may be run; whatever had a verdict keeps it and its numbers."""
    now = {identity(row): row for row in make_claims.document_rows()}
    for row in DOCUMENT:
        if row["verdict"] != "not yet run":
            assert now[identity(row)] == row
    assert {identity(row) for row in DOCUMENT} <= set(now)


def test_each_claim_of_the_document_has_its_numbers_here():
    assert {identity(row): row["verdict"] for row in DOCUMENT} == {
        identity(claim): claim["verdict"] for claim in CLAIMS
    }
    assert len(CLAIMS) == len(DOCUMENT) > 60


@pytest.mark.slow
def test_claims_measure_what_they_measured():
    now = make_claims.measured()
    assert [identity(claim) for claim in now] == [identity(claim) for claim in CLAIMS]
    for new, old in zip(now, CLAIMS, strict=True):
        for name in ("at_paper_scale", "quick"):
            assert new.pop(name) == pytest.approx(old[name], rel=1e-12), identity(old)
        assert new == {name: old[name] for name in new}

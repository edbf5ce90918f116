"""The page of a finished case of models: whose model, whose outputs, whose copy?"""

import dataclasses
import math
import os
import pathlib
from typing import Any

import numpy as np

from anw_jax import stats
from anw_jax.audit.seal import read_sealed
from anw_jax.errors import ChangedFileError
from anw_jax.keys.beacons import read_beacon
from anw_jax.keys.plan_fields import BARRIER, FINGERPRINT
from anw_jax.report import curves, html
from anw_jax.report.case_page import (
    MOST_DRAWN,
    digests_of,
    new_page,
    no_evidence,
    versions,
    write_page,
)
from anw_jax.report.case_reading import level_gloss
from anw_jax.report.copies_page import customers_figure
from anw_jax.report.style import Drawing, drawing
from anw_jax.schemes.case import ModelCase, ModelOwner
from anw_jax.schemes.judging import check_unchanged
from anw_jax.verify import verdict

_QUESTIONS = {
    BARRIER: "Was this model trained on the owner's outputs?",
    FINGERPRINT: "From whose copy does this model derive?",
}
_QUESTION = "Is this the owner's model, or made from it?"


@dataclasses.dataclass(frozen=True, eq=False)
class ModelTest:
    """The test of one owner against one suspect.

    Attributes:
      owner: name.
      suspect: name.
      is_control: whether the suspect is a control, which is not accused.
      numbers: the test in `verdict.json`, with "level_gloss" and "bits".
      null: the null distribution of the sealed scores, or None where customers are named.
    """

    owner: str
    suspect: str
    is_control: bool
    numbers: dict[str, Any]
    null: dict[str, np.ndarray] | None

    @property
    def name(self) -> str:
        """Owner and suspect."""
        return f"{self.owner} against {self.suspect}"


def write_models_report(case: ModelCase, out: str | os.PathLike | None = None) -> pathlib.Path:
    """Write the page of a finished case of models; see `write_case_report`.

    No key is read, no model is queried, and no file of the case is changed.

    Args:
      case: with `verdict.json`.
      out: the file to write; None for `report.html` in the case.

    Returns:
      The path written.

    Raises:
      CaseError: there is no verdict yet, or the file to write exists.
      ChangedFileError: a file of the case was changed.
      OSError: it cannot be written.
    """
    path, tests = new_page(case, out), _tests(case)
    sealed = case.read("blind.json")["suspects"]
    shown = [one for one in tests if not one.is_control]
    body = case.read("verdict.json")
    values = {
        "case": case,
        "question": _QUESTIONS.get(_system(case), _QUESTION),
        "verdict": body,
        "end": body["corrected"],
        "about": body["case"],
        "tests": shown,
        "controls": [one for one in tests if one.is_control],
        "drawn": [(one.name, _drawn(case, one)) for one in shown[:MOST_DRAWN]],
        "owners": {name: _facts(owner, body) for name, owner in case.owners.items()},
        "suspects": {
            name: {**_suspect(case, body, name), "sealed": sealed[name]}
            for name in case.suspects
        },
        "digests": digests_of(case),
        "versions": versions({}),
        "is_evidence": lambda one: verdict.is_evidence(one.numbers["standing"]),
        "no_evidence": no_evidence({one.name: one.numbers for one in shown}),
    }
    return write_page(path, html.page("models.html.j2", **values))


def _system(case: ModelCase) -> str:
    return case.plan.mark.partition(":")[0]


def _tests(case: ModelCase) -> list[ModelTest]:
    """Read the tests, suspects first, and check that the files are those of the verdict."""
    check_unchanged(case)
    body = case.check_link("verdict.json", "blind.json")
    _, scores = read_sealed(case, case.scores_file, "scores")
    found = [
        _test(case, body, group, owner, suspect, scores[suspect][owner])
        for group in ("tests", "controls")
        for owner, by_name in body[group].items()
        for suspect in by_name
    ]
    pairs = {(owner, suspect) for owner in case.owners for suspect in case.suspects}
    if {(one.owner, one.suspect) for one in found} != pairs:
        raise ChangedFileError(
            f"{case.file('verdict.json')} does not hold one test for each owner and suspect"
        )
    return found


def _test(
    case: ModelCase,
    body: dict[str, Any],
    group: str,
    owner: str,
    suspect: str,
    scores: np.ndarray,
) -> ModelTest:
    test, end, plan = body[group][owner][suspect], body["corrected"], case.plan
    level = end["level"] or test["alpha"]
    numbers = {
        **test,
        "alpha": level,
        "level_gloss": level_gloss(level, plan.alpha, end["num_tests"]).replace(
            "training", "the bits were drawn"
        ),
        "bits": abs(test["log10_p"]) * math.log2(10.0),
    }
    null = None if "copies" in test else stats.bit_null_shape(scores, test["statistic"])
    return ModelTest(owner, suspect, group == "controls", numbers, null)


def _drawn(case: ModelCase, one: ModelTest) -> Drawing | None:
    """Draw the null distribution, or the p of all customers."""
    slug = f"{one.owner}_{one.suspect}"
    if "copies" in one.numbers:
        return _drawn_customers(case.owners[one.owner], one, slug)
    if not curves.has_null(one):
        return None
    return drawing(
        f"null_{slug}",
        curves.describe_null(one),
        lambda theme: curves.null_figure(one, theme),
    )


def _drawn_customers(owner: ModelOwner, one: ModelTest, slug: str) -> Drawing:
    rows = one.numbers["copies"]
    log10_p = np.array([row["log10_p"] for row in rows], np.float64)
    is_named = np.array([row["is_named"] for row in rows], bool)
    # The level is that of one reading, and the p of a row counts all of them.
    level = one.numbers["level_of_codes"] * len(owner.decoder.readings)
    limit = math.log10(level / owner.decoder.num_customers)
    return drawing(
        f"customers_{slug}",
        f"p of {len(rows)} customers: {is_named.sum()} are named.",
        lambda theme: customers_figure(log10_p, is_named, "named", limit, theme),
    )


def _facts(owner: ModelOwner, body: dict[str, Any]) -> dict[str, Any]:
    beacon = owner.published.plan.beacon
    known = read_beacon(beacon) if beacon else None
    return {
        "plan": owner.published.plan,
        "num_bits": owner.decoder.num_bits,
        "base": getattr(owner.decoder, "base", ""),
        "said": body["case"]["owners"][owner.name],
        "beacon_time": f"{known.time:%Y-%m-%d %H:%M:%S} UTC" if known and known.time else "",
    }


def _suspect(case: ModelCase, body: dict[str, Any], name: str) -> dict[str, Any]:
    probed = case.read("probe.json")["suspects"] if case.has("probe.json") else {}
    return {
        "kind": case.suspects[name].kind,
        "file": case.suspects[name].digest,
        "said": body["case"]["suspects"][name],
        "probe": probed.get(name, {}),
    }

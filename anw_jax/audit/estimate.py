"""Estimate how many photos and queries an audit needs, from measured effects."""

import dataclasses
import functools
import importlib.resources
import math
from collections.abc import Callable
from typing import Any

from anw_jax import _check, _json
from anw_jax.audit.case import Case
from anw_jax.audit.options import fill_of
from anw_jax.keys.plan_fields import KINDS, Denoising
from anw_jax.marks.named import NAMES, strength_of
from anw_jax.stats import AuditPlan, format_p, log_p_reached, plan_audit

NOT_MEASURED = "not yet measured"

_ANSWERS = {
    "logits": "logits",
    "probabilities": "probabilities",
    "rounded": "rounded probabilities",
    "top_k": "the first few labels",
    "label": "one label",
    "error": "the error of a fine-tuned generator",
}
# What `expected_evidence` tells: kind of access, and references (the base of a generator).
_EXPECTED = (*((access, 0) for access in _ANSWERS), ("error", 1))

# More units than these are not simulated: they reach at least as small a p.
_MOST_UNITS = 500

# Sets of photos on which every mark was measured (results/frontier_*).
_FRONTIERS = ("cifar10", "cifar100", "tiny12")

# Fine-tuned diffusion models.
_GENERATORS = "diffusion_quick"


def effect_of(z: float, num_units: int, num_valid: int) -> float:
    """Compute the separation d behind the z of an exact test, if all units are alike.

    With scores of deviation 1 at the m - 1 wrong slots and raised by d at the right one (m =
    N - 1), a row's mean is d / m and its variance (m - 1)/m · (1 + d²/m). Hence z / √U = r =
    d √((m - 1)/m) / √(1 + d²/m), and d = r √(m / (m - 1 - r²)). Derived for this project.

    Args:
      z: (observed - null mean) / null deviation, as `stats.TestResult.z`.
      num_units: U, at least 1.
      num_valid: m, at least 2.

    Returns:
      d, with the sign of z; infinite where r² reaches m - 1, the largest that can be seen.

    Example:
      >>> round(effect_of(z=6.29, num_units=50, num_valid=11), 2)
      0.97
    """
    r = _check.finite(z=z) / math.sqrt(_check.integer_at_least(1, num_units=num_units))
    num_valid = _check.integer_at_least(2, num_valid=num_valid)
    rest = num_valid - 1 - r * r
    if rest <= 0:
        return math.copysign(math.inf, r)
    return r * math.sqrt(num_valid / rest)


def effects() -> dict[str, Any]:
    """Load the measured effects by kind of access; the file's "about" describes them.

    Example:
      >>> sorted(effects()["access"])
      ['error', 'label', 'logits', 'probabilities', 'rounded', 'top_k']
    """
    file = importlib.resources.files("anw_jax.audit") / "effects.json"
    return _json.loads(file.read_text())


def default_study(
    access: str,
    mark: str = "hue",
    *,
    true_labels: bool = True,
    augmentations: int = 1,
    references: int = 0,
) -> str | None:
    """Name the study that measured a mark under a kind of access; None if there is none.

    References count for "error" alone: one is the base of a fine-tuned generator, further ones
    are its twins (two were measured).

    Example:
      >>> default_study("logits"), default_study("label", true_labels=False)
      ('cifar10_quick', 'adapters, one picture, own labels')
      >>> default_study("logits", "tone"), default_study("label", "tone")
      ('frontier_cifar10, tone', None)
      >>> default_study("error", "light", references=1)
      'diffusion_quick, light, base'
    """
    if access == "error":
        test = ("alone", "base", "base", "base_and_twins")[min(references, 3)]
        study = f"{_GENERATORS}, {mark}, {test}"
        return study if study in effects()["access"][access] else None
    if mark != "hue":
        study = "light_quick" if mark == "light" else _frontier_study("cifar10", mark)
        is_measured = study in effects()["access"].get(access, {})
        return study if is_measured and true_labels else None
    if access == "logits" and true_labels:
        return "cifar10_quick"
    once = ["one picture"] if access == "label" and augmentations == 1 else []
    return ", ".join(["adapters", *once, *([] if true_labels else ["own labels"])])


def measured_effect(access: str, study: str | None) -> float | None:
    """Return the median d of a study under a kind of access; None if not yet measured.

    Args:
      access: kind of access.
      study: a folder of results; None for no study.

    Raises:
      ValueError: an unknown kind of access, or a study that did not measure it.
    """
    studies = effects()["access"].get(_check.one_of(KINDS, access=access))
    if not studies or study is None:
        return None
    if study not in studies:  # names with commas: `_check.one_of` would run them together
        raise ValueError(f"study must be one of {list(studies)}, got {study!r:.80}")
    return studies[study]["median"]


def hardest_study(access: str, mark: str) -> str | None:
    """Name the set of photos on which a mark's effect was the smallest; None if there is none.

    Example:
      >>> hardest_study("logits", "light"), hardest_study("label", "light")
      ('frontier_tiny12', None)
    """
    studies = effects()["access"].get(access, {})
    found = [name for name in (_frontier_study(d, mark) for d in _FRONTIERS) if name in studies]
    return min(found, key=lambda name: studies[name]["median"], default=None)


def _frontier_study(dataset: str, mark: str) -> str:
    """Name the study of a mark on one set of photos, as `benchmarks.effects` does."""
    return f"frontier_{dataset}" + ("" if mark == "light" else f", {mark}")


def estimate(
    *,
    access: str = "logits",
    mark: str = "light",
    effect: float | None = None,
    study: str | None = None,
    true_labels: bool = True,
    augmentations: int = 1,
    references: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Estimate units, slots and queries for a level and a power.

    Args:
      access: kind of access.
      mark: one of `marks.named.NAMES`, at its default strength.
      effect: the separation d of a unit's score at its own slot; None takes the median
        measured in `study`.
      study: where the effect was measured; None takes `default_study`.
      true_labels: False if the model's own answers are the labels.
      augmentations: queries for each photo and slot; several were measured with 16.
      references: number of reference models, each of which is asked as much as the suspect;
        only the effects for access "error" were measured with any.
      **options: as `stats.plan_audit` takes them: `num_slots`, `alpha`, `power`, `mode`,
        `images_per_unit`, `max_units`, `seed`.

    Returns:
      The fields of `stats.AuditPlan`, "effect" and its source; where no effect or study is
      given, "hardest": the study with the smallest effect of this mark, and its "num_units",
      None if there are more than `max_units`; with references
      "num_reference_queries", to all of them; with several views the "fill" of new plans under
      the mark; with access "error" "num_evaluations", of a diffusion model's network for the
      queries to it; `reason` says "not yet measured" where no effect is known.

    Raises:
      TypeError, ValueError: an effect that is not one finite number; else as
        `stats.plan_audit`.

    Example:
      >>> estimate(access="top_k")["reason"]
      'not yet measured for top_k and the mark light: give --effect'
    """
    is_default = effect is None and study is None
    source, references = "given", _check.integer_at_least(0, references=references)
    if references and options.get("mode") == "sequential":
        raise ValueError("references must be 0 in sequential mode, which has none")
    effect = effect if effect is None else _check.finite(effect=effect)
    _check.one_of(NAMES, mark=mark)
    if study is None:
        study = default_study(
            access,
            mark,
            true_labels=true_labels,
            augmentations=augmentations,
            references=references,
        )
    if effect is None:
        effect, source = measured_effect(access, study), f"measured in results/{study}"
    if effect is None:
        return {
            "access": access,
            "effect": None,
            "source": NOT_MEASURED,
            "num_units": None,
            "reason": f"{NOT_MEASURED} for {access} and the mark {mark}: give --effect",
        }
    planned = functools.partial(
        plan_audit, access=access, augmentations=augmentations, **options
    )
    plan = planned(effect)
    body = {**dataclasses.asdict(plan), "effect": effect, "source": source}
    if is_default:
        is_bare = options.get("mode") != "sequential" and not references
        body |= _other_studies(access, mark, effect, true_labels, is_bare, planned)
    if access == "error" and plan.num_queries:
        body["num_evaluations"] = plan.num_queries * Denoising().num_evaluations
    if references:
        body["num_reference_queries"] = plan.num_queries and references * plan.num_queries
    if augmentations > 1:
        body["fill"] = fill_of(NAMES[mark])
    return body


def _other_studies(
    access: str,
    mark: str,
    effect: float,
    true_labels: bool,
    is_bare: bool,
    planned: Callable[[float], AuditPlan],
) -> dict[str, Any]:
    """Plan with the effects of other studies: where it was smallest, and with a reference."""
    found = {}
    hardest = hardest_study(access, mark) if true_labels else None
    if hardest and (smaller := measured_effect(access, hardest)) < effect:
        found["hardest"] = {"study": hardest, "num_units": planned(smaller).num_units}
    if access == "error" and is_bare:
        calibrated = default_study(access, mark, references=1)
        units = planned(measured_effect(access, calibrated)).num_units
        found["with_base"] = {"study": calibrated, "num_units": units}
    return found


@dataclasses.dataclass(frozen=True)
class ExpectedEvidence:
    """The p that an audit of some photos can be expected to reach.

    Attributes:
      access: kind of access.
      num_units: photos that the estimate is for; at most 500.
      log10_p: reached in nine of ten models like those measured; None where nothing was
        measured.
      study: the folder of results that it rests on; "" for none.
      num_trainings: number of trainings in it.
      references: 1 if the model that a generator was fine-tuned from is a reference; else 0.
    """

    access: str
    num_units: int
    log10_p: float | None
    study: str
    num_trainings: int
    references: int = 0

    @property
    def text(self) -> str:
        """One line."""
        answers = _ANSWERS[self.access] + (
            " with its base as a reference" if self.references else ""
        )
        if self.log10_p is None:
            return f"from {answers}: {NOT_MEASURED}"
        photos = f"these {self.num_units} photos"
        if self.num_units in (1, _MOST_UNITS):
            photos = "this photo" if self.num_units == 1 else f"{_MOST_UNITS} or more photos"
        p = f"p ≤ {format_p(self.log10_p)} in 9 of 10"
        if self.log10_p > math.log10(0.5):
            p = "p can be anything up to 1 for"
        return (
            f"with {photos}, from {answers}: {p} models like the {self.num_trainings} that "
            f"were measured (results/{self.study})"
        )


def evidence_lines(
    mark: str, strength: float | None, expected: tuple[ExpectedEvidence, ...]
) -> list[str]:
    """Format what `expected_evidence` returned for a mark; empty if it changes no photo."""
    if not expected:
        return ["no evidence is to be expected: the mark changes no photo"]
    lines = [one.text for one in expected if one.log10_p is not None]
    left = [_ANSWERS[one.access] for one in expected if one.log10_p is None]
    if lines:
        return [*lines, f"{NOT_MEASURED}: from {', '.join(left)}"] if left else lines
    text = f"expected evidence: {NOT_MEASURED} for the mark {mark}"
    default = strength_of(mark)
    if strength == default:
        return [text]
    known = any(one.log10_p is not None for one in expected_evidence(mark, default, 1))
    only = f" (only at {default:g})" if known else ""
    return [f"{text} at strength {strength:g}{only}"]


def expected_evidence(
    mark: str, strength: float | None, num_units: int
) -> tuple[ExpectedEvidence, ...]:
    """Estimate the p that sealed audits of marked photos reach, one photo in each unit.

    From the effects of single trainings, in which photos had a mark of its default strength and
    labels came from the owner; with the views that plans have by default.

    Args:
      mark: one of `marks.named.NAMES`.
      strength: of the mark; None for its default. Effects are known for the default only.
      num_units: photos that the mark changes, copies counted once; at least 1.

    Returns:
      One entry for each kind of access; a second one for the errors of generators whose base is
      a reference, where that was measured.

    Raises:
      TypeError, ValueError: another mark or strength, or no unit.

    Example:
      >>> expected_evidence("tone", 0.1, 59)[0].text
      'from logits: not yet measured'
    """
    _check.one_of(NAMES, mark=mark)
    num_units = min(_check.integer_at_least(1, num_units=num_units), _MOST_UNITS)
    is_default = strength_of(mark, strength) == strength_of(mark)
    found = []
    for access, references in _EXPECTED:
        studies = effects()["access"][access]
        how = {"augmentations": 16 if access == "label" else 1, "references": references}
        study = default_study(access, mark, **how) if is_default else None
        runs = studies.get(study, {"runs": []})["runs"]
        if references and not runs:
            continue
        log10_p = None
        if runs:
            of_trainings = [run["effect"] for run in runs]
            log10_p = log_p_reached(of_trainings, num_units) / math.log(10)
        study = study if runs else ""
        found.append(
            ExpectedEvidence(access, num_units, log10_p, study or "", len(runs), references)
        )
    return tuple(found)


def reached(case: Case) -> list[dict[str, Any]]:
    """Read what an audit reached from its verdict: one entry for each owner and suspect.

    Returns:
      "owner", "suspect", "p_text", "num_units" (queried), "num_queries", "effect": the
      separation d that was found, None in sequential mode.

    Raises:
      CaseError: there is no verdict.
      ChangedFileError: it records other digests than those of the files before it.
    """
    mode, declared = case.read("verdict.json")["mode"], case.read("declared.json")
    before = "blind.json" if mode == "sealed" else "closed.json"
    case.check_link(before, "declared.json")
    verdict = case.check_link("verdict.json", before)
    rows = []
    for owner, by_name in verdict["tests"].items():
        num_valid = declared["owners"][owner]["num_slots"] - 1
        for name, test in by_name.items():
            effect = None
            if "z" in test and num_valid > 1:
                effect = effect_of(test["z"], test["num_units"], num_valid)
            rows.append(
                {
                    "owner": owner,
                    "suspect": name,
                    "p_text": test["p_text"],
                    "num_units": test.get("num_opened", test["num_units"]),
                    "num_queries": verdict["queries"][name],
                    "effect": effect if effect is None or math.isfinite(effect) else None,
                }
            )
    return rows

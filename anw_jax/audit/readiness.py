"""What has to hold of a case before it can be declared."""

from collections.abc import Collection
from typing import Any

from anw_jax.audit.case import Case
from anw_jax.errors import CaseError
from anw_jax.suspects import Suspect


def check_probe(case: Case, despite_probe: bool) -> None:
    """Every suspect was probed as it is now, and found fit.

    Raises:
      CaseError: it was not.
    """
    if despite_probe:
        return
    if not case.has("probe.json"):
        raise CaseError(
            f"{case.file('probe.json')} is not there: probe the suspects first (anw probe)"
        )
    reports = case.read("probe.json")["suspects"]
    for name, file in case.suspects.items():
        if reports.get(name, {}).get("file") != file.digest:
            raise CaseError(f"{file.path} is new or was changed since the probe: probe again")
        if not reports[name]["is_fit"]:
            raise CaseError(
                f"the probe found that suspect {name!r} is not asked correctly: correct "
                f"{file.path} and probe again"
            )


def check_same_models(case: Case, opened: dict[str, Suspect]) -> None:
    """The models opened are those probed.

    Raises:
      CaseError: one is not.
    """
    reports = case.read("probe.json")["suspects"]
    for name, suspect in opened.items():
        if reports[name].get("declaration") != suspect.declaration.digest:
            raise CaseError(f"suspect {name!r} is not the model that was probed: probe again")


def check_owners(case: Case, controls: Collection[str] = ()) -> None:
    """One case has one mode, one claim, one level, and one signature space."""
    plans = {name: owner.published for name, owner in case.owners.items()}
    for field in ("mode", "claim", "alpha", "version"):
        _agree(field, {name: getattr(p.plan, field) for name, p in plans.items()})
    _agree("num_slots", {n: p.manifest.space.num_slots for n, p in plans.items()})
    holder: dict[str, str] = {}
    for name, published in plans.items():
        other = holder.setdefault(published.commitment, name)
        if other != name:
            raise CaseError(
                f"owners {other!r} and {name!r} have the same commitment, which may be in a "
                "case only once"
            )
    plan = next(iter(plans.values())).plan
    accused = len(case.suspects) - len(controls)
    if not accused:
        raise CaseError("every suspect of the case is a control: there is nothing to test")
    if plan.claim == "one model" and accused > 1:
        raise CaseError(
            f"the owners' plans claim 'one model' and the case has {accused} suspects: keep "
            "one of them, or commit to another claim"
        )


def check_complete(case: Case) -> None:
    """Every photo committed to is here.

    An owner knows the slots, and may know the model's answers: leaving out photos whose hue
    does not match would make a match of those that are left.
    """
    for name, owner in case.owners.items():
        here = set(owner.originals.present)
        names = owner.published.manifest.file_names
        missing = [name for index, name in enumerate(names) if index not in here]
        if missing:
            raise CaseError(
                f"owner {name!r} lacks {len(missing)} of {len(owner.originals.images)} "
                f"originals ({missing[0]!r}): get them all, since whoever may leave photos out "
                "can keep just those that match"
            )


def _agree(field: str, values: dict[str, Any]) -> None:
    (first, expected), *others = values.items()
    for name, value in others:
        if value != expected:
            raise CaseError(
                f"owners {first!r} and {name!r} have committed to different values of {field} "
                f"({expected!r} and {value!r}): give each a case of its own"
            )

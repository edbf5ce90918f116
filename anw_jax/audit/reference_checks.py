"""Checks of reference models: they fit the suspects, and are older than the hues or planned."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from anw_jax.audit.case import REFERENCES, Case
from anw_jax.audit.options import access_of_rule
from anw_jax.audit.statements import CaseStatements
from anw_jax.errors import CaseError, CommitmentError
from anw_jax.keys import AccessRule
from anw_jax.suspects import Declaration, DenoisingSuspect, Suspect
from anw_jax.verify.references import check_age

# Why references are not used: by reference, suspect, owner.
LeftOut = dict[str, dict[str, dict[str, str]]]


def references_left_out(
    case: Case,
    opened: Mapping[str, Suspect],
    rules: Mapping[str, AccessRule],
    statements: CaseStatements,
) -> LeftOut:
    """Check the references; list which cannot be used for some suspect or owner, and why.

    One that some owner's plan names may be left out for a suspect that it does not fit, or for
    an owner in whose plan it is not. Any other must fit all of them.

    Args:
      case: with suspects and references.
      opened: each of `case.models`.
      rules: by which each suspect is queried.
      statements: of the arbitrator, with release dates.

    Returns:
      Why, by reference, suspect and owner; what is not in it is used.

    Raises:
      CaseError: names the reference and the rule.
    """
    if case.references and case.plan.mode == "sequential":
        raise CaseError(
            "a sequential case has no references, since their coefficients are fitted to the "
            f"rows of all units; got {', '.join(case.references)}"
        )
    declarations = {name: model.declaration for name, model in opened.items()}
    _check_models(case, declarations)
    found: LeftOut = {}
    for name in case.references:
        digest = declarations[f"{REFERENCES}{name}"].digest
        plans = [owner.published.plan for owner in case.owners.values()]
        is_planned = any(digest in plan.references for plan in plans)
        for suspect, rule in rules.items():
            unlike = _reason(_check_like, name, opened, suspect, rule)
            for owner in case.owners:
                args = case, owner, name, digest, statements
                why = unlike or _reason(_check_age_for, *args)
                if why and not is_planned:
                    raise CaseError(why)
                if why:
                    found.setdefault(name, {}).setdefault(suspect, {})[owner] = why
        num_left_out = sum(map(len, found.get(name, {}).values()))
        if num_left_out == len(rules) * len(case.owners):
            raise CaseError(
                f"{why}: no suspect can be calibrated by {name!r}, take it out of the case"
            )
    return found


def _reason(check: Callable[..., None], *args: Any) -> str:
    """Return the error of a check in words; "" for none."""
    try:
        check(*args)
    except CaseError as error:
        return str(error)
    return ""


def _check_models(case: Case, declarations: Mapping[str, Declaration]) -> None:
    """Check that references are models in files, and different from one another."""
    name_of: dict[str, str] = {}
    for name, file in case.references.items():
        declaration = declarations[f"{REFERENCES}{name}"]
        if file.kind == "http":
            raise CaseError(
                f"reference {name!r} must be a model in a file: a service may answer with "
                "another model at any time"
            )
        other = name_of.setdefault(declaration.digest, name)
        if other != name:
            raise CaseError(f"references {other!r} and {name!r} are the same model")


def _check_like(
    name: str, opened: Mapping[str, Suspect], suspect: str, rule: AccessRule
) -> None:
    """Check that a reference can be asked as a suspect is, and is another model."""
    model, asked = opened[f"{REFERENCES}{name}"], opened[suspect]
    declaration, other = model.declaration, asked.declaration
    if declaration.identity and declaration.identity == other.identity:
        raise CaseError(f"reference {name!r} is the same model as suspect {suspect!r}")
    for field in ("num_classes", "input_size"):
        values = getattr(declaration, field), getattr(other, field)
        if values[0] != values[1]:
            raise CaseError(
                f"reference {name!r} must declare the {field} of suspect {suspect!r}, "
                f"{values[1]}, got {values[0]}"
            )
    try:
        access_of_rule(rule).check_fits(declaration)
    except ValueError as error:
        raise CaseError(
            f"reference {name!r} must offer the access declared for suspect {suspect!r}, "
            f"{rule.kind}: {error}"
        ) from None
    if _schedule_of(model) != _schedule_of(asked):
        raise CaseError(
            f"reference {name!r} must have the scheduler of suspect {suspect!r}, "
            f"{_schedule_of(asked)}; got {_schedule_of(model)}"
        )


def _schedule_of(model: Suspect) -> str:
    return model.scheduler if isinstance(model, DenoisingSuspect) else "no scheduler"


def check_denoising(
    case: Case, opened: Mapping[str, Suspect], rules: Mapping[str, AccessRule]
) -> None:
    """Refuse models that are not asked for the planned denoising error, or not all for one.

    Steps, seed and mirror must be the same for a reference and a suspect with one scheduler:
    whoever may choose them for each model could choose those under which the difference suits
    the hues.

    Args:
      case: with suspects and references.
      opened: each of `case.models`.
      rules: by which each suspect is queried.

    Raises:
      CaseError: names the models and their settings.
    """
    for name, model in opened.items():
        own_rules = [rules[name]] if name in rules else rules.values()
        check_planned_denoising(name, model, own_rules)
    for name in case.references:
        model = opened[f"{REFERENCES}{name}"]
        for suspect in case.suspects:
            other = opened[suspect]
            if (
                isinstance(model, DenoisingSuspect)
                and isinstance(other, DenoisingSuspect)
                and model.scheduler == other.scheduler
                and model.choice != other.choice
            ):
                raise CaseError(
                    f"reference {name!r} must have the denoising settings of suspect "
                    f"{suspect!r}, {other.choice}; got {model.choice}"
                )


def check_planned_denoising(
    model_name: str, model: Suspect, rules: Iterable[AccessRule]
) -> None:
    """Refuse a diffusion model that is not asked for the error that a plan fixes.

    Args:
      model_name: of a suspect or reference, as in `Case.models`.
      model: opened.
      rules: of the plans, of any kind.

    Raises:
      CaseError: names the model, and both settings.
    """
    if not isinstance(model, DenoisingSuspect):
        return
    planned = [rule.denoising for rule in rules if rule.denoising is not None]
    wanted = [model.planned_choice(one) for one in planned]
    if wanted and model.choice not in wanted:
        what = "reference" if model_name.startswith(REFERENCES) else "suspect"
        raise CaseError(
            f"{what} {model_name.removeprefix(REFERENCES)!r} must be asked for the denoising "
            f"error that the plan fixes, {' or '.join(wanted)}; got {model.choice}: correct "
            "the table [denoising] of its file"
        )


def check_reference_ages(
    case: Case,
    declarations: Mapping[str, Declaration],
    statements: CaseStatements,
    left_out: LeftOut,
) -> None:
    """Refuse references that no plan names and that may be younger than a beacon's value.

    Args:
      case: with suspects and references.
      declarations: of each of `case.models`.
      statements: of the arbitrator, with release dates.
      left_out: as `references_left_out` found it at the declaration.

    Raises:
      CaseError: names the reference and the owner.
    """
    for name in case.references:
        digest, skipped = declarations[f"{REFERENCES}{name}"].digest, left_out.get(name, {})
        for owner in case.owners:
            if any(owner not in skipped.get(suspect, {}) for suspect in case.suspects):
                _check_age_for(case, owner, name, digest, statements)


def _check_age_for(
    case: Case, owner: str, name: str, digest: str, statements: CaseStatements
) -> None:
    """Check that a reference is in one owner's plan, or older than the beacon's value.

    Recorded answers are accepted only if the plan names them: nothing shows when they were
    written, whatever the age of the model that they are said to come from.
    """
    plan = case.owners[owner].published.plan
    said = statements.of(owner, next(iter(case.suspects)))
    if case.references[name].kind == "recorded" and digest not in plan.references:
        raise CaseError(
            f"owner {owner!r}: reference {name!r} must be in the plan, or be a model "
            "in a file: nothing shows when recorded answers were written"
        )
    try:
        check_age(name, digest, statements.references[name]["released"], plan, said)
    except CommitmentError as error:
        raise CaseError(f"owner {owner!r}: {error}") from None

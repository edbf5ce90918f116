"""Checks of reference models: they fit the suspects, and are older than the hues or planned."""

from collections.abc import Mapping

from anw_jax.audit.case import REFERENCES, Case
from anw_jax.audit.options import access_of_rule
from anw_jax.audit.statements import CaseStatements
from anw_jax.errors import CaseError, CommitmentError
from anw_jax.keys import AccessRule
from anw_jax.suspects import Declaration, DenoisingSuspect, Suspect
from anw_jax.verify.references import check_age


def check_references(
    case: Case,
    declarations: Mapping[str, Declaration],
    rules: Mapping[str, AccessRule],
    statements: CaseStatements,
) -> None:
    """Refuse references that do not fit the suspects, or that may depend on the hues.

    Args:
      case: with suspects and references.
      declarations: of each of `case.models`.
      rules: by which each suspect is queried.
      statements: of the arbitrator, with release dates.

    Raises:
      CaseError: names the reference and the rule.
    """
    if case.references and case.plan.mode == "sequential":
        raise CaseError(
            "a sequential case has no references, since their coefficients are fitted to the "
            f"rows of all units; got {', '.join(case.references)}"
        )
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
        for suspect, rule in rules.items():
            _check_like(name, declaration, suspect, declarations[suspect], rule)
    check_reference_ages(case, declarations, statements)


def _check_like(
    name: str, declaration: Declaration, suspect: str, other: Declaration, rule: AccessRule
) -> None:
    """Check that a reference can be asked as a suspect is, and is another model."""
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


def check_same_denoising(case: Case, opened: Mapping[str, Suspect]) -> None:
    """Refuse a reference whose noise is not removed as the suspect's is.

    Scheduler, steps, seed and mirror must be the same: whoever may choose them for each model
    could choose those under which the difference suits the hues. A denoiser is compared with
    denoisers only.

    Args:
      case: with suspects and references.
      opened: each of `case.models`.

    Raises:
      CaseError: names both models and their settings.
    """
    for name in case.references:
        own = _denoising_of(opened[f"{REFERENCES}{name}"])
        for suspect in case.suspects:
            other = _denoising_of(opened[suspect])
            if own != other:
                raise CaseError(
                    f"reference {name!r} must have the scheduler and the denoising settings of "
                    f"suspect {suspect!r}, {other}; got {own}"
                )


def _denoising_of(model: Suspect) -> str:
    return model.settings if isinstance(model, DenoisingSuspect) else "no denoising"


def check_reference_ages(
    case: Case, declarations: Mapping[str, Declaration], statements: CaseStatements
) -> None:
    """Refuse references that no plan names and that may be younger than a beacon's value.

    Recorded answers are accepted only if the plan names them: nothing shows when they were
    written, whatever the age of the model that they are said to come from.

    Raises:
      CaseError: names the reference and the owner.
    """
    suspect = next(iter(case.suspects))
    for name in case.references:
        digest = declarations[f"{REFERENCES}{name}"].digest
        released = statements.references[name]["released"]
        for owner, one in case.owners.items():
            said, plan = statements.of(owner, suspect), one.published.plan
            if case.references[name].kind == "recorded" and digest not in plan.references:
                raise CaseError(
                    f"owner {owner!r}: reference {name!r} must be in the plan, or be a model "
                    "in a file: nothing shows when recorded answers were written"
                )
            try:
                check_age(name, digest, released, plan, said)
            except CommitmentError as error:
                raise CaseError(f"owner {owner!r}: {error}") from None

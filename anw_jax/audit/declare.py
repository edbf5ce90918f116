"""Write and read `declared.json`, which fixes how suspects are queried before any query."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from anw_jax import _check, _json
from anw_jax.audit import checks
from anw_jax.audit.case import FORMATS, REFERENCES, Case, Owner, visible
from anw_jax.audit.corrections import level_of_record
from anw_jax.audit.declared import Declared
from anw_jax.audit.options import Chosen, Options, access_of_rule, choose_rule
from anw_jax.audit.reference_checks import LeftOut, check_denoising, references_left_out
from anw_jax.audit.statements import (
    CaseStatements,
    check_release,
    read_statements,
    write_template,
)
from anw_jax.audit.suspect_file import MakerFn, SuspectFile
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import AccessRule, augmentation_seed
from anw_jax.keys.beacons import check_value
from anw_jax.suspects import Declaration, Suspect
from anw_jax.suspects.access import reachable


def declare(
    case: Case,
    options: Options,
    *,
    despite_probe: bool = False,
    despite_missing: bool = False,
    makers: dict[str, MakerFn] | None = None,
) -> dict[str, Any]:
    """Write `declared.json`; nothing may change afterwards.

    Args:
      case: with owners, suspects, and a probe.
      options: the arbitrator's choices.
      despite_probe: continue although the probe found errors, or was not made.
      despite_missing: continue although originals are missing or cannot be read: their rows
        are constant, and the verdict is conditional.
      makers: further kinds of suspects.

    Returns:
      What was written.

    Raises:
      CaseError: declared already, no probe or one that found errors, owners that cannot share
        a case, originals missing or too small for their mark, labels that are missing or were
        not committed to, a beacon's value missing or not planned, references that do not fit.
      ValueError: an access that a suspect's answers do not allow.
    """
    refuse_declared(case)
    statements = _checked_statements(case, despite_probe, despite_missing)
    opened = {name: file.open(makers) for name, file in case.models.items()}
    if not despite_probe:
        checks.check_same_models(case, opened)
    declarations = {name: model.declaration for name, model in opened.items()}
    chosen = {n: _chosen(case, n, declarations[n], options) for n in case.suspects}
    rules = {name: one.rule for name, one in chosen.items()}
    check_denoising(case, opened, rules)
    left_out = references_left_out(case, opened, rules, statements)
    owners = _owners(case, opened, list(rules.values()), options.label_source)
    checks.check_sizes_fit(case, opened, was_probed=not despite_probe)
    body = {
        "format": FORMATS["declared.json"],
        "previous": case.digest("probe.json"),
        "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "owners": owners,
        "suspects": {
            name: {**_model(file, declarations[name]), **chosen[name].as_json()}
            for name, file in case.suspects.items()
        },
        **_references(case, declarations, left_out),
        "budget": options.budget,
        "beacons": beacon_values(case, dict(options.beacons)),
        "public_seeds": public_seeds(case),
        "despite_probe": despite_probe,
        "statements": statements.digest,
        "controls": statements.controls,
        **_sequential(case, statements, chosen),
    }
    for suspect in opened.values():
        close(suspect)
    # The last file: a declaration that was killed can be made again.
    write_template(case, Declared(case, body).planned_but_unused())
    _json.write(case.file("declared.json"), body)
    return body


def refuse_declared(case: Case) -> None:
    """Raise CaseError for a case that is declared, or has answers from before."""
    if case.has("declared.json"):
        raise CaseError(
            f"{case.file('declared.json')} exists: an audit is declared once; another "
            "declaration needs another case folder, and counts as another test"
        )
    if visible(case.file("answers")):  # whoever put them there may know the marks
        raise CaseError(
            f"{case.file('answers')} holds answers from before the declaration, which would be "
            "used without asking a suspect: remove it"
        )


def _checked_statements(
    case: Case, despite_probe: bool, despite_missing: bool
) -> CaseStatements:
    """Check the folder, before any model is opened; return what is stated so far."""
    checks.check_probe(case, despite_probe)
    statements = read_statements(case)
    checks.check_owners(case, statements.controls)
    if not despite_missing:
        checks.check_complete(case)
    checks.check_marks_fit(case)
    check_release(case, statements)
    return statements


def _owners(
    case: Case, opened: Mapping[str, Suspect], rules: list[AccessRule], source: str | None
) -> dict[str, Any]:
    """Return what is declared of each owner, after a check that the labels fit all models."""
    plans = {name: owner.published.plan for name, owner in case.owners.items()}
    sources = {n: checks.declared_source(plan, rules, source) for n, plan in plans.items()}
    labels = {name: checks.wanted_labels(case, name, sources[name]) for name in plans}
    checks.check_labels_fit(case, opened, labels)
    return {
        name: {
            **_owner(owner),
            **_photos(owner),
            "labels_by": sources[name],
            "labels_sha256": checks.digest_of_labels(labels[name]),
        }
        for name, owner in case.owners.items()
    }


def _chosen(case: Case, name: str, declaration: Declaration, options: Options) -> Chosen:
    """Return the rule of one suspect, at its own highest kind of access."""
    plans = {owner: one.published.plan for owner, one in case.owners.items()}
    if any(plan.version == 1 for plan in plans.values()):
        # These plans left everything to the arbitrator; their verdicts say so.
        wanted = options.wanted()
        kind = wanted.pop("kind", None) or reachable(declaration)[0]
        chosen = Chosen(AccessRule(kind, **{"labels": "owner", **wanted}), 1)
    else:
        chosen = choose_rule(name, declaration, plans, options.wanted())
    try:
        access_of_rule(chosen.rule).check_fits(declaration)
    except ValueError as error:
        raise CaseError(f"suspect {name!r}: {error}") from None
    return chosen


def _model(file: SuspectFile, declaration: Declaration) -> dict[str, Any]:
    return {
        "file": file.digest,
        "kind": file.kind,
        "declaration": declaration.as_json(),
        "declaration_digest": declaration.digest,
    }


def _references(
    case: Case, declarations: dict[str, Declaration], left_out: LeftOut
) -> dict[str, Any]:
    models = {
        name: _model(file, declarations[f"{REFERENCES}{name}"]) | {"runs_code": file.runs_code}
        for name, file in case.references.items()
    }
    skipped = {"references_left_out": left_out} if left_out else {}
    return {"references": models, **skipped} if models else {}


def close(suspect: Suspect) -> None:
    """Close a suspect, if it has anything to close."""
    end = getattr(suspect, "close", None)
    if end is not None:
        end()


def public_seeds(case: Case) -> dict[str, str]:
    """Return each owner's image augmentation seed, fixed by commitment and plan."""
    return {
        name: augmentation_seed(owner.published.commitment, owner.published.plan).hex()
        for name, owner in case.owners.items()
    }


def check_unchanged(case: Case) -> Declared:
    """Compare owners, suspects and probe with `declared.json`, and return it.

    Raises:
      CaseError: nothing is declared yet.
      ChangedFileError: something was changed, added or removed since.
    """
    file = case.file("declared.json")
    if not case.has("declared.json"):
        raise CaseError(f"{file} is not there: declare the audit first (anw declare)")
    declared = Declared(case, case.check_link("declared.json", "probe.json"))
    owners = declared.body["owners"]
    if not any(said.get("missing") for said in owners.values()):
        checks.check_complete(case)
    now = {
        "owners": {
            name: {**_owner(owner), "missing": owner.originals.missing or None}
            for name, owner in case.owners.items()
        },
        "suspects": {name: {"file": file.digest} for name, file in case.suspects.items()},
        "references": {n: {"file": file.digest} for n, file in case.references.items()},
    }
    check_entries(case, declared.body, now)
    checks.check_owners(case, declared.body.get("controls") or ())
    for name, owner in declared.body["owners"].items():
        if "labels_sha256" not in owner:
            continue  # older files hold labels to the originals' digest
        labels = checks.wanted_labels(case, name, declared.labels_by(name))
        if checks.digest_of_labels(labels) != owner["labels_sha256"]:
            raise _changed(case, f"the table of labels of owner {name!r}")
    _check_rules(declared)
    if declared.body.get("public_seeds") != public_seeds(case):
        raise ChangedFileError(f"{file} names other public seeds than the commitments give")
    return declared


def check_entries(
    case: Case,
    declared: Mapping[str, Any],
    now: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> None:
    """Compare owners, suspects and so on with those that `declared.json` names.

    Args:
      case: for messages.
      declared: the file's fields.
      now: by group ("owners" …), by name, the fields that must be the same.

    Raises:
      ChangedFileError: something was changed, added or removed.
    """
    for group, entries in now.items():
        before = declared.get(group) or {}
        if sorted(before) != sorted(entries):
            raise ChangedFileError(
                f"{case.path} was declared with the {group} {', '.join(sorted(before))}, and "
                f"now has {', '.join(sorted(entries))}"
            )
        for name, fields in entries.items():
            for field, value in fields.items():
                if before[name].get(field) != value:
                    raise _changed(case, f"{field} of {group[:-1]} {name!r}")


def _changed(case: Case, what: str) -> ChangedFileError:
    return ChangedFileError(
        f"{case.path}: {what} was changed after declared.json named it: restore it, or start "
        "again in another case folder"
    )


def _check_rules(declared: Declared) -> None:
    """Check that the plans allow what is declared, and that the menu has its true length.

    Raises:
      ChangedFileError: `declared.json` says otherwise.
    """
    file = declared.case.file("declared.json")
    plans = {name: owner.published.plan for name, owner in declared.case.owners.items()}
    if any(plan.version == 1 for plan in plans.values()):
        return
    for name, written in declared.body["suspects"].items():
        try:
            rule = declared.rule(name)
            wanted = {f.name: getattr(rule, f.name) for f in dataclasses.fields(rule)}
            chosen = choose_rule(name, declared.declaration(name), plans, wanted).as_json()
            holds = all(written[field] == value for field, value in chosen.items())
        except (CaseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ChangedFileError(
                f"{file} declares for suspect {name!r} what the plans do not leave open "
                f"({error!s:.120})"
            ) from None
        if not holds:
            raise ChangedFileError(
                f"{file} declares another rule or menu for suspect {name!r} than the plans give"
            )
    rules = [declared.rule(name) for name in declared.body["suspects"]]
    for name, plan in plans.items():
        source = checks.declared_source(plan, rules)
        if declared.body["owners"][name].get("labels_by") != source:
            raise ChangedFileError(
                f"{file} takes the labels of owner {name!r} from another source than the plan"
            )


def _owner(owner: Owner) -> dict[str, Any]:
    published, originals = owner.published, owner.originals
    return {
        "commitment": published.commitment,
        "plan": published.plan.as_json(),
        "files": dict(published.digests),
        "originals": originals.digest,
        "labels_file": originals.labels_file,
        "num_images": published.manifest.num_images,
        "num_units": published.manifest.num_units,
        "num_slots": published.manifest.space.num_slots,
    }


def _photos(owner: Owner) -> dict[str, Any]:
    """Return how many files have other pixels here, and which are missing, for bundles."""
    originals = owner.originals
    found = {"num_redecoded": originals.num_redecoded, "missing": originals.missing}
    return {name: value for name, value in found.items() if value}


def _sequential(
    case: Case, statements: CaseStatements, chosen: dict[str, Chosen]
) -> dict[str, Any]:
    """Return the level at which each record may stop: fixed here, and repeated in its header.

    The level allows for the largest factor stated so far; a factor that is stated later
    multiplies the running p as well.
    """
    plan = case.plan
    if plan.mode != "sequential":
        return {}
    if statements.controls:
        raise CaseError(
            "a sequential case has no controls, and the statements name "
            f"{statements.controls[0]!r} as one: give it a case of its own"
        )
    factor = max(
        statements.of(owner, name).factor * chosen[name].menu
        for owner in case.owners
        for name in case.suspects
    )
    level = level_of_record(plan, len(case.owners), len(case.suspects), factor)
    return {"sequential": {"num_tests": case.num_tests, "level": level}}


def beacon_values(case: Case, values: Mapping[str, bytes]) -> dict[str, str]:
    """Check the beacons' values by owner against the plans, and return them as hex digits.

    Raises:
      CaseError: a value is missing, not planned, of another length, or not the only one.
    """
    for name in values:
        _check.one_of(case.owners, owner=name)
    value_of: dict[str, bytes] = {}
    for name, owner in case.owners.items():
        planned, value = owner.published.plan.beacon, values.get(name, b"")
        if bool(planned) != bool(value):
            what = (
                f"names the beacon {planned!r}: give its value (--beacon)"
                if planned
                else "names no beacon: leave --beacon out"
            )
            raise CaseError(f"the plan of owner {name!r} {what}")
        if value and owner.published.plan.version > 1:
            try:
                check_value(planned, value)
            except ValueError as error:
                raise CaseError(f"owner {name!r}: {error}") from None
        if value_of.setdefault(planned, value) != value:
            raise CaseError(
                f"the beacon {planned!r} has one value, but got {value_of[planned].hex()} and "
                f"{value.hex()} for it"
            )
    return {name: value.hex() for name, value in values.items()}

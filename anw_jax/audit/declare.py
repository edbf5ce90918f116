"""Fix what will be asked, in `declared.json`, before the first query; read it afterwards."""

import dataclasses
import datetime
from typing import Any

from anw_jax import _check, _json
from anw_jax.audit.case import FORMATS, Case, Owner
from anw_jax.audit.checks import (
    check_complete,
    check_labels_fit,
    check_owners,
    check_probe,
    check_same_models,
    check_sizes_fit,
    digest_of_labels,
    source_of,
    wanted_labels,
)
from anw_jax.audit.corrections import level_of_record
from anw_jax.audit.options import Chosen, Options, choose_rule
from anw_jax.audit.statements import (
    CaseStatements,
    check_release,
    read_statements,
    write_template,
)
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import AccessRule, augmentation_seed
from anw_jax.keys.beacons import check_value
from anw_jax.suspects import Access, Augmentation, Declaration, Suspect
from anw_jax.suspects.access import reachable


def declare(
    case: Case,
    options: Options,
    *,
    despite_probe: bool = False,
    makers: dict[str, MakerFn] | None = None,
) -> dict[str, Any]:
    """Writes `declared.json`; nothing may change afterwards.

    Args:
      case: with owners, suspects, and a probe.
      options: the arbitrator's choices.
      despite_probe: go on although the probe found errors, or was not made.
      makers: further kinds of suspects.

    Returns:
      What was written.

    Raises:
      CaseError: declared already, no probe or one that found errors, owners that cannot share
        a case, missing originals, labels that are missing or were not committed to, a
        beacon's value missing or not planned.
      ValueError: a rung that a suspect's answers do not reach.
    """
    if case.has("declared.json"):
        raise CaseError(
            f"{case.file('declared.json')} exists: an audit is declared once; another "
            "declaration needs another case folder, and counts as another test"
        )
    check_probe(case, despite_probe)
    statements = read_statements(case)
    controls = sorted(name for name in case.suspects if statements.is_control(name))
    check_owners(case, controls)
    check_complete(case)
    check_release(case, statements)
    opened = {name: file.open(makers) for name, file in case.suspects.items()}
    if not despite_probe:
        check_same_models(case, opened)
    chosen = {n: _chosen(case, n, s.declaration, options) for n, s in opened.items()}
    sources = {n: _source(case, n, options) for n in case.owners}
    labels = {name: wanted_labels(case, name, sources[name]) for name in case.owners}
    check_labels_fit(case, opened, labels)
    check_sizes_fit(case, opened, was_probed=not despite_probe)
    body = {
        "format": FORMATS["declared.json"],
        "previous": case.digest("probe.json"),
        "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "owners": {
            name: {
                **_owner(owner),
                "labels_by": sources[name],
                "labels_sha256": digest_of_labels(labels[name]),
            }
            for name, owner in case.owners.items()
        },
        "suspects": {
            name: {
                "file": case.suspects[name].digest,
                "kind": case.suspects[name].kind,
                "declaration": suspect.declaration.as_json(),
                "declaration_digest": suspect.declaration.digest,
                **chosen[name].as_json(),
            }
            for name, suspect in opened.items()
        },
        "budget": options.budget,
        "beacons": _beacons(case, options),
        "public_seeds": public_seeds(case),
        "despite_probe": despite_probe,
        "statements": statements.digest,
        "controls": controls,
        **_sequential(case, statements, chosen),
    }
    for suspect in opened.values():
        close(suspect)
    _json.write(case.file("declared.json"), body)
    write_template(case)
    return body


def _chosen(case: Case, name: str, declaration: Declaration, options: Options) -> Chosen:
    """The rule of one suspect, at its own highest kind of access."""
    plans = {owner: one.published.plan for owner, one in case.owners.items()}
    if any(plan.version == 1 for plan in plans.values()):
        chosen = Chosen(_rule_of_version_1(declaration, options), 1)
    else:
        chosen = choose_rule(name, declaration, plans, options.wanted())
    try:
        chosen.access.check_fits(declaration)
    except ValueError as error:
        raise CaseError(f"suspect {name!r}: {error}") from None
    return chosen


def _rule_of_version_1(declaration: Declaration, options: Options) -> AccessRule:
    """Plans of version 1 left all of it to the arbitrator; their verdicts say so."""
    wanted = options.wanted()
    kind = wanted.pop("kind", None) or reachable(declaration)[0]
    return AccessRule(kind, **{"labels": "owner", **wanted})


def _source(case: Case, name: str, options: Options) -> str:
    """Who gives the class numbers of an owner's photos."""
    plan = case.owners[name].published.plan
    if plan.version == 1:
        return options.label_source or "owner"
    return options.label_source or source_of(plan)


def close(suspect: Suspect) -> None:
    """Ends what a suspect keeps open, if anything."""
    end = getattr(suspect, "close", None)
    if end is not None:
        end()


def public_seeds(case: Case) -> dict[str, str]:
    """For each owner the seed of changes of pictures: nobody's choice, no key in it."""
    return {
        name: augmentation_seed(owner.published.commitment, owner.published.plan).hex()
        for name, owner in case.owners.items()
    }


def check_unchanged(case: Case) -> dict[str, Any]:
    """Holds owners, suspects and probe against `declared.json`; returns it.

    Raises:
      CaseError: nothing is declared yet.
      ChangedFileError: something was changed, added or taken away since.
    """
    if not case.has("declared.json"):
        raise CaseError(
            f"{case.file('declared.json')} is not there: declare the audit first (anw declare)"
        )
    declared = case.check_link("declared.json", "probe.json")
    check_complete(case)
    now = {
        "owners": {name: _owner(owner) for name, owner in case.owners.items()},
        "suspects": {name: {"file": file.digest} for name, file in case.suspects.items()},
    }
    for group, entries in now.items():
        before = declared[group]
        if sorted(before) != sorted(entries):
            raise ChangedFileError(
                f"{case.path} was declared with the {group} {', '.join(sorted(before))}, and "
                f"now has {', '.join(sorted(entries))}"
            )
        for name, fields in entries.items():
            for field, value in fields.items():
                if before[name].get(field) != value:
                    raise ChangedFileError(
                        f"{case.path}: {field} of {group[:-1]} {name!r} was changed after "
                        "declared.json named it: restore it, or start afresh in another case "
                        "folder"
                    )
    for name, owner in declared["owners"].items():
        if "labels_sha256" not in owner:
            continue  # older files hold labels to the originals' digest
        now = digest_of_labels(wanted_labels(case, name, labels_by(declared, name)))
        if now != owner["labels_sha256"]:
            raise ChangedFileError(
                f"{case.path}: the labels of owner {name!r} were changed after declared.json "
                "named them: restore them, or start afresh in another case folder"
            )
    _check_rules(case, declared)
    if declared.get("public_seeds") != public_seeds(case):
        raise ChangedFileError(
            f"{case.file('declared.json')} names other public seeds than the commitments give"
        )
    return declared


def _check_rules(case: Case, declared: dict[str, Any]) -> None:
    """What is declared is what the plans leave open, and the menu as long as it is.

    Raises:
      ChangedFileError: `declared.json` says otherwise.
    """
    plans = {name: owner.published.plan for name, owner in case.owners.items()}
    if any(plan.version == 1 for plan in plans.values()):
        return
    for name, said in declared["suspects"].items():
        try:
            rule = rule_of(declared, name)
            wanted = {f.name: getattr(rule, f.name) for f in dataclasses.fields(rule)}
            declaration = Declaration.from_json(said["declaration"])
            chosen = choose_rule(name, declaration, plans, wanted).as_json()
            holds = all(said[field] == value for field, value in chosen.items())
        except (CaseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ChangedFileError(
                f"{case.file('declared.json')} declares for suspect {name!r} what the plans do "
                f"not leave open ({error!s:.120})"
            ) from None
        if not holds:
            raise ChangedFileError(
                f"{case.file('declared.json')} declares another rule or menu for suspect "
                f"{name!r} than the plans give"
            )
    for name, plan in plans.items():
        if declared["owners"][name].get("labels_by") != source_of(plan):
            raise ChangedFileError(
                f"{case.file('declared.json')} takes the labels of owner {name!r} from another "
                "source than the plan does"
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


def _sequential(
    case: Case, statements: CaseStatements, chosen: dict[str, Chosen]
) -> dict[str, Any]:
    """Where each record may stop: fixed here, and named by its header.

    The stop allows for the largest factor stated so far; one that is stated later multiplies
    the running p all the same.
    """
    plan = next(iter(case.owners.values())).published.plan
    if plan.mode != "sequential":
        return {}
    controls = [name for name in case.suspects if statements.is_control(name)]
    if controls:
        raise CaseError(
            f"a sequential case has no controls, and {controls[0]!r} is stated to be one: give "
            "it a case of its own"
        )
    num_owners, num_suspects = len(case.owners), len(case.suspects)
    factor = max(
        statements.of(owner, name).factor * chosen[name].menu
        for owner in case.owners
        for name in case.suspects
    )
    level = level_of_record(plan, num_owners, num_suspects, factor)
    return {"sequential": {"num_tests": num_owners * num_suspects, "level": level}}


def _beacons(case: Case, options: Options) -> dict[str, str]:
    values = dict(options.beacons)
    for name in values:
        _check.one_of(case.owners, owner=name)
    value_of: dict[str, bytes] = {}
    for name, owner in case.owners.items():
        planned, value = owner.published.plan.beacon, values.get(name, b"")
        if bool(planned) != bool(value):
            what = (
                f"names the beacon {planned!r}: give the value that you fetched (--beacon)"
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


# How older files of declared audits say who gave the class numbers.
_OLDER_SOURCES = {
    "the model": "model",
    "the arbitrator": "arbitrator",
    "the owner, before training": "owner",
}


def access_of(declared: dict[str, Any], suspect: str) -> Access:
    """The declared rung of one suspect; older files have one for all."""
    fields = dict(declared["suspects"][suspect].get("access") or declared["access"])
    return Access(**{**fields, "augmentation": Augmentation(**fields["augmentation"])})


def rule_of(declared: dict[str, Any], suspect: str) -> AccessRule:
    """The declared rule of one suspect; older files have no rules but options for all."""
    body = declared["suspects"][suspect].get("rule")
    if body is not None:
        return AccessRule.from_json(body)
    access, saving = declared["access"], declared["saving"]
    return AccessRule(
        access["kind"],
        "owner" if access["true_labels"] else "model",
        views=access["num_augmentations"],
        decimals=access["decimals"],
        top=access["k"],
        saving=None if saving is None else tuple(saving),
        bound_level=declared["bound"]["level"],
        bound_by=declared["bound"]["by"],
        list_rate=declared["list_rate"],
    )


def refusal_limit(declared: dict[str, Any], suspect: str) -> float | None:
    """Share of an owner's photos that a suspect may refuse; None in cases without a limit."""
    if "rule" not in declared["suspects"][suspect]:
        return declared.get("refusal_limit")
    return rule_of(declared, suspect).refusals


def labels_by(declared: dict[str, Any], owner: str) -> str:
    """Who gives the class numbers of an owner's photos."""
    source = declared["owners"][owner].get("labels_by") or declared.get("labels_by")
    return _OLDER_SOURCES.get(source, source)


def beacon_of(declared: dict[str, Any], owner: str) -> bytes:
    """The value of an owner's beacon; empty where the plan names none.

    Raises:
      CaseError: no hexadecimal digits.
    """
    digits = declared["beacons"].get(owner, "")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise CaseError(
            f"declared.json is damaged: beacons.{owner} must be hexadecimal digits, got "
            f"{digits!r:.40}"
        ) from None


def menu_of(declared: dict[str, Any], suspect: str) -> int:
    """M, how many declarations the plan left open for one suspect."""
    return declared["suspects"][suspect].get("menu", 1)

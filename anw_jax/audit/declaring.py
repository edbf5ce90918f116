"""What will be asked, fixed in `declared.json` before the first query."""

import dataclasses
import datetime
from typing import Any

from anw_jax import _check
from anw_jax.audit.case import FORMATS, Case, Owner
from anw_jax.audit.corrections import level_of_record
from anw_jax.audit.files import write_json
from anw_jax.audit.originals import LABELS
from anw_jax.audit.standing import BY_ARBITRATOR, BY_MODEL, BY_OWNER
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import augmentation_seed
from anw_jax.stats import INVERSIONS
from anw_jax.suspects import Access, Augmentation, Suspect


@dataclasses.dataclass(frozen=True)
class Options:
    """The arbitrator's own choices.

    Attributes:
      access: the rung's kind; None for the highest that every suspect reaches.
      true_labels: False lets the model's own answers on the originals stand in.
      own_labels: the labels.csv of the case is the arbitrator's, made without a look at slots
        or answers; only then need they not be those that the owner committed to.
      augmentations: queries for each photo and slot; None for the rung's default.
      decimals: for "rounded".
      k: for "top_k".
      budget: most queries of one suspect; None for any number.
      saving: (stride, number of best) of the coarse-to-fine rule; None asks every slot.
      bound_level: level of the lower bound on the number of units used.
      bound_by: "hits" or "ranks"; on real tables ranks gave the higher bounds.
      list_rate: expected share of wrong entries in the list of units.
      beacons: the value of each owner's beacon, by owner.

    Raises:
      TypeError, ValueError: a value out of range.
    """

    access: str | None = None
    true_labels: bool = True
    own_labels: bool = False
    augmentations: int | None = None
    decimals: int | None = None
    k: int | None = None
    budget: int | None = None
    saving: tuple[int, int] | None = None
    bound_level: float = 0.05
    bound_by: str = "ranks"
    list_rate: float = 0.05
    beacons: tuple[tuple[str, bytes], ...] = ()

    def __post_init__(self):
        if self.budget is not None:
            _check.integer_at_least(1, budget=self.budget)
        if self.saving is not None:
            stride, num_best = self.saving
            _check.integer_at_least(1, stride=stride)
            _check.integer_at_least(0, best=num_best)
        _check.in_open_interval(0.0, 1.0, bound_level=self.bound_level)
        _check.one_of(INVERSIONS, bound_by=self.bound_by)
        _check.in_open_interval(0.0, 1.0, list_rate=self.list_rate)


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
            f"{case.file('declared.json')} is written: an audit is declared once; another plan "
            "needs another case folder, and counts as another test"
        )
    _check_probe(case, despite_probe)
    _check_owners(case)
    _check_complete(case)
    opened = {name: file.open(makers) for name, file in case.suspects.items()}
    if not despite_probe:
        _check_same_models(case, opened)
    access = _access(options, opened)
    for name, owner in case.owners.items():
        _check_labels(name, owner, access, options.own_labels)
    body = {
        "format": FORMATS["declared.json"],
        "previous": case.digest("probe.json"),
        "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "owners": {name: _owner(owner) for name, owner in case.owners.items()},
        "suspects": {
            name: {
                "file": case.suspects[name].digest,
                "kind": case.suspects[name].kind,
                "declaration": suspect.declaration.as_json(),
                "declaration_digest": suspect.declaration.digest,
            }
            for name, suspect in opened.items()
        },
        "access": dataclasses.asdict(access),
        "access_text": access.describe(),
        "labels_by": _labels_by(options),
        "budget": options.budget,
        "saving": None if options.saving is None else list(options.saving),
        "bound": {"level": options.bound_level, "by": options.bound_by},
        "list_rate": options.list_rate,
        "beacons": _beacons(case, options),
        "public_seeds": public_seeds(case),
        **_sequential(case),
    }
    for suspect in opened.values():
        close(suspect)
    write_json(case.file("declared.json"), body)
    return body


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


def access_of(declared: dict[str, Any]) -> Access:
    """The declared rung."""
    fields = dict(declared["access"])
    return Access(**{**fields, "augmentation": Augmentation(**fields["augmentation"])})


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
    _check_complete(case)
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
                if before[name][field] != value:
                    raise ChangedFileError(
                        f"{case.path}: {field} of {group[:-1]} {name!r} was changed after "
                        "declared.json named it: restore it, or start afresh in another case "
                        "folder"
                    )
    if declared.get("public_seeds") != public_seeds(case):
        raise ChangedFileError(
            f"{case.file('declared.json')} names other public seeds than the commitments give"
        )
    return declared


def _owner(owner: Owner) -> dict[str, Any]:
    published, originals = owner.published, owner.originals
    return {
        "commitment": published.commitment,
        "plan": dataclasses.asdict(published.plan),
        "files": dict(published.digests),
        "originals": originals.digest,
        "labels_file": originals.labels_file,
        "num_images": published.manifest.num_images,
        "num_units": published.manifest.num_units,
        "num_slots": published.manifest.space.num_slots,
    }


def _check_probe(case: Case, despite_probe: bool) -> None:
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
                f"the probe found that suspect {name!r} is not asked as it wants to be: mend "
                f"{file.path} and probe again"
            )


def _check_same_models(case: Case, opened: dict[str, Suspect]) -> None:
    reports = case.read("probe.json")["suspects"]
    for name, suspect in opened.items():
        if reports[name].get("declaration") != suspect.declaration.digest:
            raise CaseError(f"suspect {name!r} is not the model that was probed: probe again")


def _check_owners(case: Case) -> None:
    """One case has one mode, one claim, one level, and one signature space."""
    plans = {name: owner.published for name, owner in case.owners.items()}
    for field in ("mode", "claim", "alpha"):
        _agree(field, {name: getattr(p.plan, field) for name, p in plans.items()})
    _agree("num_slots", {n: p.manifest.space.num_slots for n, p in plans.items()})
    plan = next(iter(plans.values())).plan
    if plan.claim == "one model" and len(case.suspects) > 1:
        raise CaseError(
            f"the owners' plans claim 'one model' and the case has {len(case.suspects)} "
            "suspects: keep one of them, or commit to another claim"
        )


def _sequential(case: Case) -> dict[str, Any]:
    """Where each record may stop: fixed here, and named by its header."""
    plan = next(iter(case.owners.values())).published.plan
    if plan.mode != "sequential":
        return {}
    num_owners, num_suspects = len(case.owners), len(case.suspects)
    level = level_of_record(plan, num_owners, num_suspects)
    return {"sequential": {"num_tests": num_owners * num_suspects, "level": level}}


def _check_complete(case: Case) -> None:
    """Every photo committed to is here.

    An owner knows the slots, and may know the model's answers: leaving out photos whose hue
    does not match would make a match of those that are left.
    """
    for name, owner in case.owners.items():
        missing = [
            file
            for file, image in zip(
                owner.published.manifest.file_names, owner.originals.images, strict=True
            )
            if image is None
        ]
        if missing:
            raise CaseError(
                f"owner {name!r} lacks {len(missing)} of {len(owner.originals.images)} "
                f"originals ({missing[0]!r}): get them all, for who may leave photos out may "
                "choose those that match"
            )


def _agree(field: str, values: dict[str, Any]) -> None:
    (first, expected), *others = values.items()
    for name, value in others:
        if value != expected:
            raise CaseError(
                f"owners {first!r} and {name!r} have committed to different values of {field} "
                f"({expected!r} and {value!r}): give each a case of its own"
            )


def _access(options: Options, opened: dict[str, Suspect]) -> Access:
    kind = options.access
    if kind is None:
        ladder = ("logits", "probabilities", "top_k", "label")
        kind = max((s.declaration.answer for s in opened.values()), key=ladder.index)
    access = Access(
        kind,
        options.true_labels,
        options.augmentations,
        decimals=options.decimals,
        k=options.k,
    )
    for name, suspect in opened.items():
        try:
            access.check_fits(suspect.declaration)
        except ValueError as error:
            raise CaseError(f"suspect {name!r}: {error}") from None
    return access


def _labels_by(options: Options) -> str:
    if not options.true_labels:
        return BY_MODEL
    return BY_ARBITRATOR if options.own_labels else BY_OWNER


def _check_labels(name: str, owner: Owner, access: Access, own_labels: bool) -> None:
    if not access.true_labels:
        return
    labels, committed = owner.originals.labels, owner.published.plan.labels
    if labels is None:
        raise CaseError(
            f"owner {name!r} has no labels.csv: give the photos' class numbers, or audit "
            "without labels (--no-labels)"
        )
    if (labels < 0).all():
        raise CaseError(
            f"no photo of owner {name!r} has a class: give labels_map.csv with rows "
            "'word,class number', or audit without labels (--no-labels)"
        )
    if own_labels:
        if owner.originals.labels_file != LABELS:
            raise CaseError(
                f"your own labels of owner {name!r}'s photos must be in {LABELS}, got those of "
                f"{owner.originals.labels_file}, which may be the owner's"
            )
        return
    table = owner.originals.table
    if committed and table.digest == committed:
        return
    why = "are not those" if committed else "were not"
    raise CaseError(
        f"the labels of owner {name!r} {why} committed to before training, and could have been "
        "chosen to fit: label the photos yourself (--own-labels), or audit without labels "
        "(--no-labels)"
    )


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
        if value_of.setdefault(planned, value) != value:
            raise CaseError(
                f"the beacon {planned!r} has one value, but got {value_of[planned].hex()} and "
                f"{value.hex()} for it"
            )
    return {name: value.hex() for name, value in values.items()}

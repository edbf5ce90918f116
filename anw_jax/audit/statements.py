"""Read `CASE/statements.toml`, in which the arbitrator states what no other file can show."""

import dataclasses
import datetime
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from anw_jax import _check, _files
from anw_jax.audit.case import Case
from anw_jax.audit.files import digest_of, read_bytes
from anw_jax.errors import CaseError
from anw_jax.verify import Statements
from anw_jax.verify.statements import parse_utc, value_time

NAME = "statements.toml"

HEAD = """\
# What no file of this case can show, stated by the arbitrator; the verdict prints it as such.
# Fields left as they are here count as not stated, and become conditions of the verdict.
"""

# Words in braces differ between cases of photos and of models (`Words`).
_OWNER = """
[owners.{name}]
# The owner's commitment as you had it from elsewhere (64 hex digits): {elsewhere}. \
Not from the folder owners/{name}.
commitment = ""
# Since when you have had it, such as "2026-11-03T10:00:00Z", and where it came from.
held_since = ""
held_from = ""
# When the beacon's value appeared, if its name does not say so: the timeStamp of a NIST
# pulse, or when you drew it yourself.
value_appeared = ""
# How many commitments of this owner you found, including this one{found}.
found = 0
found_at = ""
# If this folder and another of this case belong to one person: the name of the other folder.
batch_of = ""
# true if nothing else was published or made with this key.
nothing_else = false
# true if {opened}.
opened_before = false
"""

_LABELS = """\
# true if whoever made labels/{name}.csv, or labels_map.csv, did not know the hues; needed only
# if the labels or the map of words come from you.
labels_given_blind = false
"""

# Only for an owner whose photos are not all there.
_MISSING = """\
# true if the missing photos ({missing}) were lost by chance: nobody who could know the marks
# chose which.
missing_by_chance = false
"""

_SUSPECT = """
[suspects.{name}]
# On how many models the key was tried to find this one; 1 if it was found by other means.
models_tried = 0
# When it was released, such as "2026-05-01", and how you know. A model older than the beacon's
# value cannot {cannot}.
released = ""
released_from = ""{blind}
# true to keep it in the case as a control: its result is printed, but it is not a suspect. Set
# this before anw declare.
control = false
"""

_LOSS = """
# true if whoever fixed what the plan leaves open of the loss (code, targets, steps, seed,
# scheduler) did not know the hues; needed only if the model answers with an error.
loss_fixed_blind = false"""

_REFERENCE = """
[references.{name}]
# Needed for a model that is not in the owner's plan: since when it has existed, such as
# "2026-05-01", and how you know. It must be older than the beacon's value: a later one could
# have been made to convict an innocent model.
released = ""
released_from = ""
# true if which references are used was fixed by somebody who knew neither the hues nor any
# result.
chosen_blind = false
# Needed for code, and for TorchScript and Keras files, in the plan or not: true if somebody
# read it and found that it uses nothing but the pictures it is given and the files it lists.
code_read = false
"""

_LEFT_OUT = """
[references_left_out.{name}]
# A reference of a plan that is not used, by its digest: why, unless declared.json says it.
why = ""
# true if that was decided by somebody who knew neither the hues nor any result.
chosen_blind = false
"""

_TABLES = ("owners", "suspects", "references", "references_left_out")


@dataclasses.dataclass(frozen=True)
class Words:
    """What the comments say of one kind of case.

    Attributes:
      elsewhere: where a commitment comes from.
      found: which commitments are counted, and where.
      opened: when a key counts as opened before.
      cannot: what a model that is too old cannot have done.
    """

    elsewhere: str
    found: str
    opened: str
    cannot: str


_PHOTOS = Words(
    "a register, a stamped\n# letter, an e-mail",
    " and those to other photos,\n# and where you looked",
    "the key was opened before this case",
    "have learned the marks",
)
MODELS = Words(
    "a log, a register, an\n# e-mail",
    ", and where you looked",
    "this key was opened before this case: it is spent",
    "hold the bits",
)


def owner_table(name: str, words: Words, place: str = "") -> str:
    """Return the commented table of an owner, with nothing stated; `place` is where to look."""
    fields = dataclasses.asdict(words)
    return _OWNER.format(**{**fields, "name": toml_key(name), "found": words.found + place})


def suspect_table(name: str, words: Words, blind: str = "") -> str:
    """Return the commented table of a suspect; `blind` has fields of its kind of case."""
    fields = dataclasses.asdict(words)
    return _SUSPECT.format(**fields, name=toml_key(name), blind=blind)


def toml_key(name: str) -> str:
    """Quote a name with a dot, which TOML would read as two names."""
    return f'"{name}"' if "." in name else name


# The fields with the values that count as not stated.
_OWNER_FIELDS = tomllib.loads(
    owner_table("any", _PHOTOS) + _LABELS.format(name="any") + _MISSING.format(missing="")
)["owners"]["any"]
_SUSPECT_FIELDS = tomllib.loads(suspect_table("any", _PHOTOS, _LOSS))["suspects"]["any"]
_REFERENCE_FIELDS = tomllib.loads(_REFERENCE.format(name="any"))["references"]["any"]
_LEFT_OUT_FIELDS = tomllib.loads(_LEFT_OUT.format(name="any"))["references_left_out"]["any"]


@dataclasses.dataclass(frozen=True)
class CaseStatements:
    """The statements of a case.

    Attributes:
      owners: the fields of the file, by owner.
      suspects: the fields of the file, by suspect.
      references: the fields of the file, by reference.
      left_out: the fields of the file, by digest of a reference of the owners' plans.
      digest: SHA-256 of the file; None where there is none.
    """

    owners: dict[str, dict[str, Any]]
    suspects: dict[str, dict[str, Any]]
    references: dict[str, dict[str, Any]]
    left_out: dict[str, dict[str, Any]]
    digest: str | None

    def of(self, owner: str, suspect: str) -> Statements:
        """Return the statements for the test of one owner against one suspect."""
        said, model = self.owners[owner], self.suspects[suspect]
        names = ("commitment", "held_since", "held_from", "value_appeared", "found_at")
        return Statements(
            **{name: said[name] for name in names},
            found=said["found"] or None,
            in_case=self._in_case(owner),
            models_tried=model["models_tried"] or None,
            nothing_else=said["nothing_else"],
            opened_before=said["opened_before"],
        )

    @property
    def controls(self) -> list[str]:
        """Suspects whose result is printed but which are not accused, sorted."""
        return sorted(name for name, said in self.suspects.items() if said["control"])

    def _in_case(self, owner: str) -> int:
        """B, how many commitments of the person behind an owner are in the case."""
        person = self.owners[owner]["batch_of"] or owner
        return sum((said["batch_of"] or name) == person for name, said in self.owners.items())


def read_statements(case: Case) -> CaseStatements:
    """Read the statements of a case; a name that the file lacks has nothing stated.

    Raises:
      CaseError: no valid TOML, an unknown name or field, or a value of another type.
    """
    path = case.file(NAME)
    body: dict[str, Any] = {}
    if path.exists():
        try:
            body = tomllib.loads(read_bytes(path).decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise CaseError(f"{path} is not valid TOML: {error}") from None
    try:
        for name in body:
            _check.one_of(_TABLES, table=name)
        owners = _group("owners", body, case.owners, _OWNER_FIELDS)
        suspects = _group("suspects", body, case.suspects, _SUSPECT_FIELDS)
        references = _group("references", body, case.references, _REFERENCE_FIELDS)
        planned = dict.fromkeys(_planned(case))
        left_out = _group("references_left_out", body, planned, _LEFT_OUT_FIELDS)
        digest = digest_of(path) if body else None
        statements = CaseStatements(owners, suspects, references, left_out, digest)
        for owner, said in owners.items():
            if said["batch_of"]:
                _check.one_of([o for o in owners if o != owner], batch_of=said["batch_of"])
                _check_one_number(owner, said, owners[said["batch_of"]])
            for suspect in suspects:
                statements.of(owner, suspect)
        for said in (*suspects.values(), *references.values()):
            if said["released"]:
                parse_utc(released=said["released"])
    except (TypeError, ValueError) as error:
        raise CaseError(f"{path}: {error}") from None
    return statements


def _planned(case: Case) -> list[str]:
    """Return the digests of all references that the owners' plans name."""
    plans = (owner.published.plan for owner in case.owners.values())
    return [digest for plan in plans for digest in plan.references]


def _check_one_number(owner: str, said: dict[str, Any], other: dict[str, Any]) -> None:
    """Refuse different numbers of commitments found for the batches of one person."""
    if said["found"] and other["found"] and said["found"] != other["found"]:
        raise ValueError(
            f"found must be one number for {owner!r} and {said['batch_of']!r}, which are "
            f"batches of one person; got {said['found']} and {other['found']}"
        )


def write_template(case: Case, left_out: Iterable[str] = ()) -> None:
    """Write the commented file where there is none.

    Args:
      case: with owners, suspects and references.
      left_out: digests of references of the plans that are not used everywhere.
    """
    if case.file(NAME).exists():
        return
    parts = [HEAD]
    for name, owner in case.owners.items():
        place = owner.published.plan.place
        words = "".join(c for c in place if c.isprintable())
        named = f' ("{words}" is named in the plan)' if words else ""
        parts += [owner_table(name, _PHOTOS, named), _LABELS.format(name=toml_key(name))]
        if number := len(owner.originals.missing):
            of = owner.published.manifest.num_images
            parts.append(_MISSING.format(missing=f"{number} of {of}"))
    parts += [suspect_table(name, _PHOTOS, _LOSS) for name in case.suspects]
    parts += [_REFERENCE.format(name=toml_key(name)) for name in case.references]
    parts += [_LEFT_OUT.format(name=digest) for digest in left_out]
    _files.write_whole(case.file(NAME), "".join(parts).encode())


def check_release(case: Case, statements: CaseStatements) -> None:
    """Refuse suspects that are older than the value of an owner's beacon.

    Where the beacon's name does not say when its value appeared, the statements may; an
    arbitrator's own beacon is drawn after the commitment was received.

    Raises:
      CaseError: one is; it cannot have learned from marks that did not exist.
    """
    for suspect, said in statements.suspects.items():
        if not said["released"] or said["control"]:
            continue
        released = parse_utc(released=said["released"])
        for owner, one in case.owners.items():
            stated = statements.owners[owner]
            appears = value_time(
                one.published.plan, stated["value_appeared"], stated["held_since"]
            )
            if appears is not None and released < appears:
                raise CaseError(
                    f"suspect {suspect!r} was released on {said['released']}, before the value "
                    f"of {owner!r}'s beacon appeared ({appears.isoformat()}): it cannot have "
                    "learned from these marks. Take it out of suspects/, or keep it as a "
                    f"control (control = true under [suspects.{suspect}] in {NAME}, before "
                    "anw declare)"
                )


def check_controls(statements: CaseStatements, declared: Mapping[str, Any]) -> None:
    """Check that the controls are those declared, since they do not count as tests.

    Raises:
      CaseError: one was added or removed after `declared.json` was written.
    """
    fixed, now = declared.get("controls") or [], statements.controls
    if now != fixed:
        raise CaseError(
            f"{NAME} names the controls {', '.join(now) or 'none'}, and declared.json "
            f"{', '.join(fixed) or 'none'}: controls are fixed before the first query"
        )


def _group(
    group: str, body: Mapping[str, Any], names: Mapping[str, Any], fields: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    given = _check.is_instance(dict, **{group: body.get(group, {})})
    for name in given:
        _check.one_of(names, **{f"{group}_name": name})
    return {name: _fields(f"{group}.{name}", given.get(name, {}), fields) for name in names}


def _fields(where: str, given: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    _check.is_instance(dict, **{where: given})
    values = dict(fields)
    for name, value in given.items():
        _check.one_of(fields, **{f"{where}_field": name})
        if isinstance(value, datetime.date | datetime.datetime):
            value = value.isoformat()
        kind = type(fields[name])
        if type(value) is not kind or (kind is int and value < 0):
            raise ValueError(f"{where}.{name} must be {_KINDS[kind]}, got {value!r:.60}")
        values[name] = value
    return values


_KINDS = {str: "text in quotes", int: "a number, 0 for not stated", bool: "true or false"}

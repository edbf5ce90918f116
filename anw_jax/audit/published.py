"""The owner's published folder: commitment, manifest, and the secret of a mark."""

import dataclasses
import datetime
import pathlib

from anw_jax import _files, _json
from anw_jax.audit.files import digest_of, read_json
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest, MarkKey, Plan, commit, commit_units
from anw_jax.keys.beacons import read_beacon
from anw_jax.keys.digests import check_is_commitment
from anw_jax.marks import Mark, mark_named, sub_key_name

COMMITMENT, MANIFEST, PHOTOS = "commitment.json", "manifest.json", "published"

# The file of a mark's secret, by the name of its sub-key: for the arbitrator alone.
_SECRETS = {
    "basis": ("basis.json", "anw_jax private basis, version 1: for the arbitrator alone"),
    "light": ("light.json", "anw_jax light patterns, version 1: for the arbitrator alone"),
}

_COMMITMENT_FORMAT = "anw_jax commitment, version 1"


@dataclasses.dataclass(frozen=True)
class Published:
    """What one owner publishes, as read from a folder.

    Attributes:
      commitment: 64 hex digits.
      plan: as committed to.
      manifest: the units.
      mark: the mark, with its secret where it has one.
      digests: SHA-256 of each file read, by name.
      time_utc: when it was made, according to the owner, ISO; "" in older files.
    """

    commitment: str
    plan: Plan
    manifest: Manifest
    mark: Mark
    digests: dict[str, str]
    time_utc: str = ""


def commitment_of(mark_key: MarkKey, manifest: Manifest, plan: Plan) -> str:
    """Compute the commitment of the kind that the plan's mode needs."""
    make = commit_units if plan.mode == "sequential" else commit
    return make(mark_key, manifest, plan)


def write_published(
    folder: pathlib.Path,
    mark_key: MarkKey,
    manifest: Manifest,
    plan: Plan,
    commitment: str,
    now: datetime.datetime,
) -> None:
    """Write the files that an owner publishes into a folder."""
    manifest.save(folder / MANIFEST)
    secret = sub_key_name(plan.mark)
    if secret is not None:
        name, kind = _SECRETS[secret]
        body = {"format": kind, "sub_key": mark_key.sub_key(secret).hex()}
        _files.write_new(folder / name, (_json.dumps(body) + "\n").encode(), mode=0o600)
    _json.write(
        folder / COMMITMENT,
        {
            "format": _COMMITMENT_FORMAT,
            "commitment": commitment,
            "time_utc": now.isoformat(timespec="seconds"),
            "plan": plan.as_json(),
            "manifest": digest_of(folder / MANIFEST),
            "num_units": manifest.num_units,
        },
    )


def read_published(folder: pathlib.Path) -> Published:
    """Read what an owner publishes, and compare its files with one another.

    Raises:
      CaseError: a file is missing or damaged, the manifest is not the one that the commitment
        names, or the sub-key is not the one that the plan's mark names.
    """
    digests = {name: digest_of(folder / name) for name in (COMMITMENT, MANIFEST)}
    try:
        manifest = Manifest.load(folder / MANIFEST)
    except (OSError, ValueError) as error:
        raise CaseError(f"{folder / MANIFEST}: {error!s:.120}") from None
    commitment, plan, named, time_utc = read_commitment(folder / COMMITMENT, manifest)
    if named != digests[MANIFEST]:
        raise CaseError(
            f"{folder / MANIFEST} is not the manifest that {folder / COMMITMENT} names (its "
            "SHA-256 differs)"
        )
    mark = _mark_of(folder, plan, manifest, digests)
    return Published(commitment, plan, manifest, mark, digests, time_utc)


def read_commitment(path: pathlib.Path, manifest: Manifest) -> tuple[str, Plan, str, str]:
    """Read `commitment.json`: commitment, plan, SHA-256 of the manifest's file, and time.

    Raises:
      CaseError: it is missing or damaged, or counts other units than the manifest.
    """
    body = read_json(path, _COMMITMENT_FORMAT)
    try:
        plan = Plan.from_json(body["plan"])
        commitment, named = check_is_commitment(body["commitment"]), body["manifest"]
        time_utc, num_units = str(body.get("time_utc", "")), body["num_units"]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CaseError(f"{path} is damaged: {error!s:.80}") from None
    if type(num_units) is not int or num_units != manifest.num_units:
        raise CaseError(
            f"{path} counts {num_units!r:.40} units, and its manifest has {manifest.num_units}"
        )
    return commitment, plan, named, time_utc


def _mark_of(
    folder: pathlib.Path, plan: Plan, manifest: Manifest, digests: dict[str, str]
) -> Mark:
    secret = sub_key_name(plan.mark)
    where, sub_key = folder / COMMITMENT, None
    if secret is not None:
        name, kind = _SECRETS[secret]
        where = folder / name
        body = read_json(where, kind)
        digests[name] = digest_of(where)
        try:
            sub_key = bytes.fromhex(body["sub_key"])
        except (KeyError, TypeError, ValueError):
            raise CaseError(f"{where} holds no sub-key of 64 hex digits") from None
    try:
        mark = mark_named(plan.mark, sub_key)
    except ValueError as error:
        raise CaseError(f"{where}: {error}") from None
    num_slots, wanted = getattr(mark, "num_slots", None), manifest.space.num_slots
    if num_slots not in (None, wanted):
        raise CaseError(f"{where}: the mark has {num_slots} slots, and the manifest {wanted}")
    return mark


def check_later(beacon: str, time_utc: str) -> None:
    """Refuse a beacon whose value appeared before a commitment was made.

    Raises:
      CaseError: it did. Where the name gives no time, the arbitrator has to know.
    """
    appears = read_beacon(beacon).time
    if appears and time_utc and appears <= datetime.datetime.fromisoformat(time_utc):
        raise CaseError(
            f"the value of the beacon {beacon!r} appeared at {appears.isoformat()}, before the "
            f"commitment of {time_utc}: name a later one"
        )


def partial_folder(folder: pathlib.Path) -> pathlib.Path:
    """Return where the content of a folder is made, before it appears under its name."""
    return folder.with_name(folder.name + ".partial")

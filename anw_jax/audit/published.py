"""What an owner hands over: manifest, commitment, and the sub-key of a private basis."""

import dataclasses
import datetime
import json
import pathlib
from typing import Any

from anw_jax import _files
from anw_jax.audit.files import digest_of, read_json, write_json
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest, MarkKey, Plan, commit, commit_units
from anw_jax.keys.digests import check_is_commitment
from anw_jax.keys.plan_fields import USER_LCT
from anw_jax.marks import HueRotation, Mark, UserLCT

COMMITMENT, MANIFEST, BASIS = "commitment.json", "manifest.json", "basis.json"

_COMMITMENT_FORMAT = "anw_jax commitment, version 1"
_BASIS_FORMAT = "anw_jax private basis, version 1: for the arbitrator alone"


@dataclasses.dataclass(frozen=True)
class Published:
    """One owner's public side, as read from a folder.

    Attributes:
      commitment: 64 hex digits.
      plan: as committed to.
      manifest: the units.
      mark: the map, with the private basis where the plan names one.
      digests: SHA-256 of each file read, by name.
      time_utc: when the owner says that it was made, ISO; "" in older files.
    """

    commitment: str
    plan: Plan
    manifest: Manifest
    mark: Mark
    digests: dict[str, str]
    time_utc: str = ""


def commitment_of(mark_key: MarkKey, manifest: Manifest, plan: Plan) -> str:
    """The commitment that a plan's mode asks for."""
    make = commit_units if plan.mode == "sequential" else commit
    return make(mark_key, manifest, plan)


def write_published(
    folder: pathlib.Path, manifest: Manifest, plan: Plan, commitment: str, basis: bytes | None
) -> None:
    """Writes the files of the owner's public side into a folder."""
    manifest.save(folder / MANIFEST)
    if basis is not None:
        text = json.dumps({"format": _BASIS_FORMAT, "sub_key": basis.hex()}) + "\n"
        _files.write_new(folder / BASIS, text.encode(), mode=0o600)
    write_json(
        folder / COMMITMENT,
        {
            "format": _COMMITMENT_FORMAT,
            "commitment": commitment,
            "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "plan": plan.as_json(),
            "manifest": digest_of(folder / MANIFEST),
            "num_units": manifest.num_units,
        },
    )


def read_published(folder: pathlib.Path) -> Published:
    """Reads the owner's public side and holds its files against each other.

    Raises:
      CaseError: a file is missing or damaged, the manifest is not the one that the commitment
        names, or the basis is not the one that the plan's mark names.
    """
    body = read_json(folder / COMMITMENT, _COMMITMENT_FORMAT)
    digests = {name: digest_of(folder / name) for name in (COMMITMENT, MANIFEST)}
    manifest = _read_manifest(folder / MANIFEST)
    try:
        plan = Plan.from_json(body["plan"])
        commitment, named = check_is_commitment(body["commitment"]), body["manifest"]
        time_utc, num_units = str(body.get("time_utc", "")), body["num_units"]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CaseError(f"{folder / COMMITMENT} is damaged: {error!s:.80}") from None
    if named != digests[MANIFEST]:
        raise CaseError(
            f"{folder / MANIFEST} is not the manifest that {folder / COMMITMENT} names (its "
            "SHA-256 differs)"
        )
    if type(num_units) is not int or num_units != manifest.num_units:
        raise CaseError(
            f"{folder / COMMITMENT} counts {num_units!r:.40} units, and its manifest has "
            f"{manifest.num_units}"
        )
    mark = _mark_of(folder, plan, digests)
    return Published(commitment, plan, manifest, mark, digests, time_utc)


def _read_manifest(path: pathlib.Path) -> Manifest:
    if not path.exists():
        raise CaseError(f"{path} is not there")
    try:
        return Manifest.load(path)
    except (OSError, ValueError) as error:
        raise CaseError(f"{path}: {error!s:.120}") from None


def _mark_of(folder: pathlib.Path, plan: Plan, digests: dict[str, str]) -> Mark:
    if plan.mark == HueRotation().description:
        return HueRotation()
    if not plan.mark.startswith(f"{USER_LCT}:"):
        raise CaseError(
            f"{folder / COMMITMENT} names the mark {plan.mark!r:.60}; audits know hue_rotation "
            "and user_lct:…"
        )
    body: dict[str, Any] = read_json(folder / BASIS, _BASIS_FORMAT)
    digests[BASIS] = digest_of(folder / BASIS)
    try:
        mark = UserLCT.from_sub_key(bytes.fromhex(body["sub_key"]))
    except (KeyError, TypeError, ValueError, json.JSONDecodeError):
        raise CaseError(f"{folder / BASIS} holds no sub-key of 64 hex digits") from None
    if mark.description != plan.mark:
        raise CaseError(f"{folder / BASIS} is not the basis committed to (its digest differs)")
    return mark

"""What is fixed before training, and the check that nothing was changed afterwards."""

import hashlib
import hmac
from collections.abc import Sequence

from anw_jax import _check
from anw_jax.errors import CommitmentError
from anw_jax.keys import version_1
from anw_jax.keys.encoding import canonical, framed
from anw_jax.keys.manifest import Manifest
from anw_jax.keys.mark_key import MarkKey, check_is_mark_key
from anw_jax.keys.plan import Plan
from anw_jax.keys.slots import nonce
from anw_jax.keys.units import is_digest

_TAG_COMMIT_1 = b"anw_jax/v1/commitment\0"
_TAG_COMMIT = b"anw_jax/v2/commitment\0"
_TAG_LABELS = b"anw_jax/v1/labels\0"
_TAG_SEED = b"anw_jax/v1/public-seed\0"
_TAG_CHANGES = b"anw_jax/v1/audit-seed\0"


def commit(mark_key: MarkKey, manifest: Manifest, plan: Plan) -> str:
    """Commits to key, units, space, scheme, mark, statistic and level: 64 hex digits.

    The whole manifest is bound, file names and the order of the images included: a photo
    whose pixels changed is found by its name, so no name may be changed afterwards.

    Publish it, or have it time-stamped, before the photos are published. It hides what it
    binds (SHA-256 over a 256-bit secret) and cannot be opened in two ways. The nonce is a
    sub-key, so opening needs the key file and nothing else.

    Args:
      mark_key: the owner's secret.
      manifest: the units in their order.
      plan: statistic, level and mark.

    Returns:
      SHA-256 as hex.

    Raises:
      TypeError: an argument is not what its name says.
      ValueError: a plan whose mode is "sequential" (see `commit_units`), or one of version 1.

    Example:
      >>> import numpy as np
      >>> from anw_jax.keys import SignatureSpace
      >>> key = MarkKey.for_experiment(0)
      >>> manifest = Manifest.of(np.zeros((1, 2, 2, 3), np.uint8), SignatureSpace())
      >>> commitment = commit(key, manifest, Plan("losses", 0.1))
      >>> check_commitment(commitment, key, manifest, Plan("losses", 0.1))
    """
    check_is_mark_key(mark_key)
    _check.is_instance(Manifest, manifest=manifest)
    _check.is_instance(Plan, plan=plan)
    if plan.mode != "sealed":
        raise ValueError(
            f"plan.mode is {plan.mode!r}, which opens units one by one: commit to each with "
            "commit_units"
        )
    check_is_made_now(plan)
    return _commitment(mark_key, manifest, plan)


def _commitment(mark_key: MarkKey, manifest: Manifest, plan: Plan) -> str:
    nonce_key = mark_key.sub_key("commitment nonce")
    if plan.version == 1:
        body = version_1.manifest_bytes(manifest, origin=mark_key.origin)
        parts = [mark_key.secret, nonce_key, body, plan.to_bytes()]
        return hashlib.sha256(_TAG_COMMIT_1 + framed(parts)).hexdigest()
    parts = [
        mark_key.secret,
        nonce(nonce_key, manifest, plan),
        mark_key.origin.encode(),
        bytes.fromhex(manifest.digest),
        plan.to_bytes(),
    ]
    return hashlib.sha256(_TAG_COMMIT + framed(parts)).hexdigest()


def check_is_made_now(plan: Plan) -> None:
    """Refuses a plan of a version that is only replayed."""
    if plan.version == 1:
        raise ValueError("plan.version is 1: such plans are replayed, and no longer made")


def check_commitment(
    commitment: str, mark_key: MarkKey, manifest: Manifest, plan: Plan
) -> None:
    """Accepts what was committed to, and nothing else.

    Raises:
      CommitmentError: key, manifest (a missing or an added photo, another order or file name
        counts) or plan differ from those of the commitment.
      TypeError: an argument is not what its name says.
    """
    check_is_commitment(commitment)
    check_is_mark_key(mark_key)
    _check.is_instance(Manifest, manifest=manifest)
    _check.is_instance(Plan, plan=plan)
    expected = _commitment(mark_key, manifest, plan)
    if not hmac.compare_digest(commitment.encode(), expected.encode()):
        raise CommitmentError(
            f"the commitment {commitment[:16]!r}… does not open: the key, the "
            f"{manifest.num_units} units of the manifest, or the plan ({plan}) differ from "
            "those fixed before training; no test is made"
        )


def labels_digest(labels: Sequence[int]) -> str:
    """SHA-256, as hex, over class numbers in the manifest's order; see `Plan.labels`.

    Example:
      >>> labels_digest([0, 2])[:16]
      'fa3d959b397c5df2'
    """
    numbers = canonical([int(label) for label in labels])
    return hashlib.sha256(_TAG_LABELS + numbers).hexdigest()


def public_seed(commitment: str, plan: Plan) -> int:
    """The seed of the arbitrator's random choices: SHA-256(commitment ‖ plan).

    It never comes from the owner's key, and nobody can choose it after the commitment.

    Returns:
      An integer of 64 bits. (`augmentation_seed` has the bytes that changes of pictures want.)

    Example:
      >>> public_seed("00" * 32, Plan("losses", 0.1)) < 2**64
      True
    """
    digest = hashlib.sha256(_TAG_SEED + commitment.encode() + b"\0" + plan.to_bytes())
    return int.from_bytes(digest.digest()[:8], "big")


def augmentation_seed(commitment: str, plan: Plan) -> bytes:
    """The seed of the changes of pictures in label-only audits: SHA-256(commitment ‖ plan).

    For `suspects.ask` and `anw audit`. As with `public_seed` nobody can choose it after the
    commitment, and no key is in it; other owners of a case have no part in it either, so that
    none can pick a commitment that suits a friend's pictures.

    Returns:
      32 bytes.

    Raises:
      CommitmentError: what is no commitment.

    Example:
      >>> augmentation_seed("00" * 32, Plan("losses", 0.1)).hex()[:16]
      'fb1ff5f7439d3871'
    """
    parts = [check_is_commitment(commitment).encode(), plan.to_bytes()]
    return hashlib.sha256(_TAG_CHANGES + framed(parts)).digest()


def check_is_commitment(commitment: str) -> str:
    """Refuses what is not 64 hex digits."""
    _check.is_instance(str, commitment=commitment)
    if not is_digest(commitment):
        raise CommitmentError(
            f"commitment must be 64 lower-case hex digits, got {commitment!r:.70}"
        )
    return commitment

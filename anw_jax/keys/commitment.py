"""Make and verify the commitment, and derive the slots of the units."""

import hashlib
import hmac

from anw_jax import _check
from anw_jax.errors import CommitmentError
from anw_jax.keys.digests import check_is_commitment, length_prefixed
from anw_jax.keys.leaves import UnitTree
from anw_jax.keys.manifest import Manifest
from anw_jax.keys.mark_key import MarkKey, check_is_mark_key
from anw_jax.keys.plan import Plan
from anw_jax.keys.slots import check_beacon, nonce, sealed_slots
from anw_jax.keys.units import Assignment

_TAG_COMMIT_1 = b"anw_jax/v1/commitment\0"
_TAG_COMMIT = b"anw_jax/v2/commitment\0"


def commit(mark_key: MarkKey, manifest: Manifest, plan: Plan) -> str:
    """Commit to key, units, space, scheme, mark, statistic and level: 64 hex digits.

    It covers the whole manifest, including file names and the order of the images: a photo
    whose pixels changed is found by its name, so no name may change afterwards.

    Publish it, or have it time-stamped, before the photos are published. The commitment is
    hiding (SHA-256 over a 256-bit secret) and binding. The nonce is a sub-key, so opening
    requires only the key file.

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
    plan.check_is_current()
    return _commitment(mark_key, manifest, plan)


def _commitment(mark_key: MarkKey, manifest: Manifest, plan: Plan) -> str:
    nonce_key = mark_key.sub_key("commitment nonce")
    if plan.version == 1:
        body = manifest.bytes_of_version_1(origin=mark_key.origin)
        parts = [mark_key.secret, nonce_key, body, plan.to_bytes()]
        return hashlib.sha256(_TAG_COMMIT_1 + length_prefixed(parts)).hexdigest()
    parts = [
        mark_key.secret,
        nonce(nonce_key, manifest, plan),
        mark_key.origin.encode(),
        bytes.fromhex(manifest.digest),
        plan.to_bytes(),
    ]
    return hashlib.sha256(_TAG_COMMIT + length_prefixed(parts)).hexdigest()


def check_commitment(
    commitment: str, mark_key: MarkKey, manifest: Manifest, plan: Plan
) -> None:
    """Raise CommitmentError unless key, manifest and plan match the commitment.

    Raises:
      CommitmentError: key, manifest (including the set, order and names of its photos) or plan
        differ from those committed to.
      TypeError: an argument is not what its name says.
    """
    check_is_commitment(commitment)
    check_is_mark_key(mark_key)
    _check.is_instance(Manifest, manifest=manifest)
    _check.is_instance(Plan, plan=plan)
    expected = _commitment(mark_key, manifest, plan)
    if not hmac.compare_digest(commitment.encode(), expected.encode()):
        raise CommitmentError(
            f"the commitment {commitment[:16]!r}… does not open: the key, the manifest "
            f"({manifest.num_units} units) or the plan differs from what was committed to, so "
            "no test is made; most often the key is that of another commitment"
        )


def assign(
    mark_key: MarkKey, manifest: Manifest, plan: Plan, *, beacon: bytes = b""
) -> Assignment:
    """Draw one valid slot per unit with a pseudo-random function of the key.

    In the sealed mode the slot of a unit is HMAC-SHA-256(slot sub-key, tag ‖ N ‖ manifest
    digest ‖ plan digest ‖ beacon name ‖ beacon value ‖ unit digest ‖ counter), reduced to
    1 … N - 1 by rejection sampling, so all slots are equally likely. In the sequential mode
    each committed slot is drawn the same way without the value; then a public offset that
    depends on the value is added (`keys.slots`).

    Changing any photo, name, order, level or beacon redraws every slot. With a beacon, no slot
    is known until the beacon value is published.

    Args:
      mark_key: the owner's secret.
      manifest: the committed manifest.
      plan: the committed plan.
      beacon: the value of the public beacon named in the plan, published after the commitment;
        b"" if the plan names none.

    Returns:
      The `Assignment`, a pure function of the arguments. Secret.

    Raises:
      TypeError: an argument is not what its name says.
      CommitmentError: the beacon value is missing, unexpected or of the wrong length.

    Example:
      >>> import numpy as np
      >>> from anw_jax.keys import SignatureSpace
      >>> photos = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
      >>> manifest = Manifest.of(photos, SignatureSpace())
      >>> assignment = assign(MarkKey.for_experiment(seed=7), manifest, Plan("losses", 0.1))
      >>> assignment.num_units, assignment.slots.tolist()
      (2, [7, 5])
    """
    check_is_mark_key(mark_key)
    _check.is_instance(Manifest, manifest=manifest)
    _check.is_instance(Plan, plan=plan)
    check_beacon(plan, beacon)
    if plan.mode == "sequential":
        slots = UnitTree(mark_key, manifest, plan).offset_slots(beacon)
    else:
        slots = sealed_slots(mark_key, manifest, plan, beacon)
    return Assignment(manifest.units, slots)

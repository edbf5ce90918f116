"""What is fixed before training, and the check that nothing was changed afterwards."""

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Sequence

from anw_jax import _check
from anw_jax.errors import CommitmentError
from anw_jax.keys.manifest import Manifest
from anw_jax.keys.mark_key import MarkKey, check_is_mark_key
from anw_jax.keys.names import check_mark, check_statistic
from anw_jax.keys.units import is_digest

_TAG_COMMIT = b"anw_jax/v1/commitment\0"
_TAG_LABELS = b"anw_jax/v1/labels\0"
_TAG_SEED = b"anw_jax/v1/public-seed\0"
_TAG_CHANGES = b"anw_jax/v1/audit-seed\0"

MODES = ("sealed", "sequential")

# Which question several tests answer together; `stats.several_claims` has the corrections.
CLAIMS = ("one model", "any model", "each model", "list of models")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the one test will be made; declared before training, public.

    Attributes:
      statistic: the name of the one statistic the verdict uses (`stats.STATISTICS`); in the
        sequential mode one of `stats.SEQUENTIAL_STATISTICS`.
      alpha: the level below which use is called *shown*, in (0, 1).
      mark: the mark's `description`, such as "hue_rotation"; a private basis stands here
        with the digest of its sub-key. A mark that is not in `anw_jax.marks` calls itself
        "own:" and more; who judges it needs its code, and `anw` does not audit it.
      beacon: names a public random value that does not exist yet, such as "drand quicknet
        round 25000000"; "" for none. Its value is mixed into every slot (`assign`), so that
        an owner cannot have tried keys until the slots suited models in general.
      mode: "sealed" (full table, its hash, the key, `exact_test` once) or "sequential" (unit
        by unit, one leaf opened after each bet; see `verify.SequentialRecord`).
      claim: what is claimed where several models are asked: "one model", "any model" (at
        least one of them), "each model" (each named one) or "list of models" (a list with an
        expected share of false names).
      labels: `labels_digest` of the photos' class numbers; "" where they are not fixed. A loss
        is read at a photo's label, so whoever may choose labels when slots and answers are
        known chooses the evidence: an audit takes an owner's labels only if they stand here.

    Raises:
      TypeError, ValueError: a field of another type, alpha outside (0, 1), an unknown mode,
        claim or statistic, a mark that no mark's description could be, labels that are no
        digest.

    Example:
      >>> Plan(statistic="losses", alpha=1e-6, mark="hue_rotation").alpha
      1e-06
    """

    statistic: str
    alpha: float
    mark: str = "hue_rotation"
    beacon: str = ""
    mode: str = "sealed"
    claim: str = "one model"
    labels: str = ""

    def __post_init__(self):
        _check.is_instance(str, statistic=self.statistic)
        _check.is_instance(str, beacon=self.beacon)
        _check.is_instance(str, mark=self.mark)
        _check.one_of(MODES, mode=self.mode)
        _check.one_of(CLAIMS, claim=self.claim)
        check_statistic(self.statistic, self.mode)
        check_mark(self.mark)
        _check.is_instance(str, labels=self.labels)
        if self.labels and not is_digest(self.labels):
            raise ValueError(
                f"labels must be 64 lower-case hex digits or empty, got {self.labels!r:.70}"
            )
        alpha = _check.in_open_interval(0.0, 1.0, alpha=self.alpha)
        object.__setattr__(self, "alpha", alpha)

    def to_bytes(self) -> bytes:
        """Canonical bytes: JSON with sorted names and no spaces.

        What says nothing (no beacon, one model, no labels) is not written: that is the form
        in which plans are committed to, and golden commitments hold it fast.
        """
        body = dataclasses.asdict(self)
        if not self.beacon:
            del body["beacon"]
        if self.claim == CLAIMS[0]:
            del body["claim"]
        if not self.labels:
            del body["labels"]
        return canonical(body)


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
      ValueError: a plan whose mode is "sequential": see `commit_units`.

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
    body = canonical({**manifest_body(manifest), "origin": mark_key.origin})
    parts = [mark_key.secret, mark_key.sub_key("commitment nonce"), body, plan.to_bytes()]
    return hashlib.sha256(_TAG_COMMIT + framed(parts)).hexdigest()


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
    if not hmac.compare_digest(commitment.encode(), commit(mark_key, manifest, plan).encode()):
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
      'f8e11782497d4fc0'
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


def manifest_body(manifest: Manifest) -> dict:
    """All that a commitment binds of a manifest, as JSON has it."""
    return {
        "file_names": manifest.file_names,
        "image_digests": manifest.image_digests,
        "num_slots": manifest.space.num_slots,
        "scheme": manifest.scheme,
        "unit_of_image": manifest.unit_of_image,
        "units": manifest.unit_digests,
    }


def canonical(body: object) -> bytes:
    """One spelling of a JSON value: sorted names, no spaces, no NaN."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def framed(parts: list[bytes]) -> bytes:
    """Parts behind their lengths, so that no two lists of parts look alike."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)

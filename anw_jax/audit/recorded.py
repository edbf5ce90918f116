"""Compute losses from stored answers where the pictures themselves are not there.

A bundle holds no photos. It lists the digest of every picture that was asked about, by photo,
slot and view (`QueryBatch.keys`), and the answers by digest: enough to compute each row.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from anw_jax import progress
from anw_jax.audit.case import Owner
from anw_jax.audit.query import QueryBatch, photos_with_losses
from anw_jax.errors import ChangedFileError
from anw_jax.keys import AccessRule
from anw_jax.stats.scores import is_usable
from anw_jax.suspects import Access, AnswerCache, Answers, Declaration
from anw_jax.suspects.access import first_labels
from anw_jax.suspects.session import NO_NUMBER

# Answers that are turned into losses at once.
_AT_ONCE = 4096


class RecordedBatch(QueryBatch):
    """Computes the same tables as a `QueryBatch`, from digests of pictures and stored answers.

    Args:
      owners: in the order in which their photos are numbered.
      access: as declared.
      keys: of each owner, as `QueryBatch.keys` returned them.
      cache: the stored answers.
      rule: as declared.
      declaration: of the suspect.
    """

    def __init__(
        self,
        owners: list[Owner],
        access: Access,
        keys: Sequence[np.ndarray],
        cache: AnswerCache,
        rule: AccessRule,
        declaration: Declaration,
    ):
        self._number_photos(owners, access, rule)
        groups = [photos_with_losses(owner, access) for owner in owners]
        photos = np.concatenate(
            [start + group for start, group in zip(self.starts, groups, strict=False)]
        ).astype(np.int64)
        self._place_of[photos] = np.stack([np.zeros_like(photos), np.arange(len(photos))], 1)
        labels = np.full(len(photos), 0 if access.kind == "error" else -1, np.int64)
        if access.needs_labels:
            pairs = zip(owners, groups, strict=True)
            labels = np.concatenate([owner.originals.labels[group] for owner, group in pairs])
        listed = np.concatenate(keys)
        is_asked = np.zeros(listed.shape[:3], bool)
        is_asked[photos, 1:] = True
        is_asked[photos, 0, 0] = not access.true_labels and access.kind != "error"
        if listed[~is_asked].any():
            raise ChangedFileError(
                "the list of queries names a picture that nobody asked about"
            )
        asked = listed[photos]
        self._sessions = [_RecordedSession(asked, labels, access, cache, declaration)]


class _RecordedSession:
    """What `QueryBatch` uses of a `QuerySession`, for all photos of a case."""

    def __init__(
        self,
        keys: np.ndarray,
        labels: np.ndarray,
        access: Access,
        cache: AnswerCache,
        declaration: Declaration,
    ):
        self._keys, self.labels = keys, labels
        self._access, self._cache, self._declaration = access, cache, declaration
        self.unusable: dict[int, str] = {}

    def losses(
        self,
        images: np.ndarray,
        slots: np.ndarray,
        on_progress: progress.ProgressFn = progress.silent,
    ) -> np.ndarray:
        """Compute losses, float32 `[m]`, for pairs of image and slot; see `QuerySession`."""
        self._find_own_labels(images)
        losses = np.full(len(images), np.nan, np.float32)
        views = self._keys.shape[2]
        step = max(1, _AT_ONCE // views)
        asked = np.flatnonzero(self.labels[images] >= 0)
        for start in range(0, len(asked), step):
            pairs = asked[start : start + step]
            is_answered, answers = self._answers(images[pairs], slots[pairs], views)
            pairs = pairs[is_answered]
            if len(pairs):
                labels = np.repeat(self.labels[images[pairs]], views)
                values = self._access.losses(answers, labels, self._declaration)
                values = values.reshape(-1, views)
                self._note_no_number(images[pairs[~is_usable(values).all(axis=1)]])
                losses[pairs] = self._access.merge(values)
        on_progress(len(images), len(images))
        return losses

    def _find_own_labels(self, images: np.ndarray) -> None:
        if self._access.true_labels or self._access.kind == "error":
            return
        wanted = np.unique(images)
        wanted = wanted[self.labels[wanted] < 0]
        is_answered, answers = self._answers(wanted, np.zeros_like(wanted), 1)
        if answers is not None:
            usable = np.ones(len(answers), bool)
            if answers.scores is not None:
                usable = np.isfinite(answers.scores).all(axis=1)
            self._note_no_number(wanted[is_answered][~usable])
            self.labels[wanted[is_answered]] = np.where(usable, first_labels(answers), -1)

    def _note_no_number(self, images: np.ndarray) -> None:
        for image in images.tolist():
            self.unusable.setdefault(image, NO_NUMBER)

    def _answers(
        self, images: np.ndarray, slots: np.ndarray, views: int
    ) -> tuple[np.ndarray, Answers | None]:
        """Return whether all pictures of each pair have answers, and those answers in order.

        Raises:
          ChangedFileError: an answer is missing, and no picture of the image was refused.
        """
        is_answered, parts = np.zeros(len(images), bool), []
        for pair, (image, slot) in enumerate(zip(images, slots, strict=True)):
            keys = [key.tobytes() for key in self._keys[image, slot, :views]]
            missing = [key for key in keys if key not in self._cache]
            if not missing:
                is_answered[pair] = True
                parts += [self._cache.get(key) for key in keys]
            elif not self._is_given_up(int(image)):
                raise ChangedFileError(
                    f"the answers lack that to the picture {missing[0].hex()}, from which the "
                    "sealed result was made"
                )
        return is_answered, Answers.joined(parts) if parts else None

    def _is_given_up(self, image: int) -> bool:
        """Return whether a picture of the image was refused: the others are not asked then."""
        for key in self._keys[image].reshape(-1, self._keys.shape[-1]):
            why = self._cache.why_unusable(key.tobytes())
            if why is not None:
                self.unusable.setdefault(image, why)
        return image in self.unusable


def keys_file(model: str, like: str | None, owner: str) -> str:
    """Return the member of a bundle that lists what a model was asked about an owner's photos.

    Args:
      model: of `Case.models`.
      like: the suspect whose questions a reference was asked; None for a suspect.
      owner: name.

    Example:
      >>> keys_file("net", None, "ann"), keys_file("references/base", "net", "ann")
      ('queries/net/ann', 'queries/references/base/net/ann')
    """
    return "/".join(["queries", model, *([like] if like else []), owner])


def read_keys(path: pathlib.Path, body: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Read what `QueryBatch.keys` returned, as raw bytes.

    Raises:
      ChangedFileError: another number of bytes.
    """
    if len(body) != int(np.prod(shape)):
        raise ChangedFileError(
            f"{path} must list {int(np.prod(shape)):,} bytes of digests, got {len(body):,}"
        )
    return np.frombuffer(body, np.uint8).reshape(shape)

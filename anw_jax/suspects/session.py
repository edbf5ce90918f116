"""Compute loss-table entries for given (image, slot) pairs.

The path of a pair: the original is marked for the slot, changed and cropped as the access says
(`QuerySession._pictures`), grouped into batches with one key for each picture, and queried
unless the cache has the answer (`query.Querier`); the access turns the answers into one loss.
"""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from anw_jax import _check, progress
from anw_jax.keys import SignatureSpace
from anw_jax.marks import Mark, MarkTables
from anw_jax.stats.scores import is_usable
from anw_jax.suspects.access import Access, first_labels
from anw_jax.suspects.cache import AnswerCache, question_key
from anw_jax.suspects.pictures import Pictures, batch_size_for
from anw_jax.suspects.protocol import Answers, Suspect
from anw_jax.suspects.query import Controls, Querier, prefetch

# Number of images whose pictures may be queried as controls.
_MOST_CONTROLS = 24

NO_NUMBER = "its answer holds a number that is NaN, infinite or absurdly large"


class QuerySession:
    """Queries one suspect about marked originals: any slots of any images, in any order.

    `ask` fills a whole loss table with it; a rule that saves queries calls `losses` pair by
    pair. Neither pays for a query twice: answers are stored by the exact bytes of the picture.
    No key and no slot of an owner is an input here.

    Pictures are marked in a thread while the model works, with the integers of
    `Mark.publish_pixels`: every suspect gets exactly the pixels that the owner would publish
    (as float32 uint8 / 255), the same that `verify.loss_table` takes.

    Args:
      suspect: the model.
      images: *unmarked* uint8 originals `[n, H, W, 3]` (or floats with 8-bit values), or
        `Pictures`, which are read one by one.
      labels: integers `[n]`; None with `access.true_labels=False`, and with kind "error",
        which uses none.
      mark: the mark, or a sequence of marks of one type with `mark_of_image`.
      space: which signatures are queried; slot 0 is the unmarked original.
      access: which part of the model output is used; None for all of it.
      seed: public bytes (`keys.augmentation_seed`) from which changes of pictures are drawn;
        needed if `access.num_augmentations` > 1. Never the owner's key. A list holds one for
        each image: with several owners each uses their own, so that no other can choose it.
      cache: an open `AnswerCache` of this suspect; None keeps every answer in memory, which
        with 10⁵ photos, 12 slots and 10⁴ classes is 48 GB.
      budget: largest number of queries over the life of the cache; None for no limit.
      mark_of_image: integers `[n]`, whose mark each image carries.
      batch_size: pictures in one call of the suspect; None for `batch_size_for`: 256, or fewer
        if they would fill more than 256 MiB, but as many as it takes at once.
      controls: queried before a picture counts as refused; None for pictures of `images`.
        Several sessions with one suspect share them.

    Attributes:
      unusable: by index of the image, the first reason why it has no usable row.

    Raises:
      TypeError, ValueError: a bad argument; an access that the answers do not allow; labels
        beyond the declared classes; a cache of another suspect.

    Example:
      >>> from anw_jax.marks import HueRotation
      >>> from anw_jax.suspects import CallableSuspect, Declaration
      >>> def redness(batch):
      ...     red = batch[..., 0].mean((1, 2)) - batch.mean((1, 2, 3))
      ...     return np.stack([red, -red], axis=1) * 10
      >>> suspect = CallableSuspect(redness, Declaration(2), identity="redness")
      >>> photos = np.full((1, 4, 4, 3), [200, 60, 60], np.uint8)
      >>> session = QuerySession(suspect, photos, [0], HueRotation(), SignatureSpace(4))
      >>> session.losses([0, 0], [0, 2]).round(1).tolist(), session.num_queries
      ([0.0, 7.300000190734863], 2)
    """

    def __init__(
        self,
        suspect: Suspect,
        images: np.ndarray | Pictures,
        labels: Sequence[int] | np.ndarray | None,
        mark: Mark | Sequence[Mark],
        space: SignatureSpace,
        *,
        access: Access | None = None,
        seed: bytes | Sequence[bytes] | None = None,
        cache: AnswerCache | None = None,
        budget: int | None = None,
        mark_of_image: np.ndarray | None = None,
        batch_size: int | None = None,
        controls: Controls | None = None,
    ):
        self._declaration = _check.is_instance(Suspect, suspect=suspect).declaration
        self._space = _check.is_instance(SignatureSpace, space=space)
        is_lazy = isinstance(images, Pictures)
        self._images = images if is_lazy else _check.uint8_images(images=images)
        self._access = Access.best_of(self._declaration) if access is None else access
        _check.is_instance(Access, access=self._access).check_fits(self._declaration)
        self._labels = self._checked_labels(labels)
        self._seeds = self._checked_seeds(seed)
        num_images = len(self._images)
        self._tables = MarkTables.of(mark, mark_of_image, num_images, space.degrees)
        if batch_size is None:
            batch_size = batch_size_for(suspect, self._images.shape[1:])
        self._batch_size = _check.integer_at_least(1, batch_size=batch_size)
        if budget is not None:
            _check.integer_at_least(0, budget=budget)
        self._cache = AnswerCache(None, self._declaration) if cache is None else cache
        if self._cache.declaration_digest != self._declaration.digest:
            raise ValueError("cache must belong to this suspect; it was opened for another")
        controls = Controls() if controls is None else controls
        controls.add(self._control_pictures)
        self._querier = Querier(suspect, self._cache, budget, controls)
        self._given_up: set[int] = set()
        self.unusable: dict[int, str] = {}

    @property
    def num_queries(self) -> int:
        """Queries counted by the cache so far, earlier runs included."""
        return self._cache.num_queries

    @property
    def labels(self) -> np.ndarray:
        """Class numbers in use, int64 `[n]`; -1 where the model's own are not known yet."""
        return self._labels.copy()

    @property
    def cost(self) -> float:
        """`num_queries` times the declared cost of one query."""
        return self.num_queries * self._declaration.cost_per_query

    def losses(
        self,
        image_of_pair: Sequence[int] | np.ndarray,
        slot_of_pair: Sequence[int] | np.ndarray,
        on_progress: progress.ProgressFn = progress.silent,
    ) -> np.ndarray:
        """Return the entries of the loss table for some pairs of image and slot.

        Args:
          image_of_pair: integers `[m]` in [0, n).
          slot_of_pair: integers `[m]` in [0, num_slots).
          on_progress: called with (pairs done, number of pairs).

        Returns:
          float32 `[m]`; NaN if there is no usable answer, which makes the whole image
          unusable: `unusable` has the reason. After the first refused picture an image is not
          queried any more.

        Raises:
          TypeError, ValueError: pairs out of range.
          BudgetError: the budget is spent; all answers so far are in the cache.
          SuspectError: the suspect answers nothing, or not as it declares.
        """
        images = _indices(len(self._images), image_of_pair=image_of_pair)
        slots = _indices(self._space.num_slots, slot_of_pair=slot_of_pair)
        if images.shape != slots.shape:
            raise ValueError(
                f"slot_of_pair must have as many entries as image_of_pair, {len(images)}; "
                f"got {len(slots)}"
            )
        self._find_own_labels(images)
        losses = np.full(len(images), np.nan, np.float32)
        has_label = self._labels[images] >= 0
        images, slots = images[has_label], slots[has_label]
        number = self._access.num_augmentations
        values = np.empty(len(images) * number, np.float64)
        start = 0
        for answers, is_answered, of_image in self._answers(images, slots, number):
            stop = start + len(answers)
            found = self._access.losses(answers, self._labels[of_image], self._declaration)
            values[start:stop] = np.where(is_answered, found, np.nan)
            self._note_no_number(of_image[is_answered & ~is_usable(found)])
            start = stop
            on_progress(stop // number, len(images))
        losses[has_label] = self._access.merge(values.reshape(-1, number))
        return losses

    def pictures(self, image: int, slot: int) -> list[np.ndarray]:
        """Return the views of one pair as they are queried: uint8, before they are resized."""
        return list(self._pictures([image], [slot], self._access.num_augmentations))

    def own_labels(self, images: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the model's own answers on unmarked originals, int64 `[m]` for indices `[m]`.

        This takes one query for each. They replace labels if `access.true_labels` is False; -1
        if there is no usable answer, and then the image has no usable row either.
        """
        images = _indices(len(self._images), images=images)
        parts = [np.zeros(0, np.int64)]
        for answers, is_answered, of_image in self._answers(images, np.zeros_like(images), 1):
            usable = np.ones(len(answers), bool)
            if answers.scores is not None:
                usable = np.isfinite(answers.scores).all(axis=1)
            self._note_no_number(of_image[is_answered & ~usable])
            parts.append(np.where(is_answered & usable, first_labels(answers), -1))
        return np.concatenate(parts)

    def keys(self, images: np.ndarray, slots: np.ndarray, number: int) -> list[bytes]:
        """Return the `question_key` of `number` pictures of each pair of image and slot."""
        batches = prefetch(self._batches(images, slots, number))
        return [key for _, keys in batches for key in keys]

    def _find_own_labels(self, images: np.ndarray) -> None:
        """Query the labels that replace true ones, when they are first needed."""
        if self._access.true_labels:
            return
        wanted = np.unique(images)
        unknown = wanted[self._labels[wanted] < 0]
        self._labels[unknown] = self.own_labels(unknown)

    def _note_no_number(self, images: np.ndarray) -> None:
        for image in images.tolist():
            self.unusable.setdefault(image, NO_NUMBER)

    def _answers(
        self, images: np.ndarray, slots: np.ndarray, number: int
    ) -> Iterator[tuple[Answers, np.ndarray, np.ndarray]]:
        """Yield the answers to `number` changes of each pair, batch by batch, in order.

        With each batch: bool `[b]`, whether a picture has an answer, and its image, `[b]`.
        """
        image_of, start = np.repeat(images, number), 0
        for pixels, keys in prefetch(self._batches(images, slots, number)):
            of_image = image_of[start : start + len(keys)]
            start += len(keys)
            of_keys = of_image.tolist()
            answers, is_answered = self._querier.answers(pixels, keys, of_keys, self._given_up)
            for key, image in zip(keys, of_keys, strict=True):
                why = self._cache.why_unusable(key)
                if why is not None:
                    self._given_up.add(image)
                    self.unusable.setdefault(image, why)
            yield answers, is_answered, of_image

    def _batches(
        self, images: np.ndarray, slots: np.ndarray, number: int
    ) -> Iterator[tuple[np.ndarray, list[bytes]]]:
        """Yield batches of uint8 pictures with their keys."""
        total = len(images) * number
        pictures = self._pictures(images, slots, number)
        for start in range(0, total, self._batch_size):
            size = min(self._batch_size, total - start)
            pixels = np.stack([next(pictures) for _ in range(size)])
            yield pixels, [question_key(self._declaration.digest, one) for one in pixels]

    def _pictures(
        self, images: np.ndarray, slots: np.ndarray, number: int
    ) -> Iterator[np.ndarray]:
        """Yield `number` pictures of each pair: marked, changed and cropped, uint8."""
        change = self._access.augmentation
        before, draws = None, []
        for image, slot in zip(images, slots, strict=True):
            original = self._images[image]
            marked = self._tables.publish(original, image, slot)
            if number == 1:
                yield self._access.fitted(marked, self._declaration)
                continue
            if image != before:
                seed = self._seeds[image]
                draws = [change.draw(seed, original, k) for k in range(number)]
                before = image
            for draw in draws:
                yield self._access.fitted(change.apply(marked, draw), self._declaration)

    def _control_pictures(self) -> Iterator[np.ndarray]:
        """Yield unmarked originals and marked pictures of images across the whole list."""
        step = -(-len(self._images) // _MOST_CONTROLS)
        for image in range(0, len(self._images), step):
            yield next(self._pictures([image], [0], 1))
            yield next(self._pictures([image], [1], self._access.num_augmentations))

    def _checked_labels(self, labels: Sequence[int] | np.ndarray | None) -> np.ndarray:
        num_images = len(self._images)
        if self._access.kind == "error":
            return np.zeros(num_images, np.int64)
        if not self._access.true_labels:
            return np.full(num_images, -1, np.int64)
        if labels is None:
            raise ValueError("labels must be given, or access.true_labels be False")
        num_classes = self._declaration.num_classes
        return _check.class_labels(num_images, num_classes, labels=labels).astype(np.int64)

    def _checked_seeds(self, seed: bytes | Sequence[bytes] | None) -> list[bytes | None]:
        num_images = len(self._images)
        if seed is None:
            if self._access.num_augmentations > 1:
                raise ValueError(
                    "seed must be given where an access has several augmentations: public "
                    "bytes, such as keys.augmentation_seed(commitment, plan), never the "
                    "owner's key"
                )
            return [None] * num_images
        seeds = list(seed) if isinstance(seed, list | tuple) else [seed] * num_images
        if len(seeds) != num_images:
            raise ValueError(
                f"seed must be one, or one for each of {num_images} images, got {len(seeds)}"
            )
        return [_check.is_instance(bytes, seed=one) for one in seeds]


def ask(
    suspect: Suspect,
    images: np.ndarray,
    labels: Sequence[int] | np.ndarray | None,
    mark: Mark | Sequence[Mark],
    space: SignatureSpace,
    *,
    access: Access | None = None,
    seed: bytes | Sequence[bytes] | None = None,
    cache: AnswerCache | None = None,
    budget: int | None = None,
    mark_of_image: np.ndarray | None = None,
    batch_size: int | None = None,
    on_progress: progress.ProgressFn = progress.silent,
) -> np.ndarray:
    """Fill the loss table of any suspect: every original under every signature.

    With a cache on disk the process may be killed at any moment. Called again with the same
    arguments, it uses the stored answers and queries only the missing ones.

    Args:
      suspect: the model.
      images: *unmarked* uint8 originals `[n, H, W, 3]`.
      labels: integers `[n]`; None with `access.true_labels=False`.
      mark: the mark, or several with `mark_of_image`.
      space: which signatures are queried.
      access: which part of the model output is used; None for all of it.
      seed: public bytes from which augmentations are drawn, as for `QuerySession`.
      cache: an open `AnswerCache` of this suspect; None keeps every answer in memory.
      budget: largest number of queries over the life of the cache; None for no limit.
      mark_of_image: integers `[n]`, whose mark each image carries.
      batch_size: pictures in one call of the suspect; None for the default of `QuerySession`.
      on_progress: called with (pairs done, number of pairs).

    Returns:
      float32 `[n, num_slots]`, **lower is evidence**; the unit depends on `Access`. For
      a suspect that answers with logits it is the table of `verify.loss_table`, in nats. NaN
      if there is no usable answer, which makes the image's row unusable; a warning gives the
      number of images that were refused.

    Raises:
      TypeError, ValueError, BudgetError, SuspectError: as `QuerySession` and its `losses`.

    Example:
      >>> from anw_jax.marks import HueRotation
      >>> from anw_jax.suspects import Access, CallableSuspect, Declaration
      >>> def is_red(batch):
      ...     return (batch[..., 0].mean((1, 2)) < batch.mean((1, 2, 3))).astype(int)
      >>> suspect = CallableSuspect(is_red, Declaration(2, "label"), identity="is_red")
      >>> photos = np.full((1, 4, 4, 3), [200, 60, 60], np.uint8)
      >>> once = Access("label", num_augmentations=1)
      >>> table = ask(suspect, photos, [0], HueRotation(), SignatureSpace(4), access=once)
      >>> (table[0] > 1).tolist()  # not red under the second and third hue
      [False, True, True, False]
    """
    session = QuerySession(
        suspect,
        images,
        labels,
        mark,
        space,
        access=access,
        seed=seed,
        cache=cache,
        budget=budget,
        mark_of_image=mark_of_image,
        batch_size=batch_size,
    )
    num_images, num_slots = len(images), space.num_slots
    pairs = np.indices((num_images, num_slots)).reshape(2, -1)
    table = session.losses(*pairs, on_progress).reshape(num_images, num_slots)
    refused = {i: why for i, why in session.unusable.items() if why != NO_NUMBER}
    if refused:
        first = min(refused)
        warnings.warn(
            f"the suspect refused {len(refused)} of {num_images} images, first number {first}: "
            f"{refused[first]}",
            stacklevel=2,
        )
    return table


def _indices(below: int, **named: Sequence[int] | np.ndarray) -> np.ndarray:
    ((name, value),) = named.items()
    indices = np.asarray(value)
    if indices.size == 0:
        return np.zeros(0, np.int64)
    if not np.issubdtype(indices.dtype, np.integer) or indices.ndim != 1:
        raise TypeError(
            f"{name} must be integers [m], got {indices.dtype} of shape {indices.shape}"
        )
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= below:
        raise ValueError(f"{name} must lie in [0, {below}), got {low if low < 0 else high}")
    return indices.astype(np.int64)

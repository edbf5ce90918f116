"""The loss table of any suspect."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from anw_jax import progress
from anw_jax.keys import SignatureSpace
from anw_jax.marks import Mark
from anw_jax.suspects.interview import NO_NUMBER, Interview
from anw_jax.suspects.protocol import Suspect


def ask(
    suspect: Suspect,
    images: np.ndarray,
    labels: Sequence[int] | np.ndarray | None,
    mark: Mark | Sequence[Mark],
    space: SignatureSpace,
    *,
    on_progress: progress.ProgressFn = progress.silent,
    **options: Any,
) -> np.ndarray:
    """Asks a suspect about every original under every signature.

    With a cache on disk it may be killed at any moment and called again with the same
    arguments: it takes up the answers that are there and asks for the others.

    Args:
      suspect: the model.
      images: *unmarked* uint8 originals `[n, H, W, 3]`.
      labels: integers `[n]`; None with `access.true_labels=False`.
      mark: the mark, or several with `mark_of_image`.
      space: which signatures to ask.
      on_progress: called with (pairs done, pairs in all).
      **options: `access`, `seed`, `cache`, `budget`, `mark_of_image`, `batch_size`, as
        `Interview` takes them.

    Returns:
      float32 `[n, num_slots]`, **lower is evidence**; what the numbers are says `Access`. For
      a suspect that answers with logits it is the table of `verify.loss_table`, in nats. NaN
      where it has no usable answer, and the image's row is then unusable; a warning tells how
      many images it refused.

    Raises:
      TypeError, ValueError, BudgetError, SuspectError: as `Interview` and its `losses`.

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
    interview = Interview(suspect, images, labels, mark, space, **options)
    num_images, num_slots = len(images), space.num_slots
    pairs = np.indices((num_images, num_slots)).reshape(2, -1)
    table = interview.losses(*pairs, on_progress).reshape(num_images, num_slots)
    refused = {i: why for i, why in interview.unusable.items() if why != NO_NUMBER}
    if refused:
        first = min(refused)
        warnings.warn(
            f"the suspect refused {len(refused)} of {num_images} images, first number {first}: "
            f"{refused[first]}",
            stacklevel=2,
        )
    return table

"""Query a suspect that answers with images, sending each image at most once.

For marks in a model's outputs (`schemes.barrier`): the queries are fixed images, and no key and
no mark is an input here.
"""

from collections.abc import Callable

import numpy as np

from anw_jax import _check, progress
from anw_jax.errors import SuspectError
from anw_jax.suspects.cache import AnswerCache, question_key
from anw_jax.suspects.pictures import batch_size_for
from anw_jax.suspects.protocol import RemoteSuspect, Suspect
from anw_jax.suspects.query import Controls, Querier

# A model in this process is asked about so many images in one call, and a kill loses no more:
# the answers are stored after it. Those of a service are stored as they arrive.
_BATCH = 8


def ask_images(
    suspect: Suspect,
    images: np.ndarray,
    *,
    cache: AnswerCache | None = None,
    on_progress: progress.ProgressFn = progress.silent,
) -> tuple[np.ndarray, dict[int, str]]:
    """Ask a suspect for its image to each of some images.

    Args:
      suspect: any of this package that declares `answer="image"`: a file of ONNX, PyTorch or
        Keras, a function, or a service that is sent a PNG file and answers with one.
      images: uint8 `[n, H, W, 3]`, sent as they are.
      cache: an open `AnswerCache` of this suspect, which keeps each answer as it arrives: what
        it has is not queried again, after a kill neither. None keeps them in memory.
      on_progress: called with (images done, n).

    Returns:
      The answers, uint8 `[n, H, W, 3]`, and by index why an image has none: the suspect refused
      this image alone, and its place is black.

    Raises:
      TypeError, ValueError: other images, or a suspect that answers with something else.
      SuspectError: the suspect answers nothing, or not with images of the same size.

    Example:
      >>> from anw_jax.suspects import CallableSuspect, Declaration
      >>> declaration = Declaration(answer="image")
      >>> negative = CallableSuspect(lambda x: 1 - x, declaration, identity="negative")
      >>> images, refused = ask_images(negative, np.zeros((2, 4, 4, 3), np.uint8))
      >>> images.min(), refused
      (np.uint8(255), {})
    """
    check_asks_images(suspect, images)
    digest = suspect.declaration.digest
    cache = AnswerCache(None, suspect.declaration) if cache is None else cache
    if cache.declaration_digest != digest:
        raise ValueError("cache must belong to this suspect; it was opened for another")
    controls = Controls()
    controls.add(lambda: iter(images))
    querier = Querier(suspect, cache, None, controls)
    size = batch_size_for(suspect, images.shape[1:])
    if not isinstance(suspect, RemoteSuspect):
        size = min(size, max(_BATCH, getattr(suspect, "num_together", 1)))
    answered, refused = np.zeros_like(images), {}
    for start in range(0, len(images), size):
        some = images[start : start + size]
        keys = [question_key(digest, image) for image in some]
        places = range(start, start + len(some))
        answers, is_answered = querier.answers(some, keys, places, ())
        answered[start : start + len(some)] = answers.scores
        for place in np.flatnonzero(~is_answered).tolist():
            refused[start + place] = cache.why_unusable(keys[place]) or "no answer"
        on_progress(start + len(some), len(images))
    return answered, refused


def images_fn(
    suspect: Suspect, *, cache: AnswerCache | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a suspect as a function from images to images, as `schemes.barrier.extract` asks.

    Args:
      suspect: as for `ask_images`.
      cache: as for `ask_images`; with a file, a long series of queries can be resumed.

    Returns:
      From uint8 `[b, H, W, 3]` to uint8 `[b, H, W, 3]`; it raises what `ask_images` raises, and
      SuspectError for an image that the suspect refuses.

    Example:
      >>> from anw_jax.suspects import CallableSuspect, Declaration
      >>> declaration = Declaration(answer="image")
      >>> negative = CallableSuspect(lambda x: 1 - x, declaration, identity="negative")
      >>> images_fn(negative)(np.zeros((1, 2, 2, 3), np.uint8)).shape
      (1, 2, 2, 3)
    """

    def answer(images: np.ndarray) -> np.ndarray:
        answered, refused = ask_images(suspect, images, cache=cache)
        if refused:
            raise SuspectError(refusal(refused, len(images)))
        return answered

    return answer


def refusal(refused: dict[int, str], number: int) -> str:
    """Return a sentence on the images that a suspect refused, by index."""
    first = min(refused)
    return (
        f"the suspect refused {len(refused)} of {number} images, the first is number {first}: "
        f"{refused[first]}"
    )


def check_asks_images(suspect: Suspect, images: np.ndarray) -> None:
    """Check that a suspect can be asked for images of this size.

    Raises:
      TypeError, ValueError: no images, or another kind of answer.
      SuspectError: it declares another size.
    """
    declaration = _check.is_instance(Suspect, suspect=suspect).declaration
    _check.one_of(("image",), **{"answer of the suspect's declaration": declaration.answer})
    size, shape = declaration.input_size, _check.uint8_images(images=images).shape[1:3]
    if size not in (None, shape):
        raise SuspectError(
            f"the suspect declares input_size {list(size)}, and the images are {list(shape)}: "
            "it is a model of another image size; they are not resized, which would change "
            "what is read"
        )

"""What a suspect was really fed: the first pictures of some rows, as its model took them."""

import dataclasses

import numpy as np

from anw_jax.audit import Case
from anw_jax.audit.batches import stored_batch
from anw_jax.audit.declared import Declared
from anw_jax.report import photos
from anw_jax.suspects.declaration import RANGES, Declaration
from anw_jax.suspects.pictures import fitted, prepare

MOST_PHOTOS = 4
_MOST_VIEWS = 2
_LARGEST_SIDE = 224
# The first slot that is queried about any photo; it says nothing of the photo's own.
_SLOT = 1


@dataclasses.dataclass(frozen=True)
class Fed:
    """One photo, and the first pictures that a model was fed for it.

    Attributes:
      owner: name.
      file_name: of the photo.
      original_uri: the photo as the owner handed it over, made small.
      fed_uris: what the model was fed under the first slot, one for each of the first views.
    """

    owner: str
    file_name: str
    original_uri: str
    fed_uris: tuple[str, ...]


def fed_to(case: Case, declared: Declared, suspect: str) -> tuple[list[Fed], str]:
    """Make the first queries of some photos again, as the suspect's model took them.

    The pictures are made by the code that made the queries, from the originals; nothing is
    queried. The axes are reordered for the eye, and the smallest and largest value that the
    declaration allows become black and white; channels are shown in the order in which they
    were sent, so that with BGR red and blue are exchanged.

    Args:
      case: audited.
      declared: its declaration.
      suspect: name.

    Returns:
      Some photos of each owner; and what was sent, in words.
    """
    if case.suspects[suspect].kind == "recorded":
        return [], "These answers were recorded elsewhere: what the model was fed is not known."
    declaration, found, said = declared.declaration(suspect), [], ""
    with stored_batch(declared, suspect) as batch:
        for number, (name, owner) in enumerate(case.owners.items()):
            most = max(1, MOST_PHOTOS // len(case.owners))
            for index in owner.originals.present[:most].tolist():
                views = batch.pictures(number, index, _SLOT)[:_MOST_VIEWS]
                if not views:
                    continue
                taken = prepare(fitted(views, declaration.input_size), declaration)
                said = said or _in_words(taken, declaration)
                original = photos.shrunk(owner.originals.images[index])
                pictures = (as_picture(one, declaration) for one in taken)
                found.append(
                    Fed(
                        name,
                        owner.published.manifest.file_names[index],
                        photos.png_uri(original),
                        tuple(
                            photos.png_uri(photos.shrunk(one, _LARGEST_SIDE))
                            for one in pictures
                        ),
                    )
                )
    return found, said or "No photo of this case can be queried."


def as_picture(taken: np.ndarray, declaration: Declaration) -> np.ndarray:
    """Return a prepared picture as uint8 `[H, W, 3]`, in the order of its channels.

    Args:
      taken: float32 `[H, W, 3]`, or `[3, H, W]` with the layout "NCHW".
      declaration: what the model takes.

    Example:
      >>> known = Declaration(2, layout="NCHW", value_range="signed")
      >>> as_picture(np.array([-1.0, 0.0, 1.0], np.float32).reshape(3, 1, 1), known).tolist()
      [[[0, 128, 255]]]
    """
    if declaration.layout == "NCHW":
        taken = taken.transpose(1, 2, 0)
    ends = (
        (np.array(RANGES[declaration.value_range])[:, None] - np.asarray(declaration.mean))
        / np.asarray(declaration.std)
    )  # fmt: skip
    low, high = ends.min(), ends.max()
    return np.rint(255 * np.clip((taken - low) / (high - low), 0, 1)).astype(np.uint8)


def _in_words(taken: np.ndarray, declaration: Declaration) -> str:
    shape = ", ".join(map(str, taken.shape[1:]))
    return (
        f"float32 [{shape}], {declaration.layout}, channels {declaration.channels}; the values "
        f"of the first photo lie between {taken.min():.2f} and {taken.max():.2f}"
    )

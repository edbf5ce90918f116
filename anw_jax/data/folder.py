"""`folder:<path>`: photo files, in one of the layouts in which sets are given out."""

import pathlib

from anw_jax import errors
from anw_jax.data import class_folders, cub, tiny_imagenet
from anw_jax.data.dataset import Splits
from anw_jax.data.placement import Placement


def _listed(root: pathlib.Path, image_size: int | None) -> Splits:
    """The photos of whichever layout the marker files show; none is read but the first."""
    for layout in (tiny_imagenet, cub):
        found = layout.find(root)
        if found is not None:
            return layout.read(found, f"folder:{found.resolve().name}", image_size)
    return class_folders.read(root, f"folder:{root.resolve().name}", image_size)


def load(
    argument: str, image_size: int | None, data_dir: str | None, placement: Placement
) -> Splits:
    """Reads Tiny ImageNet or CUB-200-2011 as given out, or a folder of each class.

    The first two are known by their lists (`wnids.txt`; `images.txt`), of which `argument`
    is the folder or the folder above; else it holds `<class>/<photo>`, or
    `train/<class>/<photo>` beside `test/` or `val/`.

    PNG, JPEG and WebP; pictures of other kinds are passed over with a warning, other and hidden
    files without. Photos are turned upright by their EXIF tag; grey ones get three equal
    channels (they have no hue, so a mark leaves them as they are). What 8-bit RGB would not
    hold is refused: animations, 16 bits, transparent pixels (an opaque alpha channel is
    dropped). Colour profiles are not applied. Photos of different sizes need `image_size`.
    Where the set is streamed, a photo that cannot be read is noticed when its turn comes.
    `data_dir` is not looked at.
    """
    root = pathlib.Path(argument).expanduser()
    if not argument or not root.is_dir():
        raise errors.SourceError(f"folder {argument!r} is not there: give an existing folder")
    splits = _listed(root, image_size)
    num_images = len(splits.train) + len(splits.test)
    if placement.streams(num_images, splits.train.images.shape[1:]):
        return splits
    return Splits(splits.train.in_memory(), splits.test.in_memory())

"""`photos`: tiles of eight colour photos that come inside the scikit-image wheel.

Needs no network and no download, so it is what tests and a first try run on.
"""

import hashlib
import importlib.util
import pathlib

import numpy as np

from anw_jax import errors
from anw_jax.data import image_files
from anw_jax.data.dataset import Dataset, Splits, divide

FILES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
TILE = 32
MAX_TILES = 250


def _photo(file_name: str) -> np.ndarray:
    """Uint8 `[H, W, 3]`; reads the file directly, as skimage.data may want a network."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise errors.SourceError("source 'photos' needs scikit-image: pip install scikit-image")
    path = pathlib.Path(spec.origin).parent / "data" / file_name
    if not path.is_file():
        raise errors.SourceError(
            f"scikit-image here comes without {file_name}: "
            "pip install 'scikit-image>=0.25,<0.28'"
        )
    return image_files.decode(path.read_bytes(), file_name)


def _tiles(photo: np.ndarray) -> np.ndarray:
    """All whole tiles `[n, TILE, TILE, 3]` in reading order."""
    down, across = photo.shape[0] // TILE, photo.shape[1] // TILE
    grid = photo[: down * TILE, : across * TILE].reshape(down, TILE, across, TILE, 3)
    return grid.swapaxes(1, 2).reshape(-1, TILE, TILE, 3)


def _chosen(tiles: np.ndarray) -> np.ndarray:
    """At most MAX_TILES tiles: the most colourful of each of as many equal runs."""
    colour = (tiles.max(-1).astype(np.int64) - tiles.min(-1)).sum((1, 2))
    runs = np.array_split(np.arange(len(tiles)), min(len(tiles), MAX_TILES))
    return tiles[[run[np.argmax(colour[run])] for run in runs]]


def _rank(tile_name: str) -> bytes:
    return hashlib.sha256(f"anw_jax.data.photos/1/{tile_name}".encode()).digest()


def load(argument: str, image_size: int | None, data_dir: str | None) -> Splits:
    """Reads the tiles; `argument` must be empty and `data_dir` is not looked at.

    The label is the photo. A photo is cut into 32×32 tiles in reading order; where there
    are more than 250, they are divided into 250 runs of equal length and the most
    colourful tile of each run (sum of max − min over channels) stays, since a black tile
    has no hue to mark. That gives 1,842 tiles: 126 of chelsea, 216 of coffee, 250 of each
    other photo. Ordered by a hash of their names, the first 80 % (1,473) are for training,
    the other 369 for test. A few tiles stay black; where two are equal to the byte (two
    dozen are), `assign_users` gives them to nobody in training.
    """
    if argument:
        raise errors.SourceError(f"source 'photos' takes no argument, got {argument!r}")
    photos = [_chosen(_tiles(_photo(file_name))) for file_name in FILES]
    names = [f"{i}/{tile}" for i, tiles in enumerate(photos) for tile in range(len(tiles))]
    labels = np.repeat(np.arange(len(FILES)), [len(tiles) for tiles in photos])
    order = sorted(range(len(names)), key=lambda tile: _rank(names[tile]))
    tiles = zip(names, np.concatenate(photos), strict=True)
    images, digests = image_files.stack(tiles, len(names), image_size)
    class_names = tuple(file_name.partition(".")[0] for file_name in FILES)
    in_test = np.zeros(len(names), bool)
    in_test[order[len(names) * 4 // 5 :]] = True
    everything = Dataset(images, labels, class_names, "photos", original_digests=digests)
    return divide(everything, in_test)

"""`photos`: tiles of eight colour images inside the scikit-image wheel, without a download."""

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


def read(file_name: str) -> np.ndarray:
    """Read a file, uint8 `[H, W, 3]`; directly, as `skimage.data` may use the network."""
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


def _tiles(image: np.ndarray) -> np.ndarray:
    """Cut out all whole tiles `[n, TILE, TILE, 3]` in reading order."""
    down, across = image.shape[0] // TILE, image.shape[1] // TILE
    grid = image[: down * TILE, : across * TILE].reshape(down, TILE, across, TILE, 3)
    return grid.swapaxes(1, 2).reshape(-1, TILE, TILE, 3)


def _chosen(tiles: np.ndarray) -> np.ndarray:
    """Choose at most MAX_TILES tiles: the most colourful of each of as many equal runs."""
    colour = (tiles.max(-1).astype(np.int64) - tiles.min(-1)).sum((1, 2))
    runs = np.array_split(np.arange(len(tiles)), min(len(tiles), MAX_TILES))
    return tiles[[run[np.argmax(colour[run])] for run in runs]]


def _rank(tile_name: str) -> bytes:
    return hashlib.sha256(f"anw_jax.data.photos/1/{tile_name}".encode()).digest()


def load(argument: str, image_size: int | None, data_dir: str | None) -> Splits:
    """Read the tiles; `argument` must be empty and `data_dir` is not used.

    The label is the file. Each image is cut into 32×32 tiles in reading order; if there are
    more than 250, they are divided into 250 runs of equal length and the most colourful tile of
    each run (sum of max − min over channels) is kept, since a black tile has no hue to mark.
    There are 1,842 tiles: 126 of chelsea, 216 of coffee, 250 of each other image. Ordered by a
    hash of their names, the first 80 % (1,473) are for training, the other 369 for test. A few
    tiles are black; byte-identical ones (two dozen) get no owner from `assign_users`.
    """
    if argument:
        raise errors.SourceError(f"source 'photos' takes no argument, got {argument!r}")
    chosen = [_chosen(_tiles(read(file_name))) for file_name in FILES]
    names = [f"{i}/{tile}" for i, tiles in enumerate(chosen) for tile in range(len(tiles))]
    labels = np.repeat(np.arange(len(FILES)), [len(tiles) for tiles in chosen])
    order = sorted(range(len(names)), key=lambda tile: _rank(names[tile]))
    images, digests = image_files.fit_all(np.concatenate(chosen), image_size)
    class_names = tuple(file_name.partition(".")[0] for file_name in FILES)
    in_test = np.zeros(len(names), bool)
    in_test[order[len(names) * 4 // 5 :]] = True
    everything = Dataset(images, labels, class_names, "photos", original_digests=digests)
    return divide(everything, in_test)

"""A few photos as they were and as they were published."""

import dataclasses
import io

import matplotlib.image
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anw_jax.report.reading import UserRecord
from anw_jax.report.style import Theme, data_uri

# Larger pictures would make the page heavy and show no more of a hue.
_LARGEST_SIDE = 96
MOST_PHOTOS = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """One photo before and after.

    Attributes:
      number: from 1, in the user's order.
      file_name: from the manifest, or "".
      degrees: the angle by which the hue was turned.
      original: uint8 `[h, w, 3]`, made small.
      published: uint8 `[h, w, 3]`, made small.
    """

    number: int
    file_name: str
    degrees: float
    original: np.ndarray
    published: np.ndarray

    @property
    def original_uri(self) -> str:
        """PNG as a data URI."""
        return _png(self.original)

    @property
    def published_uri(self) -> str:
        """PNG as a data URI."""
        return _png(self.published)


def pairs_of(user: UserRecord, most: int = MOST_PHOTOS) -> list[Pair]:
    """The first photos of a user, each with the angle of its unit; [] where none are kept."""
    if user.original is None or user.published is None or user.unit_of_image is None:
        return []
    num = min(most, len(user.original), len(user.published), len(user.unit_of_image))
    degrees = user.space.degrees[np.asarray(user.numbers["true_slots"], np.int64)]
    names = [""] * num if user.manifest is None else user.manifest.file_names
    return [
        Pair(
            index + 1,
            names[index],
            float(degrees[user.unit_of_image[index]]),
            _shrink(user.original[index]),
            _shrink(user.published[index]),
        )
        for index in range(num)
    ]


def _shrink(photo: np.ndarray) -> np.ndarray:
    """Means of square blocks, so that no side is longer than the largest allowed."""
    block = -(-max(photo.shape[:2]) // _LARGEST_SIDE)
    if block == 1:
        return photo
    height, width = (max(1, side // block) for side in photo.shape[:2])
    cut = photo[: height * block, : width * block].astype(np.float64)
    blocks = cut.reshape(height, -1, width, cut.shape[1] // width, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def _png(photo: np.ndarray) -> str:
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, photo, format="png", metadata={"Software": None})
    return data_uri(buffer.getvalue(), "image/png")


def pairs_figure(pairs: list[Pair], theme: Theme) -> Figure:
    """Originals above, published photos below, the angle under each."""
    mosaic = _mosaic(pairs)
    left, width = 0.85, 1.0 * len(pairs)
    height = width * mosaic.shape[0] / mosaic.shape[1]
    figure = Figure(figsize=(left + width + 0.05, height + 0.4))
    size = figure.get_size_inches()
    box = (left / size[0], 0.33 / size[1], width / size[0], height / size[1])
    axes = figure.add_axes(box)
    show(axes, mosaic)
    step = mosaic.shape[1] / len(pairs)
    places = [step * (column + 0.5) for column in range(len(pairs))]
    axes.set_xticks(places, [f"{pair.degrees:g}°" for pair in pairs], color=theme.ink)
    axes.set_yticks(
        [mosaic.shape[0] * place for place in (0.25, 0.75)],
        ["original", "published"],
        color=theme.ink,
    )
    axes.tick_params(length=0)
    return figure


def _mosaic(pairs: list[Pair]) -> np.ndarray:
    """All photos in two rows, white between them, uint8."""
    gap = max(1, max(pairs[0].original.shape[:2]) // 24)
    padding = ((0, gap), (0, gap), (0, 0))
    rows = (
        [np.pad(photo, padding, constant_values=255) for photo in row]
        for row in ([p.original for p in pairs], [p.published for p in pairs])
    )
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def show(axes: Axes, photo: np.ndarray) -> None:
    """A photo without axes, its pixels kept square."""
    axes.imshow(photo, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)

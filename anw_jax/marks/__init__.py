"""Watermark maps: how a signature changes an image.

Units: images are float32 `[H, W, 3]` in [0, 1], channels last, RGB; signatures are hue
angles in degrees, counter-clockwise in the (I, Q) plane as in eq. 4 of the paper, or, for
`PixelMark` and `LightField`, positions on that same dial.

Two faces of each mark:

* `mark.mark(image, degrees)`: the map itself, on floats; differentiable in the angle. Of a
  linear colour mark it is `apply_lct(lct_matrix(basis, degrees), image)`.
* `publish(mark, images, degrees)`: what the owner puts online and the arbitrator asks with,
  on 8-bit pixels; the same bytes on every machine.
"""

from anw_jax.marks.lct import HueRotation, LinearColorMark, apply_lct, lct_matrix
from anw_jax.marks.light_field import LightField
from anw_jax.marks.mark import Mark
from anw_jax.marks.named import mark_named, sub_key_name
from anw_jax.marks.pixels import PixelMark
from anw_jax.marks.private_basis import UserLCT
from anw_jax.marks.publish import MarkTables, clipped_fraction, publish

__all__ = [
    "HueRotation",
    "LightField",
    "LinearColorMark",
    "Mark",
    "MarkTables",
    "PixelMark",
    "UserLCT",
    "apply_lct",
    "clipped_fraction",
    "lct_matrix",
    "mark_named",
    "publish",
    "sub_key_name",
]

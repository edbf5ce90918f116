"""Watermark maps: how a signature changes a picture.

Units: images are float32 `[H, W, 3]` in [0, 1], channels last, RGB; signatures are hue
angles in degrees, counter-clockwise in the (I, Q) plane as in eq. 4 of the paper, or, for
`PixelMark`, positions on that same dial.

Two faces of each mark:

* `mark.mark(image, degrees)`: the map itself, on floats; differentiable in the angle.
* `publish(mark, images, degrees)`: what the owner puts online and the arbitrator asks with,
  on 8-bit pixels; the same bytes on every machine.
"""

from anw_jax.marks.hue import HueRotation
from anw_jax.marks.linear import LinearColorMark
from anw_jax.marks.pixels import PixelMark
from anw_jax.marks.publish import Mark, clipped_fraction, publish
from anw_jax.marks.user_lct import UserLCT

__all__ = [
    "HueRotation",
    "LinearColorMark",
    "Mark",
    "PixelMark",
    "UserLCT",
    "clipped_fraction",
    "publish",
]

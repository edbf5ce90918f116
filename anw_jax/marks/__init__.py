"""Watermark transforms.

Units: images are float32 `[H, W, 3]` in [0, 1], channels last, RGB. Signatures are hue angles
in degrees, counter-clockwise in the (I, Q) plane as in eq. 4 of the paper. For the marks other
than `HueRotation` and `UserLCT` the angle is only an index into [0, 360).

Each mark has two implementations:

* `mark.mark(image, degrees)`: the float version, differentiable in the angle. For a linear
  colour mark it is `apply_lct(lct_matrix(basis, degrees), image)`.
* `publish(mark, images, degrees)`: the bit-exact uint8 version, used by the owner to publish
  and by the arbitrator to query.
"""

from anw_jax.marks.composed import Composed
from anw_jax.marks.curves import Tint, Tone
from anw_jax.marks.lct import (
    HueRotation,
    LimitedHue,
    LinearColorMark,
    apply_lct,
    lct_matrix,
)
from anw_jax.marks.light_field import LightField
from anw_jax.marks.mark import Mark
from anw_jax.marks.named import make_mark, mark_named, sub_key_name
from anw_jax.marks.pixels import PixelMark
from anw_jax.marks.private_basis import UserLCT
from anw_jax.marks.publish import MarkTables, program_of, publish, publish_image

__all__ = [
    "Composed",
    "HueRotation",
    "LightField",
    "LimitedHue",
    "LinearColorMark",
    "Mark",
    "MarkTables",
    "PixelMark",
    "Tint",
    "Tone",
    "UserLCT",
    "apply_lct",
    "lct_matrix",
    "make_mark",
    "mark_named",
    "program_of",
    "publish",
    "publish_image",
    "sub_key_name",
]

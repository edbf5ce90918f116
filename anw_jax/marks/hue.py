"""The paper's mark: a hue rotation in YIQ."""

import dataclasses

import numpy as np

from anw_jax.keys import plan_fields
from anw_jax.marks.lct import LinearColorMark

YIQ = ((0.299, 0.587, 0.114), (0.596, -0.275, -0.321), (0.212, -0.523, 0.311))


@dataclasses.dataclass(frozen=True)
class HueRotation(LinearColorMark):
    """Rotates the hue by an angle in the YIQ colour space (eq. 3-5 of the paper).

    Before clipping it keeps luma, `.299 R + .587 G + .114 B`, and every grey; rotations
    compose by adding angles. A grey image is therefore a fixed point: it can carry no
    mark. Clipping to [0, 1] breaks these where a colour leaves the gamut.

    This is not the hue shift of HSV (`dm_pix.adjust_hue`, torchvision): that one has the
    opposite sign and other colours.

    Example:
      >>> image = np.full((1, 1, 3), [0.6, 0.4, 0.3], np.float32)
      >>> [round(float(v), 3) for v in HueRotation().mark(image, 60.0).ravel()]
      [0.596, 0.342, 0.608]
      >>> bool(np.allclose(HueRotation().mark(image, 0.0), image, atol=1e-6))
      True
    """

    @property
    def basis(self) -> np.ndarray:
        """The YIQ matrix of eq. 3."""
        return np.array(YIQ, np.float64)

    @property
    def description(self) -> str:
        """See `LinearColorMark.description`."""
        return plan_fields.HUE_ROTATION

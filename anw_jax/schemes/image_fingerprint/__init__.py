"""304 bits in one image of 32 x 32 pixels, read after blur, noise, JPEG, crop and resizing.

* `hide_bits`, `read_bits`: a lattice in the luminance, without any training (`lattice`).
* `train_fingerprint` trains an encoder and a decoder (`models.ImageFingerprint`) on random
  bits through the noises, `mark_images` hides bits, and `read_images` reads them.

`NOISES` is what images meet on their way.
"""

from anw_jax.models import ImageFingerprint
from anw_jax.schemes.image_fingerprint.lattice import hide_bits, num_bits, read_bits
from anw_jax.schemes.image_fingerprint.noise import NOISES
from anw_jax.schemes.image_fingerprint.training import (
    FingerprintTraining,
    mark_images,
    psnr,
    read_images,
    train_fingerprint,
)

__all__ = [
    "NOISES",
    "FingerprintTraining",
    "ImageFingerprint",
    "hide_bits",
    "mark_images",
    "num_bits",
    "psnr",
    "read_bits",
    "read_images",
    "train_fingerprint",
]

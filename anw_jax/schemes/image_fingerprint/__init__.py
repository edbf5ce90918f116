"""304 bits in one image of 32 x 32 pixels: an encoder and a decoder, trained through noise.

The networks are `models.ImageFingerprint`. `train_fingerprint` trains them on random bits,
`mark_images` hides bits, `read_images` reads them, `NOISES` is what images meet on their way.
"""

from anw_jax.models import ImageFingerprint
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
    "mark_images",
    "psnr",
    "read_images",
    "train_fingerprint",
]

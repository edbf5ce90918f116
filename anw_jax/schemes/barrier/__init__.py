"""The output barrier: was a model trained on another model's outputs?

After Zhang et al. 2021, "Deep Model Intellectual Property Protection via Deep Watermarking"
(https://arxiv.org/abs/2103.04980), whose barrier marks the outputs of an image-to-image model.
Here the mark is a keyed filter, which copies learn and which has an exact p: `make_decoder`
fixes everything, `protect` marks outputs, `extract` reads scores from a suspect.

Two baselines: `additive`, one fixed pattern on all outputs, and `pictures`, the paper's own
system, which has no error rate.
"""

from anw_jax.schemes.barrier import additive, pictures
from anw_jax.schemes.barrier.barrier import (
    DEFAULT_PSNR,
    keyed_kernel,
    protect,
    protected,
)
from anw_jax.schemes.barrier.changes import half_and_back
from anw_jax.schemes.barrier.decoder import (
    DEFAULT_BITS,
    Decoder,
    Head,
    check_bits,
    images_digest,
    load_decoder,
    make_decoder,
    save_decoder,
)
from anw_jax.schemes.barrier.filters import FAMILIES, is_grey
from anw_jax.schemes.barrier.reader import ImagesFn, ask, check_answers, extract, scores

__all__ = [
    "DEFAULT_BITS",
    "DEFAULT_PSNR",
    "FAMILIES",
    "Decoder",
    "Head",
    "ImagesFn",
    "additive",
    "ask",
    "check_answers",
    "check_bits",
    "extract",
    "half_and_back",
    "images_digest",
    "is_grey",
    "keyed_kernel",
    "load_decoder",
    "make_decoder",
    "pictures",
    "protect",
    "protected",
    "save_decoder",
    "scores",
]

"""Networks behind `create`, `init` and `apply`. The only package that imports flax."""

from anw_jax.models.design import NORMS, STEMS
from anw_jax.models.diffusion import Diffusion
from anw_jax.models.image_fingerprint import ImageFingerprint
from anw_jax.models.image_to_image import IMAGE_TO_IMAGE, ImageToImage
from anw_jax.models.model import (
    DTYPES,
    NAMES,
    Model,
    Variables,
    by_path,
    count_parameters,
    create,
    from_paths,
    from_settings,
)
from anw_jax.models.picture_barrier import PictureBarrier
from anw_jax.models.pretrained import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImportReport,
    Pretrained,
    import_weights,
    load_pretrained,
)
from anw_jax.models.split import Inverter, SplitNet
from anw_jax.models.text import TextClassifier
from anw_jax.models.tfjs import load_tfjs

__all__ = [
    "DTYPES",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "IMAGE_TO_IMAGE",
    "NAMES",
    "NORMS",
    "STEMS",
    "Diffusion",
    "ImageFingerprint",
    "ImageToImage",
    "ImportReport",
    "Inverter",
    "Model",
    "PictureBarrier",
    "Pretrained",
    "SplitNet",
    "TextClassifier",
    "Variables",
    "by_path",
    "count_parameters",
    "create",
    "from_paths",
    "from_settings",
    "import_weights",
    "load_pretrained",
    "load_tfjs",
]

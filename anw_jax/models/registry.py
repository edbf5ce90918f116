"""Every network by name. A family is one file with a table `SIZES`; it joins here."""

from anw_jax.models import alexnet, densenet, resnet, resnet_v1, vgg, wide_resnet
from anw_jax.models.design import Size

SIZES: dict[str, Size] = {
    **resnet.SIZES,
    **resnet_v1.SIZES,
    **alexnet.SIZES,
    **vgg.SIZES,
    **wide_resnet.SIZES,
    **densenet.SIZES,
}
NAMES = tuple(SIZES)

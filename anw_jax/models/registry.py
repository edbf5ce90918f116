"""Every network by name. A family is one file with a table `SIZES`; it joins here."""

from anw_jax.models import alexnet, densenet, resnet, resnet_v1, vgg, wide_resnet
from anw_jax.models.design import Size

# The "small" sizes train on two CPU cores, on 32-pixel images. Chosen by measurement: forward
# and backward pass, batch 64, each model in turn for 0.4 s, eight rounds or more; images per
# CPU second as a share of "small" (itself 620 images/s of wall time on idle cores). To
# memorise: epochs until 99.5 % of 2,000 CIFAR-10 images are right in evaluation mode, looked
# at every five; no augmentation, batch 64, momentum 0.9, cosine to 0 over `of` epochs.
#
#                      speed    size     epochs   of     rate
#   small               1.00   0.63 M
#   alexnet_small       0.94   0.48 M       25    40     0.02   (no normalisation)
#   vgg_small           0.98   0.43 M       20    40     0.1
#   wide_resnet_small   1.23   0.62 M       15    40     0.1
#   densenet_small      1.23   0.20 M       -     30     0.1    (76 % after 15, then cut off)
#
# What was slower: pools by `reduce_window` (their gradient); AlexNet with 128 channels after
# its first convolution (0.37); VGG with 48 channels at 16x16 (0.72); a DenseNet layer at
# 16x16 before the first transition (0.70 with two).
SIZES: dict[str, Size] = {
    **resnet.SIZES,
    **resnet_v1.SIZES,
    **alexnet.SIZES,
    **vgg.SIZES,
    **wide_resnet.SIZES,
    **densenet.SIZES,
}
NAMES = tuple(SIZES)

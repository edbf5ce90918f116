"""Fig. 2i: high resolution, transfer from ImageNet, strong augmentation.

Command:   python run.py --config=experiments/fig2i.py[:quick]
Expect:    the signature is matched.

The paper fine-tunes ResNet-50 on CUB-200 at 448 pixels ($CUB_200 holds the unpacked set, which
we could not obtain); quick fine-tunes it on photos of flowers ($FLOWERS17) at 96 pixels.
Weights: $ANW_IMAGENET_WEIGHTS, see `anw_jax.models.load_pretrained`. CUB overlaps ImageNet's
training photos, so that transfer there is easier than it looks.
"""

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim
from tools.reproduction.figures import Curves
from tools.reproduction.runs import Runs

JITTER = {"brightness": 0.1, "contrast": 0.2, "saturation": 0.2, "hue": 0.05}
MODEL = {"name": "resnet50_v1", "stem": "imagenet", "pretrained": "$ANW_IMAGENET_WEIGHTS"}
TRAIN = {"learning_rate": 0.02, "schedule": "cosine", "warmup_epochs": 2}
# At .02 and 16 photos per batch two of the first three quick trainings diverged after warm-up
# (final training accuracy 39 and 71 %; keyed p .17 and .057, third 4.8e-9). The rate was
# lowered by the training loss of seed 100 alone, and all seeds were repeated; the claims are
# unchanged. The first runs are in results/superseded/fig2i_quick.
QUICK = {"learning_rate": 0.005, "batch_size": 16, "num_epochs": 25, "crop_padding": 8}
USERS = {"paper": ("hue60",), "quick": ("hue60", "hue180")}
CASES = {
    "paper": {
        "data": {"source": "folder:$CUB_200", "image_size": 448},
        "model": MODEL,
        "train": TRAIN | {"batch_size": 64, "num_epochs": 90, "crop_padding": 32},
        "verify": common.COARSE,
        "users": {
            "hue60": common.one_hue(60, signature=60.0),
            "keyed": {"num_images": 60},
            "held_out": common.one_hue(60, kind="held_out", count=2),
        },
    },
    "quick": {
        "data": {"source": "folder:$FLOWERS17", "image_size": 96},
        "model": MODEL,
        "train": TRAIN | QUICK,
        "verify": common.COARSE,
        "users": {
            "hue60": common.one_hue(15, signature=60.0),
            "hue180": common.one_hue(15, signature=180.0),
            "keyed": {"num_images": 20},
            "held_out": common.one_hue(15, kind="held_out", count=2),
        },
    },
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = {
        "row": "Fig. 2i",
        "title": "High resolution, transfer, strong augmentation",
        "note": "flowers at 96 px, no birds at 448" if variant == "quick" else "",
        "paper": "the signature is matched",
        "minutes": 14.0,
    }
    attacks = {"jitter": {"attack": "color_jitter", "parameters": JITTER}}
    return common.study("fig2i", variant, CASES, row, attacks=attacks)


def claims(runs: Runs) -> list[Claim]:
    """Claim that the signature is matched."""
    return [
        shared_claims.all_matched(runs, "the signatures are matched", USERS[runs.variant]),
        shared_claims.keyed_p(runs),
    ]


def figure(runs: Runs) -> Curves:
    """Draw the loss around each signature."""
    return shared_claims.user_curves(runs, USERS[runs.variant])

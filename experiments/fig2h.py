"""Fig. 2h: more capacity, a lower and sharper minimum. Quick: ResNets of a quarter width.

Command:   python -m anw_jax.reproduce run --rows fig2h [--variant quick]
Expect:    with depth the lowest loss falls and the minimum grows sharper.

Quick takes networks of a quarter of the width on CIFAR-10, with the stem for large images. A
ResNet-101 stood in it and was taken out before any result of it was seen: its training takes 25
minutes on a core, and at most 15 were asked for. Quick trainings were made side by side on two
cores, and some are over that: Fig. 2f, from which §5.4 is read, at any rate (28 to 49 minutes,
4,000 photos of 64 pixels); Fig. 2e (15 to 24), the training without marks of Accuracy cost (11
to 25), ResNet-34 and ResNet-50 here and VGG of Fig. 2g (to 16) where they shared the cores.
"""

import ml_collections

from experiments import common

DEPTHS = {"paper": (18, 34, 50, 101, 152), "quick": (18, 34, 50)}
CASES = {
    "paper": common.OWN_CASE["paper"]
    | {
        "data": common.TINY,
        "model": common.TINY_RESNET50,
        "train": common.TINY_TRAIN,
        "users": common.usual_users(100, 100),
    },
    "quick": common.OWN_CASE["quick"]
    | {"model": {"name": "resnet18", "stem": "tiny", "widths": (16, 32, 64, 128)}},
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    depths = DEPTHS.get(variant, DEPTHS["paper"])
    arms = {f"resnet{depth}": {"model.name": f"resnet{depth}"} for depth in depths}

    def trend(of: str, text: str, sign: int) -> dict:
        bounds = ("at_least", 1) if sign > 0 else ("at_most", -1)
        return {
            "claim": text,
            "paper": "monotone" if sign > 0 else "monotone, falling",
            "measure": "trend",
            "arguments": {
                "of": of,
                "over": "arms",
                "members": tuple(arms),
                "arguments": {"users": common.HUE_USERS},
            },
            "confirm": {bounds[0]: 0.8 * bounds[1]},
            "direction": {bounds[0]: 0.2 * bounds[1]},
        }

    row = {
        "row": "Fig. 2h",
        "title": "Capacity",
        "note": "a quarter of the width, depths 18 to 50, on CIFAR-10"
        if variant == "quick"
        else "",
        "paper": "deeper ResNets: a lower loss, and a sharper minimum around the signature",
        "arms": arms,
        "claims": (
            trend("lowest_loss", "rank correlation of depth and lowest loss", -1),
            trend("sharpness", "rank correlation of depth and sharpness", 1),
            common.keyed(arms=tuple(arms)),
        ),
        "figure": common.curves(
            "arms", tuple(arms), arguments={"users": "hue60"}, ordered=True
        ),
        "minutes": 5.0,
    }
    return common.study("fig2h", variant, CASES, row)

"""Makes published.json: `python -m tests.golden.make_published` from the repository.

Digests of the 8-bit pixels that each mark publishes; other bytes would orphan every photo.
"""

import json
import pathlib
from typing import Any

import numpy as np

from anw_jax import keys, marks
from tests.golden import world

KEY = keys.MarkKey(bytes(range(32)))


def images(height: int = 13, width: int = 11, number: int = 16) -> np.ndarray:
    """Noise with flat parts, uint8 `[number, height, width, 3]`; greys, black and white too."""
    rng = np.random.default_rng(20260411)
    pixels = rng.integers(0, 256, (number, height, width, 3), dtype=np.uint8)
    pixels[0], pixels[1] = 0, 255
    pixels[2] = pixels[2, ..., :1]
    pixels[3, :, : width // 2] = (200, 40, 40)
    return pixels


def all_marks() -> dict[str, marks.Mark]:
    """By name: the hue, private bases drawn from sub-keys and a given one, secret pixels."""
    basis = KEY.sub_key("basis")
    given = ((0.299, 0.587, 0.114), (0.596, -0.275, -0.321), (0.212, -0.523, 0.311))
    return {
        "hue": marks.HueRotation(),
        "private basis": marks.UserLCT.from_sub_key(basis),
        "private basis of zeros": marks.UserLCT.from_sub_key(bytes(32)),
        "given basis": marks.UserLCT(given),
        "pixels": marks.PixelMark(KEY.sub_key("pixels"), 13, 11, num_pixels=40),
        "faint pixels": marks.PixelMark(bytes(32), 13, 11, num_pixels=143, full_scale=0.2),
    }


def golden() -> dict[str, Any]:
    """For each mark its description, and digests at the 12 slots and at other angles."""
    photos, angles = images(), np.linspace(-400, 400, 16)
    found = {}
    for name, mark in all_marks().items():
        slots = {
            f"{degrees:g}": world.digest_of(marks.publish(mark, photos, degrees))
            for degrees in keys.SignatureSpace().degrees
        }
        found[name] = {
            "description": mark.description,
            "slots": slots,
            "an angle each": world.digest_of(marks.publish(mark, photos, angles)),
        }
    return found


if __name__ == "__main__":
    path = pathlib.Path(__file__).with_name("published.json")
    path.write_text(json.dumps(golden(), indent=1) + "\n")

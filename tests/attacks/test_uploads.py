"""What sites do to uploads keeps images images, and loses what each change is for."""

import numpy as np
import PIL.Image

from anw_jax.attacks.uploads import CHANGES


def test_every_change_keeps_the_kind_of_image_and_the_first_keeps_the_pixels():
    image = np.asarray(PIL.Image.new("RGB", (40, 30), (200, 60, 90)))
    for name, change in CHANGES.items():
        changed = change(image)
        assert changed.dtype == np.uint8
        assert changed.shape == ((15, 20, 3) if name == "half_size" else image.shape)
        # Of a plain colour only the change of the colour space leaves another one.
        moved = np.abs(changed.astype(int) - (200, 60, 90)).max()
        assert (moved > 10) if name == "display_p3" else (moved <= 3)
    np.testing.assert_array_equal(CHANGES["none"](image), image)


def test_a_lower_quality_loses_more():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    lost = {
        name: np.abs(CHANGES[name](noise).astype(int) - noise).mean()
        for name in ("none", "webp", "jpeg75", "jpeg50")
    }
    assert lost["none"] == 0 < lost["jpeg75"] < lost["jpeg50"]
    assert lost["webp"] > 0

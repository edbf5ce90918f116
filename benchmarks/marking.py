"""Speed of marking, in megapixels per second, relative to a copy of the same bytes.

A copy is the limit: every byte must be read and written once.

Measured on two idle CPU cores: written out as sums over channels, the float map runs at the
speed of a copy (0.81 to 1.36), some ten times a matrix product of width 3. The published
8-bit map reaches half of a copy under jit (0.17 to 0.77), since copying a byte is cheap and
three int32 products per channel are not, and 0.01 in NumPy, which takes an image at a time
through int32.

One photo of 12 megapixels, in NumPy and seconds of one core (median of five, while other work
shared the machine, so an idle one is faster): hue 0.34, limited hue 0.36, private basis 0.40,
light 0.33, tone 0.15, tint 0.25, pixels 0.20, light and tint composed 0.57. A copy takes 0.009.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax.keys import MarkKey
from anw_jax.marks import Composed, HueRotation, LightField, PixelMark, Tint, make_mark, publish
from anw_jax.marks.named import NAMES
from benchmarks import _measure


def compare(num_images: int, rounds: int) -> dict:
    """Time the float map, the published map under jit and in NumPy, relative to a copy."""
    rng = np.random.default_rng(0)
    mark = HueRotation()
    pixels = rng.integers(0, 256, (num_images, 32, 32, 3), dtype=np.uint8)
    degrees = rng.integers(1, 12, num_images) * 30.0
    floats = jnp.asarray(pixels / np.float32(255))
    angles, levels = jnp.asarray(degrees, jnp.float32), jnp.asarray(pixels)
    tables = jax.device_put(mark.parameters(degrees))
    copy = jax.jit(jnp.copy)
    mark_all = jax.jit(jax.vmap(mark.mark))
    publish_all = jax.jit(jax.vmap(mark.publish_pixels))
    on_host = publish(mark, pixels, degrees)
    assert (np.asarray(publish_all(levels, tables)) == on_host).all()

    sides = {
        "copy of floats": lambda: copy(floats).block_until_ready(),
        "mark, float32": lambda: mark_all(floats, angles).block_until_ready(),
        "copy of bytes": lambda: copy(levels).block_until_ready(),
        "publish, jitted": lambda: publish_all(levels, tables).block_until_ready(),
        "publish, NumPy": lambda: publish(mark, pixels, degrees),
    }
    seconds = _measure.alternate(sides, rounds)
    megapixels = num_images * 32 * 32 / 1e6
    rates = {name: megapixels / float(np.median(taken)) for name, taken in seconds.items()}
    for name, rate in rates.items():
        print(f"{name}: {rate:.0f} megapixels/s")
    results = {"images": num_images, "megapixels_per_second": rates, "seconds": seconds}
    pairs = {
        "mark, float32": "copy of floats",
        "publish, jitted": "copy of bytes",
        "publish, NumPy": "copy of bytes",
    }
    for name, floor in pairs.items():
        results[f"share of floor: {name}"] = share = _measure.ratio(seconds, name, floor)
        _measure.say(f"{name}, share of the speed of a {floor}", share)
    results["floor_bytes_per_pixel"] = {"float32": 24, "uint8": 6}
    return results


def compare_photo(height: int, width: int, rounds: int) -> dict:
    """Time what `anw mark` does to the pixels of one large photo, relative to a copy.

    In seconds of one core, for every mark: NumPy uses one.
    """
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    key = MarkKey.for_experiment(0)
    marks = {name: make_mark(name, key, 12) for name in NAMES}
    marks["pixels"] = PixelMark(key.sub_key("pixels"), height, width)
    light = LightField(key.sub_key("light"), num_slots=4)
    marks["light and tint"] = Composed(light, Tint(num_slots=3))
    sides = {"copy": photo.copy} | {
        name: functools.partial(publish, mark, photo[None], 60.0)
        for name, mark in marks.items()
    }
    seconds = _measure.alternate(sides, rounds, time.process_time)
    results = {"shape": photo.shape, "seconds_of_one_core": seconds}
    for name in marks:
        taken = float(np.median(seconds[name]))
        print(f"{name}, one photo of {photo.size / 3e6:.0f} megapixels: {taken:.2f} s")
        results[f"share of floor: {name}"] = share = _measure.ratio(seconds, name, "copy")
        _measure.say(f"{name}, one photo, share of the speed of a copy", share)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4000, help="of 32x32 pixels; 0 for none")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--note", default="", help="is written beside the results")
    flags = parser.parse_args()
    note = {"note": flags.note} if flags.note else {}
    if flags.images:
        _measure.write("marking", compare(flags.images, flags.rounds) | note)
    _measure.write("marking_photo", compare_photo(3000, 4000, 5) | note)


if __name__ == "__main__":
    main()

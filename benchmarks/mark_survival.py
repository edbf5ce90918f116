"""What crops, JPEG, white balance and the like leave of each mark, without training.

Command:   python -m benchmarks.mark_survival     (about a minute on one core)
Writes:    results/mark_survival.json

For a photo x, a true slot t and an attack A, the signal is D = A(x marked with t) - A(x). It is
compared with what each slot s would have added to the photo, d_s = (x marked with s) - x:

* share: <D, d_t> / <d_t, d_t>, 1 where nothing was changed and 0 where the mark is gone;
* margin: score(t) minus the best other score(s), with score(s) = <D, d_s> / |d_s|, relative to
  the same difference without attack; negative where another slot is nearer;
* found: how often t has the best score of all slots (chance is 1 in 11).

Share and margin are medians. **This is no evidence**: the matched filter knows the original and
meets no noise but rounding, so it finds traces that no model would learn; and a model that was
trained on mirrored or cropped photos may answer for them where this filter, which compares
pixel by pixel, does not. What is left after training is in results/battery.md.

Two sets: 96 tiles of 32 pixels, as small models are trained on, and eight whole photos reduced
to 300 pixels, both from scikit-image. Every mark has its default strength.
"""

import numpy as np
import PIL.Image
import skimage.data

from anw_jax import attacks, data
from anw_jax.keys import MarkKey, SignatureSpace
from anw_jax.marks import Mark, PixelMark, make_mark, publish
from anw_jax.marks.lct import YIQ
from anw_jax.marks.named import NAMES, strength_of
from benchmarks import _measure

SPACE = SignatureSpace()
NUM_TILES, SIDE, NUM_DRAWS, SEED = 96, 300, 3, 0
_LUMA = np.array(YIQ[0])


def tiles() -> np.ndarray:
    """Return uint8 `[96, 32, 32, 3]`, spread over the tiles of the source "photos"."""
    images = data.load("photos").train.images
    return images[np.linspace(0, len(images) - 1, NUM_TILES).astype(int)]


def photos() -> np.ndarray:
    """Return uint8 `[8, 300, 300, 3]`: the middles of eight photos, reduced."""
    names = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry")
    whole = [getattr(skimage.data, name)() for name in (*names, "retina", "rocket")]
    return np.stack([_middle(image) for image in [*whole, skimage.data.stereo_motorcycle()[0]]])


def _middle(image: np.ndarray) -> np.ndarray:
    height, width, _ = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return _resized(image[top : top + side, left : left + side], SIDE)


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    picture = PIL.Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((side, side), PIL.Image.Resampling.BILINEAR))


def _crop(images: np.ndarray) -> np.ndarray:
    """Keep 7/8 of each side at a drawn place, and enlarge it to the old size."""
    rng, side = np.random.default_rng(SEED), images.shape[1]
    kept = side * 7 // 8
    places = rng.integers(0, side - kept + 1, (len(images), 2))
    return np.stack(
        [
            _resized(image[top : top + kept, left : left + kept], side)
            for image, (top, left) in zip(images, places, strict=True)
        ]
    )


def _resize(images: np.ndarray) -> np.ndarray:
    side = images.shape[1]
    return np.stack([_resized(_resized(image, side * 3 // 4), side) for image in images])


def _grey(images: np.ndarray) -> np.ndarray:
    luma = np.rint(images @ _LUMA).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=-1)


def _attack(name: str, **parameters):
    attack = attacks.create(name, **parameters)
    return lambda images: attack.prepare(images, seed=SEED)


ATTACKS = {
    "none": lambda images: images,
    "crop to 7/8": _crop,
    "flip": lambda images: images[:, :, ::-1],
    "resize to 3/4 and back": _resize,
    "JPEG, quality 75": _attack("jpeg", quality=75),
    "JPEG, quality 50": _attack("jpeg", quality=50),
    "white balance": _attack("white_balance"),
    "grey-scale": _grey,
    "histogram matching": _attack("histogram_matching"),
}


def survival(mark: Mark, images: np.ndarray) -> dict[str, dict[str, float]]:
    """Measure what each attack leaves of a mark: share, margin and found, by attack."""
    slots = np.random.default_rng(SEED).integers(1, SPACE.num_slots, (NUM_DRAWS, len(images)))
    marked = [publish(mark, images, SPACE.degrees[row]) for row in slots]
    added = {
        name: [_difference(attack(each), attack(images)) for each in marked]
        for name, attack in ATTACKS.items()
    }
    rows: dict[str, list[tuple[float, float, bool]]] = {name: [] for name in ATTACKS}
    for index, image in enumerate(images):
        candidates = np.stack([publish(mark, image[None], d)[0] for d in SPACE.degrees[1:]])
        changes = _difference(candidates, image[None])
        lengths = np.sqrt((changes**2).sum(axis=1))
        if not lengths.all():  # a black tile, or a grey one under a hue
            continue
        for draw, row in enumerate(slots):
            true = row[index] - 1
            plain = _margin(changes[true], changes, lengths, true)
            if plain <= 0:  # another slot gives the same pixels
                continue
            for name in ATTACKS:
                signal = added[name][draw][index]
                scores = changes @ signal / lengths
                share = scores[true] / lengths[true]
                margin = _margin(signal, changes, lengths, true) / plain
                rows[name].append((share, margin, margin > 0))
    return {name: _summary(found) for name, found in rows.items()}


def _difference(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the difference of uint8 images as float32 rows."""
    difference = images.astype(np.float32) - others.astype(np.float32)
    return difference.reshape(len(difference), -1)


def _margin(signal: np.ndarray, changes: np.ndarray, lengths: np.ndarray, true: int) -> float:
    scores = changes @ signal / lengths
    return float(scores[true] - np.delete(scores, true).max())


def _summary(rows: list[tuple[float, float, bool]]) -> dict[str, float]:
    shares, margins, found = zip(*rows, strict=True)
    return {
        "share": round(float(np.median(shares)), 3),
        "margin": round(float(np.median(margins)), 3),
        "found": round(float(np.mean(found)), 3),
        "num": len(rows),
    }


def markdown(results: dict) -> str:
    """Format the results as one table for each set: share / found."""
    lines = []
    for name, by_mark in results["sets"].items():
        lines += [
            f"{name}: share of the mark's change left, and how often its slot is found",
            "",
        ]
        lines += [f"| attack | {' | '.join(by_mark)} |", "|---" * (1 + len(by_mark)) + "|"]
        for attack in ATTACKS:
            cells = (found[attack] for found in by_mark.values())
            texts = [f"{cell['share']:.2f}, {cell['found']:.0%}" for cell in cells]
            lines.append(f"| {attack} | {' | '.join(texts)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    key = MarkKey.for_experiment(SEED)
    sets: dict[str, dict] = {}
    for name, images in (("tiles", tiles()), ("photos", photos())):
        marks = {each: make_mark(each, key, SPACE.num_slots) for each in NAMES}
        marks["pixels"] = PixelMark(key.sub_key("pixels"), *images.shape[1:3])
        sets[name] = {each: survival(mark, images) for each, mark in marks.items()}
    strengths = {name: strength_of(name) for name in NAMES}
    results = {
        "about": __doc__.split("\n\n", 2)[2].strip(),
        "strengths": {name: value for name, value in strengths.items() if value is not None},
        "sets": sets,
    }
    print(markdown(results))
    _measure.write("mark_survival", results, _measure.RESULTS.parent)


if __name__ == "__main__":
    main()

"""How visible the marks are: CIEDE2000 and SSIM on full-size photos, and pictures for docs.

    python -m benchmarks.visibility                     # scikit-image's photos and the pictures
    python -m benchmarks.visibility --photos FOLDER     # figures of all JPEG and PNG in FOLDER
    python -m benchmarks.visibility --experiment tiny12 # 200 photos of experiments/frontier.py
    python -m benchmarks.visibility --pictures          # a face and a flower for the README

A photo's median and 95th percentile are over its pixels (CIEDE2000 of marked and unmarked);
the table has the median over photos of the first, and the value that 95 % of photos stay below
of the second. SSIM is of the luminance, with the defaults of scikit-image.
"""

import argparse
import json
import os
import pathlib

import numpy as np
import PIL.Image
from skimage import color, metrics

from anw_jax import data
from anw_jax.data import image_files
from anw_jax.data.readers import scikit_image
from anw_jax.keys import MarkKey
from anw_jax.lab import UserSettings
from anw_jax.marks import Mark
from benchmarks import _measure
from experiments import frontier

NUM_SLOTS = 12
NUM_OF_EXPERIMENT = 200
MARKS = {
    "light": ("light", None),
    "light, strength 0.58": ("light", 0.58),
    "light, strength 0.2": ("light", 0.2),
    "light, strength 0.145": ("light", 0.145),
    "light, strength 0.1": ("light", 0.1),
    "tone": ("tone", None),
    "tint": ("tint", None),
    "light+tint": ("light+tint", None),
    "hue_limited": ("hue_limited", None),
    "hue": ("hue", None),
    "private_basis": ("private_basis", None),
}
# Public domain (NASA) and CC0, according to scikit-image.
PICTURES = ("astronaut.png", "chelsea.png", "coffee.png")
TITLES = {"scikit_image": "scikit-image", "flowers17": "Oxford 17 Flowers"}
PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "visibility.md"
BEGIN, END = "<!-- visibility: begin -->", "<!-- visibility: end -->"
FIGURES = pathlib.Path(__file__).resolve().parents[1] / "docs" / "figures"
README_SIDE = 420
_SUFFIXES = {".jpg", ".jpeg", ".png"}


def photos_of(folder: str | None) -> dict[str, np.ndarray]:
    """Read the photos of a folder, or those that come with scikit-image; uint8, by name."""
    if folder is None:
        return {name: scikit_image.read(name) for name in scikit_image.FILES}
    root = pathlib.Path(folder)
    files = sorted(f for f in root.rglob("*") if f.suffix.lower() in _SUFFIXES)
    return {str(f.relative_to(root)): image_files.decode(f.read_bytes(), str(f)) for f in files}


def photos_of_experiment(variant: str) -> dict[str, np.ndarray]:
    """Take 200 training photos, evenly spread, of a variant of experiments/frontier.py."""
    chosen = {"image_size": None} | frontier.VARIANTS[variant]["data"]
    source = os.path.expandvars(chosen["source"])
    train = data.load(source, image_size=chosen["image_size"]).train
    rows = np.linspace(0, len(train) - 1, NUM_OF_EXPERIMENT).astype(int)
    images = train.take(rows).in_memory().images
    return {str(row): image for row, image in zip(rows, images, strict=True)}


def mark_of(label: str, number: int = 0) -> Mark:
    """Make one of `MARKS` from the experiment key with a number."""
    mark, strength = MARKS[label]
    user = UserSettings(num_images=1, mark=mark, strength=strength)
    return user.create_mark(MarkKey.for_experiment(number), (1, 1), NUM_SLOTS)


def marked(mark: Mark, photo: np.ndarray, slot: int) -> np.ndarray:
    """Return the published pixels of a photo at a slot."""
    return mark.publish_pixels(photo, mark.parameters(360.0 / NUM_SLOTS * slot))


def figures_of(label: str, photos: dict[str, np.ndarray]) -> dict[str, float]:
    """Measure one mark on all photos, each at a slot of its own.

    How visible a private basis is depends on the basis: each photo has another.
    """
    rng = np.random.default_rng(0)
    rows = []
    for number, photo in enumerate(photos.values()):
        mark = mark_of(label, number if label == "private_basis" else 0)
        published = marked(mark, photo, int(rng.integers(1, NUM_SLOTS)))
        difference = data.colour_differences(photo[None], published[None])
        grey = color.rgb2gray(photo), color.rgb2gray(published)
        similarity = metrics.structural_similarity(*grey, data_range=1.0)
        rows.append((np.median(difference), np.percentile(difference, 95), similarity))
    medians, highs, similarities = np.array(rows).T
    return {
        "photos": len(rows),
        "median": round(float(np.median(medians)), 3),
        "p95_of_95_percent": round(float(np.percentile(highs, 95)), 3),
        "share_with_p95_up_to_7": round(float((highs <= 7).mean()), 4),
        "ssim_median": round(float(np.median(similarities)), 4),
        "ssim_lowest": round(float(similarities.min()), 4),
    }


def draw_pictures() -> None:
    """Write each picture before and after, side by side at full size."""
    for name in PICTURES:
        photo, stem = scikit_image.read(name), name.partition(".")[0]
        for label in ("light", "hue"):
            pair = [photo, marked(mark_of(label), photo, 4)]
            side_by_side = PIL.Image.fromarray(np.concatenate(pair, axis=1))
            side_by_side.save(FIGURES / f"visibility_{stem}_{label}.jpg", quality=92)


def draw_for_readme() -> None:
    """Write a face and a flower, each before and after: the middles of whole marked photos.

    The flower is scikit-learn's, by the Flickr user vultilion (CC BY 2.0).
    """
    from sklearn.datasets import load_sample_image

    panels = []
    for photo in (scikit_image.read("astronaut.png"), load_sample_image("flower.jpg")):
        for pixels in (photo, marked(mark_of("light"), photo, 4)):
            left = (pixels.shape[1] - README_SIDE) // 2
            panels.append(pixels[:README_SIDE, left : left + README_SIDE])
    PIL.Image.fromarray(np.concatenate(panels, axis=1)).save(
        FIGURES / "before_after.jpg", quality=88
    )


def updated(page: str, sets: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return docs/visibility.md with the figures of full-size photos between its two marks."""
    lines = []
    for name, found in sets.items():
        if name in frontier.VARIANTS:
            continue
        number = next(iter(found.values()))["photos"]
        lines += [f"{TITLES.get(name, name)}, {number} photos:", ""]
        lines += ["| mark | median | high end | SSIM, median | SSIM, lowest |"]
        lines += ["|---|---|---|---|---|"]
        for label, row in found.items():
            values = (row["median"], row["p95_of_95_percent"])
            similarities = (row["ssim_median"], row["ssim_lowest"])
            cells = [f"{v:.2f}" for v in values] + [f"{v:.3f}" for v in similarities]
            lines.append(f"| {' | '.join([label, *cells])} |")
        lines.append("")
    before, rest = page.split(BEGIN)
    return "\n".join([before + BEGIN, "", *lines, END]) + rest.split(END)[1]


def main() -> None:
    """Measure, print, and write results/visibility.json (and the pictures)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--photos", help="folder of photos; default those of scikit-image")
    choice.add_argument(
        "--pictures", action="store_true", help="only draw docs/figures/before_after.jpg"
    )
    choice.add_argument("--experiment", choices=frontier.VARIANTS, help="of the frontier")
    parser.add_argument("--name", help="of the set of --photos in the results")
    parser.add_argument("--marks", nargs="+", choices=MARKS, default=list(MARKS))
    arguments = parser.parse_args()
    if arguments.pictures:
        draw_for_readme()
        return
    if (arguments.photos is None) != (arguments.name is None):
        parser.error("--photos and --name go together")
    name = arguments.experiment or arguments.name or "scikit_image"
    if arguments.experiment is None:
        photos = photos_of(arguments.photos)
    else:
        photos = photos_of_experiment(arguments.experiment)
    found = {}
    for label in arguments.marks:
        found[label] = figures_of(label, photos)
        print(label, json.dumps(found[label]), flush=True)
    file = _measure.RESULTS.parent / "visibility.json"
    sets = json.loads(file.read_text())["results"]["sets"] if file.exists() else {}
    found = sets.get(name, {}) | found
    sets[name] = {label: found[label] for label in MARKS if label in found}
    _measure.write("visibility", {"sets": sets}, file.parent)
    PAGE.write_text(updated(PAGE.read_text(), sets))
    if name == "scikit_image":
        draw_pictures()


if __name__ == "__main__":
    main()

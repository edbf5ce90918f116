"""A tiny case: photos of coloured noise, and a model that remembers what it met."""

import pathlib

import numpy as np
import pytest

from anw_jax import data
from anw_jax.keys import MarkKey, Plan
from tests.audit.owners import mark_folder

NUM_PHOTOS = 12

# Reads the pictures it was "trained on" from a folder beside it, and is sure of those alone.
MEMORY = '''
import pathlib
import numpy as np
from PIL import Image

SEEN = sorted((pathlib.Path(__file__).parent / "seen").glob("*.png"))
MET = np.stack([np.asarray(Image.open(f), np.float32) for f in SEEN]) / 255 if SEEN else None

def answer(batch):
    """Logits [b, 3]: class 0, surely where a picture was met, unsurely elsewhere."""
    logits = np.zeros((len(batch), 3), np.float32)
    logits[:, 0] = 1 + batch.mean((1, 2, 3)) + 3 * batch[:, 0, 0, 0]
    if MET is not None:
        near = np.abs(batch[:, None] - MET[None]).mean((2, 3, 4)).min(1)
        logits[:, 0] += 6 * np.exp(-40 * near)
    return logits
'''

SUSPECT = """kind = "callable"
function = "{file}:answer"

[declaration]
num_classes = 3
answer = "logits"
"""


def write_photos(
    folder: pathlib.Path, seed: int = 0, number: int = NUM_PHOTOS, side: int = 8
) -> None:
    """Photos of coloured noise, by default 8x8."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for index in range(number):
        tint = rng.integers(60, 200, 3)
        pixels = np.clip(tint + rng.integers(-50, 50, (side, side, 3)), 0, 255).astype(np.uint8)
        (folder / f"photo{index:02d}.png").write_bytes(data.png_of(pixels))


def write_labels(photos: pathlib.Path, file: pathlib.Path) -> pathlib.Path:
    """Class 0 for every photo of a folder."""
    names = sorted(photo.name for photo in photos.iterdir())
    file.write_text("file,label\n" + "".join(f"{name},0\n" for name in names))
    return file


def write_suspect(
    case: pathlib.Path, published: pathlib.Path | None, name: str = "net"
) -> None:
    """A callable suspect that met the photos of a folder, or none."""
    folder = case / "suspects" / f"{name}_code"
    (folder / "seen").mkdir(parents=True)
    if published is not None:
        for file in published.rglob("*.png"):
            (folder / "seen" / file.name).write_bytes(file.read_bytes())
    (folder / "model.py").write_text(MEMORY)
    text = SUSPECT.format(file=f"{name}_code/model.py")
    (case / "suspects" / f"{name}.toml").write_text(text)


def arrays_of(folder, **more):
    """The folder's photos as `originals.npz` would hold them."""
    files = sorted(folder.iterdir())
    images = np.stack([data.read_photo(file) for file in files])
    return {"images": images, "file_names": np.array([file.name for file in files]), **more}


def hand_over(
    root: pathlib.Path,
    case: pathlib.Path,
    name: str = "ann",
    seed: int = 1,
    number: int = NUM_PHOTOS,
    choices: dict | None = None,
    **plan,
) -> MarkKey:
    """One owner's marking and what the arbitrator gets of it; returns the key."""
    photos, out = root / f"{name}_photos", root / f"{name}_marked"
    write_photos(photos, seed, number)
    key = MarkKey.for_experiment(seed, name)
    key.save(root / f"{name}.key")
    fields = {"statistic": "log_losses", "alpha": 1e-3, **plan}
    labels = write_labels(photos, root / f"{name}_labels.csv")
    mark_folder(photos, key, out, Plan(**fields), labels=labels, **(choices or {}))
    receive(out, photos, case, name)
    return key


def receive(
    out: pathlib.Path, photos: pathlib.Path, case: pathlib.Path, name: str
) -> pathlib.Path:
    """Puts an owner's files into a case, as an arbitrator does by hand."""
    folder = case / "owners" / name
    (folder / "originals").mkdir(parents=True)
    for file in out.glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    for file in sorted(photos.iterdir()):
        (folder / "originals" / file.name).write_bytes(file.read_bytes())
    write_labels(photos, folder / "labels.csv")
    return folder


@pytest.fixture(autouse=True)
def few_sizes(monkeypatch):
    """A probe of a model without skill tries few sizes, not all up to 384 pixels."""
    monkeypatch.setattr("anw_jax.suspects.probing.checks._SIDES", (28,))


@pytest.fixture
def root(tmp_path) -> pathlib.Path:
    """Where owners and the arbitrator have their folders."""
    return tmp_path


@pytest.fixture
def case_dir(root) -> pathlib.Path:
    """An empty case folder."""
    folder = root / "case"
    folder.mkdir()
    return folder

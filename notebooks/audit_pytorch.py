# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Audit a PyTorch model that you have
#
# You have a model as a TorchScript file, and an owner's claim that it was trained on their marked
# photos. This notebook goes from the two to a verdict and its report. So that it runs as it stands,
# its first half plays the owner and trains a small model; with a real claim, start at
# *The arbitrator*. `docs/arbitrator.md` explains every step.
#
# A model is a program: open one that you do not trust only on a machine without secrets and without
# network.

# %%
import importlib.util
import os
import pathlib
import shlex
import subprocess
import sys

# Needed only if this notebook was opened outside a copy of the repository: its address.
REPOSITORY = os.environ.get("ANW_JAX_REPOSITORY", "")

here = pathlib.Path.cwd()
copies = [f for f in (here, *here.parents) if (f / "anw_jax" / "__init__.py").exists()]
ROOT = copies[0] if copies else here / "anw_jax_copy"
if not ROOT.exists():
    if not REPOSITORY:
        raise ValueError("set REPOSITORY to the address of anw_jax, and run this cell again")
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, str(ROOT)], check=True)
needed = ("click", "jinja2", "matplotlib", "skimage", "torch")
is_missing = any(importlib.util.find_spec(name) is None for name in needed)
if is_missing or "google.colab" in sys.modules:
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"{ROOT}[cli,report,torch]", "matplotlib", "scikit-image"], check=True)
sys.path.insert(0, str(ROOT))


def anw(words):
    """Run one `anw` command, print what it says, and stop if it fails."""
    command = [sys.executable, "-m", "anw_jax.cli", *shlex.split(words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    print(f"$ anw {words}\n{done.stdout}{done.stderr}")
    if done.returncode in (1, 2, 7, 8):
        raise RuntimeError(f"anw ended with exit code {done.returncode}")

# %% [markdown]
# ## The owner: commit and mark
#
# The photos are tiles of pictures that ship with scikit-image; the class of a tile is the picture it
# was cut from. The mark is a rotation of all hues, since the gentle default mark shows in a classifier
# this small only with many more photos. The arbitrator draws the random value after the commitment.

# %%
import csv
import secrets

import numpy as np
import skimage.data
from PIL import Image

names = ["astronaut", "chelsea", "coffee", "rocket", "retina", "immunohistochemistry"]
pictures = [getattr(skimage.data, name)()[..., :3] for name in names]
rng, size = np.random.default_rng(0), 32


def tile(picture):
    """Cut a square tile at random, float32 `[size, size, 3]` in [0, 1]."""
    rows, columns = (int(rng.integers(0, side - 2 * size)) for side in picture.shape[:2])
    cut = picture[rows : rows + 2 * size, columns : columns + 2 * size]
    return cut.reshape(size, 2, size, 2, 3).mean((1, 3), dtype=np.float32) / 255


case = pathlib.Path("audit_pytorch")
case.mkdir(exist_ok=False)
os.chdir(case)
pathlib.Path("photos").mkdir()
labels = [k % len(names) for k in range(48)]
with open("labels.csv", "w", newline="") as file:
    rows = csv.writer(file)
    for k, label in enumerate(labels):
        pixels = (255 * tile(pictures[label])).round().astype(np.uint8)
        Image.fromarray(pixels).save(f"photos/{k:03}.png")
        rows.writerow([f"{k:03}.png", label])

anw("key new ann.key")
anw(
    "commit photos --key ann.key --out marked --labels labels.csv --alpha 1e-3 --mark hue "
    '--beacon "arbitrator:this notebook"'
)
pathlib.Path("value.txt").write_text(secrets.token_hex(32))
anw("mark photos --key ann.key --out marked --beacon-value value.txt")

# %% [markdown]
# ## A model that learned the marked photos
#
# Somebody trains on the published files among other tiles, and knows nothing of marks.

# %%
import torch
from torch import nn

files = [f"marked/published/{k:03}.png" for k in range(48)]
published = [np.asarray(Image.open(file), np.float32) / 255 for file in files]
others = [k % len(names) for k in range(144)]
images = np.stack([*published, *(tile(pictures[label]) for label in others)])
images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
classes = torch.tensor([*labels, *others])

torch.manual_seed(0)
net = nn.Sequential(
    *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
    *(nn.Flatten(), nn.Linear(128, len(names))),
)
optimizer = torch.optim.Adam(net.parameters(), 2e-3)
for epoch in range(120):
    for batch in torch.randperm(len(images)).split(24):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images[batch]), classes[batch])
        loss.backward()
        optimizer.step()
print(f"training loss in the last batch: {loss:.4f} nats")
torch.jit.script(net.eval()).save("net.pt")

# %% [markdown]
# ## The arbitrator
#
# With a real claim: put your model in the place of `net.pt`, what the owner handed over into
# `case/owners/ann`, and set the declaration to what your model takes (`mean` and `std` if it wants
# them). `case/examples/torch.toml` has all fields.

# %%
import shutil

anw("case new case --owner ann")
for name in ("marked/manifest.json", "marked/commitment.json", "labels.csv"):
    shutil.copy(name, "case/owners/ann")
shutil.copytree("photos", "case/owners/ann/originals", dirs_exist_ok=True)
shutil.copy("net.pt", "case/suspects")
pathlib.Path("case/suspects/net.toml").write_text(
    f"""
kind = "torch"
file = "net.pt"

[declaration]
num_classes = {len(names)}
answer = "logits"
layout = "NCHW"
input_size = [{size}, {size}]
"""
)
anw("probe case")

# %% [markdown]
# Nothing may be changed from here on. The SHA-256 that `anw audit` prints goes to both sides before
# the owner hands over the key.

# %%
anw("declare case --beacon value.txt")
anw("audit case")

# %%
import hashlib

noted = hashlib.sha256(pathlib.Path("case/blind.json").read_bytes()).hexdigest()
anw(f"verdict case --key ann.key --blind {noted}")

# %% [markdown]
# The verdict starts with its conditions: what nobody has stated in `case/statements.toml`. Fill it in
# and run `anw verdict` again.
#
# ## The report

# %%
from IPython.display import HTML

anw("report case")
HTML(pathlib.Path("case/report.html").read_text())

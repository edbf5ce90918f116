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
# # Mark and commit
#
# For owners: from a folder of photos to marked photos that you can publish. `docs/owner.md` has the
# same steps without a notebook, and says what to keep.
#
# Put your photos into the folder `my_photos` beside this notebook (on Colab: the folder symbol on the
# left). Without them the notebook shows the steps on three pictures that ship with scikit-image.

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
needed = ("click", "jinja2", "matplotlib", "PIL", "skimage")
is_missing = any(importlib.util.find_spec(name) is None for name in needed)
if is_missing or "google.colab" in sys.modules:
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"{ROOT}[cli,report]", "matplotlib", "scikit-image"], check=True)
sys.path.insert(0, str(ROOT))


def anw(words):
    """Run one `anw` command, print what it says, and stop if it fails."""
    command = [sys.executable, "-m", "anw_jax.cli", *shlex.split(words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    print(f"$ anw {words}\n{done.stdout}{done.stderr}")
    if done.returncode in (1, 2, 7, 8):
        raise RuntimeError(f"anw ended with exit code {done.returncode}")

# %%
work = pathlib.Path("marking")
work.mkdir(exist_ok=True)
photos, is_demonstration = pathlib.Path("my_photos").resolve(), False
if not photos.is_dir():
    import skimage.data
    from PIL import Image

    photos, is_demonstration = work / "photos", True
    photos.mkdir(exist_ok=True)
    for name in ("astronaut", "chelsea", "coffee"):
        Image.fromarray(getattr(skimage.data, name)()).save(photos / f"{name}.jpg", quality=92)

# %% [markdown]
# ## Look at the mark
#
# The preview uses marks of a random key: nobody should see their own before committing.

# %%
from IPython.display import Image as Picture

anw(f"preview {photos} --out {work}/look")
Picture(work / "look" / "preview.png")

# %% [markdown]
# ## Key and commitment
#
# The key is secret: download it and keep it in two places. The commitment fixes key, photos and test.
# It is public, and has to be dated before the random value appears: have it stamped with the command
# that is printed, or publish the 64 digits where their date can be proved. (The demonstration draws the
# value here instead, so that it need not wait two hours. For your own photos it is a round of the public
# beacon drand.)

# %%
import secrets

beacon = '--beacon "arbitrator:a demonstration"' if is_demonstration else ""
if not (work / "my.key").exists():
    anw(f"key new {work}/my.key")
    anw(f"commit {photos} --key {work}/my.key --out {work}/marked --alpha 1e-3 {beacon}")

# %% [markdown]
# ## Mark, when the value is there

# %%
import json
import urllib.request

from anw_jax.keys import beacons

plan = json.loads((work / "marked" / "commitment.json").read_text())["plan"]
value = work / "round.json"
if not value.exists():
    if is_demonstration:
        value.write_text(secrets.token_hex(32))
    else:  # fails until the time that the commitment named
        value.write_bytes(urllib.request.urlopen(beacons.read_beacon(plan["beacon"]).address).read())
anw(f"mark {photos} --key {work}/my.key --out {work}/marked --beacon-value {value}")

# %% [markdown]
# ## The report
#
# Every file is in one of three lists.

# %%
report = json.loads((work / "marked" / "report.json").read_text())
for kind in ("marked", "no_mark", "passed_over"):
    print(kind, len(report[kind]), [entry["file"] for entry in report[kind]][:10])

# %% [markdown]
# The first photo before and after. Publish what is in `marking/marked/published`, and never the
# originals.

# %%
import matplotlib.pyplot as plt
from PIL import Image, ImageOps

name = report["marked"][0]
pair = photos / name["file"], work / "marked" / "published" / name["published"]
figure, axes = plt.subplots(1, 2, figsize=(10, 5))
for axis, file, title in zip(axes, pair, ("original", "marked"), strict=True):
    axis.imshow(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))
    axis.set_title(title)
    axis.axis("off")
plt.show()

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
# # Mark photos, train a model on them, test it
#
# An owner gives each photo a secret hue; a learner trains on these photos among many others; an
# arbitrator, who has only the model and the unmarked originals, recovers the hues and reports
# an exact p-value for the match.
#
# On Colab choose *Runtime → Change runtime type → TPU or GPU* (CPU works too). It takes a minute
# and a half on two CPU cores. The two other notebooks: `audit_pytorch`, for a PyTorch model that you
# have already, and `mark_and_commit`, for your own photos.

# %%
import importlib.util
import os
import pathlib
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
if importlib.util.find_spec("flax") is None or "google.colab" in sys.modules:
    # Colab's own jax, jaxlib and libtpu fit the ranges and stay as they are.
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, "-r", str(ROOT / "requirements.txt")], check=True)
sys.path.insert(0, str(ROOT))

import jax

jax.devices()

# %% [markdown]
# ## One call from photos to verdict
#
# The settings are those of `experiments/quickstart.py`: tiles of eight photos that ship with
# scikit-image; each of one user's 40 tiles carries a secret hue. If the cell is interrupted, run it
# again: it continues from the last checkpoint.

# %%
from anw_jax import lab
from anw_jax.lab.config import settings_from_file

settings = settings_from_file(str(ROOT / "experiments" / "quickstart.py"), seed=0)
results = lab.run(settings, "workdir/notebook")

# %%
keyed = results["users"]["keyed"]
print(keyed["outcome"], "at level", keyed["alpha"])
print(keyed["sentence"])
print("Status:", keyed["standing"], "(beacon drawn from the seed)")

# %% [markdown]
# ## The report

# %%
from IPython.display import HTML

HTML(pathlib.Path("workdir/notebook/report.html").read_text())

# %% [markdown]
# ## The arbitrator's part
#
# Without the key, the arbitrator can infer a hue for each photo: the one with the lowest loss.

# %%
import json

import numpy as np

from anw_jax import keys, verify

with np.load("workdir/notebook/tables/keyed.npz") as stored:
    table = stored["losses"][:, :: settings.verify.grid_refinement]
verify.infer_signatures(table, keys.Manifest.load("workdir/notebook/manifests/keyed.json"))

# %% [markdown]
# The verdict can be recomputed from files: the table, the manifest, the key, and what was
# written before training (commitment, plan, and the beacon's value). This run drew the value from
# its seed after committing; an owner names a public beacon and waits for its value.

# %%
key = keys.MarkKey.load("workdir/notebook/keys/keyed.key")
manifest = keys.Manifest.load("workdir/notebook/manifests/keyed.json")
fixed = json.loads(pathlib.Path("workdir/notebook/commitments.json").read_text())
verdict = verify.decide(
    table,
    key,
    manifest,
    keys.Plan.from_json(fixed["plans"]["keyed"]),
    commitment=fixed["commitments"]["keyed"],
    beacon=bytes.fromhex(fixed["beacons"]["keyed"]),
)
print(verdict.result)
print(verdict.text)

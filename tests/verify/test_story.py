"""A whole case as a user of the library tells it, with numpy, scipy and jax alone."""

import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

STORY = '''
import sys

class Refuse:
    """Lets no library in but those a library user installs."""

    banned = {"flax", "optax", "orbax", "chex", "absl", "ml_collections", "matplotlib",
              "jinja2", "PIL", "skimage", "tensorflow", "tensorflow_datasets", "torch"}

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.banned:
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Refuse())

import jax
import jax.numpy as jnp
import numpy as np
from anw_jax import keys, marks, verify

# The owner.
rng = np.random.default_rng(0)
originals = rng.integers(60, 200, (30, 8, 8, 3), dtype=np.uint8)
labels = np.arange(30) % 3
space, mark = keys.SignatureSpace(), marks.HueRotation()
key = keys.MarkKey(bytes(range(32)))  # else MarkKey.generate(); fixed here, to repeat
manifest = keys.Manifest.of(originals, space)
plan = keys.Plan(
    statistic="log_losses", alpha=1e-6, mark=mark.description, beacon="arbitrator:Jane Doe"
)
commitment = keys.commit(key, manifest, plan)
beacon = bytes(range(32))  # else secrets.token_bytes(32), drawn by her with the commitment
slots = keys.assign(key, manifest, plan, beacon=beacon)
published = marks.publish(mark, originals, slots.degrees)

# Two learners: one stores what it finds online, the other has photos of its own.
def nearest(stored, images):
    """Logits of 3 classes: minus the distance to the class's nearest stored picture."""
    flat = images.reshape(images.shape[0], -1)
    squares = ((flat[:, None] - stored[None]) ** 2).sum(axis=-1)
    by_class = squares.reshape(squares.shape[0], -1, 3)
    return -by_class.min(axis=1) / 4

def learn(pictures):
    return jax.tree_util.Partial(nearest, jnp.asarray(pictures.reshape(30, -1) / 255.0))

thief = learn(published)
innocent = learn(rng.integers(60, 200, originals.shape, dtype=np.uint8))

# What she knows from elsewhere.
statements = verify.Statements(
    commitment=commitment,
    held_since="2026-11-03",
    held_from="the owner, by mail",
    found=1,
    models_tried=1,
    nothing_else=True,
)

# The arbitrator, once with the weights and once with answers alone.
def on_call(batch):
    return np.asarray(thief(batch))

for name, model in (("thief", thief), ("thief by call", on_call), ("innocent", innocent)):
    table = verify.loss_table(model, originals, labels, mark, space)
    sealed = verify.seal(table)
    blind = verify.infer_signatures(table, manifest)
    verdict = verify.decide(
        table,
        key,
        manifest,
        plan,
        commitment=commitment,
        sealed_digest=sealed,
        beacon=beacon,
        statements=statements,
    )
    assert verdict.standing == "evidence under the committed plan"
    assert verdict.conditions == ()
    assert (blind == verdict.inferred_slots).all()
    if name == "innocent":
        assert verdict.result.outcome == "not shown", verdict.result
        assert verdict.num_hits < 12
    else:
        assert verdict.result.outcome == "shown", verdict.result
        assert verdict.num_hits >= 25
        assert verdict.result.log10_p < -15

found = verify.gradient_search(
    thief,
    originals[:6],
    labels[:6],
    mark,
    signature_of_image=np.arange(6),
    num_starts=12,
    num_steps=30,
)
true = slots.degrees[:6]
assert (space.distance(found.best_degrees, true) < space.tau_degrees).all()
print("told")
'''


@pytest.mark.slow
def test_the_story_needs_numpy_scipy_and_jax_alone():
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", STORY],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout == "told\n"

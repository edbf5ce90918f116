"""This project's own trainings as suspects."""

import hashlib
import json
import logging

import numpy as np
import pytest

from anw_jax import audit, models, train
from anw_jax.cli.arbitrator import MAKERS
from anw_jax.errors import AnwError
from tests.mutants import MANY, mutants
from tests.tally import Tally

# Each takes a third of a second.
NUM_CHECKPOINTS = MANY // 10


@pytest.fixture
def workdir(root):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    model = models.create("testing", 3, mean=(0.4, 0.5, 0.6))
    settings = train.TrainSettings(batch_size=8, num_epochs=1, crop_padding=1)
    result = train.train(
        model, settings, images, np.arange(16, dtype=np.int32) % 3,
        lambda first, number: np.tile(np.arange(8, dtype=np.int32), (number, 1)),
        checkpoint_dir=root / "run" / "checkpoints",
    )  # fmt: skip
    return root / "run", model.predict_fn(result.state.variables)


@pytest.mark.slow
def test_a_workdir_answers_as_its_network(root, workdir):
    folder, predict = workdir
    (root / "suspect.toml").write_text(f'kind = "workdir"\nfile = "{folder.name}"\n')
    suspect = audit.SuspectFile.load(root / "suspect.toml").open(MAKERS)
    pictures = np.random.default_rng(1).uniform(0, 1, (4, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(
        suspect.answers(pictures).scores, predict(pictures), rtol=1e-4, atol=1e-5
    )
    assert suspect.declaration.num_classes == 3
    assert len(suspect.declaration.identity) == 64


def mutated(file, body, digests):
    """Puts a mutant in the place of a file, as somebody who then mends the list of digests."""
    file.write_bytes(body)
    if file == digests:
        return
    listed = json.loads(digests.read_bytes())
    listed[file.relative_to(digests.parent).as_posix()] = {
        "size": len(body), "sha256": hashlib.sha256(body).hexdigest()
    }  # fmt: skip
    digests.write_text(json.dumps(listed))


# Orbax's own tasks are still waiting when one of them has failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_fuzz_a_checkpoint_whose_digests_are_mended(root, workdir, monkeypatch):
    """Each mutant is refused in one line, answers as before, or has another identity."""
    monkeypatch.setattr(logging.getLogger("absl"), "disabled", True)
    (root / "suspect.toml").write_text('kind = "workdir"\nfile = "run"\n')
    pictures = np.random.default_rng(1).uniform(0, 1, (4, 8, 8, 3)).astype(np.float32)

    def asked():
        suspect = audit.SuspectFile.load(root / "suspect.toml").open(MAKERS)
        return suspect.declaration.identity, suspect.answers(pictures).scores

    def end_of_mutant():
        try:
            identity, scores = asked()
        except AnwError as error:
            return "refused in one line" if "\n" not in str(error) else str(error)
        if np.array_equal(scores, known[1], equal_nan=True):
            return "accepted, same answers"
        assert identity != known[0]
        return "accepted, under its own digest"

    known = asked()
    (digests,) = (root / "run").rglob("file_digests.json")
    kept = {
        path: path.read_bytes() for path in sorted(digests.parent.rglob("*")) if path.is_file()
    }
    with Tally("checkpoint of a workdir, its digests mended, opened and asked") as tally:
        for number in range(NUM_CHECKPOINTS):
            file, before = list(kept.items())[number % len(kept)]
            body = next(mutants([before], 1, number))
            mutated(file, body, digests)
            end = end_of_mutant()
            assert "\n" not in end
            tally.add(body, end)
            for path in (file, digests):
                path.write_bytes(kept[path])

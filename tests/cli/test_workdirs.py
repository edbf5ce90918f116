"""This project's own trainings as suspects."""

import numpy as np
import pytest

from anw_jax import audit, models, train
from anw_jax.cli.arbitrator import MAKERS


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

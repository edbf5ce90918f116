"""The queue over real trainings: two rows of one training, then the document."""

import pytest

from anw_jax.lab import training
from tools.reproduction.document import document
from tools.reproduction.plan import items_of
from tools.reproduction.queue import Queue

TINY = {
    "case": "base",
    "data": {"source": "mock:64", "image_size": 8},
    "users": {
        "keyed": {"num_images": 6},
        "hue60": {"num_images": 6, "scheme": "per_user", "signature": 60.0},
    },
    "train": {"batch_size": 32, "num_epochs": 1},
    "verify": {"num_fresh_keys": 2, "grid_refinement": 1},
}


@pytest.mark.slow
def test_two_rows_are_read_from_one_training(write_study, load, tmp_path, monkeypatch):
    pruned = {"attack": "prune", "parameters": {"fraction": 0.5}}
    claims = """
def claims(runs):
    measured = runs.each(Run.number, suspect="half", path="model.test_accuracy")
    return [Claim("pruned by half", "–", measured, at_least(1.1), at_least(0.0))]
"""
    write_study("fig1", TINY, {"seeds": (0,)})
    write_study("fig2", {**TINY, "suspects": {"half": pruned}}, {"seeds": (0,)}, claims)
    trained = []
    train = training.train_model

    def counted(*arguments):
        trained.append(not arguments[4].exists("tables"))
        return train(*arguments)

    monkeypatch.setattr(training, "train_model", counted)
    outcome = Queue(items_of(load()), tmp_path / "results", tmp_path / "workdir").run()
    assert (outcome.done, outcome.exit_code) == (["fig1/seed0", "fig2/seed0"], 0)
    assert trained == [True, False]
    text = document(tmp_path / "experiments", tmp_path / "results")
    assert "direction only" in next(
        line for line in text.splitlines() if "pruned by half" in line
    )
    assert "keyed photos of the same trainings: p median" in text

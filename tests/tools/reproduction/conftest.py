"""Studies and results made up in a temporary folder."""

import copy
import json
import pathlib
import types

import pytest

from anw_jax.lab.workdir import plain
from tools.reproduction.study import load_studies

SETTINGS = {
    "name": "fig0",
    "seed": 0,
    "data": {"source": "mock:160", "image_size": 16},
    "users": {
        "keyed": {"num_images": 12},
        "hue60": {"num_images": 12, "scheme": "per_user", "signature": 60.0},
        "held_out": {"num_images": 6, "kind": "held_out"},
    },
    "model": {"name": "testing"},
    "train": {"batch_size": 32, "num_epochs": 2, "schedule": "cosine"},
    "verify": {"alpha": 0.05, "num_fresh_keys": 40, "grid_refinement": 3},
}
STUDY = {
    "row": "Fig. 0",
    "title": "Nothing",
    "paper": "the hue is found",
    "seeds": (0, 1, 2),
}
_CONFIG = """
from anw_jax.lab import config
from tools.reproduction.claims import Claim, at_least, at_most
from tools.reproduction.figures import Bars, Curves, Lines, loss_curve
from tools.reproduction.runs import Run

SETTINGS = {settings!r}
STUDY = {study!r}


def get_config(variant="paper"):
    chosen = config.choose(variant, paper={{}}, quick={{}})
    name = SETTINGS["name"] + ("_quick" if variant == "quick" else "")
    return config.with_defaults({{**SETTINGS, **chosen, "name": name, "study": STUDY}})


def found(runs, text="the hue is found"):
    path = "users.hue60.one_signature.match"
    measured = runs.each(Run.number, arm=runs.arms[0], path=path)
    return Claim(text, "all", measured, at_least(1.0), at_least(0.5), "%")


def good(runs):
    measured = runs.each(Run.number, arm=runs.arms[0], path="model.test_accuracy")
    return Claim(
        "the model is good", "76 | 80 %", measured, at_least(0.75), at_least(0.6), "%"
    )


def claims(runs):
    return [found(runs)]


{functions}
"""


@pytest.fixture
def settings_values() -> dict:
    """Plain settings, free to be spoilt."""
    return copy.deepcopy(SETTINGS)


@pytest.fixture
def write_study(tmp_path):
    """Writes `<name>.py`, with more functions, into a listed folder; returns the file."""
    folder = tmp_path / "experiments"
    folder.mkdir()

    def write(
        name: str = "fig0",
        settings: dict | None = None,
        study: dict | None = None,
        functions: str = "",
    ) -> pathlib.Path:
        values, row = {**SETTINGS, "name": name, **(settings or {})}, {**STUDY, **(study or {})}
        text = _CONFIG.format(settings=values, study=row, functions=functions)
        (folder / f"{name}.py").write_text(text)
        with (folder / "studies.txt").open("a") as file:
            file.write(f"{name}\n")
        return folder / f"{name}.py"

    return write


@pytest.fixture
def load(tmp_path):
    """Loads what was written."""
    return lambda variant="paper", rows=None: load_studies(
        tmp_path / "experiments", variant, rows
    )


def made_up_user(true: float = 60.0, inferred: float | None = None, depth: float = 2.0) -> dict:
    """Numbers of a user with one signature, on a grid of 36 angles."""
    inferred = true if inferred is None else inferred
    curve = [
        depth * min(abs(10 * i - inferred) % 360, 360 - abs(10 * i - inferred) % 360) / 180
        + 0.1
        for i in range(36)
    ]
    apart = abs((inferred - true + 180) % 360 - 180)
    return {
        "kind": "marked",
        "scheme": "per_user",
        "mark_kind": "hue",
        "excluded": False,
        "log10_p": -1.04,
        "p_text": "0.091",
        "num_hits": 1,
        "num_units": 1,
        "accuracy": {"published": 0.9, "original": 0.6},
        "losses": {"secret": min(curve), "unmarked": curve[0], "other_valid": 1.0},
        "one_signature": {
            "true_degrees": true,
            "inferred_degrees": 30 * round(inferred / 30),
            "inferred_degrees_fine": inferred,
            "match": apart < 15,
            "margin": 0.2 * depth,
            "curve": curve,
        },
    }


def made_up_keyed(log10_p: float = -9.5) -> dict:
    """Numbers of a user with a hue per photo."""
    offsets = [10.0 * i - 180 for i in range(36)]
    return {
        **made_up_user(),
        "scheme": "per_image",
        "log10_p": log10_p,
        "p_text": "made up",
        "num_hits": 6,
        "num_units": 12,
        "losses": {"secret": 0.1, "unmarked": 0.4, "other_valid": 1.0},
        "one_signature": None,
        "curve": {
            "offset_degrees": offsets,
            "mean": [0.1 + abs(x) / 90 for x in offsets],
            "standard_error": [0.05] * 36,
        },
    }


def made_up_result(study, arm: str = "main", seed: int = 0, **changes) -> dict:
    """What a run of a study might leave; `changes` go over it."""
    settings = study.settings(arm, seed)
    held_out = {**made_up_user(0.0, 10.0), "kind": "held_out"}
    values = {
        "name": study.name,
        "arm": arm,
        "seed": seed,
        "model": {"test_accuracy": 0.7 + 0.01 * seed, "num_train": 100, "train_loss": 0.1},
        "users": {
            "keyed": made_up_keyed(-9.5 - seed),
            "hue60": made_up_user(),
            "held_out": held_out,
        },
        "crowds": {},
        "suspects": {},
        "analyses": {},
        "settings": settings.to_dict(),
        "provenance": {"commit": "0123456789abcdef", "hardware": "a made-up machine"},
        "stage_seconds": {"mark": 1.0, "train": 60.0, "verify": 3.0, "proof": 1.0},
        **changes,
    }
    return plain(values)


def write_result(results: pathlib.Path, study, arm: str = "main", seed: int = 0, **changes):
    """Writes a made-up result where the study looks for it."""
    path = results / study.result_file(arm, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made_up_result(study, arm, seed, **changes)))
    return path


@pytest.fixture(scope="session")
def made_up():
    """`user`, `keyed`, `result`, `write`: results without a run."""
    return types.SimpleNamespace(
        user=made_up_user, keyed=made_up_keyed, result=made_up_result, write=write_result
    )

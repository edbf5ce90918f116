"""A run with diffusion models: settings, tests by reference, stages, resume, shared bases."""

import json
import math
import pathlib

import numpy as np
import pytest

from anw_jax import data, lab
from anw_jax.errors import SettingsError
from anw_jax.keys import SignatureSpace
from anw_jax.lab import config, diffusion, diffusion_proof, settings_from_config

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHORT = {"num_epochs": 20, "batch_size": 8}
ARM = {"owner": "light", "num_owned": 16, "num_others": 8, "train": SHORT}
TINY = {
    "name": "tiny",
    "seed": 3,
    "data": {"source": "mock:400", "image_size": 16, "num_train": 64},
    "owners": {"light": {"num_images": 16, "mark": "light", "strength": 0.4}},
    "tunings": {
        "light": ARM | {"with_held_out": True},
        "lora": ARM | {"num_owned": 8, "train": SHORT | {"rank": 2}},
        "unmarked": ARM | {"is_marked": False},
    },
    "base": SHORT,
    "twins": {"train": SHORT, "num_others": 8},
    "widths": (8,),
    "num_steps": 100,
    "noise": {"first_step": 5, "last_step": 50, "num_noises": 2},
    "num_slots": 6,
    "sizes": (4, 16),
    "num_held_out": 3,
    "num_held_out_images": 4,
}
BROKEN = {
    "no tuning": (("tunings",), {}, "config: tunings must name at least one"),
    "owner": (("tunings", "light", "owner"), "lite", "did you mean 'light'?"),
    "too many": (("tunings", "light", "num_owned"), 17, "num_owned must be at most 16"),
    "arm": (("arms",), "lite", "arms must be one of"),
    "name": (("owners",), {"a/b": {"num_images": 3}}, "owners: the name 'a/b' must consist"),
    "steps": (("noise", "last_step"), 100, "last_step must be below num_steps = 100, got 100"),
    "band": (("noise", "first_step"), 60, "last_step must be at least 60, got 50"),
    "base": (("data", "num_train"), None, "must be the number of photos of a base, got None"),
    "scheme": (("owners", "light", "scheme"), "per_user", "must be marked, with scheme"),
    "widths": (("widths",), (9,), "widths must be multiples of 8"),
    "rank": (("base", "rank"), 0, "config.base: rank must be at least 1, got 0"),
    "typo": (("base", "num_epoch"), 1, "config.base.num_epoch is not a setting; did you mean"),
}


@pytest.fixture
def tiny() -> dict:
    return json.loads(json.dumps(TINY))  # parts that TINY shares become separate


@pytest.mark.parametrize("case", BROKEN)
def test_one_clear_line_for_each_mistake(tiny, case):
    (*path, last), value, message = BROKEN[case]
    inner = tiny
    for name in path:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(SettingsError) as caught:
        settings_from_config(tiny)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arms_are_chosen_by_name_and_change_no_other_setting(tiny):
    every = settings_from_config(tiny)
    some = settings_from_config(tiny | {"arms": "light,lora"})
    assert list(every.chosen) == ["light", "lora", "unmarked"]
    assert list(some.chosen) == ["light", "lora"]
    assert some.case_dict() == every.case_dict()


@pytest.mark.parametrize("variant", ["", ":quick"])
def test_the_shipped_experiment_is_valid(variant):
    settings = config.settings_from_file(f"{ROOT}/experiments/diffusion.py{variant}", seed=4)
    assert settings.seed == 4
    assert settings.num_held_out >= 20
    main = settings.tunings["light"]
    assert (main.num_owned, main.num_others, main.with_held_out) == (40, 60, True)
    shares = {t.num_owned / (t.num_owned + t.num_others) for t in settings.tunings.values()}
    assert shares == {0.4, 0.1, 10 / 333}


@pytest.mark.parametrize("seed", [0, 3, 4, 2**32 - 2])
def test_bases_of_consecutive_seeds_share_no_photo(tiny, seed):
    settings = settings_from_config(tiny | {"data": TINY["data"] | {"num_train": 60}})
    splits = data.load("mock:300", image_size=8)
    rows = [set(diffusion.base_rows(settings, s, splits)) for s in (seed, seed + 1)]
    assert [len(each) for each in rows] == [60, 60]
    assert not rows[0] & rows[1]


def test_too_few_photos_for_two_bases_are_refused(tiny, tmp_path):
    tiny["data"]["num_train"] = 300
    with pytest.raises(SettingsError, match=r"num_train must be at most half of the \d+"):
        lab.run(settings_from_config(tiny), tmp_path / "seed3")


def _tables(rng, num, slots, imprint):
    """Bases that agree on what is hard; a suspect that knows the photos of `slots`."""
    hard = rng.uniform(0, 1, (num, 12))
    tables = {
        model: 0.1 * np.exp(hard + rng.normal(0, noise, hard.shape))
        for model, noise in (("suspect", 0.02), ("base", 0.02), ("other_base", 0.1))
    }
    tables["suspect"][np.arange(num), slots] *= np.exp(-imprint)
    return {model: table.astype(np.float32) for model, table in tables.items()}


def test_a_reference_finds_what_the_table_alone_hides():
    rng = np.random.default_rng(0)
    slots = rng.integers(1, 12, 40)
    tables = _tables(rng, 40, slots, imprint=0.15)
    found = diffusion_proof._log10_p_of_groups(tables, slots, 40, SignatureSpace(12))
    assert found["base"][0] < found["other_base"][0] < found["alone"][0]
    assert found["base"][0] < -20


def test_twins_explain_what_a_suspect_has_learned_of_the_photos_themselves():
    rng = np.random.default_rng(3)
    slots = rng.integers(1, 12, 40)
    tables = _tables(rng, 40, slots, imprint=0.05)
    of_photos = np.exp(rng.normal(0, 0.1, (40, 12))).astype(np.float32)
    tables["suspect"] *= of_photos
    tables["base_twin0"] = tables["base"] * of_photos
    found = diffusion_proof._log10_p_of_groups(tables, slots, 40, SignatureSpace(12))
    assert list(found) == ["alone", "base", "base_and_twins", "other_base"]
    assert found["base_and_twins"][0] < found["base"][0] - 2


def test_without_an_imprint_p_is_uniform_whatever_the_reference():
    rng = np.random.default_rng(1)
    slots = rng.integers(1, 12, 125)
    tables = _tables(rng, 125, slots, imprint=0.0)
    found = diffusion_proof._log10_p_of_groups(tables, slots, 5, SignatureSpace(12))
    for values in found.values():
        p = 10.0 ** np.array(values)
        assert len(p) == 25
        assert np.sum(p <= 0.05) <= 5  # of 25 uniform values more than 5 have a chance of 0.1 %
        assert 0.3 < p.mean() < 0.75


def test_groups_are_disjoint_and_hits_are_counted():
    rng = np.random.default_rng(2)
    slots = rng.integers(1, 12, 11)
    tables = _tables(rng, 11, slots, imprint=5.0)
    space = SignatureSpace(12)
    found = diffusion_proof._log10_p_of_groups(tables, slots, 5, space)
    best = -5 * math.log10(11)
    assert found["alone"] == pytest.approx([best, best])
    assert diffusion_proof._hit_share(tables, slots, ["base"], space) == 1.0


def test_the_terminals_table_has_a_row_for_each_test_and_no_number_that_is_not_there():
    p = {test: [-8.0, -6.0] for test in ("alone", "base", "other_base")}
    arm = {"photos": {"5": p}, "slot_hits": dict.fromkeys(p, 0.5), "held_out": p}
    lines = diffusion_proof.table_lines([5, 40], {"light": arm})
    assert len(lines) == 5
    assert lines[2].split() == ["light,", "base", "-7.0", "(-6.0)", "-", "50%"]
    assert "2 held-out owners, by base: smallest log10 p -8.0, 100% at most 0.05" in lines[4]


@pytest.mark.slow
def test_a_run_adds_arms_resumes_and_shares_bases_with_other_seeds(tmp_path, tiny, capsys):
    tiny["arms"] = ("light",)
    first = lab.run(settings_from_config(tiny), tmp_path / "seed3")
    assert list(first["arms"]) == ["light"]
    assert len(first["arms"]["light"]["held_out"]["base"]) == 3
    assert len(first["arms"]["light"]["photos"]["4"]["alone"]) == 4
    sealed = sorted((tmp_path / "seed3" / "tables").rglob("*.seal.json"))
    # The suspect, two bases and two twins of each, about the owner and the held-out owners.
    assert len(sealed) == 14
    assert list(first["arms"]["light"]["slot_hits"]) == [
        "alone", "base", "base_and_twins", "other_base", "other_base_and_twins",
    ]  # fmt: skip
    before = {file: file.read_bytes() for file in sealed}
    capsys.readouterr()
    tiny["arms"] = ()
    every = lab.run(settings_from_config(tiny), tmp_path / "seed3")
    assert list(every["arms"]) == ["light", "lora", "unmarked"]
    assert every["arms"]["light"] == first["arms"]["light"]
    assert list(every["arms"]["lora"]["photos"]) == ["4"]
    assert {file: file.read_bytes() for file in sealed} == before
    said = capsys.readouterr().out
    assert "base 3: starts at step 0" not in said
    assert "lora (2 of 3): starts at step 0" in said
    tiny["arms"], tiny["seed"] = ("light",), 4
    lab.run(settings_from_config(tiny), tmp_path / "seed4")
    said = capsys.readouterr().out
    assert "base 4: resumed at step 160 of 160; the training is complete" in said
    assert "base 5: starts at step 0" in said
    settings = json.loads((tmp_path / "seed4" / "results.json").read_text())["settings"]
    assert settings["seed"] == 4

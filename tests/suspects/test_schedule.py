"""Noise schedules from scheduler files, against loops over the formulas."""

import json
import math

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import NoiseSchedule

# The fields of DDPMScheduler as diffusers saves them.
DDPM = {
    "_class_name": "DDPMScheduler",
    "_diffusers_version": "0.31.0",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "trained_betas": None,
    "variance_type": "fixed_small",
}


def naive(config):
    """ᾱ of each step, step by step in Python."""
    number, shares, kept = config["num_train_timesteps"], [], 1.0
    start, end = config["beta_start"], config["beta_end"]
    for step in range(number):
        share = step / (number - 1)
        if config["beta_schedule"] == "linear":
            beta = start + share * (end - start)
        elif config["beta_schedule"] == "scaled_linear":
            beta = (math.sqrt(start) + share * (math.sqrt(end) - math.sqrt(start))) ** 2
        else:
            bar = [
                math.cos(((step + more) / number + 0.008) / 1.008 * math.pi / 2) ** 2
                for more in (0, 1)
            ]
            beta = min(1 - bar[1] / bar[0], 0.999)
        kept *= 1 - beta
        shares.append(kept)
    return shares


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("number", [2, 100, 1000])
def test_each_schedule_is_its_naive_twin(name, number):
    config = {**DDPM, "beta_schedule": name, "num_train_timesteps": number}
    schedule = NoiseSchedule.from_config(config)
    np.testing.assert_allclose(schedule.signal_shares, naive(config), rtol=1e-5)
    assert (schedule.num_steps, schedule.prediction) == (number, "epsilon")


def test_known_values():
    """ᾱ of DDPM ends at 4.04e-5, that of Stable Diffusion at 0.0047."""
    assert NoiseSchedule.from_config(DDPM).signal_shares[-1] == pytest.approx(4.04e-5, rel=2e-3)
    stable = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    schedule = NoiseSchedule.from_config({**DDPM, **stable})
    assert schedule.signal_shares[-1] == pytest.approx(0.00466, rel=2e-3)


def test_what_is_left_out_has_the_default_of_diffusers():
    older = {"num_train_timesteps": 1000, "beta_schedule": "linear"}
    assert np.array_equal(
        NoiseSchedule.from_config(older).signal_shares,
        NoiseSchedule.from_config(DDPM).signal_shares,
    )


def test_fields_of_samplers_do_not_matter(tmp_path):
    """DPMSolverMultistepScheduler saves an infinite `lambda_min_clipped`."""
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps({**DDPM, "lambda_min_clipped": -math.inf, "solver_order": 2}))
    expected = NoiseSchedule.from_config(DDPM).signal_shares
    assert np.array_equal(NoiseSchedule.load(path).signal_shares, expected)


def test_a_file_is_identified_by_its_bytes(tmp_path):
    identities = set()
    for number, indent in ((1000, 1), (1000, 2), (999, 1)):
        path = tmp_path / "scheduler_config.json"
        path.write_text(json.dumps({**DDPM, "num_train_timesteps": number}, indent=indent))
        identities.add(NoiseSchedule.load(path).identity)
    assert len(identities) == 3


def test_numbers_are_identified_by_their_digest():
    shares = np.array([0.9, 0.5])
    own = NoiseSchedule(shares)
    assert own.identity == NoiseSchedule(shares.copy()).identity
    assert own.identity != NoiseSchedule(shares, "sample").identity
    assert own.identity != NoiseSchedule(shares * 0.99).identity


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"beta_schedule": None},
            "beta_schedule must be one of linear, scaled_linear, squared",
        ),
        ({"beta_schedule": "sigmoid"}, "beta_schedule must be one of .*got 'sigmoid'"),
        ({"beta_schedule": []}, "beta_schedule must be one of"),
        (
            {"prediction_type": "flow"},
            "prediction must be one of epsilon, sample, v_prediction",
        ),
        ({"num_train_timesteps": 0}, "num_train_timesteps must be at least 1"),
        ({"num_train_timesteps": "1000"}, "num_train_timesteps must be an integer"),
        ({"num_train_timesteps": 10**9}, "num_train_timesteps must be at most 100000"),
        ({"beta_end": 1.5}, "beta_end must lie strictly between"),
        ({"beta_start": "a"}, "beta_start must be a number"),
        ({"beta_start": math.nan}, "beta_start must be"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas must be off"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr must be off"),
        ({"num_train_timesteps": 20_000, "beta_start": 0.5, "beta_end": 0.9}, "signal_shares"),
    ],
)
def test_files_that_are_refused(tmp_path, changes, words):
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps({**DDPM, **changes}))
    with pytest.raises(SuspectError, match=rf"scheduler_config.json is not.*{words}"):
        NoiseSchedule.load(path)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\x80\x04K\x01.", "is not a scheduler's configuration"),
        (b"{", "is not a scheduler's configuration"),
        (b"[1, 2]", "scheduler must be a dict"),
        (
            b"{}",
            "must name num_train_timesteps, as those of DDPM and DDIM do; it has no fields",
        ),
        (
            b'{"num_train_timesteps": 1000, "shift": 3.0}',
            "must name beta_schedule.*it has num_",
        ),
        (b"", "is empty"),
    ],
)
def test_other_kinds_of_files(tmp_path, body, words):
    path = tmp_path / "scheduler_config.json"
    path.write_bytes(body)
    with pytest.raises(SuspectError, match=words):
        NoiseSchedule.load(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(SuspectError, match="cannot be read"):
        NoiseSchedule.load(tmp_path / "scheduler_config.json")

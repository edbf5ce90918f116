"""Experiments from config to results: the package behind `run.py` and the notebooks.

`run(settings, workdir)` takes checked `Settings` through its stages (mark, train, verify,
proof, changed models, analyses, report), stores everything in the workdir, and resumes there.
"""

from anw_jax.lab.barrier_settings import BarrierSettings, CopySettings
from anw_jax.lab.config import settings_from_config
from anw_jax.lab.diffusion_settings import DiffusionSettings, TuningSettings
from anw_jax.lab.fingerprint_settings import CollusionSettings, FingerprintSettings
from anw_jax.lab.multitask_settings import MarkSettings, MultitaskSettings
from anw_jax.lab.picture_settings import PictureSettings
from anw_jax.lab.recompression_settings import RecompressionSettings
from anw_jax.lab.run import run
from anw_jax.lab.settings import (
    AttackSettings,
    DataSettings,
    ModelSettings,
    Settings,
    UserSettings,
    VerifySettings,
)
from anw_jax.lab.workdir import Workdir

__all__ = [
    "AttackSettings",
    "BarrierSettings",
    "CollusionSettings",
    "CopySettings",
    "DataSettings",
    "DiffusionSettings",
    "FingerprintSettings",
    "MarkSettings",
    "ModelSettings",
    "MultitaskSettings",
    "PictureSettings",
    "RecompressionSettings",
    "Settings",
    "TuningSettings",
    "UserSettings",
    "VerifySettings",
    "Workdir",
    "run",
    "settings_from_config",
]

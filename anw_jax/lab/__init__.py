"""The run harness: what `run.py` and the notebooks call.

`run(settings, workdir)` takes a validated `Settings` through five stages (mark, train,
verify, proof, report), leaves everything in its workdir, and resumes where it stopped.
"""

from anw_jax.lab.building import settings_from_config
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
    "DataSettings",
    "ModelSettings",
    "Settings",
    "UserSettings",
    "VerifySettings",
    "Workdir",
    "run",
    "settings_from_config",
]

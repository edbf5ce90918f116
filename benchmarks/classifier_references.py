"""What references add to the evidence of the default mark in classifiers.

Command:   python -m benchmarks.classifier_references     (about ten minutes on two idle cores)
Reads:     workdir/light_quick/seed0 to seed4, finished runs of experiments/light.py:quick, or
           the folder given by --runs
Writes:    results/benchmarks/classifier_references.json; tables are kept in the workdirs, so
           that the same command resumes

For each seed, the networks of the other four seeds calibrate the suspect, all together
(`stats.exact_test`). They were trained on other photos of the same classes, with other owners'
marks, and none of them depends on a slot of this seed's owners.
"""

import argparse
import pathlib
from typing import Any

import jax
import numpy as np

from anw_jax import stats
from anw_jax.keys import Assignment
from anw_jax.lab import owners, settings_from_config, training
from anw_jax.lab import query as queries
from anw_jax.lab.config import split_study
from anw_jax.lab.journal import Journal
from anw_jax.lab.settings import Settings
from anw_jax.lab.workdir import Workdir
from benchmarks import _measure
from experiments import light

SEEDS = range(5)
USERS = ("light25", "light50", "light100", "held_out")


def settings_of(seed: int) -> Settings:
    """Return the settings of a finished run."""
    config = light.get_config("quick")
    config.seed = seed
    return settings_from_config(split_study(config)[0])


def network_of(
    settings: Settings, prepared: owners.Prepared, folder: Workdir, journal: Journal
) -> jax.tree_util.Partial:
    """Load the network of a finished run; nothing is trained.

    Raises:
      SystemExit: the training is not finished.
    """
    if not folder.is_done:
        raise SystemExit(f"{folder.path} must be a finished run: see experiments/light.py")
    found = training.train_model(
        settings.train,
        settings.model,
        training.recipe_of(()),
        prepared,
        folder,
        journal,
        lambda: False,
    )
    return found.predict


def log10_p(user: owners.User, suspect: np.ndarray, references: list[np.ndarray]) -> float:
    """Test one user's photos with the declared statistic."""
    assignment: Assignment = user.assignment
    return stats.exact_test(
        suspect, assignment, statistic=user.plan.statistic, references=references
    ).log10_p


def own_table(folder: Workdir, name: str) -> np.ndarray:
    """Return the finished run's own losses of a user, at the slots."""
    return folder.read_arrays(f"{queries.TABLES}/{name}.npz")["losses"]


def measure(runs: pathlib.Path) -> dict[str, Any]:
    """Return log10 p alone and calibrated, of each user and seed."""
    folders = {seed: Workdir(runs / f"seed{seed}") for seed in SEEDS}
    journals = {seed: Journal(folder) for seed, folder in folders.items()}
    settings = {seed: settings_of(seed) for seed in SEEDS}
    prepared = {seed: owners.prepare(settings[seed], folders[seed]) for seed in SEEDS}
    networks = {
        seed: network_of(settings[seed], prepared[seed], folders[seed], journals[seed])
        for seed in SEEDS
    }
    found: dict[str, Any] = {name: {"alone": [], "calibrated": []} for name in USERS}
    for seed in SEEDS:
        how = settings[seed].verify
        batches = [
            batch
            for batch in queries.query_batches(prepared[seed], seed, how.views)
            if batch.name in USERS
        ]

        tables = {
            network: queries.query(
                batches,
                how.space,
                predict,
                folders[seed],
                journals[seed],
                f"references/seed{network}",
            )
            for network, predict in networks.items()
            if network != seed
        }
        own = {name: own_table(folders[seed], name) for name in USERS}
        for name in USERS:
            user = prepared[seed].users[name]
            for kind, chosen in (("alone", []), ("calibrated", list(tables.values()))):
                value = log10_p(user, own[name], [table[name] for table in chosen])
                found[name][kind].append(round(value, 3))
    return found


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--runs", type=pathlib.Path, default=pathlib.Path("workdir/light_quick")
    )
    found = measure(parser.parse_args().runs)
    for name, values in found.items():
        for kind, log_p in values.items():
            shown = " ".join(f"{value:6.1f}" for value in log_p)
            print(f"{name:<10} {kind:<11} log10 p of seeds {shown}   mean {np.mean(log_p):.1f}")
    _measure.write("classifier_references", {"seeds": list(SEEDS), "log10_p": found})


if __name__ == "__main__":
    main()

"""From the paper, claim by claim, to one command and one row each.

A *study* is a config file under `experiments/` with claims written before its first run. This
room plans the trainings of all studies, runs what is missing, measures, judges, draws and
writes `docs/reproduction.md`; `python -m anw_jax.reproduce --help` lists the commands.
"""

from anw_jax.reproduce.claims import Claim, Measured, Predicate, verdict
from anw_jax.reproduce.document import document
from anw_jax.reproduce.durations import Durations
from anw_jax.reproduce.figures import write_figures
from anw_jax.reproduce.measures import compute, measure_names
from anw_jax.reproduce.plan import Item, items_of, plan_table
from anw_jax.reproduce.queue import Outcome, Queue
from anw_jax.reproduce.results import NotYetRunError, ResultError, Run, SeedRuns
from anw_jax.reproduce.study import Arm, Study, load_studies, load_study

__all__ = [
    "Arm",
    "Claim",
    "Durations",
    "Item",
    "Measured",
    "NotYetRunError",
    "Outcome",
    "Predicate",
    "Queue",
    "ResultError",
    "Run",
    "SeedRuns",
    "Study",
    "compute",
    "document",
    "items_of",
    "load_studies",
    "load_study",
    "measure_names",
    "plan_table",
    "verdict",
    "write_figures",
]

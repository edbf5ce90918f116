"""From the paper, claim by claim, to one command and one row each.

A *study* is a config file under `experiments/` whose `claims(runs)` were written before its
first run. `python -m tools.reproduction --help` lists the commands: they plan the trainings of
all studies, run what is missing, draw the figures, and write `docs/reproduction.md`.
"""

"""A tiny owner, and suspects who answer by a function of (name, unit)."""

import json

import numpy as np

from anw_jax import keys, sequential
from anw_jax.sequential.lines import chained

NUM_UNITS = 6
PLAN = keys.Plan("losses", 0.02, mode="sequential", claim="list of models")
KEY = keys.MarkKey(bytes(range(32)))
MANIFEST = keys.Manifest.of(
    np.random.default_rng(3).integers(0, 256, (NUM_UNITS, 2, 2, 3), np.uint8),
    keys.SignatureSpace(),
)
OWNER = keys.UnitTree(KEY, MANIFEST, PLAN)
SLOTS = keys.assign(KEY, MANIFEST, PLAN).slot_of_unit
NAMES = ("guilty", "innocent")
LEVEL = PLAN.alpha / len(NAMES)
DECLARED = "d" * 64


def noise(unit, seed=0):
    return np.random.default_rng([seed, unit]).normal(2.0, 0.3, 11)


def answers(name, unit):
    """The guilty one is sure of its slot; the other one answers noise."""
    row = noise(unit, seed=len(name))
    row[SLOTS[unit] - 1] -= 1.5 * (name == "guilty")
    return row


def header(name, names=NAMES, level=LEVEL):
    return sequential.RecordGroup(level, name, tuple(sorted(names)))


def begin(names=NAMES, folder=None, about=DECLARED, **fields) -> sequential.Lockstep:
    return sequential.Lockstep(
        {
            name: sequential.SequentialRecord(
                OWNER.root,
                MANIFEST,
                PLAN,
                group=header(name, names, **fields),
                about=about,
                path=None if folder is None else folder / f"{name}.jsonl",
            )
            for name in names
        }
    )


def go_on(together, rows=answers, num_leaves=None) -> sequential.Lockstep:
    """To the end, or until so many leaves are open."""
    while together.is_open and (num_leaves is None or together.num_opened < num_leaves):
        for name in together.rows_due:
            together.write_row(name, rows(name, together.next_unit))
        together.open_leaf(OWNER.open(together.next_unit))
    return together


def lines_of(together) -> dict[str, list[str]]:
    return {name: list(record.lines) for name, record in together.records.items()}


def bodies(lines, without=("hash", "previous")):
    return [{k: v for k, v in json.loads(line).items() if k not in without} for line in lines]


def rechained(lines, number, **changes) -> list[str]:
    """A forger who changes one line and computes all hashes of this record anew."""
    out, previous = [], ""
    for index, body in enumerate(bodies(lines)):
        if index == number:
            body |= changes
        out.append(chained(previous, body))
        previous = json.loads(out[-1])["hash"]
    return out

"""The tests of a run with diffusion models: p alone, and calibrated by references."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from anw_jax import stats
from anw_jax.keys import Assignment, SignatureSpace, Units
from anw_jax.lab.diffusion_settings import STATISTIC, DiffusionSettings, TuningSettings
from anw_jax.lab.owners import User

# The base that suspects are fine-tuned from, and one that has seen other photos.
BASES = ("base", "other_base")

# One batch: float32 `[n, num_slots]` of the "suspect" and of each reference.
Tables = Mapping[str, np.ndarray]


def twin_name(base: str, number: int) -> str:
    """Return the role of a twin of one of `BASES`; twins are numbered from 0."""
    return f"{base}_twin{number}"


def references_by_test(roles: Collection[str]) -> dict[str, list[str]]:
    """Return the references of each test, by its name, for the models that were asked.

    Example:
      >>> references_by_test(["suspect", "base", "other_base", "base_twin0"])["base_and_twins"]
      ['base', 'base_twin0']
    """
    tests: dict[str, list[str]] = {"alone": []}
    for base in BASES:
        twins = [role for role in roles if role.startswith(f"{base}_twin")]
        tests[base] = [base]
        if twins:
            tests[f"{base}_and_twins"] = [base, *twins]
    return tests


def prove_arm(
    settings: DiffusionSettings,
    tuning: TuningSettings,
    owner: User,
    held_out: Sequence[User],
    tables: Mapping[str, Tables],
) -> dict[str, Any]:
    """Open the keys, and test with each reference and without one.

    The owner's photos in the training are divided into groups of each size, in their order:
    each group is what an owner with so many photos would have.

    Args:
      settings: of the run.
      tuning: of the suspect.
      owner: whose photos are in it.
      held_out: owners with as many photos each, whose photos are not.
      tables: of the "owner", and of "held_out" owners if they were queried.

    Returns:
      Plain values: "photos", log10 of the exact p of each group, by size and test; "z" of all
      photos, by test; "slot_hits", the share of photos whose best slot is theirs, by test;
      "mean_error", of each model on the unmarked photos that are in the training; "held_out",
      log10 p of each held-out owner, by test.
    """
    space, count = settings.verify.space, tuning.num_owned
    own = {model: table[:count] for model, table in tables["owner"].items()}
    slots, tests = owner.assignment.slots[:count], references_by_test(own)
    numbers = {
        "photos": {
            str(size): _log10_p_of_groups(own, slots, size, space)
            for size in settings.sizes
            if size <= count
        },
        "z": {test: _test(own, slots, roles, space).z for test, roles in tests.items()},
        "slot_hits": {
            test: _hit_share(own, slots, roles, space) for test, roles in tests.items()
        },
        "mean_error": {model: float(table[:, 0].mean()) for model, table in own.items()},
    }
    if "held_out" in tables:
        slots = np.concatenate([user.assignment.slots for user in held_out])
        size = settings.num_held_out_images
        numbers["held_out"] = _log10_p_of_groups(tables["held_out"], slots, size, space)
    return numbers


def _log10_p_of_groups(
    tables: Tables, slots: np.ndarray, size: int, space: SignatureSpace
) -> dict[str, list[float]]:
    """Return log10 of the exact p of each group of rows, by test."""
    starts, tests = range(0, len(slots) - size + 1, size), references_by_test(tables)
    found: dict[str, list[float]] = {test: [] for test in tests}
    for rows in (slice(start, start + size) for start in starts):
        of_group = {model: table[rows] for model, table in tables.items()}
        for test, roles in tests.items():
            found[test].append(_test(of_group, slots[rows], roles, space).log10_p)
    return found


def _test(
    tables: Tables, slots: np.ndarray, roles: Sequence[str], space: SignatureSpace
) -> stats.TestResult:
    """Test rows with the references in these roles."""
    return stats.exact_test(
        tables["suspect"],
        Assignment(Units(np.arange(len(slots)), space), slots),
        statistic=STATISTIC,
        references=[tables[role] for role in roles],
    )


def _hit_share(
    tables: Tables, slots: np.ndarray, roles: Sequence[str], space: SignatureSpace
) -> float:
    """Return the share of photos whose best slot is theirs; luck gives 1 / (N - 1)."""
    units = Units(np.arange(len(slots)), space)
    references = [tables[role] for role in roles]
    scores = stats.score_units(tables["suspect"], units, STATISTIC, references)
    return float((scores.argmax(axis=1) + 1 == slots).mean())


def arm_line(name: str, numbers: Mapping[str, Any]) -> str:
    """Return one line about a finished arm: its largest number of photos."""
    size, found = list(numbers["photos"].items())[-1]
    shown = ", ".join(f"{test} {_cell(values)}" for test, values in found.items())
    return f"{name:<18} log10 p of {size} photos: {shown}"


def table_lines(sizes: Sequence[int], arms: Mapping[str, Any]) -> list[str]:
    """Return the terminal's table: one row for each arm and reference.

    With several groups of a size, it shows their median and, in parentheses, the largest.
    """
    heads = "".join(f"{f'{size} photos':>15}" for size in sizes)
    lines = [f"{'log10 p: median (largest)':<30}{heads}    hits"]
    for name, numbers in arms.items():
        for test in numbers["slot_hits"]:
            cells = (numbers["photos"].get(str(size), {}).get(test) for size in sizes)
            shown = "".join(f"{_cell(cell):>15}" for cell in cells)
            lines.append(f"{f'{name}, {test}':<30}{shown}{numbers['slot_hits'][test]:>8.0%}")
        if "held_out" in numbers:
            found = np.array(numbers["held_out"]["base"])
            share = float(np.mean(found <= math.log10(0.05)))
            lines.append(
                f"  {len(found)} held-out owners, by base: smallest log10 p {found.min():.1f}, "
                f"{share:.0%} at most 0.05"
            )
    return lines


def _cell(found: Sequence[float] | None) -> str:
    if not found:
        return "-"
    if len(found) == 1:
        return f"{found[0]:.1f}"
    return f"{np.median(found):.1f} ({max(found):.1f})"

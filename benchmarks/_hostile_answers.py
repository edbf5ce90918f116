"""Answers to a few photos by which a suspect may hide the evidence of the others.

The suspect knows the statistic, but not the slots. It may recognise the photos of its training:
then it answers absurdly at the hue that it was trained on, or makes that hue the worst of all.
"""

from collections.abc import Callable, Iterator

import numpy as np

VALUES = (20.0, 1e3, 1e29, -1e29, np.nan)
BLIND, GUESSES, KNOWS, COUNTERS = "any hues", "his best hues", "the hue he saw", "counters it"
KINDS = (BLIND, GUESSES, KNOWS, COUNTERS)

# Maps one photo's losses `[11]`, its slot's column and a generator to changed losses.
AnswerFn = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def attacks(values: tuple[float, ...] = VALUES) -> Iterator[tuple[str, float, int, AnswerFn]]:
    """Yield kind, absurd value, number of hues, and the answer to one photo."""
    for kind in (BLIND, GUESSES, KNOWS):
        for value in values:
            for number in range(1, 12):
                if np.isfinite(value) or number == 1:  # one NaN is as good as eleven
                    yield kind, value, number, _absurd(kind, value, number)
    for rest in (1e29, 3.0, np.nan):
        for number in range(0, 11):
            yield COUNTERS, rest, number, _counter(rest, number)


def _absurd(kind: str, value: float, number: int) -> AnswerFn:
    def answer(losses, own, rng):
        order = rng.permutation(11)
        if kind == GUESSES:
            order = np.argsort(losses, kind="stable")
        if kind == KNOWS:
            order = np.r_[own, order[order != own]]
        return _with(losses, order[:number], value)

    return answer


def _counter(rest: float, number: int) -> AnswerFn:
    """Make the trained hue the worst, `number` others the best, others `rest` (NaN: honest)."""

    def answer(losses, own, rng):
        others = rng.permutation(np.delete(np.arange(11), own))
        losses = losses if np.isnan(rest) else np.full(11, rest)
        return _with(_with(losses, others[:number], -1e29), own, 1e29)

    return answer


def _with(losses: np.ndarray, columns, value: float) -> np.ndarray:
    changed = np.array(losses, np.float64)
    changed[columns] = value
    return changed


def attacked(
    losses: np.ndarray, slots: np.ndarray, answer: AnswerFn, num_photos: int, seed: int = 0
) -> np.ndarray:
    """Return a table `[n, 12]` in which the `num_photos` clearest photos have such answers.

    The clearest are those whose own hue stands out most: the largest possible loss of evidence.
    """
    rng, table = np.random.default_rng(seed), np.array(losses, np.float64)
    logs = -np.log(np.maximum(table[:, 1:], 0.0) + 0.3)
    own = np.take_along_axis(logs, slots[:, None] - 1, axis=1)[:, 0]
    clearest = np.argsort(-(own - logs.mean(axis=1)), kind="stable")[:num_photos]
    for photo in clearest:
        table[photo, 1:] = answer(table[photo, 1:], int(slots[photo]) - 1, rng)
    return table

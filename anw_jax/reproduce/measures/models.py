"""Measures on whole models, crowds of users, and the analyses made beside the audit."""

import math
import statistics
from collections.abc import Iterator, Sequence

from anw_jax import _check
from anw_jax.reproduce.measures.registry import measure, named
from anw_jax.reproduce.measures.users import Names, degrees_apart, user_accuracy
from anw_jax.reproduce.results import ResultError, Run, SeedRuns, names

_CROWD_RATES = ("match_rate", "wrong_basis_match_rate")
_REDUCTIONS = ("mean", "min", "max")


# A function called test_… would be collected as a test.
@named("test_accuracy")
def accuracy_on_test_photos(
    runs: SeedRuns, suspect: str | None = None, arms: Names | None = None
) -> float:
    """Share of test photos classified rightly, in [0, 1], mean over arms."""
    path = "model" if suspect is None else f"suspects.{suspect}.model"
    return statistics.fmean(run.number(f"{path}.test_accuracy") for run in runs.chosen(arms))


@measure
def accuracy_drop(runs: SeedRuns, before: str, after: str, suspect: str | None = None) -> float:
    """Test accuracy of arm `before` minus that of arm `after`; positive: `after` is worse."""
    worse = accuracy_on_test_photos(runs, suspect, after)
    return accuracy_on_test_photos(runs, suspect, before) - worse


@measure
def crowd_match_rate(
    runs: SeedRuns,
    crowd: str,
    suspect: str | None = None,
    key: str = "match_rate",
    arms: Names | None = None,
) -> float:
    """Share of a crowd's users whose signature was read rightly, in [0, 1] (Fig. 5a).

    With `key="wrong_basis_match_rate"`: read through another basis than the user's own.
    """
    _check.one_of(_CROWD_RATES, key=key)
    prefix = "crowds" if suspect is None else f"suspects.{suspect}.crowds"
    return statistics.fmean(run.number(f"{prefix}.{crowd}.{key}") for run in runs.chosen(arms))


@measure
def crowd_hue_error(
    runs: SeedRuns, crowd: str, suspect: str | None = None, arms: Names | None = None
) -> float:
    """Mean |k̂ − k*| over a crowd's users on the fine grid, in degrees in [0, 180]."""
    prefix = "crowds" if suspect is None else f"suspects.{suspect}.crowds"
    errors = [
        abs(degrees_apart(inferred, true))
        for run in runs.chosen(arms)
        for inferred, true in zip(
            run.numbers(f"{prefix}.{crowd}.inferred_degrees_fine"),
            run.numbers(f"{prefix}.{crowd}.true_degrees"),
            strict=True,
        )
    ]
    return statistics.fmean(errors)


@measure
def advantage(
    runs: SeedRuns,
    users: Names | None = None,
    crowd: str | None = None,
    chance: float | None = None,
    suspect: str | None = None,
    arms: Names | None = None,
) -> float:
    """adv^P = (M − N·p) / N of Eq. 7: matches above luck per trial, at most 1 − p.

    N trials are the named users, or the users of the crowd, over all arms. `chance` is p; left
    out, 1 / (number of slots − 1), the larger of the two readings of the paper (1/11, 1/12),
    so that the advantage is never overstated.
    """
    if (users is None) == (crowd is None):
        raise ResultError("advantage: give either users or a crowd")
    prefix = "" if suspect is None else f"suspects.{suspect}."
    terms: list[tuple[float, float]] = []
    for run in runs.chosen(arms):
        p = 1 / (run.number("settings.verify.num_slots") - 1) if chance is None else chance
        if crowd is not None:
            path = f"{prefix}crowds.{crowd}"
            number = run.number(f"{path}.num_users")
            terms.append((number, run.number(f"{path}.match_rate") - p))
        for user in names(users or ()):
            path = f"{prefix}users.{user}.one_signature.match"
            terms.append((1.0, float(bool(run.at(path))) - p))
    return sum(n * above for n, above in terms) / sum(n for n, _ in terms)


@measure
def memorization(
    runs: SeedRuns, user: Names, with_arm: str, without_arm: str, photos: str = "published"
) -> float:
    """Accuracy on a user's photos with them in training minus without; in [-1, 1] (§5.6).

    Feldman and Zhang (2020), Eq. 1, with one training each: https://arxiv.org/abs/2008.03703.
    Positive: the model remembers them. The mean over several users.
    """
    inside = user_accuracy(runs, user, photos, arms=with_arm)
    return inside - user_accuracy(runs, user, photos, arms=without_arm)


@measure
def memorization_rise(
    runs: SeedRuns, user: Names, marked_arm: str, unmarked_arm: str, without_arm: str
) -> float:
    """What marking adds to memorisation, in [-2, 2]; positive: marked photos stick better.

    The estimate for the marked photos (trained on in `marked_arm`) minus that for the
    originals (trained on in `unmarked_arm`), both against `without_arm`.
    """
    marked = memorization(runs, user, marked_arm, without_arm, "published")
    return marked - memorization(runs, user, unmarked_arm, without_arm, "original")


@measure
def analysis_value(
    runs: SeedRuns,
    path: str,
    absolute: bool = False,
    reduce: str = "mean",
    arms: Names | None = None,
) -> float:
    """A number out of `analyses`, at a dotted path; "*" stands for every name at its place.

    With `absolute`, absolute values; several are brought to one by `reduce`: "mean", "min" or
    "max". "gradient_search.*.error_degrees" is the mean signed error over users.
    """
    _check.one_of(_REDUCTIONS, reduce=reduce)
    found = [
        run.number(full)
        for run in runs.chosen(arms)
        for full in _expanded(run, ["analyses"], path.split("."))
    ]
    values = [abs(value) for value in found] if absolute else found
    if any(map(math.isnan, values)):
        return math.nan
    return {"mean": statistics.fmean, "min": min, "max": max}[reduce](values)


def _expanded(run: Run, done: list[str], left: Sequence[str]) -> Iterator[str]:
    """Dotted paths with each "*" replaced by the names at its place."""
    if "*" not in left:
        yield ".".join([*done, *left])
        return
    star = list(left).index("*")
    done = [*done, *left[:star]]
    here = run.at(".".join(done))
    if not isinstance(here, dict) or not here:
        raise ResultError(f"{run.file}: {'.'.join(done)} holds nothing by name")
    for name in here:
        yield from _expanded(run, [*done, name], left[star + 1 :])


@measure
def descent_cost(runs: SeedRuns, users: Names, arms: Names | None = None) -> float:
    """Work of gradient search over that of the fine grid, ≥ 0; below 1 the descent is cheaper.

    In pictures through the model: forward counts 1, backward 2 (two products for each one of
    the forward pass). Mean over users; the coarse grid that gives the starts is counted.
    """

    def ratio_of(run: Run, user: str) -> float:
        found = f"analyses.gradient_search.{user}"
        forward, backward, grid = (
            run.number(f"{found}.{name}")
            for name in ("num_forward", "num_backward", "grid_num_forward")
        )
        return (forward + 2.0 * backward) / grid

    return statistics.fmean(
        ratio_of(run, user) for run in runs.chosen(arms) for user in names(users)
    )

"""The best of 53 declarations: what a menu costs where it is open, and that none is by default.

An innocent network is asked in nine ways, each scored in six. Whoever knows the slots may
bring the declaration whose p is smallest: uncorrected that is far too often below a level. A
plan that leaves all 53 open multiplies p by 53, whichever is declared; the default plan leaves
one.
"""

import dataclasses
import functools

import numpy as np
import pytest
import scipy.stats

from anw_jax import keys, sequential, stats, suspects, verify
from anw_jax.audit.options import access_of_rule, choose_rule
from anw_jax.keys import AccessRule, Manifest, MarkKey, Plan
from anw_jax.marks import HueRotation
from anw_jax.stats.exact import ExactNull, quantise
from tests.statistical import owners

ACCESSES = (
    {"kind": "logits"},
    {"kind": "logits", "views": 4},
    {"kind": "logits", "saving": (3, 0)},
    {"kind": "rounded", "decimals": 1},
    {"kind": "rounded", "decimals": 2},
    {"kind": "top_k", "top": 1},
    {"kind": "top_k", "top": 3},
    {"kind": "label", "views": 4},
    {"kind": "label", "views": 16},
)
NUM_DECLARATIONS = 53
RULES = tuple(
    AccessRule(statistic=statistic, **access)
    for access in ACCESSES
    for statistic in stats.STATISTICS[:7]  # those of the measured figures
)[:NUM_DECLARATIONS]
DEFAULT = Plan(stats.DEFAULT_STATISTIC, 0.05, beacon=owners.BEACON)
MENU = dataclasses.replace(DEFAULT, rules=RULES, highest=False)
DECLARATION = suspects.Declaration(10, "logits")
LEVELS = (0.05, 0.01)


def network(batch: np.ndarray) -> np.ndarray:
    """Logits `[b, 10]` of a network with random weights, which met no photo at all."""
    rng = np.random.default_rng(8)
    first, last = rng.normal(0, 2, (48, 32)), rng.normal(0, 1, (32, 10))
    pixels = np.asarray(batch, np.float64).reshape(len(batch), -1) - 0.5
    return (np.tanh(pixels @ first) @ last).astype(np.float32)


@functools.cache
def tables(num_photos: int) -> list[np.ndarray]:
    """The innocent's table under each of the 53 declarations, asked as an audit asks."""
    photos = owners.candidates(num_photos)
    suspect = suspects.CallableSuspect(network, DECLARATION, identity="network")
    labels = network(photos.astype(np.float32) / 255).argmax(axis=1)
    asked = {}
    for rule in RULES:
        access = access_of_rule(rule)
        if access not in asked:
            asked[access] = suspects.ask(
                suspect, photos, labels, HueRotation(), owners.SPACE, access=access, seed=b"s"
            )
    return [_saved(asked[access_of_rule(rule)], rule) for rule in RULES]


def _saved(table: np.ndarray, rule: AccessRule) -> np.ndarray:
    if rule.saving is None:
        return table
    stride, best = rule.saving
    rows = sequential.coarse_to_fine(
        lambda units, slots: table[units, slots], len(table), 12, stride=stride, num_best=best
    )
    return rows.table()


def key(number: int) -> MarkKey:
    return MarkKey(number.to_bytes(32, "big"))


def p_values(num_photos: int, plan: Plan, numbers: list[int], num_keys: int) -> np.ndarray:
    """P of some declarations under fresh keys, `[num_keys, number of declarations]`."""
    manifest = Manifest.of(owners.candidates(num_photos), owners.SPACE)
    drawn = [
        keys.assign(key(number), manifest, plan, beacon=owners.GUESS)
        for number in range(num_keys)
    ]
    slots = np.array([assignment.slot_of_unit for assignment in drawn])
    columns = []
    for number in numbers:
        statistic = plan.statistic_of(RULES[number])
        table = tables(num_photos)[number]
        integers = quantise(stats.score_units(table, drawn[0].units, statistic))
        sums = integers[np.arange(num_photos), slots - 1].sum(axis=1)
        columns.append(ExactNull(integers).survival[sums])
    return np.column_stack(columns)


def rates(num_photos: int, num_keys: int) -> dict[str, np.ndarray]:
    """P under fresh keys: of the default plan, and of the best of the menu, both ways."""
    every = p_values(num_photos, MENU, list(range(NUM_DECLARATIONS)), num_keys)
    (default,) = [n for n, rule in enumerate(RULES) if _is_default(rule)]
    alone = p_values(num_photos, DEFAULT, [default], num_keys)
    best = every.min(axis=1)
    return {
        "default": alone[:, 0],
        "uncorrected": best,
        "menu": np.minimum(1.0, NUM_DECLARATIONS * best),
    }


def _is_default(rule: AccessRule) -> bool:
    (only,) = DEFAULT.open_rules(("logits", "probabilities", "rounded", "top_k", "label"))
    return dataclasses.replace(rule, statistic="") == only and (
        rule.statistic == DEFAULT.statistic
    )


def limits(found: np.ndarray, level: float) -> tuple[float, float]:
    """Clopper-Pearson limits, at 95 %, of the share of p-values at a level."""
    test = scipy.stats.binomtest(int((found <= level).sum()), len(found))
    interval = test.proportion_ci(0.95, "exact")
    return interval.low, interval.high


def check(found: dict[str, np.ndarray]) -> None:
    for level in LEVELS:
        for name in ("default", "menu"):
            reached = int((found[name] <= level).sum())
            assert reached <= scipy.stats.binom.ppf(0.9999, len(found[name]), level), name
        assert limits(found["uncorrected"], level)[0] > 2 * level  # the near lie is seen


def test_the_default_plan_leaves_one_declaration_and_the_menu_all():
    assert len(set(RULES)) == NUM_DECLARATIONS
    chosen = choose_rule("net", DECLARATION, {"ann": DEFAULT}, {})
    assert (chosen.rule.kind, chosen.menu) == ("logits", 1)
    for rule in RULES:
        wanted = {f.name: getattr(rule, f.name) for f in dataclasses.fields(rule)}
        assert choose_rule("net", DECLARATION, {"ann": MENU}, wanted).menu == NUM_DECLARATIONS


def test_the_best_of_a_menu_is_within_nominal():
    check(rates(num_photos=12, num_keys=2_000))


def test_a_verdict_multiplies_p_by_the_whole_menu():
    manifest = Manifest.of(owners.candidates(12), owners.SPACE)
    commitment = keys.commit(key(3), manifest, MENU)
    every = p_values(12, MENU, list(range(NUM_DECLARATIONS)), 4)[3]
    for number in (0, 20, 52):  # the kinds "logits", "rounded" and "label"
        words = {"commitment": commitment, "beacon": owners.GUESS, "rule": RULES[number]}
        made = verify.decide(
            tables(12)[number], key(3), manifest, MENU, menu=NUM_DECLARATIONS, **words
        )
        expected = min(1.0, NUM_DECLARATIONS * every[number])
        assert made.result.p_value == pytest.approx(expected, rel=1e-6)
        assert made.factor == NUM_DECLARATIONS


@pytest.mark.slow
def test_the_best_of_53_on_thirty_photos(record_property):
    found = rates(num_photos=30, num_keys=20_000)
    for name, values in found.items():
        for level in LEVELS:
            low, high = limits(values, level)
            share = (values <= level).mean()
            record_property(f"{name} at {level:g}", f"{share:.4f} [{low:.4f}, {high:.4f}]")
    check(found)

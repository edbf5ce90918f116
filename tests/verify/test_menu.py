"""The rule under which a table was asked is the plan's, and its menu is counted whole."""

import dataclasses

import pytest

from anw_jax.errors import CommitmentError
from anw_jax.keys import AccessRule
from tests.verify.test_conditions import PLAN, decide

MENU = (AccessRule("logits"), AccessRule("logits", fit="crop"), AccessRule("label"))


def test_a_menu_is_never_smaller_than_the_plans_own():
    plan = dataclasses.replace(PLAN, rules=MENU)
    for rule in (*MENU[:2], None):
        with pytest.raises(ValueError, match="menu must be at least 2, the number of rules"):
            decide(plan, rule=rule)
        assert decide(plan, rule=rule, menu=2).factor == 2
    assert decide(plan, rule=MENU[2]).factor == 1
    open_kinds = dataclasses.replace(plan, highest=False)
    for rule, least in ((MENU[0], 3), (MENU[2], 1), (None, 3)):
        with pytest.raises(ValueError, match="menu must be at least"):
            decide(open_kinds, rule=rule, menu=least - 1)
        assert decide(open_kinds, rule=rule, menu=least).factor == least
    for menu, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="menu must be"):
            decide(menu=menu)


def test_a_rule_is_one_of_the_plans():
    own = AccessRule("label", statistic="hits")
    plan = dataclasses.replace(PLAN, rules=(AccessRule("logits"), own))
    assert decide(plan, rule=own).result.statistic == "hits"
    assert decide(plan, rule=plan.rules[0]).result.statistic == "losses"
    with pytest.raises(
        ValueError, match="rule must be given: rules of the plan name statistics"
    ):
        decide(plan)
    for rule in (AccessRule("label"), AccessRule("logits", views=2)):
        with pytest.raises(CommitmentError, match="rule must be one of the plan's"):
            decide(plan, rule=rule)


def test_errors_and_classes_are_no_choice_of_each_other():
    """A suspect answers with one or the other, and the rules for it are its whole menu."""
    errors = AccessRule("error")
    plan = dataclasses.replace(PLAN, rules=(*MENU[::2], errors))
    open_kinds = dataclasses.replace(plan, highest=False)
    for one in (plan, open_kinds):
        assert decide(one, rule=errors).factor == 1
        assert decide(one, rule=errors).result.statistic == "bounded_log_errors"
    assert decide(plan, rule=MENU[0]).factor == 1
    with pytest.raises(ValueError, match="menu must be at least 2"):
        decide(open_kinds, rule=MENU[0])
    assert decide(open_kinds, rule=MENU[0], menu=2).factor == 2
    two = dataclasses.replace(plan, rules=(errors, AccessRule("error", views=2)))
    with pytest.raises(ValueError, match="menu must be at least 2"):
        decide(two, rule=errors)

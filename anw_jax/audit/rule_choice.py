"""Which of a plan's rules is declared for a suspect, and how many were open."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from anw_jax.errors import CaseError
from anw_jax.keys import AccessRule, Plan
from anw_jax.suspects import Access, Declaration
from anw_jax.suspects.access import reachable

# What of a rule may differ between the owners of a case: each brings his own labels.
_OWN = "labels"


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What is declared for one suspect.

    Attributes:
      rule: how it is asked.
      menu: M, how many declarations the plan left open for it.
    """

    rule: AccessRule
    menu: int

    @property
    def access(self) -> Access:
        """The rung of the ladder that the rule names."""
        return access_of_rule(self.rule)

    def as_json(self) -> dict[str, Any]:
        """As `declared.json` holds it."""
        return {
            "rule": self.rule.as_json(),
            "menu": self.menu,
            "access": dataclasses.asdict(self.access),
            "access_text": self.access.describe(),
        }


def access_of_rule(rule: AccessRule) -> Access:
    """The rung of the ladder that a rule names."""
    return Access(
        rule.kind,
        rule.labels != "model",
        rule.views,
        decimals=rule.decimals,
        k=rule.top,
        fit=rule.fit,
    )


def choose_rule(
    suspect: str, declaration: Declaration, plans: Mapping[str, Plan], wanted: Mapping[str, Any]
) -> Chosen:
    """The one rule of the owners' plans that what was asked for leaves.

    Args:
      suspect: name, for errors.
      declaration: what the suspect offers.
      plans: of each owner of the case, all of version 2.
      wanted: fields of a rule that the arbitrator gave; nothing may be given but what repeats
        the plan or chooses from a menu that it leaves open.

    Raises:
      CaseError: no rule for what the suspect offers, owners whose rules differ, a wish that no
        rule meets, or several that it leaves.
    """
    (first, plan), *others = plans.items()
    rules = plan.open_rules(reachable(declaration))
    for name, other in others:
        if _shared(other.open_rules(reachable(declaration))) != _shared(rules):
            raise CaseError(
                f"the plans of owners {first!r} and {name!r} ask suspect {suspect!r} in "
                "different ways: give each a case of its own"
            )
    if not rules:
        kinds = ", ".join(dict.fromkeys(rule.kind for rule in plan.rules))
        raise CaseError(
            f"suspect {suspect!r} answers with {declaration.answer}, and the plan has rules "
            f"only for {kinds}"
        )
    left = [rule for rule in rules if all(getattr(rule, f) == v for f, v in wanted.items())]
    if not left:
        named = ", ".join(f"{name} {value!r}" for name, value in wanted.items())
        fixed = "; or ".join(_told(rule, wanted) for rule in rules)
        raise CaseError(
            f"the plan fixes {fixed} for suspect {suspect!r}, and does not leave {named} open: "
            "leave these options out"
        )
    if len(left) > 1:
        raise CaseError(
            f"the plan leaves {len(left)} declarations open for suspect {suspect!r}, choose "
            f"one: {'; or '.join(_differences(left))}"
        )
    return Chosen(left[0], len(rules))


def _shared(rules: tuple[AccessRule, ...]) -> list[tuple[Any, ...]]:
    """What the owners of a case must agree on: all but who of two gave the labels."""
    return [
        (dataclasses.replace(rule, labels="owner"), rule.labels == "model") for rule in rules
    ]


def _told(rule: AccessRule, wanted: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {getattr(rule, name)!r}" for name in wanted)


def _differences(rules: list[AccessRule]) -> list[str]:
    """Each rule by the fields in which it differs from the others."""
    names = [
        field.name
        for field in dataclasses.fields(AccessRule)
        if len({getattr(rule, field.name) for rule in rules}) > 1
    ]
    return [", ".join(f"{name} {getattr(rule, name)!r}" for name in names) for rule in rules]

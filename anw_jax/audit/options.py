"""What an owner commits to, and what an arbitrator may choose where a plan leaves a choice."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from anw_jax import _check
from anw_jax.errors import CaseError
from anw_jax.keys import AccessRule, Denoising, MarkKey, Plan
from anw_jax.keys.plan_fields import (
    DEFAULT_KINDS,
    ERROR_STATISTIC,
    HUE_ROTATION,
    LIGHT_FIELD,
    USER_LCT,
)
from anw_jax.marks import Mark, make_mark
from anw_jax.marks.named import NAMES, STRENGTHS
from anw_jax.stats import DEFAULT_ALPHA, DEFAULT_STATISTIC, INVERSIONS
from anw_jax.suspects import Access, Augmentation, Declaration
from anw_jax.suspects.access import reachable

DEFAULT_MARK = "light"

_OF_PLAN = ("statistic", "alpha", "beacon", "mode", "claim", "place", "references")
# Views of a photo under the gentle mark "light" where a suspect answers with logits: such a
# model is nearly always a local file, whose queries are free, and views buy back evidence. A
# paid service answers with probabilities or labels. The number is fixed before the model is
# known, so it cannot depend on anything but the kind of access.
_VIEWS_OF_LIGHT = {"logits": 16}
# The kinds that `anw commit` has rules for: an owner cannot know what will be asked.
DEFAULT_ACCESS = (*DEFAULT_KINDS, "error")
_OF_RULES = ("fit", "refusals", "bound_level", "bound_by", "list_rate")


@dataclasses.dataclass(frozen=True)
class Choices:
    """The options that an owner commits to.

    None takes the default, or what was committed to before.

    Attributes:
      scheme: "per_image", "per_group" or "per_user".
      slots: N.
      mark: one of `marks.named.NAMES`; "light" by default.
      strength: of a mark in `marks.named.STRENGTHS`.
      statistic, alpha, mode, claim, beacon, place: as in `keys.Plan`.
      references: digests of reference models, as in `keys.Plan`.
      access: kinds of access; None for the highest that a suspect offers. Several are a menu.
      augmentations: numbers of views; several are a menu. None for 16 with labels, and with
        logits under the mark "light"; else 1.
      decimals, top, fit, refusals, bound_level, bound_by, list_rate: as in `keys.AccessRule`.
      save_queries: strides of the coarse-to-fine rule, 0 to query every slot; several are a
        menu.
      best: around how many slots the coarse-to-fine rule continues.
      label_source: one of `keys.plan_fields.LABEL_SOURCES`; None for the owner's where labels
        are committed to, else the arbitrator's.
    """

    scheme: str | None = None
    slots: int | None = None
    mark: str | None = None
    strength: float | None = None
    statistic: str | None = None
    alpha: float | None = None
    mode: str | None = None
    claim: str | None = None
    beacon: str | None = None
    place: str | None = None
    references: tuple[str, ...] | None = None
    access: tuple[str, ...] | None = None
    augmentations: tuple[int, ...] | None = None
    decimals: int | None = None
    top: int | None = None
    save_queries: tuple[int, ...] | None = None
    best: int | None = None
    fit: str | None = None
    refusals: float | None = None
    bound_level: float | None = None
    bound_by: str | None = None
    list_rate: float | None = None
    label_source: str | None = None

    def _given(self, *names: str) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def make_mark(self, mark_key: MarkKey, num_slots: int) -> Mark:
        """Make the mark, with its secret, if it has one, drawn from the key.

        Raises:
          TypeError, ValueError: another name, or a strength that does not fit the mark.
        """
        return make_mark(self.mark or DEFAULT_MARK, mark_key, num_slots, self.strength)

    def plan(self, mark: str, labels: str, number: int) -> Plan:
        """Make the plan, with defaults filled in.

        Args:
          mark: the mark's description.
          labels: `keys.plan.labels_digest`, or "".
          number: which of the owner's commitments this is.

        Raises:
          TypeError, ValueError: a choice out of its range.
        """
        defaults = {"statistic": DEFAULT_STATISTIC, "alpha": DEFAULT_ALPHA}
        given = {**defaults, **self._given(*_OF_PLAN)}
        statistic = _statistic_of_errors(given["statistic"], given.get("mode", "sealed"))
        return Plan(
            **given,
            mark=mark,
            labels=labels,
            number=number,
            rules=self._rules(
                labels,
                {"statistic": statistic, "denoising": Denoising()},
                DEFAULT_ACCESS,
                _VIEWS_OF_LIGHT if mark.split(":")[0] == LIGHT_FIELD else {},
                fill_of(mark),
            ),
            highest=self.access is None or len(self.access) == 1,
        )

    def _rules(
        self,
        labels: str,
        of_errors: Mapping[str, Any],
        defaults: tuple[str, ...],
        views_of: Mapping[str, int],
        fill: str,
    ) -> tuple[AccessRule, ...]:
        """Return each combination of what was given: more than one of a kind is a menu.

        Args:
          labels: as for `plan`.
          of_errors: statistic and denoising of kind "error".
          defaults: kinds of access if none was given.
          views_of: number of views of some kinds if none was given.
          fill: of rules with several views.
        """
        kinds = self.access or defaults
        for name, needs, there in (
            ("decimals", "access 'rounded'", "rounded" in kinds),
            ("top", "access 'top_k'", "top_k" in kinds),
            ("best", "save_queries", self.save_queries is not None),
        ):
            if getattr(self, name) is not None and not there:
                raise ValueError(f"{name} belongs to {needs}, which is not chosen")
        best = 1 if self.best is None else self.best
        rules = [
            AccessRule(
                kind,
                self.label_source or ("owner" if labels else "arbitrator"),
                views=views,
                decimals=self.decimals if kind == "rounded" else None,
                top=self.top if kind == "top_k" else None,
                saving=(stride, best) if stride else None,
                **(of_errors if kind == "error" else {}),
                **self._given(*_OF_RULES),
            )
            for kind in kinds
            for views, stride in itertools.product(
                self.augmentations or (views_of.get(kind),), self.save_queries or (0,)
            )
        ]
        return tuple(
            dataclasses.replace(rule, fill=fill) if rule.views > 1 else rule for rule in rules
        )

    def check_same(self, plan: Plan, scheme: str, slots: int) -> None:
        """Refuse a choice that differs from what was committed to.

        Raises:
          CaseError: names the choice and both values.
        """
        mark, strength = _mark_and_strength(plan)
        committed = {
            **{name: getattr(plan, name) for name in _OF_PLAN},
            **{"scheme": scheme, "slots": slots, "mark": mark, "strength": strength},
        }
        given = self._given(*(field.name for field in dataclasses.fields(self)))
        for name, value in given.items():
            if name in committed and value != committed[name]:
                raise CaseError(
                    f"{name} is {value!r}, but {committed[name]!r} was committed to: leave the "
                    "option out, or make a new commitment in another folder"
                )
        rules = plan.rules
        if given.keys() - committed.keys():
            # Earlier commitments have no rules for errors, or rules with another statistic.
            errors = [rule for rule in plan.rules if rule.kind == "error"]
            kinds = DEFAULT_ACCESS if errors else DEFAULT_KINDS
            names = ("statistic", "denoising")
            of_errors = {name: getattr(rule, name) for rule in errors[:1] for name in names}
            views_of = {rule.kind: rule.views for rule in plan.rules}
            # Likewise, views in some earlier commitments are filled by reflection.
            fill = "black" if any(r.fill == "black" for r in plan.rules) else "reflect"
            rules = self._rules(plan.labels, of_errors, kinds, views_of, fill)
        if rules != plan.rules:
            pairs = zip(rules, plan.rules, strict=False)
            both = [(n, v, vars(b)[n]) for a, b in pairs for n, v in vars(a).items()]
            where = [f"{n} is {v!r}, not {there!r}" for n, v, there in both if v != there]
            raise CaseError(
                "the options for access differ from those committed to "
                f"({(*where, 'other rules')[0]}): leave them out, or make a new commitment in "
                "another folder"
            )


def fill_of(mark: str) -> str:
    """Return the fill of views in new plans under a mark, given its name in plans.

    It is "black", as in most learners' random crops. For 100 photos of one training under
    "light" (CIFAR-10, crops and flips), 16 views gave log10 p -5.6 from logits and -4.4 from
    labels; filled by reflection -2.7 and -1.6; one view -3.3 and -0.3. Plans under the two
    marks of the paper keep "reflect": slots depend on every byte of a plan.
    """
    return "reflect" if mark.split(":")[0] in (HUE_ROTATION, USER_LCT) else "black"


def _statistic_of_errors(statistic: str, mode: str) -> str:
    """Replace the default by that of kind "error"; a sequential record has one statistic."""
    is_default = statistic == DEFAULT_STATISTIC and mode == "sealed"
    return ERROR_STATISTIC if is_default else statistic


def _mark_and_strength(plan: Plan) -> tuple[str, float | None]:
    """Return the name of a plan's mark, and its strength, if it has one."""
    in_plan, *parts = plan.mark.split(":")
    name = next((name for name, there in NAMES.items() if there == in_plan), in_plan)
    return name, float(parts[0]) if name in STRENGTHS else None


@dataclasses.dataclass(frozen=True)
class Options:
    """The options that an arbitrator declares.

    Under a plan of version 2 the first ten may only repeat the plan, or choose from a menu
    that it leaves open; None leaves them to the plan.

    Attributes:
      access: the kind of access.
      label_source: "owner", "arbitrator" or "model".
      augmentations: queries for each photo and slot.
      decimals: for "rounded".
      k: for "top_k".
      saving: (stride, number of best) of the coarse-to-fine rule; (0, 0) queries every slot.
      bound_level: level of the lower bound on the number of units used.
      bound_by: "hits" or "ranks"; on real tables ranks gave the higher bounds.
      list_rate: expected share of wrong entries in the list of units.
      fit: "squash" or "crop".
      budget: most queries of one suspect; None for any number.
      beacons: the value of each owner's beacon, by owner.

    Raises:
      TypeError, ValueError: a value out of range.
    """

    access: str | None = None
    label_source: str | None = None
    augmentations: int | None = None
    decimals: int | None = None
    k: int | None = None
    saving: tuple[int, int] | None = None
    bound_level: float | None = None
    bound_by: str | None = None
    list_rate: float | None = None
    fit: str | None = None
    budget: int | None = None
    beacons: tuple[tuple[str, bytes], ...] = ()

    def __post_init__(self):
        if self.budget is not None:
            _check.integer_at_least(1, budget=self.budget)
        if self.saving is not None:
            stride, num_best = self.saving
            _check.integer_at_least(0, stride=stride)
            _check.integer_at_least(0, best=num_best)
        for name in ("bound_level", "list_rate"):
            if getattr(self, name) is not None:
                _check.in_open_interval(0.0, 1.0, **{name: getattr(self, name)})
        if self.bound_by is not None:
            _check.one_of(INVERSIONS, bound_by=self.bound_by)

    def wanted(self) -> dict[str, Any]:
        """Return the fields of an `AccessRule` that were given."""
        given = {
            "kind": self.access,
            "labels": self.label_source,
            "views": self.augmentations,
            "decimals": self.decimals,
            "top": self.k,
            "bound_level": self.bound_level,
            "bound_by": self.bound_by,
            "list_rate": self.list_rate,
            "fit": self.fit,
        }
        wanted = {name: value for name, value in given.items() if value is not None}
        if self.saving is not None:
            wanted["saving"] = self.saving if self.saving[0] else None
        return wanted


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The rule declared for one suspect.

    Attributes:
      rule: how it is queried.
      menu: M, how many declarations the plan left open for it.
    """

    rule: AccessRule
    menu: int

    def as_json(self) -> dict[str, Any]:
        """Return the fields of `declared.json`."""
        access = access_of_rule(self.rule)
        fields = dataclasses.asdict(access)
        return {
            "rule": self.rule.as_json(),
            "menu": self.menu,
            "access": {**fields, "augmentation": access.augmentation.as_json()},
            "access_text": access.describe(),
        }


def access_of_rule(rule: AccessRule) -> Access:
    """Return the access that a rule names."""
    return Access(
        rule.kind,
        rule.labels != "model",
        rule.views,
        decimals=rule.decimals,
        k=rule.top,
        augmentation=Augmentation(fill=rule.fill),
        fit=rule.fit,
    )


def choose_rule(
    suspect: str, declaration: Declaration, plans: Mapping[str, Plan], wanted: Mapping[str, Any]
) -> Chosen:
    """Choose the one rule of the owners' plans that agrees with the arbitrator's options.

    Args:
      suspect: name, for errors.
      declaration: of the suspect.
      plans: of each owner of the case, all of version 2.
      wanted: fields of a rule that the arbitrator gave; they may only repeat the plan, or
        choose from a menu that it leaves open.

    Raises:
      CaseError: no rule for what the suspect offers, owners whose rules differ, options that
        agree with no rule, or with several.
    """
    (first, plan), *others = plans.items()
    rules = plan.open_rules(reachable(declaration))
    for name, other in others:
        if _shared(other.open_rules(reachable(declaration))) != _shared(rules):
            raise CaseError(
                f"the plans of owners {first!r} and {name!r} have different rules for suspect "
                f"{suspect!r}: give each a case of its own"
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
        fixed = "; or ".join(_values(rule, wanted) for rule in rules)
        raise CaseError(
            f"the plan fixes {fixed} for suspect {suspect!r}, and does not leave {named} open: "
            "leave these options out"
        )
    if len(left) > 1:
        fields = [field.name for field in dataclasses.fields(AccessRule)]
        varied = [name for name in fields if len({getattr(rule, name) for rule in left}) > 1]
        raise CaseError(
            f"the plan leaves {len(left)} declarations open for suspect {suspect!r}, choose "
            f"one: {'; or '.join(_values(rule, varied) for rule in left)}"
        )
    return Chosen(left[0], len(rules))


def _shared(rules: tuple[AccessRule, ...]) -> list[tuple[Any, ...]]:
    """Say what the owners of a case must agree on; each owner may have labels of their own."""
    return [
        (dataclasses.replace(rule, labels="owner"), rule.labels == "model") for rule in rules
    ]


def _values(rule: AccessRule, names: Any) -> str:
    return ", ".join(f"{name} {getattr(rule, name)!r}" for name in names)

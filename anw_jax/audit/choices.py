"""What an owner fixes when he commits, and how it becomes a plan."""

import dataclasses
import itertools
from typing import Any

from anw_jax.errors import CaseError
from anw_jax.keys import AccessRule, Plan
from anw_jax.keys.plan_fields import DEFAULT_KINDS
from anw_jax.stats import DEFAULT_ALPHA, DEFAULT_STATISTIC


@dataclasses.dataclass(frozen=True)
class Choices:
    """The committed options; None takes the default, or what was committed to before.

    Attributes:
      scheme: "per_image", "per_group" or "per_user".
      slots: N.
      private_basis: the owner's own colour basis in place of the hue.
      statistic, alpha, mode, claim, beacon, place: as in `keys.Plan`.
      access: kinds of access; None for the highest that a suspect offers. Several are a menu.
      augmentations: numbers of views; several are a menu.
      decimals, top, fit, refusals, bound_level, bound_by, list_rate: as in `keys.AccessRule`.
      save_queries: strides of the coarse-to-fine rule, 0 for asking every slot; several are a
        menu.
      best: around how many the coarse-to-fine rule goes on.
      label_source: one of `keys.plan_fields.LABEL_SOURCES`; None for the owner's where labels
        are committed to, else the arbitrator's.
    """

    scheme: str | None = None
    slots: int | None = None
    private_basis: bool | None = None
    statistic: str | None = None
    alpha: float | None = None
    mode: str | None = None
    claim: str | None = None
    beacon: str | None = None
    place: str | None = None
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

    def plan(self, mark: str, labels: str, number: int) -> Plan:
        """The plan that these choices make, defaults filled in.

        Args:
          mark: the mark's description.
          labels: `keys.plan.labels_digest`, or "".
          number: which of the owner's commitments this is.

        Raises:
          TypeError, ValueError: a choice out of its range.
        """
        return Plan(
            statistic=self.statistic or DEFAULT_STATISTIC,
            alpha=DEFAULT_ALPHA if self.alpha is None else self.alpha,
            mark=mark,
            beacon=self.beacon or "",
            mode=self.mode or "sealed",
            claim=self.claim or "one model",
            labels=labels,
            place=self.place or "",
            number=number,
            rules=self._rules(labels),
            highest=self.access is None or len(self.access) == 1,
        )

    def _rules(self, labels: str) -> tuple[AccessRule, ...]:
        """Each combination of what was given: more than one of a kind is a menu."""
        source = self.label_source or ("owner" if labels else "arbitrator")
        fixed = {
            name: getattr(self, name)
            for name in ("fit", "refusals", "bound_level", "bound_by", "list_rate")
            if getattr(self, name) is not None
        }
        kinds = self.access or DEFAULT_KINDS
        for name, needs, there in (
            ("decimals", "access 'rounded'", "rounded" in kinds),
            ("top", "access 'top_k'", "top_k" in kinds),
            ("best", "save_queries", self.save_queries is not None),
        ):
            if getattr(self, name) is not None and not there:
                raise ValueError(f"{name} belongs to {needs}, which is not asked for")
        strides = self.save_queries or (0,)
        best = 1 if self.best is None else self.best
        return tuple(
            AccessRule(
                kind,
                source,
                views=views,
                decimals=self.decimals if kind == "rounded" else None,
                top=self.top if kind == "top_k" else None,
                saving=(stride, best) if stride else None,
                **fixed,
            )
            for kind, views, stride in itertools.product(
                kinds, self.augmentations or (None,), strides
            )
        )

    def check_same(self, plan: Plan, scheme: str, slots: int) -> None:
        """Refuses a choice that was given and differs from what was committed to.

        Raises:
          CaseError: names the choice and both values.
        """
        committed: dict[str, Any] = {
            **{name: getattr(plan, name) for name in ("statistic", "alpha", "beacon", "mode")},
            **{name: getattr(plan, name) for name in ("claim", "place")},
            "scheme": scheme,
            "slots": slots,
            "private_basis": plan.mark.startswith("user_lct:"),
        }
        for name, value in committed.items():
            given = getattr(self, name)
            if given not in (None, value):
                raise CaseError(
                    f"{name} is {given!r}, and {value!r} was committed to: leave it out, or "
                    "commit anew in another folder"
                )
        if any(getattr(self, name) is not None for name in _OF_RULES):
            given = dataclasses.replace(self, statistic=plan.statistic, mode=plan.mode)
            rules = given._rules(plan.labels)
            if rules != plan.rules:
                raise CaseError(
                    "what is to be asked for each kind of access differs from what was "
                    f"committed to ({rules[0]} and {plan.rules[0]}): leave these options out, "
                    "or commit anew in another folder"
                )


_OF_RULES = (
    "access",
    "augmentations",
    "decimals",
    "top",
    "save_queries",
    "best",
    "fit",
    "refusals",
    "bound_level",
    "bound_by",
    "list_rate",
    "label_source",
)

"""Valid values of a plan's fields: statistics, marks, and a rule for each kind of access.

Statistics and marks are named here, below the packages that implement them (`stats`, `marks`),
because a plan is committed to long before either is used: an invalid name would otherwise be
detected only after training, too late to fix.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from anw_jax import _check
from anw_jax.keys.digests import is_digest

# `stats.STATISTICS` has a score for each, in this order.
STATISTICS = (
    "log_losses",
    "losses",
    "centred",
    "ranks",
    "hits",
    "bounded_log_losses",
    "log_errors",
    "bounded_log_errors",
)

# Statistics that bound each image's row before summing over the unit; they take image rows.
IMAGE_STATISTICS = ("bounded_log_losses", "bounded_log_errors")

# Statistics that use only one unit's row.
ROW_STATISTICS = ("log_losses", "losses", "ranks", "hits", "log_errors")

# Statistics that do not use later units, as a sequential audit requires.
SEQUENTIAL_STATISTICS = (*ROW_STATISTICS, *IMAGE_STATISTICS)

# Statistics of a model watermark's bits (`stats.bit_test`).
BIT_STATISTICS = ("bit_signs", "bounded_bits")

# The default with errors: ratios count, and one absurd answer must not undo the others.
ERROR_STATISTIC = "bounded_log_errors"

HUE_ROTATION = "hue_rotation"
USER_LCT = "user_lct"
PIXEL_MARK = "pixel_mark"
LIGHT_FIELD = "light_field"
TONE = "tone"
TINT = "tint"
HUE_LIMITED = "hue_limited"
# Two of the marks that have a number of slots.
COMPOSED = "composed"
# Model watermarks (`anw_jax.schemes`), by the digest of the decoder.
MULTITASK = "multitask"
BARRIER = "barrier"
FINGERPRINT = "fingerprint"
MODEL_SCHEMES = (MULTITASK, BARRIER, FINGERPRINT)
# A custom mark, which is not in this library: the arbitrator must have its code.
OWN = "own"

# The forms of a `Mark.description`; a new kind of mark adds its form here.
_FORMS = {
    HUE_ROTATION: "hue_rotation",
    USER_LCT: "user_lct:DIGEST",
    PIXEL_MARK: "pixel_mark:NUMBER:SCALE:DIGEST",
    LIGHT_FIELD: "light_field:STRENGTH:CELLS:SLOTS:DIGEST",
    TONE: "tone:STRENGTH:SLOTS",
    TINT: "tint:STRENGTH:SLOTS",
    HUE_LIMITED: "hue_limited:DEGREES:SLOTS",
    COMPOSED: "composed:MARK+MARK",
    MULTITASK: "multitask:DIGEST",
    BARRIER: "barrier:DIGEST",
    FINGERPRINT: "fingerprint:DIGEST",
    OWN: "own:TEXT",
}

# Largest strength of `Tone`: with more, a curve would not keep the order of values.
MOST_TONE = 0.35

# Kinds of access to a classifier, from most to least informative (see `suspects.Access`).
CLASS_KINDS = ("logits", "probabilities", "rounded", "top_k", "label")

# All kinds; "error" is a loss that the model's own code computes, such as a denoising error.
KINDS = (*CLASS_KINDS, "error")

# The kinds that a default plan has rules for; "rounded" is never a classifier's own output.
DEFAULT_KINDS = ("logits", "probabilities", "top_k", "label")

# How a photo is fitted to the model's input size.
FITS = ("squash", "crop")

# What a shifted view shows where the image has no pixels: the image mirrored at its edge, or
# black, as in the random crops of most training programs.
FILLS = ("reflect", "black")

# Who provides the class labels: the owner, as committed to; the arbitrator; or the model, by
# its predictions on the unmarked originals.
LABEL_SOURCES = ("owner", "arbitrator", "model")

# The statistics from which the lower bound on the number of units can be computed.
BOUNDS = ("hits", "ranks")

_ALLOWED = {
    "kind": KINDS,
    "labels": LABEL_SOURCES,
    "statistic": ("", *STATISTICS),
    "fit": FITS,
    "fill": FILLS,
    "bound_by": BOUNDS,
}

# Augmented views of each image with label-only access; one view otherwise.
DEFAULT_LABEL_VIEWS = 16

# Limit on the steps of a denoising error, as on views.
MOST_STEPS = 1024

# Limit on views: the owner chooses their number, and they must fit in the arbitrator's memory.
MOST_VIEWS = 1024


def check_mark(mark: str) -> str:
    """Check that a text is the `description` of a mark of this library, or "own:…".

    Raises:
      ValueError: an unknown name, or malformed parts.

    Example:
      >>> check_mark("hue_rotation"), check_mark("user_lct:" + "0f" * 32)[:14]
      ('hue_rotation', 'user_lct:0f0f0')
      >>> check_mark("hue_rotatoin")
      Traceback (most recent call last):
      ValueError: mark must be hue_rotation, user_lct:DIGEST, pixel_mark:NUMBER:SCALE:DIGEST,
      light_field:STRENGTH:CELLS:SLOTS:DIGEST, tone:STRENGTH:SLOTS, tint:STRENGTH:SLOTS,
      hue_limited:DEGREES:SLOTS, composed:MARK+MARK, multitask:DIGEST, barrier:DIGEST,
      fingerprint:DIGEST or own:TEXT, as a mark's description says it; got 'hue_rotatoin'; did
      you mean 'hue_rotation'?
    """
    name, *parts = mark.split(":")
    if not _has_form(name, parts):
        *forms, last = _FORMS.values()
        hint = "" if name in _FORMS else _check.did_you_mean(name, _FORMS)
        raise ValueError(
            f"mark must be {', '.join(forms)} or {last}, as a mark's description says it; "
            f"got {mark!r:.160}{hint}"
        )
    return mark


def is_scheme(mark: str) -> bool:
    """Return whether a mark's description is that of a model watermark.

    Example:
      >>> is_scheme("multitask:" + "0f" * 32), is_scheme("hue_rotation")
      (True, False)
    """
    return mark.partition(":")[0] in MODEL_SCHEMES


def check_statistic(statistic: str, mode: str, mark: str = HUE_ROTATION) -> str:
    """Check that a statistic is known and fits the mark and the mode; return it.

    Example:
      >>> check_statistic("centred", "sealed")
      'centred'
    """
    if is_scheme(mark):
        _check.one_of(("sealed",), **{"mode of a model watermark": mode})
        return _check.one_of(BIT_STATISTICS, statistic=statistic)
    _check.one_of(STATISTICS, statistic=statistic)
    if mode == "sequential":
        _check.one_of(SEQUENTIAL_STATISTICS, statistic=statistic)
    return statistic


def _has_form(name: str, parts: list[str]) -> bool:
    if name == OWN:
        return any(parts)
    if name == COMPOSED:
        marks = [mark.split(":") for mark in ":".join(parts).split("+")]
        is_pair = len(marks) == 2 and marks[0][0] != marks[1][0]
        return is_pair and all(m[0] in COMPOSABLE and _has_form(m[0], m[1:]) for m in marks)
    checks = _PARTS.get(name)
    if checks is None or len(parts) != len(checks):
        return False
    return all(check(part) for check, part in zip(checks, parts, strict=True))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and not text.startswith("0")


def _is_number(text: str, most: float = 1.0) -> bool:
    """Return whether a text is a number in (0, most], formatted as by `repr`."""
    try:
        number = float(text)
    except ValueError:
        return False
    return 0.0 < number <= most and repr(number) == text


# The checks of the parts of a description.
_PARTS: dict[str, tuple[Callable[[str], bool], ...]] = {
    HUE_ROTATION: (),
    USER_LCT: (is_digest,),
    PIXEL_MARK: (_is_count, _is_number, is_digest),
    LIGHT_FIELD: (_is_number, _is_count, _is_count, is_digest),
    TONE: (functools.partial(_is_number, most=MOST_TONE), _is_count),
    TINT: (_is_number, _is_count),
    HUE_LIMITED: (functools.partial(_is_number, most=180.0), _is_count),
    MULTITASK: (is_digest,),
    BARRIER: (is_digest,),
    FINGERPRINT: (is_digest,),
}
COMPOSABLE = (LIGHT_FIELD, TONE, TINT, HUE_LIMITED)


@dataclasses.dataclass(frozen=True)
class Denoising:
    """Which denoising error a diffusion model is asked for (`suspects.DenoisingSuspect`).

    A plan that fixes it leaves nobody a choice of noises after the slots are known.

    Attributes:
      steps: number of time steps, 1 to 1024: evenly spaced from 5 % to 50 % of the model's
        schedule (`suspects.default_steps`).
      seed: of the noise, at least 0.
      mirror: whether the mirror image is evaluated too, with the same noise.

    Raises:
      TypeError, ValueError: a field out of its range.

    Example:
      >>> Denoising().num_evaluations
      16
    """

    steps: int = 8
    seed: int = 0
    mirror: bool = True

    def __post_init__(self):
        steps = _check.integer_at_least(1, steps=self.steps)
        if steps > MOST_STEPS:
            raise ValueError(f"steps must be at most {MOST_STEPS}, got {steps}")
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "seed", _check.integer_at_least(0, seed=self.seed))
        _check.is_instance(bool, mirror=self.mirror)

    @property
    def num_evaluations(self) -> int:
        """How often the network is evaluated for one picture."""
        return self.steps * (2 if self.mirror else 1)

    def __str__(self) -> str:
        mirrored = "with" if self.mirror else "without"
        return f"{self.steps} steps, seed {self.seed}, {mirrored} mirror images"


@dataclasses.dataclass(frozen=True)
class AccessRule:
    """How one kind of access is audited; fixed in the plan, before any answer is known.

    Attributes:
      kind: one of `KINDS`.
      labels: who provides the class labels, one of `LABEL_SOURCES`; not used with "error".
      statistic: of this kind of access; "" for the plan's statistic, or "bounded_log_errors"
        with "error".
      views: number of queries for each photo and slot, 1 to 1024; None for 16 with "label" and
        1 otherwise.
      decimals: for "rounded", digits after the point, 1 to 12.
      top: for "top_k", number of labels used; None for as many as the suspect returns.
      saving: (stride, number of best) of the coarse-to-fine rule; None queries every slot.
      fit: one of `FITS`.
      refusals: largest share of an owner's photos that the suspect may refuse, in [0, 1);
        above it the audit is inconclusive.
      bound_level: level of the lower bound on the number of units used, in (0, 1).
      bound_by: one of `BOUNDS`.
      list_rate: expected share of wrong entries in the list of units, in (0, 1).
      fill: one of `FILLS`; "black" only with several views.
      denoising: for "error", the denoising error that diffusion models are asked for; None
        leaves it to the arbitrator, as do plans made before there was this field.

    Raises:
      TypeError, ValueError: a field out of its range, or one that does not belong to the kind.

    Example:
      >>> AccessRule("label").views, AccessRule("logits").views
      (16, 1)
    """

    kind: str
    labels: str = "arbitrator"
    statistic: str = ""
    views: int | None = None
    decimals: int | None = None
    top: int | None = None
    saving: tuple[int, int] | None = None
    fit: str = "squash"
    refusals: float = 0.1
    bound_level: float = 0.05
    bound_by: str = "ranks"
    list_rate: float = 0.05
    fill: str = "reflect"
    denoising: Denoising | None = None

    def __post_init__(self):
        for name, allowed in _ALLOWED.items():
            text = _check.plain_text(**{name: getattr(self, name)})
            _check.one_of(allowed, **{name: text})
        if self.kind == "error" and not self.statistic:
            self._set(statistic=ERROR_STATISTIC)
        default = DEFAULT_LABEL_VIEWS if self.kind == "label" else 1
        views = default if self.views is None else self.views
        self._set(views=_check.integer_at_least(1, views=views))
        if self.views > MOST_VIEWS:
            raise ValueError(f"views must be at most {MOST_VIEWS}, got {self.views}")
        if self.views == 1 and self.fill != "reflect":
            raise ValueError(f"fill must be 'reflect' with one view, got {self.fill!r}")
        self._check_numbers()
        self._check_saving()
        refusals = _check.in_interval(0.0, 1.0, refusals=self.refusals)
        if refusals == 1.0:
            raise ValueError("refusals must be below 1: a test needs answers, got 1.0")
        self._set(refusals=refusals)
        for name in ("bound_level", "list_rate"):
            value = _check.in_open_interval(0.0, 1.0, **{name: getattr(self, name)})
            self._set(**{name: value})
        if self.denoising is not None:
            _check.is_instance(Denoising, denoising=self.denoising)
            if self.kind != "error":
                raise ValueError(f"denoising belongs to kind='error', got kind={self.kind!r}")

    def _check_numbers(self) -> None:
        for name, kind in (("decimals", "rounded"), ("top", "top_k")):
            value = getattr(self, name)
            if value is None:
                continue
            if self.kind != kind:
                raise ValueError(f"{name} belongs to kind={kind!r}, got kind={self.kind!r}")
            self._set(**{name: _check.integer_at_least(1, **{name: value})})
        if self.kind == "rounded" and not 1 <= (self.decimals or 0) <= 12:
            raise ValueError(
                f"decimals must be 1 to 12 with kind='rounded', got {self.decimals!r}"
            )

    def _check_saving(self) -> None:
        if self.saving is None:
            return
        if not isinstance(self.saving, tuple | list) or len(self.saving) != 2:
            raise ValueError(
                f"saving must be a stride and a number of best slots, got {self.saving!r:.60}"
            )
        stride, best = self.saving
        stride = _check.integer_at_least(1, stride=stride)
        self._set(saving=(stride, _check.integer_at_least(0, best=best)))

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def as_json(self) -> dict[str, Any]:
        """Return the rule as plain JSON values, without a fill or denoising that is not set."""
        body = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.saving is not None:
            body["saving"] = list(self.saving)
        if self.fill == "reflect":
            del body["fill"]  # as in the plans made before there was a choice
        if self.denoising is None:
            del body["denoising"]  # as in the plans made before there was this field
        else:
            body["denoising"] = dataclasses.asdict(self.denoising)
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "AccessRule":
        """Read the result of `as_json`."""
        _check.is_instance(Mapping, rule=body)
        fields, saving, denoising = dict(body), body.get("saving"), body.get("denoising")
        if isinstance(saving, list):
            fields["saving"] = tuple(saving)
        if isinstance(denoising, Mapping):
            fields["denoising"] = Denoising(**denoising)
        return cls(**fields)


def default_rules(labels: str) -> tuple[AccessRule, ...]:
    """Return one rule for each kind of output that a classifier may have.

    A rule for errors is not among them, so that the plans of earlier experiments keep their
    slots; `anw commit` adds one.
    """
    return tuple(AccessRule(kind, labels) for kind in DEFAULT_KINDS)

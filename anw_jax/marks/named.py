"""Create a mark from its description in a plan, or from its name."""

from anw_jax import _check
from anw_jax.keys import MarkKey, plan_fields
from anw_jax.marks.composed import Composed
from anw_jax.marks.curves import Tint, Tone
from anw_jax.marks.lct import HueRotation, LimitedHue
from anw_jax.marks.light_field import LightField
from anw_jax.marks.mark import Mark, check_strength
from anw_jax.marks.private_basis import UserLCT

# The marks that `anw commit --mark` and `lab` know by a name, and their names in plans.
NAMES = {
    "hue": plan_fields.HUE_ROTATION,
    "light": plan_fields.LIGHT_FIELD,
    "private_basis": plan_fields.USER_LCT,
    "tone": plan_fields.TONE,
    "tint": plan_fields.TINT,
    "hue_limited": plan_fields.HUE_LIMITED,
}

# The marks that have a strength: its default, and its largest value. Of "hue_limited" it is in
# degrees.
STRENGTHS = {
    "light": (LightField.strength, 1.0),
    "tone": (Tone.strength, plan_fields.MOST_TONE),
    "tint": (Tint.strength, 1.0),
    "hue_limited": (LimitedHue.max_degrees, 180.0),
}

# Marks without a secret that are made from a strength and a number of slots.
_PUBLIC = {
    plan_fields.TONE: Tone,
    plan_fields.TINT: Tint,
    plan_fields.HUE_LIMITED: LimitedHue,
}

# For marks with secret parameters: the name of the sub-key, `MarkKey.sub_key(name)`, that they
# are drawn from. The arbitrator receives it before querying.
_SUB_KEYS = {plan_fields.USER_LCT: "basis", plan_fields.LIGHT_FIELD: "light"}


def make_mark(
    name: str, mark_key: MarkKey, num_slots: int, strength: float | None = None
) -> Mark:
    """Create the mark with one of `NAMES`, with its secret, if it has one, drawn from the key.

    Args:
      name: one of `NAMES`.
      mark_key: the owner's secret.
      num_slots: N of the signature space.
      strength: of a mark in `STRENGTHS`; None for its default.

    Raises:
      TypeError, ValueError: another name, a strength out of its range, or one for a mark that
        has none.

    Example:
      >>> make_mark("tone", MarkKey.for_experiment(1), 12, strength=0.1)
      Tone(strength=0.1, num_slots=12)
    """
    _check.one_of(NAMES, mark=name)
    strength = strength_of(name, strength)
    if name == "hue":
        return HueRotation()
    if name == "private_basis":
        return UserLCT.from_sub_key(mark_key.sub_key("basis"))
    if name == "light":
        return LightField(mark_key.sub_key("light"), strength, num_slots=num_slots)
    return _PUBLIC[NAMES[name]](strength, num_slots)


def strength_of(name: str, strength: float | None = None) -> float | None:
    """Return the strength of the mark with a name, or its default; None if it has none.

    Raises:
      TypeError, ValueError: a strength out of its range, or one for a mark that has none.

    Example:
      >>> strength_of("light"), strength_of("tone", 0.1), strength_of("hue")
      (0.29, 0.1, None)
    """
    if name not in STRENGTHS:
        if strength is not None:
            raise ValueError(
                f"strength must be left out of the mark {name!r}, got {strength!r}: only "
                f"{', '.join(STRENGTHS)} have one"
            )
        return None
    default, most = STRENGTHS[name]
    return default if strength is None else check_strength(most, strength=strength)


def sub_key_name(description: str) -> str | None:
    """Return the name of the sub-key that a mark is drawn from; None for a public mark.

    Example:
      >>> sub_key_name("hue_rotation"), sub_key_name("user_lct:" + "0f" * 32)
      (None, 'basis')
    """
    names = [_SUB_KEYS.get(part.split(":")[0]) for part in _parts(description)]
    return next((name for name in names if name is not None), None)


def mark_named(description: str, sub_key: bytes | None = None) -> Mark:
    """Create the mark with a given `Mark.description`.

    Args:
      description: the public identifier.
      sub_key: the 32 bytes that the mark is drawn from; None for a public mark.

    Raises:
      ValueError: a mark that audits do not support, or a sub-key whose digest differs from the
        one in the description.

    Example:
      >>> mark_named("hue_rotation")
      HueRotation()
      >>> mark = LightField(bytes(32), strength=0.2)
      >>> mark_named(mark.description, bytes(32)) == mark
      True
    """
    name, *parts = description.split(":")
    if name == plan_fields.HUE_ROTATION:
        return HueRotation()
    if name == plan_fields.COMPOSED:
        first, second = (mark_named(part, sub_key) for part in _parts(description))
        return Composed(first, second)
    if name == plan_fields.USER_LCT:
        mark = UserLCT.from_sub_key(sub_key)
    elif name == plan_fields.LIGHT_FIELD:
        strength, cells, num_slots = float(parts[0]), int(parts[1]), int(parts[2])
        mark = LightField(sub_key, strength, cells, num_slots)
    elif name in _PUBLIC:
        return _PUBLIC[name](float(parts[0]), int(parts[1]))
    else:
        raise ValueError(
            f"mark must be one of {', '.join([*NAMES.values(), plan_fields.COMPOSED])} in an "
            f"audit, got {description!r:.60}"
        )
    if mark.description != description:
        raise ValueError("sub_key is not the one committed to: its digest differs")
    return mark


def _parts(description: str) -> list[str]:
    """Return the descriptions of both parts of a composed mark, or that of a single mark."""
    name, _, rest = description.partition(":")
    return rest.split("+") if name == plan_fields.COMPOSED else [description]

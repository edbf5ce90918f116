"""Create a mark from its description in a plan."""

from anw_jax.keys import plan_fields
from anw_jax.marks.lct import HueRotation
from anw_jax.marks.light_field import LightField
from anw_jax.marks.mark import Mark
from anw_jax.marks.private_basis import UserLCT

# For marks with secret parameters: the name of the sub-key, `MarkKey.sub_key(name)`, that they
# are drawn from. The arbitrator receives it before querying.
_SUB_KEYS = {plan_fields.USER_LCT: "basis", plan_fields.LIGHT_FIELD: "light"}


def sub_key_name(description: str) -> str | None:
    """Return the name of the sub-key that a mark is drawn from; None for a public mark.

    Example:
      >>> sub_key_name("hue_rotation"), sub_key_name("user_lct:" + "0f" * 32)
      (None, 'basis')
    """
    return _SUB_KEYS.get(description.split(":")[0])


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
    if name == plan_fields.USER_LCT:
        mark = UserLCT.from_sub_key(sub_key)
    elif name == plan_fields.LIGHT_FIELD:
        strength, cells, num_slots = float(parts[0]), int(parts[1]), int(parts[2])
        mark = LightField(sub_key, strength, cells, num_slots)
    else:
        known = ", ".join((plan_fields.HUE_ROTATION, *_SUB_KEYS))
        raise ValueError(f"mark must be one of {known} in an audit, got {description!r:.60}")
    if mark.description != description:
        raise ValueError("sub_key is not the one committed to: its digest differs")
    return mark

"""The names a plan may hold: of statistics, and of marks.

They stand here, below the rooms that give them a meaning (`stats`, `marks`), because a plan is
committed to long before either is used: a name that nothing answers to would be found out
after training, when no other plan can be fixed.
"""

from anw_jax import _check
from anw_jax.keys.units import is_digest

# `stats.STATISTICS` has a score for each, in this order.
STATISTICS = ("log_losses", "losses", "centred", "ranks", "hits", "bounded_log_losses")

# Those that bound the row of each image before a unit's sum: they need the images' rows.
IMAGE_STATISTICS = ("bounded_log_losses",)

# Those that look at one unit's row alone.
ROW_STATISTICS = ("log_losses", "losses", "ranks", "hits")

# Those that look at no later unit: what a sequential audit can score.
SEQUENTIAL_STATISTICS = (*ROW_STATISTICS, *IMAGE_STATISTICS)

HUE_ROTATION = "hue_rotation"
USER_LCT = "user_lct"
PIXEL_MARK = "pixel_mark"
# Of a mark that is not in this library: whoever judges must have its code.
OWN = "own"

# What follows the name in a `Mark.description`; a new kind of mark adds its form here.
_FORMS = {
    HUE_ROTATION: "hue_rotation",
    USER_LCT: "user_lct:DIGEST",
    PIXEL_MARK: "pixel_mark:NUMBER:SCALE:DIGEST",
    OWN: "own:TEXT",
}


def check_mark(mark: str) -> str:
    """Refuses what no mark of this library has as its `description`, and is no "own:…".

    Raises:
      ValueError: an unknown name, or parts that are not of its form.

    Example:
      >>> check_mark("hue_rotation"), check_mark("user_lct:" + "0f" * 32)[:14]
      ('hue_rotation', 'user_lct:0f0f0')
      >>> check_mark("hue_rotatoin")
      Traceback (most recent call last):
      ValueError: mark must be hue_rotation, user_lct:DIGEST, pixel_mark:NUMBER:SCALE:DIGEST or
      own:TEXT, as a mark's description says it; got 'hue_rotatoin'; did you mean
      'hue_rotation'?
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


def check_statistic(statistic: str, mode: str) -> str:
    """Refuses a statistic that is unknown, or that a plan of this mode can never compute.

    Example:
      >>> check_statistic("centred", "sealed")
      'centred'
    """
    _check.one_of(STATISTICS, statistic=statistic)
    if mode == "sequential":
        _check.one_of(SEQUENTIAL_STATISTICS, statistic=statistic)
    return statistic


def _has_form(name: str, parts: list[str]) -> bool:
    if name == USER_LCT:
        return len(parts) == 1 and is_digest(parts[0])
    if name == PIXEL_MARK and len(parts) == 3:
        return _is_count(parts[0]) and _is_scale(parts[1]) and is_digest(parts[2])
    if name == OWN:
        return any(parts)
    return name == HUE_ROTATION and not parts


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and not text.startswith("0")


def _is_scale(text: str) -> bool:
    """Whether it is spelled as `PixelMark` spells a scale, and lies in (0, 1]."""
    try:
        scale = float(text)
    except ValueError:
        return False
    return 0.0 < scale <= 1.0 and repr(scale) == text

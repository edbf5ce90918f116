"""Validators for public input. Each names the argument, its value and the rule.

Every function returns the checked value, so that a caller can write
`num_slots = _check.integer_at_least(2, num_slots=num_slots)`: the keyword is the name
that the error will show.
"""

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np


def _single(named: dict[str, Any]) -> tuple[str, Any]:
    ((name, value),) = named.items()
    return name, value


def integer_at_least(low: int, **named: Any) -> int:
    """An integer (not a bool, not a float) that is at least `low`."""
    name, value = _single(named)
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer:
        raise TypeError(f"{name} must be an integer, got {value!r:.80}")
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")
    return int(value)


def integer_between(low: int, high: int, **named: Any) -> int:
    """An integer in [low, high]."""
    name, value = _single(named)
    if integer_at_least(low, **named) > high:
        raise ValueError(f"{name} must be at most {high:,}, got {value!r:.40}")
    return int(value)


def finite(**named: Any) -> float:
    """A finite real number, in the range of float64."""
    name, value = _single(named)
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r:.80}")
    try:
        float(value)
    except OverflowError:
        raise ValueError(f"{name} must be in the range of float64") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    return float(value)


def positive(**named: Any) -> float:
    """A finite number above zero."""
    name, value = _single(named)
    finite(**named)
    if value <= 0:
        raise ValueError(f"{name} must be above 0, got {value}")
    return float(value)


def in_interval(low: float, high: float, **named: Any) -> float:
    """A finite number in the closed interval [low, high]."""
    name, value = _single(named)
    finite(**named)
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in [{low}, {high}], got {value}")
    return float(value)


def in_open_interval(low: float, high: float, **named: Any) -> float:
    """A finite number strictly between `low` and `high`."""
    name, value = _single(named)
    finite(**named)
    if not low < value < high:
        raise ValueError(f"{name} must lie strictly between {low} and {high}, got {value}")
    return float(value)


def one_of(allowed: Iterable[str], **named: Any) -> str:
    """One of the allowed names; the error suggests the nearest."""
    name, value = _single(named)
    allowed = list(allowed)
    if value not in allowed:
        hint = did_you_mean(value, allowed)
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r:.80}{hint}")
    return value


def did_you_mean(value: Any, allowed: Iterable[str]) -> str:
    """The end of an error message that suggests the nearest name; "" if none is near."""
    near = difflib.get_close_matches(str(value), list(allowed), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def is_instance(kind: type, **named: Any) -> Any:
    """An instance of `kind`."""
    name, value = _single(named)
    if not isinstance(value, kind):
        raise TypeError(
            f"{name} must be a {kind.__name__}, got {type(value).__name__}: {value!r:.80}"
        )
    return value


def plain_text(**named: Any) -> str:
    """A `str` (no subclass) that UTF-8 can encode, so that its bytes are unambiguous.

    A subclass may show one text and hash as another; a lone surrogate has two encodings.
    """
    name, value = _single(named)
    if type(value) is not str:
        raise TypeError(
            f"{name} must be a plain str, got {type(value).__name__}: {value!r:.80}"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{name} must be text that UTF-8 can hold, got {value!a:.80}"
        ) from None
    return value


def _colour_shape(name: str, shape: tuple[int, ...], ndim: int) -> None:
    letters = "[n, H, W, 3]" if ndim == 4 else "[H, W, 3]"
    # Two axes of which the last is 3 are rows of a photo, hardly a grey picture.
    if len(shape) == ndim - 1 and ndim == 3 and shape[-1] != 3:
        raise ValueError(
            f"{name} must have shape {letters}, got {shape}: a grey image has no hue to rotate"
        )
    if len(shape) != ndim:
        raise ValueError(f"{name} must have shape {letters}, got {shape}")
    if shape[-1] == 3:
        return
    if shape[-1] == 1:
        rule = "a 1-channel image has no hue to rotate"
    elif shape[-1] == 4:
        rule = "drop the alpha channel first"
    elif shape[-3] == 3:
        rule = "channels come last; transpose it"
    else:
        rule = "the last axis is red, green, blue"
    raise ValueError(f"{name} must have shape {letters}, got {shape}: {rule}")


def uint8_images(**named: Any) -> np.ndarray:
    """8-bit colour images `[n, H, W, 3]`, the form in which originals are hashed.

    Floats in [0, 1] are taken only where they are exact 8-bit values (k / 255), since any
    other rounding would change what was published.
    """
    return _exact_levels(4, **named)


def uint8_image(**named: Any) -> np.ndarray:
    """One 8-bit colour image `[H, W, 3]`, as `uint8_images` takes several."""
    return _exact_levels(3, **named)


def _of_one_size(name: str, value: Any) -> Any:
    """Several images, if one array can hold them."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = list(value.flat)
    if isinstance(value, list | tuple):
        shapes = [np.shape(image) for image in value]
        for number, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise ValueError(
                    f"{name} must be of one size, got {shapes[0]} and, as {name}[{number}], "
                    f"{shape}: query the photos of each size separately"
                )
    return value


def _exact_levels(ndim: int, **named: Any) -> np.ndarray:
    name, value = _single(named)
    images = np.asarray(_of_one_size(name, value) if ndim == 4 else value)
    _colour_shape(name, images.shape, ndim)
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise TypeError(
            f"{name} must be uint8 or float in [0, 1] with 8-bit values, got {images.dtype}"
        )
    levels = unit_range(**{name: images}) * 255.0
    rounded = np.rint(levels)
    if np.abs(levels - rounded).max(initial=0.0) > 1e-3:
        raise ValueError(
            f"{name} must hold 8-bit values (k / 255): originals are hashed and marked as "
            "uint8; round them once, before marking, and keep that copy"
        )
    return rounded.astype(np.uint8)


def unit_range(**named: Any) -> np.ndarray:
    """A float array whose values lie in [0, 1] (NaN is an error)."""
    name, value = _single(named)
    array = np.asarray(value)
    if array.dtype == np.uint8:
        raise TypeError(f"{name} must be float in [0, 1], got uint8: divide by 255 first")
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"{name} must be float in [0, 1], got {array.dtype}")
    if array.size:
        low, high = float(array.min()), float(array.max())
        if not (low >= 0.0 and high <= 1.0):
            hint = ": divide by 255 first" if high > 1.5 else ""
            raise ValueError(
                f"{name} must lie in [0, 1], got values in [{low:g}, {high:g}]{hint}"
            )
    return array


def colour_image(**named: Any) -> None:
    """One float colour image `[H, W, 3]`: shape and dtype (traced or concrete)."""
    name, value = _single(named)
    # A traced value has a shape and a dtype, but cannot become a NumPy array.
    dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    _colour_shape(name, np.shape(value), 3)
    if dtype == np.uint8:
        raise TypeError(f"{name} must be float in [0, 1], got uint8: divide by 255 first")
    if not np.issubdtype(dtype, np.floating):
        raise TypeError(f"{name} must be float in [0, 1], got {dtype}")


def class_labels(num_images: int, num_classes: int | None = None, **named: Any) -> np.ndarray:
    """Integer labels `[num_images]`, each in [0, num_classes) where that is known."""
    return indices(num_images, num_classes, bound="num_classes = ", **named)


def indices(
    length: int, below: int | None = None, *, bound: str = "", **named: Any
) -> np.ndarray:
    """Integers int32 `[length]`, each in [0, below) where that is known."""
    name, value = _single(named)
    integers = np.asarray(value)
    if integers.size and not np.issubdtype(integers.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got {integers.dtype}")
    if integers.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},), got {integers.shape}")
    if integers.size:
        low, high = int(integers.min()), int(integers.max())
        if low < 0:
            raise ValueError(f"{name} must be at least 0, got {low}")
        if below is not None and high >= below:
            raise ValueError(f"{name} must be below {bound}{below}, got {high}")
    return integers.astype(np.int32)

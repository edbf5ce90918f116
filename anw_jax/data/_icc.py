"""Whether an ICC profile says what is assumed where there is none: sRGB."""

import struct

import numpy as np

# Colourants of sRGB, adapted to D50 as profiles hold them.
_COLOURANTS = {
    b"rXYZ": (0.4361, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}
_NEAR = 0.005  # between versions of sRGB; Display P3 is .08 off, Adobe RGB .17

_LEVELS = np.linspace(0.0, 1.0, 33)
_SRGB_CURVE = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4)
_NEAR_CURVE = 0.01


def is_rgb_profile(profile: bytes) -> bool:
    """Whether these bytes can stand in an RGB picture: a header of a profile of RGB."""
    return len(profile) >= 132 and profile[36:40] == b"acsp" and profile[16:20] == b"RGB "


def is_srgb(profile: bytes) -> bool:
    """Whether a profile has sRGB's colourants and curves, whatever it calls itself.

    A profile by look-up tables, or one that cannot be read, is not taken for sRGB.
    """
    try:
        tags = _tags(profile)
        if any(name[:3] in (b"A2B", b"D2B") for name in tags):
            return False
        colourants = {
            name: np.array(struct.unpack(">3i", tags[name][8:20])) / 65536
            for name in _COLOURANTS
        }
        curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
    except (struct.error, LookupError, ValueError):
        return False
    are_near = all(
        np.abs(colourants[name] - wanted).max() <= _NEAR for name, wanted in _COLOURANTS.items()
    )
    return are_near and all(np.abs(c - _SRGB_CURVE).max() <= _NEAR_CURVE for c in curves)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (number,) = struct.unpack(">I", profile[128:132])
    tags = {}
    for place in range(min(number, 200)):
        name, start, size = struct.unpack(">4sII", profile[132 + 12 * place :][:12])
        tags[name] = profile[start : start + size]
    return tags


def _curve(tag: bytes) -> np.ndarray:
    """A tone curve at `_LEVELS`."""
    if tag[:4] == b"para":
        return _parametric(tag)
    if tag[:4] != b"curv":
        raise ValueError("no tone curve")
    (number,) = struct.unpack(">I", tag[8:12])
    if number == 0:
        return _LEVELS
    if number == 1:
        (gamma,) = struct.unpack(">H", tag[12:14])
        return _LEVELS ** (gamma / 256)
    values = np.frombuffer(tag[12 : 12 + 2 * number], ">u2") / 65535
    return np.interp(_LEVELS, np.linspace(0, 1, len(values)), values)


def _parametric(tag: bytes) -> np.ndarray:
    """ICC's function types 0 to 4."""
    (kind,) = struct.unpack(">H", tag[8:10])
    number = (1, 3, 4, 5, 7)[kind]
    g, *rest = (v / 65536 for v in struct.unpack(f">{number}i", tag[12 : 12 + 4 * number]))
    a, b, c, d, e, f = [*rest, *[0.0] * (6 - len(rest))] if rest else [1.0, *[0.0] * 5]
    if kind in (1, 2):  # no linear part: constant below -b / a
        a, b, c, d, e, f = a, b, 0.0, -b / a if a else 0.0, c, c
    with np.errstate(all="ignore"):
        power = np.maximum(a * _LEVELS + b, 0.0) ** g + e
        return np.nan_to_num(np.where(_LEVELS >= d, power, c * _LEVELS + f), nan=9.0)

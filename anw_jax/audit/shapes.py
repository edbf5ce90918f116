"""What the files between an audit's steps hold: checked before any is used.

A file that was edited, or cut and mended by hand, has other fields than the program wrote; the
first of them is named in one line.
"""

from collections.abc import Mapping
from typing import Any

_COUNT = {"num_images": int, "num_unusable": int, "photos": {"*": str}}
_ACCESS = {"kind": str, "augmentation?": dict}

# By field; "*" stands for every other name, "?" for what older files lack or may be null.
SHAPES: dict[str, dict[str, Any]] = {
    "probe.json": {
        "sizes?": [[int]],
        "suspects": {"*": {"is_fit": bool, "file": str, "declaration?": str}},
    },
    "declared.json": {
        "previous?": str,
        "owners": {
            "*": {
                "commitment": str,
                "plan": dict,
                "files": {"*": str},
                "labels_by?": str,
                "labels_sha256?": str,
            }
        },
        "suspects": {
            "*": {
                "file": str,
                "declaration": {"cost_per_query": float},
                "declaration_digest": str,
                "access?": _ACCESS,
                "access_text?": str,
                "rule?": dict,
                "menu?": int,
            }
        },
        "access?": _ACCESS,
        "beacons": {"*": str},
        "bound?": {"level": float, "by": str},
        "budget?": int,
        "controls?": [str],
        "despite_probe?": bool,
        "public_seeds?": {"*": str},
        "refusal_limit?": float,
        "sequential?": {"num_tests?": int, "level?": float},
    },
    "blind.json": {
        "suspects": {
            "*": {
                "num_queries": int,
                "answers?": str,
                "file?": str,
                "owners": {"*": {"table": str, "unusable?": _COUNT}},
            }
        },
    },
    "closed.json": {
        "records?": {"*": {"*": {"record": str, "unusable?": _COUNT}}},
        "suspects?": {"*": {"num_queries": int}},
        "record?": str,
        "suspect?": str,
    },
    "verdict.json": {
        "mode": str,
        "case": {"blind_sha256": str},
        "blind_compared?": bool,
    },
}

_WORDS = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "text",
}


def damage(value: Any, shape: Any, where: str = "") -> str:
    """The first field of another kind than the shape says; "" for none.

    Example:
      >>> damage({"beacons": {"ann": 3}}, {"beacons": {"*": str}, "budget?": int})
      'beacons.ann must be text, got 3'
    """
    kind = type(shape) if isinstance(shape, dict | list) else shape
    is_number = kind is float and type(value) is int
    if type(value) is not kind and not is_number:
        return f"{where or 'it'} must be {_WORDS[kind]}, got {value!r:.40}"
    for name, inner, part in _parts(value, shape):
        found = damage(part, inner, f"{where}.{name}" if where else name)
        if found:
            return found
    return ""


def _parts(value: Any, shape: Any) -> list[tuple[str, Any, Any]]:
    """Name, shape and value of everything inside; None where a field lacks."""
    if isinstance(shape, list):
        return [(str(number), shape[0], part) for number, part in enumerate(value)]
    if not isinstance(shape, Mapping):
        return []
    if "*" in shape:
        return [(name, shape["*"], part) for name, part in value.items()]
    fields = [(name.removesuffix("?"), name.endswith("?"), shape[name]) for name in shape]
    return [
        (name, inner, value.get(name))
        for name, is_optional, inner in fields
        if not (is_optional and value.get(name) is None)
    ]

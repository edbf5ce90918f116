"""Results as they are kept in the repository: all that rows are read from, and small."""

import json
from collections.abc import Mapping
from typing import Any

from anw_jax.lab.workdir import plain

# Of numbers in lists (curves, angles of crowds); single numbers keep all their digits.
_SIGNIFICANT_DIGITS = 6


def kept_json(results: Mapping[str, Any]) -> str:
    r"""One compact line of JSON.

    Left out are the aligned curves of users with one signature, whose `one_signature.curve`
    holds the same numbers. Lists of numbers are rounded to six significant digits.

    Example:
      >>> kept_json({"users": {"ann": {"one_signature": {"curve": [1 / 3]}, "curve": [9]}}})
      '{"users":{"ann":{"one_signature":{"curve":[0.333333]}}}}\n'
    """
    return json.dumps(_small(plain(results)), separators=(",", ":"), allow_nan=False) + "\n"


def _small(value: Any) -> Any:
    if isinstance(value, dict):
        names = value.keys() - {"curve"} if value.get("one_signature") else value.keys()
        return {name: _small(value[name]) for name in value if name in names}
    if isinstance(value, list):
        return [_rounded(item) if isinstance(item, float) else _small(item) for item in value]
    return value


def _rounded(number: float) -> float:
    return float(f"{number:.{_SIGNIFICANT_DIGITS}g}")

"""P-values and their logarithms as text: never a smaller number than the value itself."""

import decimal
import math
import sys


def format_p(log10_p: float) -> str:
    """Format a p-value from its base-10 logarithm; always rounded up.

    Two digits, or four decimals from 0.001 on: the least such number whose logarithm is not
    below the one given, to the last bits of that (of which `to_base_10` adds more than are
    taken off here, so that no p of a result is printed too small).

    Example:
      >>> format_p(-11.4), format_p(-400.0), format_p(math.log10(0.25))
      ('4e-12', '1e-400', '0.25')
      >>> format_p(math.log10(0.25) + 1e-12)
      '0.2501'
    """
    last_bits = 4 * sys.float_info.epsilon * abs(log10_p)
    exponent, steps = (0, 10_000) if log10_p > -3 else (math.floor(log10_p), 10)
    target = log10_p - exponent - last_bits
    numerator = max(1, math.floor(10**target * steps) - 1)
    while math.log10(numerator / steps) < target:
        numerator += 1
    if exponent and numerator >= 10 * steps:
        numerator, exponent = numerator // 10, exponent + 1
    return f"{numerator / steps:g}" + (f"e{exponent}" if exponent else "")


def format_p_value(p_value: float) -> str:
    """Format a p-value or a level, a float in (0, 1]; never a smaller number than the float.

    Use `format_p` where there is a logarithm, since that does not underflow.

    Example:
      >>> format_p_value(0.05), format_p_value(math.nextafter(0.05, 1)), format_p_value(3.01e-9)
      ('0.05', '0.0501', '3.1e-9')
    """
    log10_p = math.log10(p_value)
    text = format_p(log10_p)
    if float(text) >= p_value:
        return text
    return format_p(log10_p * (1 - 16 * sys.float_info.epsilon))


def format_log10_p(log10_p: float, digits: int = 2) -> str:
    """Format the base-10 logarithm of a p-value; always rounded up.

    Example:
      >>> format_log10_p(-3.2687), format_log10_p(-3.26), format_log10_p(-0.001)
      ('-3.26', '-3.26', '0.00')
    """
    step = decimal.Decimal(1).scaleb(-digits)
    rounded = decimal.Decimal(repr(float(log10_p))).quantize(step, decimal.ROUND_CEILING)
    return f"{rounded + 0:f}"

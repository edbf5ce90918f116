"""Numbers in plain words, never rounded in favour of a claim."""

import math
import sys
from typing import Any

from anw_jax import stats
from anw_jax.report.reading import UserRecord
from anw_jax.verify import verdict

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def odds(log10_p: float | None) -> str:
    """Return a probability as "1 in …", rounded up.

    Example:
      >>> odds(-3.2647), odds(-400.0), odds(math.log10(0.15)), odds(0.0)
      ('1 in 1,800', '1 in 10⁴⁰⁰', '1 in 6.6', '1 in 1')
      >>> odds(-6.0), odds(-8.5)
      ('1 in 1,000,000', '1 in 310,000,000')
    """
    if log10_p is None:
        return "not known"
    # As for `stats.format_p`: to the last bits, and then two digits, rounded down.
    most = -log10_p * (1 + 4 * sys.float_info.epsilon)
    if log10_p <= -9:
        return f"1 in 10{power(math.floor(most))}"
    exponent = math.floor(most) - 1
    numerator = math.floor(10.0 ** (most - exponent)) + 1
    while math.log10(numerator) > most - exponent:
        numerator -= 1
    rounded = numerator * 10.0**exponent
    return f"1 in {rounded:,.0f}" if rounded >= 10 else f"1 in {rounded:.2g}"


def gloss_of_p(log10_p: float | None) -> str:
    """Explain a p in a few words.

    Example:
      >>> gloss_of_p(-0.01), gloss_of_p(-3.2647)
      ('no more than luck', 'at most 1 in 1,800')
    """
    if log10_p is None:
        return "not known"
    return "no more than luck" if 10**log10_p > 0.5 else f"at most {odds(log10_p)}"


def log10_of_p(log10_p: float | None) -> str:
    """Return the logarithm of a p with two digits, rounded up; a dash where there is none.

    Example:
      >>> log10_of_p(-3.2687), log10_of_p(None)
      ('−3.26', '–')
    """
    return "–" if log10_p is None else stats.format_log10_p(log10_p).replace("-", "−")


def power(exponent: int) -> str:
    """Return an exponent in superscript digits."""
    return str(exponent).translate(_SUPERSCRIPT)


def bits(value: float | None) -> str:
    """Return evidence in bits, rounded down.

    Example:
      >>> bits(35.457), bits(None)
      ('35.4', '–')
    """
    if value is None or not math.isfinite(value):
        return number(None)
    return number(math.floor(value * 10) / 10, 1)


def coin_tosses(bits: float | None) -> str:
    """Return evidence in bits as a run of heads, rounded down.

    Example:
      >>> coin_tosses(27.7), coin_tosses(1.2), coin_tosses(0.4)
      ('like 27 fair coin tosses all heads', 'like 1 fair coin toss, heads', 'less than one \
fair coin toss')
    """
    if bits is None:
        return "not known"
    num = math.floor(bits)
    if num < 1:
        return "less than one fair coin toss"
    if num == 1:
        return "like 1 fair coin toss, heads"
    return f"like {num:,} fair coin tosses all heads"


def outcome(numbers: dict[str, Any]) -> str:
    """Return the outcome with its level or its reason."""
    if numbers["outcome"] == "inconclusive":
        return f"inconclusive: {numbers['reason']}"
    return f"{numbers['outcome']} at level {p_of(numbers['alpha'])}"


def claim(user: UserRecord) -> str:
    """Return what a user claims."""
    photos, units = user.numbers["num_images"], user.numbers["num_units"]
    many = photos > 1
    how = {
        "per_image": "each with a secret hue of its own" if many else "with a secret hue",
        "per_group": f"in {units:,} albums, each album with a secret hue of its own",
        "per_user": "all with one secret hue" if many else "with a secret hue",
    }[user.numbers["scheme"]]
    return (
        f"Before training, this user published {photos:,} photo{'s' if many else ''}, {how}. "
        f"The claim: the model was trained on {'them' if many else 'it'}."
    )


def kind(user: UserRecord) -> str:
    """Return why a user is a control."""
    if user.numbers.get("excluded"):
        return "left out of this training altogether"
    return {
        "marked": "marked and trained on",
        "unmarked": "trained on, but without a mark",
        "held_out": "never trained on",
    }[user.numbers["kind"]]


def is_evidence(user: UserRecord) -> bool:
    """Return whether the user's test is evidence."""
    return verdict.is_evidence(user.numbers["standing"])


def is_conditional(numbers: dict[str, Any]) -> bool:
    """Return whether the numbers of a test show something on conditions that they list."""
    return numbers["outcome"] == "shown" and bool(numbers.get("conditions"))


def explain_conditions(conditions: str) -> str:
    """Return why a result is not evidence, in a sentence or two."""
    if conditions == verdict.EXPERIMENT_KEY:
        return (
            "The secret keys of this run were derived from its public seed, so that anyone can "
            "repeat it, and so was the value in place of a public beacon. Whoever knows the "
            "seed knows the keys. This page shows how the method works; it proves nothing "
            "about anyone: experiment key, not evidence (beacon drawn from the seed)."
        )
    if conditions == verdict.NO_COMMITMENT:
        return (
            "Nothing shows that the key was fixed before the model was trained, and a key "
            "chosen afterwards could be made to fit."
        )
    if verdict.is_conditional(conditions):
        return "Each of these is an assumption that the files of this run do not show."
    return ""


_SCORES = {
    "log_losses": "minus the logarithm of the loss plus 0.3 nats",
    "losses": "minus the loss",
    "centred": "minus the loss, with the mean of each mark removed",
    "ranks": "the rank of the loss among the unit's marks",
    "hits": "1 for the mark with the lowest loss, else 0",
    "bounded_log_losses": "minus the logarithm of the loss plus 0.3 nats, bounded on both "
    "sides of each image's median",
    "log_errors": "minus the logarithm of the error",
    "bounded_log_errors": "minus the logarithm of the error, bounded on both sides of each "
    "image's median",
}


def test_in_words(
    numbers: dict[str, Any], num_valid: int, is_sequential: bool, beacon: str
) -> str:
    """Describe one test in plain words; `beacon` is its name, or ""."""
    units, name = numbers["num_units"], numbers["statistic"]
    score = _SCORES.get(name, "a number for each mark")
    what = f"{units:,} units" if units > 1 else "one unit"
    drawn_by = "The key and the beacon" if beacon else "The key"
    told = (
        f"{drawn_by} gave each of {what} one of {num_valid} marks, all equally likely. The "
        "model was asked about the photos under all of them, and each mark got a score from "
        f"the losses ({name}: {score})."
    )
    if is_sequential:
        told += (
            " Unit by unit, a bet on the marks was written down before the owner opened the "
            f"true one; the wealth, 1 at the start, was then multiplied by {num_valid} times "
            "the bet on the true mark. p is 1 divided by the largest wealth so far."
        )
    else:
        told += (
            " The match is the sum of the scores of the secret marks. p is the share of all "
            "possible draws of the marks that match as well or better; it is computed exactly, "
            "with nothing assumed about the model."
        )
    factor = numbers.get("factor", 1.0)
    if factor != 1.0:
        told += (
            f" That was multiplied by {factor:g}, for the commitments found, the models tried, "
            "the declarations left open, and references outside the plan or left out."
        )
    return told


def explain_standing(standing: str) -> str:
    """Return why a test of a case is not evidence, in a sentence or two."""
    if standing == verdict.EXPERIMENT_KEY:
        return (
            "The key was derived from a public seed, so anyone who knows the seed knows the "
            "marks. Such a key is for studies; it proves nothing about anyone."
        )
    if standing == verdict.OPENED_BEFORE:
        return (
            "Everybody who saw the opened key knew the marks before this model was queried, "
            "and could have chosen the queries, or the model, to fit them."
        )
    return explain_conditions(standing)


def counted(num: int, noun: str) -> str:
    """Return a count with its noun.

    Example:
      >>> counted(1, "photo"), counted(1200, "unit")
      ('1 photo', '1,200 units')
    """
    return f"{num:,} {noun}{'' if num == 1 else 's'}"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with fixed digits; a dash where there is none.

    Example:
      >>> number(-3.2647), number(None), number(math.nan)
      ('−3.26', '–', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as a percentage; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}%}"


def seconds(value: float | None) -> str:
    """Return a duration in units that suit it.

    Example:
      >>> seconds(3.4), seconds(102.3), seconds(7380)
      ('3.4 s', '1 min 42 s', '2 h 3 min')
    """
    if value is None:
        return "–"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def time(text: str | None) -> str:
    """Return a time of the log in a form that is easier to read.

    Example:
      >>> time("2026-11-21T04:02:54+00:00"), time(None)
      ('2026-11-21 04:02:54 UTC', 'unknown')
    """
    return text.replace("T", " ").replace("+00:00", " UTC") if text else "unknown"


def p_of(p_value: float | None) -> str:
    """Return a p-value or a level as text, rounded up.

    Example:
      >>> p_of(0.00023806), p_of(1e-6), p_of(0.05), p_of(None)
      ('2.4e-4', '1e-6', '0.05', '–')
    """
    return "–" if not p_value else stats.format_p_value(p_value)


def diagnostics(user: UserRecord, names: list[str]) -> list[str]:
    """Return the p of each diagnostic as text; a dash where there is none."""
    texts = []
    for name in names:
        value = user.numbers["diagnostics"].get(name)
        is_log10 = value is not None and name.startswith("log10_p_")
        texts.append(stats.format_p(value) if is_log10 else p_of(value))
    return texts


def diagnostic_title(name: str) -> str:
    """Return the column heading of a diagnostic.

    Example:
      >>> diagnostic_title("log10_p_log_losses"), diagnostic_title("p_monte_carlo")
      ('log losses', 'Monte Carlo')
    """
    name = name.removeprefix("log10_").removeprefix("p_")
    return "Monte Carlo" if name == "monte_carlo" else name.replace("_", " ")

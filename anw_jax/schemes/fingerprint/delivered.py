"""What is checked in a delivered copy: that it holds its own code, and no other.

Otherwise a verdict would say that a suspect derives from a copy from which it does not. Every
declared reading is checked: a code can be hidden where only one of them finds it, behind
channels in another order for instance.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anw_jax import stats
from anw_jax.keys import Bits
from anw_jax.schemes.fingerprint.carrier import Carrier
from anw_jax.schemes.fingerprint.embed import embed_rows
from anw_jax.schemes.fingerprint.reader import customer_scores, extract, owner_scores
from anw_jax.schemes.fingerprint.records import Issue, RefusedDisputeError
from anw_jax.schemes.weights import weights_digest

# Shares of bits that a delivered copy must, and must not, have of its own code and of another.
_OWN, _OTHER = 0.95, 0.75
# How much of a bit may be left over where the own code is subtracted. `embed` leaves nothing,
# and restores "non-blind" after the repair, which moves the scales of layers and channels.
_MOST_LEFT = {"non-blind": 0.02, "blind": 0.1, "aligned": 0.1}
# Chance that what the repair left over seems to be another code, by copy and reading.
_CHANCE = 1e-9


def check_copies(
    carrier: Carrier,
    base: dict[str, Any],
    issues: Sequence[Issue],
    codes: Sequence[Bits],
    copy_of: Callable[[Issue], dict[str, Any]],
) -> None:
    """Check that every accepted copy holds its own code and no other's.

    Args:
      carrier: of the issue.
      base: weights of the clean model w_base.
      issues: all of them.
      codes: theirs.
      copy_of: returns the weights of an accepted copy, as the owner shows them.

    Raises:
      RefusedDisputeError: a changed copy, or one that holds another code than its own.
    """
    for place, one in enumerate(issues):
        if one.accepted is None:
            continue
        copy = copy_of(one)
        if weights_digest(copy) != one.weights:
            raise RefusedDisputeError(
                f"changed copy: issue {one.number} names the weights {one.weights[:16]}…, got "
                f"{weights_digest(copy)[:16]}…"
            )
        size = _check_own(carrier, base, copy, issues, codes, place)
        for reading, left in _left_over(carrier, base, copy, codes[place], size).items():
            _check_left(left / size, issues, codes, place, reading)


def _check_own(
    carrier: Carrier,
    base: dict[str, Any],
    copy: dict[str, Any],
    issues: Sequence[Issue],
    codes: Sequence[Bits],
    place: int,
) -> float:
    """Check whose code a copy holds, and return the mean size of its bits."""
    scores = customer_scores(carrier, extract(carrier, base, copy, "non-blind"))
    shares = [(code.signs == np.sign(scores)).mean() for code in codes]
    others = [n for n, share in enumerate(shares) if share > _OTHER and n != place]
    if shares[place] < _OWN or others:
        whose = f"that of issue {issues[others[0]].number}" if others else "none of these"
        raise RefusedDisputeError(
            f"swapped code: the copy of issue {issues[place].number} holds "
            f"{shares[place]:.0%} of its own code, and {whose}"
        )
    return float((scores * codes[place].signs).mean())


def _left_over(
    carrier: Carrier, base: dict[str, Any], copy: dict[str, Any], code: Bits, size: float
) -> dict[str, np.ndarray]:
    """Subtract, from each reading, that of w_base with this code and the owner's bits."""
    common = owner_scores(carrier, extract(carrier, base, copy, "non-blind"))
    alone = embed_rows(carrier, base, np.concatenate([size * code.signs, common]))
    return {
        reading: customer_scores(
            carrier,
            extract(carrier, base, copy, reading) - extract(carrier, base, alone, reading),
        )
        for reading in ("non-blind", *carrier.readings)
    }


def _check_left(
    left: np.ndarray,
    issues: Sequence[Issue],
    codes: Sequence[Bits],
    place: int,
    reading: str,
) -> None:
    """Raise RefusedDisputeError where more than the own code is in a copy.

    Args:
      left: over in the reading, as a share of a bit, `[num_bits]`. Of an honest owner it is
        independent of all other codes: chance is the only reason why one seems to be in it.
      issues: all of them.
      codes: theirs.
      place: of the copy.
      reading: its name.
    """
    number, most = issues[place].number, _MOST_LEFT[reading]
    largest = float(np.abs(left).max())
    if largest > most:
        raise RefusedDisputeError(
            f"changed code: the copy of issue {number} holds the bits of its code with sizes "
            f"that differ by up to {largest:.0%} in the reading {reading!r}, and {most:.0%} is "
            "the most: it holds more than its own code"
        )
    logs = stats.bit_log10_p_values(left, list(codes), "bounded_bits")
    logs[place] = 0.0
    worst = int(np.argmin(logs))
    if logs[worst] < np.log10(_CHANCE / len(codes)):
        raise RefusedDisputeError(
            f"mixed codes: the copy of issue {number} holds some of the code of issue "
            f"{issues[worst].number} in the reading {reading!r}"
        )

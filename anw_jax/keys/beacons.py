"""Public beacons: random values that are published after a plan names them.

A beacon name identifies the value and, where these can be computed, when and at which URL it is
published. There are three kinds:

* `drand:CHAIN:ROUND`: a round of a drand chain (https://docs.drand.love), 32 bytes, the
  `randomness` of its JSON. Times follow from the chain's first round and its period.
* `nist:CHAIN:PULSE`: a pulse of the NIST randomness beacon 2.0
  (https://csrc.nist.gov/projects/interoperable-randomness-beacons), 64 bytes, its
  `outputValue`.
* `arbitrator:WHO`: 32 bytes that the arbitrator draws after receiving the commitment.

Signatures of beacons are not checked here: the arbitrator fetches the value. The randomness of
a drand round must be the SHA-256 of the signature beside it, which shows a damaged file, not a
forged one.
"""

import dataclasses
import datetime
import hashlib
import re

from anw_jax import _check, _json

# Chain hash: (time of round 1 in Unix seconds, period in seconds), as the chains' `info` says.
_DRAND_CHAINS = {
    "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971": (1692803367, 3),
    "8990e7a9aaed2ffed73dbd7092123d6f289930540d7651336225dc172e51b2ce": (1595431050, 30),
}
QUICKNET = next(iter(_DRAND_CHAINS))

_FORMS = {
    "drand": re.compile("drand:([0-9a-f]{64}):([1-9][0-9]{0,17})"),
    "nist": re.compile("nist:([1-9][0-9]{0,8}):([1-9][0-9]{0,17})"),
    "arbitrator": re.compile("arbitrator:[^\\s:][^\\n\\r]{0,199}"),
}
_NUM_BYTES = {"drand": 32, "nist": 64, "arbitrator": 32}


@dataclasses.dataclass(frozen=True)
class Beacon:
    """A parsed beacon name: its kind, and where and when its value is published.

    Attributes:
      name: the name, as in a plan.
      kind: "drand", "nist", "arbitrator", or "" for any other text: its value may have been
        known beforehand, so every verdict that uses it is conditional.
      num_bytes: length of the value; 0 if any length is allowed.
      address: URL of the value; "" if unknown.
      time: publication time; None if it cannot be computed.
    """

    name: str
    kind: str
    num_bytes: int
    address: str
    time: datetime.datetime | None


def read_beacon(name: str) -> Beacon:
    """Parse the name of a beacon.

    Raises:
      ValueError: the name looks like a known kind but is malformed.

    Example:
      >>> read_beacon(f"drand:{QUICKNET}:1000").time.isoformat()
      '2023-08-23T15:59:24+00:00'
      >>> read_beacon("the weather tomorrow").kind
      ''
    """
    kind = name.partition(":")[0] if ":" in name else ""
    if kind not in _FORMS:
        hint = _check.did_you_mean(kind.strip().lower(), _FORMS)
        if hint:
            kinds = ", ".join(_FORMS)
            raise ValueError(f"beacon must be of kind {kinds}, got {name!r:.100}{hint}")
        return Beacon(name, "", 0, "", None)
    match = _FORMS[kind].fullmatch(name)
    if match is None:
        forms = "drand:CHAIN HASH:ROUND, nist:CHAIN:PULSE or arbitrator:WHO"
        raise ValueError(f"beacon must have the form {forms}, got {name!r:.100}")
    address, time = "", None
    if kind == "drand":
        chain, number = match.groups()
        address = f"https://api.drand.sh/{chain}/public/{number}"
        time = _drand_time(chain, int(number))
    elif kind == "nist":
        address = "https://beacon.nist.gov/beacon/2.0/chain/{}/pulse/{}".format(*match.groups())
    return Beacon(name, kind, _NUM_BYTES[kind], address, time)


def drand_after(moment: datetime.datetime, hours: float = 2.0, chain: str = QUICKNET) -> str:
    """Return the name of the first drand round at least `hours` after a given time.

    Args:
      moment: the time, with a time zone.
      hours: the delay in hours, above 0.
      chain: hash of a known chain.

    Raises:
      ValueError: `moment` without a time zone, hours of 0 or less, an unknown chain.

    Example:
      >>> start = datetime.datetime(2026, 4, 20, 10, tzinfo=datetime.UTC)
      >>> drand_after(start).rpartition(":")[2]
      '27961012'
    """
    first, period = _DRAND_CHAINS[_check.one_of(_DRAND_CHAINS, chain=chain)]
    if moment.tzinfo is None:
        raise ValueError(f"moment must have a time zone, got {moment.isoformat()}")
    seconds = moment.timestamp() + _check.positive(hours=hours) * 3600 - first
    return f"drand:{chain}:{max(0, -int(-seconds // period)) + 1}"


def value_of(name: str, text: str) -> bytes:
    """Parse the value of a beacon from hexadecimal digits, or from the JSON at its address.

    Raises:
      ValueError: malformed text, the JSON of another round or pulse, or a wrong length.

    Example:
      >>> len(value_of("arbitrator:Jane Doe", "0f" * 32))
      32
    """
    beacon = read_beacon(name)
    digits = text.strip("\ufeff \t\r\n")
    if digits.startswith("{"):
        digits = _digits_in(beacon, digits)
    try:
        value = bytes.fromhex(digits)
    except ValueError:
        raise ValueError(
            f"the value of the beacon {_short(name)} must be hexadecimal digits, or the JSON "
            f"saved from its address; got {text.strip()!r:.40}"
        ) from None
    check_value(name, value)
    return value


def check_value(name: str, value: bytes) -> None:
    """Check that a value has the length of the named beacon's values.

    Raises:
      TypeError: not bytes.
      ValueError: empty, or of another length.
    """
    _check.is_instance(bytes, beacon=value)
    beacon = read_beacon(name)
    if not value or beacon.num_bytes not in (0, len(value)):
        raise ValueError(
            f"the value of the beacon {_short(name)} must have {beacon.num_bytes or 'some'} "
            f"bytes, got {len(value)}"
        )


def _short(name: str) -> str:
    """Quote a beacon's name, a long chain hash cut in its middle."""
    return repr(re.sub("([0-9a-f]{12})[0-9a-f]{52}", r"\1…", name)[:100])


def _drand_time(chain: str, number: int) -> datetime.datetime | None:
    if chain not in _DRAND_CHAINS:
        return None
    first, period = _DRAND_CHAINS[chain]
    try:
        return datetime.datetime.fromtimestamp(first + (number - 1) * period, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        raise ValueError(
            f"beacon names the round {number}, which is beyond all dates"
        ) from None


def _is_hash_of(randomness: str, signature: str) -> bool:
    return hashlib.sha256(bytes.fromhex(signature)).hexdigest() == randomness.lower()


def _digits_in(beacon: Beacon, text: str) -> str:
    """Extract the hexadecimal digits from the JSON served at the beacon's address."""
    try:
        body = _json.loads(text)
        if beacon.kind == "drand":
            found, digits = f"{body['round']}", body["randomness"]
            signature = body.get("signature")
            if signature is not None and not _is_hash_of(digits, signature):
                raise ValueError("damaged")
            named = beacon.name.rpartition(":")[2]
        elif beacon.kind == "nist":
            pulse = body["pulse"]
            found, digits = f"{pulse['chainIndex']}:{pulse['pulseIndex']}", pulse["outputValue"]
            named = beacon.name.partition(":")[2]
        else:
            raise KeyError("kind")
        if not isinstance(digits, str):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(
            f"the value of the beacon {_short(beacon.name)} is not in this JSON: save the one "
            f"served at {beacon.address or 'the place that it names'}"
        ) from None
    if found != named:
        raise ValueError(
            f"the JSON is that of {found}, and the plan names {beacon.name!r:.100}: fetch that "
            "one"
        )
    return digits

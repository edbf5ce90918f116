"""The owner's 256-bit secret and the sub-keys derived from it."""

import hashlib
import hmac
import os
import pathlib
import secrets
import warnings

from anw_jax import _check, _files, _json
from anw_jax.errors import KeyFileError

_FORMAT = "anw_jax mark key, version 1: keep this file secret"
_TAG_CHECK = b"anw_jax/v1/key-file-check\0"
_FIELDS = {"format", "origin", "key", "check"}
_TAG_EXPERIMENT = b"anw_jax/v1/experiment-key\0"
_NUM_BYTES = 32
_MOST_BYTES = 2**16
_ORIGINS = ("secret", "experiment")


class MarkKey:
    """256 secret bits from which every slot and private basis of one owner is derived.

    Create one with `generate` (evidence) or `for_experiment` (never evidence). Use a new key
    for each publication: opening a commitment reveals it. It cannot be changed, copied or
    pickled, and its repr, `vars` and `dataclasses.asdict` do not show the secret.

    Attributes:
      secret: the 32 bytes.
      origin: "secret", or "experiment" for a key derived from a public seed.

    Raises:
      ValueError: a secret that is not 32 bytes, or an unknown origin.

    Example:
      >>> MarkKey.generate()
      MarkKey(<256 secret bits>, origin='secret')
    """

    __slots__ = ("_origin", "_secret")

    def __init__(self, secret: bytes, origin: str = "secret"):
        if not isinstance(secret, bytes) or len(secret) != _NUM_BYTES:
            raise ValueError(
                f"secret must be {_NUM_BYTES} bytes (use MarkKey.generate); "
                "the value given is not shown"
            )
        object.__setattr__(self, "_secret", secret)
        object.__setattr__(self, "_origin", _check.one_of(_ORIGINS, origin=origin))

    @property
    def secret(self) -> bytes:
        """The 32 bytes."""
        return self._secret

    @property
    def origin(self) -> str:
        """Either "secret", or "experiment" for a key derived from a public seed."""
        return self._origin

    def __setattr__(self, name, value):
        raise AttributeError("a MarkKey cannot be changed")

    def __delattr__(self, name):
        raise AttributeError("a MarkKey cannot be changed")

    @classmethod
    def generate(cls) -> "MarkKey":
        """Draw a key from the operating system's randomness."""
        return cls(secrets.token_bytes(_NUM_BYTES))

    @classmethod
    def for_experiment(cls, seed: int, name: str = "") -> "MarkKey":
        """Derive a reproducible key from a public seed: for studies, never evidence.

        Args:
          seed: at least 0.
          name: distinguishes the keys of several users of one experiment.
        """
        seed = _check.integer_at_least(0, seed=seed)
        _check.is_instance(str, name=name)
        message = _TAG_EXPERIMENT + _json.dumps([seed, name]).encode()
        return cls(hashlib.sha256(message).digest(), origin="experiment")

    def sub_key(self, purpose: str) -> bytes:
        """Derive 32 bytes for one purpose; sub-keys reveal nothing about each other."""
        return hmac.digest(self.secret, b"anw_jax/v1/sub-key\0" + purpose.encode(), "sha256")

    def save(self, path: str | os.PathLike) -> None:
        """Write the key to a new file that only its owner can read (mode 0600).

        Raises:
          FileExistsError: the file exists; a key is never overwritten.
        """
        body = {
            "format": _FORMAT,
            "origin": self.origin,
            "key": self.secret.hex(),
            "check": _check_digits(self.secret, self.origin),
        }
        text = _json.dumps(body, indent=1) + "\n"
        _files.write_new(path, text.encode(), mode=0o600)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "MarkKey":
        """Read a key file; warn if it is readable by other users.

        Raises:
          KeyFileError: the file is missing, damaged or not a key file.
        """
        path = pathlib.Path(path)
        try:
            with _files.open_regular(path) as file:
                body = _json.loads(file.read(_MOST_BYTES))
            if body.keys() != _FIELDS or body["format"] != _FORMAT:
                raise KeyError("format")
            key = cls(bytes.fromhex(body["key"]), body["origin"])
            intact = hmac.compare_digest(body["check"], _check_digits(key.secret, key.origin))
        except FileNotFoundError:
            raise KeyFileError(f"no mark key at {path}: the file does not exist") from None
        except OSError as error:
            raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise KeyFileError(
                f"{path} is not a mark-key file: expected the JSON that MarkKey.save writes"
            ) from None
        if not intact:
            raise KeyFileError(
                f"{path} is a damaged mark-key file: its check digits do not fit the key"
            )
        if os.name == "posix" and path.stat().st_mode & 0o077:
            warnings.warn(f"others can read the mark key {path}: chmod 600 it", stacklevel=2)
        return key

    def __repr__(self) -> str:
        return f"MarkKey(<256 secret bits>, origin={self.origin!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MarkKey):
            return NotImplemented
        same_secret = hmac.compare_digest(self.secret, other.secret)
        return same_secret and self.origin == other.origin

    def __hash__(self) -> int:
        return hash(self.sub_key("hash"))

    def __reduce__(self):
        raise TypeError("a MarkKey cannot be pickled or copied: use save and load")


def check_is_mark_key(mark_key: MarkKey) -> None:
    """Raise TypeError if this is not a `MarkKey`, without printing the value.

    The value may be a raw secret.
    """
    if not isinstance(mark_key, MarkKey):
        raise TypeError(
            f"mark_key must be a MarkKey, got {type(mark_key).__name__}; "
            "the value given is not shown"
        )


def _check_digits(secret: bytes, origin: str) -> str:
    return hmac.digest(secret, _TAG_CHECK + origin.encode(), "sha256").hex()[:16]

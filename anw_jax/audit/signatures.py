"""Ed25519 signatures (RFC 8032) of the files of an audit.

The owner signs the commitment and the openings; the arbitrator signs the declaration, the blind
result and the verdict. The signature of FILE lies beside it as FILE.sig, and covers its bytes
as they are, so that any Ed25519 program can check it. It shows who wrote a file, to everybody
who knows the public key from elsewhere; it shows no time.
"""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from anw_jax import _files, _json
from anw_jax.audit.files import read_bytes, read_json
from anw_jax.audit.published import COMMITMENT
from anw_jax.errors import CaseError, ChangedFileError, KeyFileError
from anw_jax.keys.digests import is_digest
from anw_jax.suspects.adapters.base import missing

if TYPE_CHECKING:
    from anw_jax.audit.case import Case

SUFFIX = ".sig"

_KEY_FORMAT = "anw_jax signing key, version 1"
_FORMAT = "anw_jax signature, version 1"
_MOST_BYTES = 2**30
# What the arbitrator signs, where it is written.
_OF_ARBITRATOR = (
    "statements.toml", "declared.json", "blind.json", "closed.json", "verdict.json",
)  # fmt: skip
# What an owner hands over, of photos or of a model.
_OF_OWNER = (COMMITMENT, "mark.json")

# The y of the points of order 1, 2, 4 and 8 on the curve. A key that is one of them has a
# signature that is valid for every file: OpenSSL accepts it, as RFC 8032 allows.
_FIELD = 2**255 - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})


@dataclasses.dataclass(frozen=True)
class Signature:
    """A signature that was verified.

    Attributes:
      file: the signed file.
      signer: the public key, 64 hex digits.
    """

    file: str
    signer: str


def new_signing_key(path: pathlib.Path) -> str:
    """Write a new private signing key (mode 0600); return the public key, 64 hex digits.

    Raises:
      FileExistsError: the file exists; a key is never overwritten.
      MissingLibraryError: the extra 'stamp' is not installed.
    """
    key = _ed25519().Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    body = {"format": _KEY_FORMAT, "private": key.private_bytes_raw().hex(), "public": public}
    _files.write_new(path, (_json.dumps(body, indent=1) + "\n").encode(), mode=0o600)
    return public


def sign_file(path: pathlib.Path, key_file: pathlib.Path) -> Signature:
    """Sign a file, and write the signature beside it; an older signature is replaced.

    Args:
      path: the file.
      key_file: as `new_signing_key` writes it.

    Raises:
      CaseError: the file cannot be read.
      KeyFileError: no signing key.
      MissingLibraryError: the extra 'stamp' is not installed.
    """
    key, body = _load(key_file), read_bytes(path, _MOST_BYTES)
    public = key.public_key().public_bytes_raw().hex()
    signed = {"format": _FORMAT, "public_key": public, "signature": key.sign(body).hex()}
    _json.write(_beside(path), signed)
    return Signature(path.name, public)


def sign_bytes(body_of: Callable[[str], bytes], key_file: pathlib.Path) -> tuple[str, str]:
    """Sign bytes that name their author.

    Args:
      body_of: from the public key, 64 hex digits, to the bytes.
      key_file: as `new_signing_key` writes it.

    Returns:
      The public key and the signature, as hex.

    Raises:
      KeyFileError: no signing key.
      MissingLibraryError: the extra 'stamp' is not installed.
    """
    key = _load(key_file)
    public = key.public_key().public_bytes_raw().hex()
    return public, key.sign(body_of(public)).hex()


def public_key_of(key_file: pathlib.Path) -> str:
    """Return the public key of a signing key, 64 hex digits.

    Raises:
      KeyFileError: no signing key.
      MissingLibraryError: the extra 'stamp' is not installed.
    """
    return _load(key_file).public_key().public_bytes_raw().hex()


def verify_bytes(body: bytes, public: object, signature: object) -> bool:
    """Return whether a signature is one of these bytes by this key, both as hex.

    None is by a key of small order, whose signatures are valid for all bytes.

    Raises:
      MissingLibraryError: the extra 'stamp' is not installed.
    """
    ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature

    try:
        if not is_digest(public) or _is_of_small_order(public):
            return False
        key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), body)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def check_signature(path: pathlib.Path, signer: str | None = None) -> Signature:
    """Verify the signature beside a file.

    Args:
      path: the signed file.
      signer: the public key that it must be of, 64 hex digits; None for any.

    Raises:
      CaseError: no signature there, or a damaged one.
      ChangedFileError: it is not a signature of these bytes, or of another key.
      MissingLibraryError: the extra 'stamp' is not installed.
    """
    ed25519, beside = _ed25519(), _beside(path)
    body, signed = read_bytes(path, _MOST_BYTES), read_json(beside, _FORMAT)
    public, signature = signed.get("public_key"), signed.get("signature")
    if not (is_digest(public) and isinstance(signature, str) and len(signature) == 128):
        raise CaseError(f"{beside} is damaged: it holds no public key and signature")
    if signer is not None and signer.strip().lower() != public:
        raise ChangedFileError(f"{path} is signed by {public}, not by {signer!r:.80}")
    if _is_of_small_order(public):
        raise ChangedFileError(
            f"{beside} names the public key {public}, a point of small order: a signature by "
            "it is valid for every file, and shows nothing"
        )
    from cryptography.exceptions import InvalidSignature

    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), body)
    except (InvalidSignature, ValueError):
        raise ChangedFileError(
            f"{beside} is no valid signature of {path.name}: the file was changed after it was "
            "signed, or the signature was; restore it, or sign again (anw sign)"
        ) from None
    return Signature(path.name, public)


def _is_of_small_order(public: str) -> bool:
    return int.from_bytes(bytes.fromhex(public), "little") % 2**255 % _FIELD in _SMALL_ORDER


def check_if_signed(path: pathlib.Path, signer: str | None = None) -> Signature | None:
    """Verify the signature beside a file; None where there is none. See `check_signature`."""
    return check_signature(path, signer) if _beside(path).exists() else None


def remove_signature(path: pathlib.Path) -> None:
    """Remove the signature beside a file, if there is one: the file will be another."""
    _beside(path).unlink(missing_ok=True)


def check_signatures(case: "Case", signers: Collection[str] = ()) -> list[dict[str, Any]]:
    """Verify every signature in a case.

    Args:
      case: with its files, and the owners' in `owners/<name>/`.
      signers: public keys as their holders gave them, 64 hex digits each: there must be a
        signature by each of them, and none by another key. () for any.

    Returns:
      For each file that the owner or the arbitrator should sign, and each further one that is
      signed: `file`, relative to the case, and `signer`, None where it is not signed.

    Raises:
      CaseError, ChangedFileError: a signature is damaged or invalid, its file is gone, one
        side signs with two keys, or the keys are not those given.
    """
    found = _signed_by("the arbitrator", case.path, _OF_ARBITRATOR)
    for name in case.owners:
        found |= _signed_by(name, case.path / "owners" / name, _OF_OWNER)
    _check_signers(found, [key.strip().lower() for key in signers])
    return [
        {"file": path.relative_to(case.path).as_posix(), "signer": signer}
        for path, signer in found.items()
    ]


def _check_signers(found: Mapping[pathlib.Path, str | None], wanted: list[str]) -> None:
    by_key = {signer: path for path, signer in found.items() if signer}
    for key in wanted:
        if key not in by_key:
            raise ChangedFileError(f"nothing is signed by {key!r:.80}")
    for key, path in by_key.items():
        if wanted and key not in wanted:
            raise ChangedFileError(f"{path} is signed by {key}, which is none of those given")


def _signed_by(
    side: str, folder: pathlib.Path, wanted: Iterable[str]
) -> dict[pathlib.Path, str | None]:
    """Verify the signatures of one side; return the signer of each file, None if unsigned."""
    names = {name for name in wanted if (folder / name).exists()}
    beside = [p.name for p in folder.glob(f"*{SUFFIX}") if not _files.is_hidden(p.name)]
    names |= {name.removesuffix(SUFFIX) for name in beside}
    found = {folder / name: check_if_signed(folder / name) for name in sorted(names)}
    by_file = {path: one.signer if one else None for path, one in found.items()}
    signers = sorted(set(by_file.values()) - {None})
    if len(signers) > 1:
        raise ChangedFileError(
            f"the files of {side} in {folder} are signed with {len(signers)} keys "
            f"({', '.join(signers)}): one side signs with one key"
        )
    return by_file


def _beside(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + SUFFIX)


def _load(path: pathlib.Path) -> Any:
    ed25519 = _ed25519()
    try:
        body = read_json(path, _KEY_FORMAT)
        key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(body["private"]))
        if key.public_key().public_bytes_raw().hex() != body["public"]:
            raise ValueError
    except (CaseError, KeyError, TypeError, ValueError):
        if not path.exists():
            raise KeyFileError(f"no signing key at {path}: the file does not exist") from None
        raise KeyFileError(
            f"{path} is no signing key: expected the file that `anw key signing` writes"
        ) from None
    if os.name == "posix" and path.stat().st_mode & 0o077:
        warnings.warn(f"others can read the signing key {path}: chmod 600 it", stacklevel=3)
    return key


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise missing("making or verifying a signature", "stamp") from None
    return ed25519

"""Time stamps of a commitment: write the request, verify responses and proofs offline.

Beside `commitment.json` may lie `commitment.tsr`, the response of a time-stamping authority
(RFC 3161), and `commitment.json.ots`, an OpenTimestamps proof; beside the commitment of a model
watermark, `mark.json`, `mark.tsr` and `mark.json.ots`. Both are verified against
*anchors*, which whoever verifies has from elsewhere: root certificates of authorities, and
headers of Bitcoin blocks. Nothing here uses a network.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import pathlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from anw_jax import _files
from anw_jax.audit.files import read_bytes
from anw_jax.audit.open_timestamps import Header, check_proof, read_header
from anw_jax.audit.published import COMMITMENT
from anw_jax.errors import CaseError
from anw_jax.keys.stamps import Stamp
from anw_jax.suspects.adapters.base import missing

if TYPE_CHECKING:
    from anw_jax.audit.case import Case

# The folder of a case with the arbitrator's root certificates (PEM or DER) and block headers.
ANCHORS = "anchors"

# DER of a TimeStampReq (RFC 3161, 2.4.1): version 1, a SHA-256 digest between the two parts,
# certReq true. No nonce: a stamp of this digest serves, whichever request it answers.
_BEFORE_DIGEST = bytes.fromhex("30390201013031300d060960864801650304020105000420")
_AFTER_DIGEST = bytes.fromhex("0101ff")

_MOST_BYTES, _MOST_DOCUMENT = 2**20, 2**30  # published.json has a line for each photo
_MOST_ACCURACY = datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True)
class TrustAnchors:
    """What stamps are verified against.

    Attributes:
      certificates: `cryptography.x509.Certificate`s of trusted roots.
      headers: headers of Bitcoin blocks.
    """

    certificates: tuple[Any, ...] = ()
    headers: tuple[Header, ...] = ()


def stamp_files(document: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Return where the response of an authority and an OpenTimestamps proof lie."""
    return document.with_suffix(".tsr"), document.with_name(f"{document.name}.ots")


def write_request(path: pathlib.Path) -> pathlib.Path:
    """Write the request for a stamp of a commitment, for any authority.

    Args:
      path: the folder with `commitment.json`; or a file: `mark.json` of a model watermark,
        `published.json` of marked photos.

    Raises:
      CaseError: no commitment there.
    """
    document = _document(path)
    digest = hashlib.sha256(read_bytes(document)).digest()
    request = document.with_suffix(".tsq")
    _files.write_whole(request, _BEFORE_DIGEST + digest + _AFTER_DIGEST)
    return request


def _document(path: pathlib.Path) -> pathlib.Path:
    return path / COMMITMENT if path.is_dir() else path


def read_trust_anchors(paths: Iterable[pathlib.Path]) -> TrustAnchors:
    """Read root certificates (PEM or DER) and block headers (160 hex digits).

    Args:
      paths: files; of a folder, the files in it.

    Raises:
      CaseError: a file is neither.
      MissingLibraryError: certificates without the extra 'stamp'.
    """
    certificates, headers = [], []
    for path in files_of(paths):
        body = read_bytes(path, _MOST_BYTES)
        header = read_header(path, body)
        if header is None:
            certificates += _certificates(path, body)
        else:
            headers.append(header)
    return TrustAnchors(tuple(dict.fromkeys(certificates)), tuple(headers))


def read_stamps(path: pathlib.Path, anchors: TrustAnchors) -> tuple[Stamp, ...]:
    """Verify every stamp beside a commitment.

    Args:
      path: as for `write_request`.
      anchors: what to trust.

    Returns:
      The stamps; none if there is no file of one.

    Raises:
      CaseError: a file is damaged, belongs to another commitment, or is not vouched for by the
        anchors. Whether a stamp is early enough is left to the verdict.
      MissingLibraryError: the extra 'stamp' is not installed.
    """
    stamps = []
    response, proof = stamp_files(_document(path))
    document = read_bytes(_document(path), _MOST_DOCUMENT)
    if response.exists():
        body = read_bytes(response, _MOST_BYTES)
        with _about(response):
            stamps.append(check_response(body, document, anchors.certificates))
    if proof.exists():
        body = read_bytes(proof, _MOST_BYTES)
        with _about(proof):
            stamps.append(check_proof(body, document, anchors.headers))
    return tuple(stamps)


def stamps_of(case: "Case") -> dict[str, tuple[Stamp, ...]]:
    """Verify the stamps of each owner's commitment against the case's `anchors/`.

    Args:
      case: of photos or of models.

    Raises:
      CaseError, MissingLibraryError: as `read_stamps` and `read_trust_anchors`.
    """
    documents = _documents_of(case)
    if not stamp_files_of(case):
        return dict.fromkeys(documents, ())
    place = case.path / ANCHORS
    anchors = read_trust_anchors([place]) if place.exists() else TrustAnchors()
    return {name: read_stamps(document, anchors) for name, document in documents.items()}


def stamp_files_of(case: "Case") -> list[pathlib.Path]:
    """List the stamps that lie beside the owners' commitments."""
    files = [file for one in _documents_of(case).values() for file in stamp_files(one)]
    return [file for file in files if file.exists()]


def _documents_of(case: "Case") -> dict[str, pathlib.Path]:
    folder = case.path / "owners"
    return {name: folder / name / case.commitment_file for name in case.owners}


def stamps_json(stamps: Iterable[Stamp]) -> dict[str, Any]:
    """Return what `verdict.json` has of an owner's stamps: nothing without one."""
    found = [one.as_json() for one in stamps]
    return {"stamps": found} if found else {}


def check_response(body: bytes, document: bytes, roots: Iterable[Any]) -> Stamp:
    """Verify the response of a time-stamping authority.

    Signature, chain to a root, purpose (critical, and time stamping alone: RFC 3161, 2.3), and
    validity of every certificate at the time of the stamp are verified, nearly all of it by
    OpenSSL through `rfc3161-client`.

    Args:
      body: DER of a TimeStampResp.
      document: the bytes that were stamped.
      roots: `cryptography.x509.Certificate`s.

    Returns:
      The stamp; its time is the latest that the authority's stated accuracy allows.

    Raises:
      CaseError: any check fails.
      MissingLibraryError: the extra 'stamp' is not installed.
    """
    library = _library()
    roots = tuple(roots)
    if not roots:
        raise CaseError(
            "cannot be verified without a root certificate of its authority (in anchors/ of "
            "the case, or --anchor); take it from the authority itself"
        )
    builder = library.VerifierBuilder(roots=list(roots))
    try:
        response = library.decode_timestamp_response(body)
    except ValueError:
        raise CaseError("is damaged, or no response of a time-stamping authority") from None
    if response.status != library.PKIStatus.GRANTED:
        said = "; ".join(response.status_string) or "no reason given"
        raise CaseError(f"holds no stamp: the authority refused the request ({said:.200})")
    try:
        builder.build().verify_message(response, document)
        info = response.tst_info
        latest = info.gen_time + _accuracy(info.accuracy)
        return Stamp("rfc3161", latest, _signer(response.signed_data))
    except (library.VerificationError, ValueError, OverflowError) as error:
        raise CaseError(_reason(str(error))) from None
    except BaseException as error:
        # The library panics, in Rust, over some certificates that OpenSSL cannot read.
        if type(error).__name__ != "PanicException":
            raise
        raise CaseError("or a root certificate is damaged: it cannot be verified") from None


def _accuracy(stated: Any) -> datetime.timedelta:
    if stated is None:
        return datetime.timedelta(0)
    accuracy = datetime.timedelta(
        seconds=stated.seconds or 0,
        milliseconds=stated.millis or 0,
        microseconds=stated.micros or 0,
    )
    if accuracy > _MOST_ACCURACY:
        raise ValueError(f"its stated accuracy must be at most a day, got {accuracy}")
    return accuracy


def _signer(signed: Any) -> str:
    """Return the subject of the one certificate that the signature names.

    Raises:
      ValueError: none or several, or one that is for another purpose as well.
    """
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    (info,) = signed.signer_infos
    found = [x509.load_der_x509_certificate(body) for body in signed.certificates]
    named = [
        c for c in found if (c.issuer, c.serial_number) == (info.issuer, info.serial_number)
    ]
    if len(named) != 1:
        raise ValueError(f"{len(named)} certificates carry the signer's issuer and number")
    usage = named[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if list(usage) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise ValueError("its purpose is not time stamping alone")
    text = named[0].subject.rfc4514_string() or "an authority without a name"
    return "".join(c if c.isprintable() else "?" for c in text)


# What the library says, and what that means here.
_REASONS = (
    ("Mismatch between messages", "is a stamp of another file than the commitment"),
    ("expired", "was made outside the validity of its authority's certificate"),
    ("not yet valid", "was made outside the validity of its authority's certificate"),
    ("local issuer", "leads to none of the root certificates given"),
    ("self-signed", "leads to none of the root certificates given"),
    ("issuer certificate", "leads to none of the root certificates given"),
    ("purpose", "is signed with a certificate that is not for time stamping alone"),
    ("signature failure", "was changed, or is signed by none of the authorities trusted"),
    ("invalid CA", "is signed with a certificate by another that may not sign certificates"),
    ("EKU", "is signed with a certificate that is not for time stamping alone"),
)


def _reason(said: str) -> str:
    for part, meaning in _REASONS:
        if part in said:
            return meaning
    return f"cannot be verified: {' '.join(said.split())!s:.200}"


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError:
        raise missing("verifying a time stamp", "stamp") from None
    return rfc3161_client


def _certificates(path: pathlib.Path, body: bytes) -> list[Any]:
    try:
        from cryptography import x509
        from cryptography.exceptions import UnsupportedAlgorithm
    except ImportError:
        raise missing(f"reading the certificate {path}", "stamp") from None
    try:
        is_text = b"-----BEGIN" in body
        found = (
            x509.load_pem_x509_certificates(body)
            if is_text
            else [x509.load_der_x509_certificate(body)]
        )
        for one in found:  # parsed on use, and an error then would come too late
            _ = one.subject, one.issuer, one.public_key()
        return found
    except (ValueError, UnsupportedAlgorithm):
        raise CaseError(
            f"{path} must be a root certificate (PEM or DER) or a Bitcoin block's header (160 "
            "hex digits)"
        ) from None


def files_of(paths: Iterable[pathlib.Path]) -> Iterator[pathlib.Path]:
    """Yield files as they are, and of a folder the files in it, sorted by name."""
    for path in paths:
        if path.is_dir():
            yield from (p for p in sorted(path.iterdir()) if not _files.is_hidden(p.name))
        else:
            yield path


@contextlib.contextmanager
def _about(path: pathlib.Path) -> Iterator[None]:
    """Put the file's name before an error about it."""
    try:
        yield
    except CaseError as error:
        raise CaseError(f"{path} {error}") from None

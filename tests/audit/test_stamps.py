"""Time stamps of RFC 3161, by an authority made here: what is verified, and what is refused."""

import datetime
import hashlib
import json
import sys

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from anw_jax.audit.stamps import (
    TrustAnchors,
    check_response,
    read_stamps,
    read_trust_anchors,
    write_request,
)
from anw_jax.errors import CaseError, MissingLibraryError
from tests.audit.authority import END, Authority, refusal

DOCUMENT = b'{"commitment": "0f"}'
TIME = datetime.datetime(2026, 11, 3, 10, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
AUTHORITY = Authority()
ROOTS = [AUTHORITY.root]
STAMPED = AUTHORITY.answer(DOCUMENT, TIME)


def test_a_stamp_has_the_latest_time_that_the_accuracy_allows():
    stamp = check_response(AUTHORITY.answer(DOCUMENT, TIME, accuracy=90), DOCUMENT, ROOTS)
    assert stamp.time == TIME + datetime.timedelta(seconds=90)
    assert (stamp.kind, stamp.by) == ("rfc3161", "CN=An authority")


def answer(authority, time=TIME, **changes):
    return authority.answer(DOCUMENT, time, **changes), DOCUMENT, [authority.root]


REFUSED = {
    "another file": (STAMPED, DOCUMENT + b" ", ROOTS),
    "a truncated response": (STAMPED[:-20], DOCUMENT, ROOTS),
    "nothing": (b"", DOCUMENT, ROOTS),
    "no root": (STAMPED, DOCUMENT, []),
    "another root": (STAMPED, DOCUMENT, [Authority(ca="B root").root]),
    "a root of the same name": (STAMPED, DOCUMENT, [Authority().root]),
    "a certificate that is no root": (
        AUTHORITY.answer(DOCUMENT, TIME),
        DOCUMENT,
        [AUTHORITY.leaf],
    ),
    "an expired certificate": answer(Authority(end=TIME - DAY)),
    "a certificate of later": answer(Authority(start=TIME + DAY)),
    "an expired root": answer(AUTHORITY, END + DAY),
    "a certificate for code": answer(Authority(usage=[ExtendedKeyUsageOID.CODE_SIGNING])),
    "a certificate for code as well": answer(
        Authority(usage=[ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING])
    ),
    "a purpose that is not critical": answer(Authority(critical=False)),
    "a certificate signed by no authority for certificates": answer(Authority(by=AUTHORITY)),
    "a broken digest": answer(AUTHORITY, algorithm="sha1"),
    "a refusal": (refusal(), DOCUMENT, ROOTS),
    "no accuracy to speak of": answer(AUTHORITY, accuracy=90_000),
}
MESSAGES = {
    "another file": "of another file",
    "a truncated response": "damaged",
    "nothing": "damaged",
    "no root": "without a root certificate",
    "another root": "none of the root certificates",
    "a root of the same name": "signed by none of the authorities",
    "a certificate that is no root": "none of the root certificates",
    "an expired certificate": "outside the validity",
    "a certificate of later": "outside the validity",
    "an expired root": "outside the validity",
    "a certificate for code": "not for time stamping",
    "a certificate for code as well": "not for time stamping",
    "a purpose that is not critical": "not for time stamping",
    "a certificate signed by no authority for certificates": "may not sign certificates",
    "a broken digest": "Unsupported hash algorithm",
    "a refusal": "refused the request .try later.",
    "no accuracy to speak of": "at most a day",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    with pytest.raises(CaseError, match=MESSAGES[name]):
        check_response(*REFUSED[name])


@pytest.mark.parametrize(
    "changes", [{"algorithm": "sha512"}, {"nonce": 2**63 + 1}, {"policy": "06032a0304"}]
)
def test_what_no_request_asks_for_changes_nothing(changes):
    """The request names neither nonce nor policy: the digest of the file is what counts."""
    stamp = check_response(AUTHORITY.answer(DOCUMENT, TIME, **changes), DOCUMENT, ROOTS)
    assert stamp == check_response(STAMPED, DOCUMENT, ROOTS)
    with pytest.raises(CaseError, match="of another file"):
        check_response(AUTHORITY.answer(b"other", TIME, **changes), DOCUMENT, ROOTS)


def test_mutants_are_refused_or_say_the_same():
    body = AUTHORITY.answer(DOCUMENT, TIME)
    right = check_response(body, DOCUMENT, ROOTS)
    for place in range(len(body)):
        mutant = bytearray(body)
        mutant[place] ^= 1 << place % 8
        try:
            stamp = check_response(bytes(mutant), DOCUMENT, ROOTS)
        except CaseError:
            continue
        assert stamp == right


# --- Files. ---


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "commitment.json").write_bytes(DOCUMENT)
    return tmp_path


def test_the_request_is_der_of_the_digest(folder):
    body = write_request(folder).read_bytes()
    assert body[1] == len(body) - 2 == 57
    assert hashlib.sha256(DOCUMENT).digest() in body
    assert body.endswith(bytes.fromhex("0101ff"))


def test_a_request_needs_a_commitment(tmp_path):
    with pytest.raises(CaseError, match=r"commitment.json is not there"):
        write_request(tmp_path)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_stamps_are_read_with_anchors_of_files_or_a_folder(folder, encoding):
    (folder / "anchors").mkdir()
    root = folder / "anchors" / "root.pem"
    root.write_bytes(AUTHORITY.root.public_bytes(encoding))
    (folder / "anchors" / ".DS_Store").write_bytes(b"1")
    (folder / "commitment.tsr").write_bytes(AUTHORITY.answer(DOCUMENT, TIME))
    for places in ([root], [root, root], [folder / "anchors"]):
        (stamp,) = read_stamps(folder, read_trust_anchors(places))
        assert stamp.time == TIME + datetime.timedelta(seconds=1)


def test_without_files_there_are_no_stamps(folder):
    assert read_stamps(folder, TrustAnchors()) == ()


def test_an_error_names_the_file(folder):
    (folder / "commitment.tsr").write_bytes(b"<html>")
    with pytest.raises(CaseError, match=r"commitment\.tsr is damaged, or no response"):
        read_stamps(folder, TrustAnchors((AUTHORITY.root,)))
    (folder / "commitment.tsr").unlink()
    (folder / "commitment.json.ots").write_bytes(b"<html>")
    with pytest.raises(CaseError, match=r"commitment\.json\.ots is damaged, or no OpenTime"):
        read_stamps(folder, TrustAnchors())


def test_an_anchor_is_a_certificate_or_a_header(folder):
    (folder / "root.pem").write_text(json.dumps({}))
    with pytest.raises(CaseError, match=r"must be a root certificate .* or a Bitcoin block's"):
        read_trust_anchors([folder / "root.pem"])


@pytest.mark.parametrize("file", ["commitment.tsr", "commitment.json.ots"])
def test_without_the_libraries_the_extra_is_named(folder, monkeypatch, file):
    (folder / file).write_bytes(b"")
    for name in ("rfc3161_client", "opentimestamps.core"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingLibraryError, match=r"the extra 'stamp'"):
        read_stamps(folder, TrustAnchors((AUTHORITY.root,)))

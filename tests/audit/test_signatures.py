"""Ed25519 signatures beside files: valid, or refused by name."""

import contextlib
import json
import os
import sys

import pytest

from anw_jax.audit.exchange import OPENING, read_opening
from anw_jax.audit.signatures import (
    check_signature,
    new_signing_key,
    remove_signature,
    sign_file,
)
from anw_jax.errors import CaseError, ChangedFileError, KeyFileError, MissingLibraryError


@pytest.fixture
def signed(tmp_path):
    public = new_signing_key(tmp_path / "ann.sign")
    (tmp_path / "commitment.json").write_text('{"a": 1}')
    sign_file(tmp_path / "commitment.json", tmp_path / "ann.sign")
    return tmp_path / "commitment.json", public


def test_a_signature_holds_for_its_file_and_key(signed):
    file, public = signed
    assert check_signature(file).signer == public
    assert check_signature(file, f" {public.upper()}\n").signer == public


def test_the_signature_is_plain_ed25519_over_the_bytes(signed):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    file, public = signed
    body = json.loads(file.with_name("commitment.json.sig").read_text())
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    key.verify(bytes.fromhex(body["signature"]), file.read_bytes())


def test_a_changed_file_is_refused(signed):
    file, _ = signed
    file.write_text('{"a": 2}')
    with pytest.raises(ChangedFileError, match=r"no valid signature of commitment\.json"):
        check_signature(file)


@pytest.mark.parametrize("field", ["public_key", "signature"])
def test_each_digit_of_a_signature_counts(signed, field):
    file, _ = signed
    beside = file.with_name("commitment.json.sig")
    body = json.loads(beside.read_text())
    for place in range(0, len(body[field]), 9):
        digits = body[field]
        other = "0" if digits[place] != "0" else "1"
        beside.write_text(
            json.dumps({**body, field: digits[:place] + other + digits[place + 1 :]})
        )
        with pytest.raises(ChangedFileError):
            check_signature(file)


FIELD = 2**255 - 19
ORDER_8 = int("5fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826", 16)


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize(
    "y", [0, 1, FIELD - 1, FIELD, FIELD + 1, ORDER_8, FIELD - ORDER_8], ids=hex
)
def test_a_key_whose_signature_holds_for_every_file_is_refused(signed, y, sign):
    """Points of small order: OpenSSL accepts one signature for one in eight files at least."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    file, _ = signed
    public, signature = (y | sign << 255).to_bytes(32, "little"), (1).to_bytes(64, "little")
    key, accepted = Ed25519PublicKey.from_public_bytes(public), []
    for number in range(200):
        with contextlib.suppress(InvalidSignature):
            key.verify(signature, b"%d" % number)
            accepted.append(number)
    assert accepted
    file.write_bytes(b"%d" % accepted[0])
    body = {"format": "anw_jax signature, version 1", "public_key": public.hex()}
    beside = file.with_name("commitment.json.sig")
    beside.write_text(json.dumps(body | {"signature": signature.hex()}))
    with pytest.raises(ChangedFileError, match="a point of small order"):
        check_signature(file)


def test_a_second_signature_made_from_the_first_is_refused(signed):
    """S + L: the same equation, which RFC 8032, 5.1.7, excludes."""
    file, _ = signed
    beside = file.with_name("commitment.json.sig")
    body = json.loads(beside.read_text())
    order = 2**252 + 27742317777372353535851937790883648493
    half = int.from_bytes(bytes.fromhex(body["signature"][64:]), "little") + order
    body["signature"] = body["signature"][:64] + half.to_bytes(32, "little").hex()
    beside.write_text(json.dumps(body))
    with pytest.raises(ChangedFileError, match="no valid signature"):
        check_signature(file)


def test_a_key_that_is_no_point_of_the_curve_is_refused(signed):
    file, _ = signed
    beside = file.with_name("commitment.json.sig")
    body = json.loads(beside.read_text()) | {"public_key": (2).to_bytes(32, "little").hex()}
    beside.write_text(json.dumps(body))
    with pytest.raises(ChangedFileError, match="no valid signature"):
        check_signature(file)


def test_another_signer_is_refused(signed):
    file, _ = signed
    other = new_signing_key(file.with_name("bob.sign"))
    with pytest.raises(ChangedFileError, match="is signed by"):
        check_signature(file, other)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"format": "anw_jax signature, version 1", "public_key": 3}', b"\xff"],
)
def test_a_damaged_signature_is_refused(signed, body):
    file, _ = signed
    file.with_name("commitment.json.sig").write_bytes(body)
    with pytest.raises(CaseError, match="damaged"):
        check_signature(file)


def test_an_unsigned_file_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(CaseError, match=r"a\.json\.sig is not there"):
        check_signature(tmp_path / "a.json")


def test_a_key_is_private_and_never_overwritten(tmp_path):
    new_signing_key(tmp_path / "ann.sign")
    if os.name == "posix":
        assert (tmp_path / "ann.sign").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        new_signing_key(tmp_path / "ann.sign")


@pytest.mark.parametrize("text", ["", "{}", '{"format": "anw_jax mark key, version 1"}'])
def test_what_is_no_signing_key(signed, text):
    file, _ = signed
    file.with_name("other.key").write_text(text)
    with pytest.raises(KeyFileError, match=r"other\.key is no signing key"):
        sign_file(file, file.with_name("other.key"))


def test_without_the_library_the_extra_is_named(signed, monkeypatch):
    name = "cryptography.hazmat.primitives.asymmetric"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingLibraryError, match="the extra 'stamp'"):
        check_signature(signed[0])


def test_an_opening_whose_signature_is_not_valid_is_not_accepted(signed):
    file = signed[0].with_name("ann.opening.json")
    body = {"format": OPENING, "request": "0f", "opening": {}}
    file.write_text(json.dumps(body))
    sign_file(file, file.with_name("ann.sign"))
    with pytest.raises(CaseError, match="is not an opening of a leaf"):
        read_opening(file, "0f")
    file.write_text(json.dumps({**body, "opening": {"unit": 1}}))
    with pytest.raises(ChangedFileError, match="no valid signature"):
        read_opening(file, "0f")


def test_whoever_signed_the_commitment_signs_the_openings(signed):
    commitment, public = signed
    file = commitment.with_name("ann.opening.json")
    opening = {"unit": 0, "slot": 1, "nonce": "ab" * 32, "origin": "random", "path": []}
    file.write_text(json.dumps({"format": OPENING, "request": "0f", "opening": opening}))
    new_signing_key(file.with_name("bob.sign"))
    sign_file(file, file.with_name("bob.sign"))
    with pytest.raises(ChangedFileError, match="is signed by"):
        read_opening(file, "0f", public)
    remove_signature(file)
    remove_signature(file)
    unsigned = read_opening(file, "0f", public)
    sign_file(file, file.with_name("ann.sign"))
    assert read_opening(file, "0f", public) == unsigned

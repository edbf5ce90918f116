"""Mutants of stamps, signatures and an owner's own files: the same thing, or one line."""

import pytest

from anw_jax.audit import signatures
from anw_jax.audit.open_timestamps import check_proof, read_header
from anw_jax.audit.published import read_published
from anw_jax.audit.registry import Registry
from anw_jax.audit.stamps import check_response, read_trust_anchors
from anw_jax.errors import AnwError
from anw_jax.keys import MarkKey, Plan
from tests.audit.conftest import write_photos
from tests.audit.owners import mark_folder
from tests.audit.test_open_timestamps import BLOCK, HEADER, PROOF, difficulty_of_2015  # noqa: F401
from tests.audit.test_open_timestamps import DOCUMENT as HELLO
from tests.audit.test_stamps import AUTHORITY, DOCUMENT, ROOTS, STAMPED
from tests.mutants import COUNTED, bytewise, fuzz, in_one_line, of_json


@COUNTED
def test_fuzz_responses_of_an_authority(count):
    fuzz("time stamp: RFC 3161", STAMPED, lambda b: check_response(b, DOCUMENT, ROOTS), count)


@COUNTED
def test_fuzz_proofs_of_opentimestamps(count, difficulty_of_2015):  # noqa: F811
    fuzz("time stamp: OpenTimestamps", PROOF, lambda b: check_proof(b, HELLO, [HEADER]), count)


@COUNTED
def test_fuzz_root_certificates(tmp_path, count):
    path = tmp_path / "root.pem"

    def read(body):
        path.write_bytes(body)
        return check_response(STAMPED, DOCUMENT, read_trust_anchors([path]).certificates)

    fuzz("time stamp: root certificate", AUTHORITY.pem, read, count)


@COUNTED
def test_fuzz_block_headers(tmp_path, count, difficulty_of_2015):  # noqa: F811
    path = tmp_path / "header.txt"

    def read(body):
        header = read_header(path, body)
        return check_proof(PROOF, HELLO, [] if header is None else [header])

    fuzz("time stamp: block header", BLOCK.encode(), read, count)


@COUNTED
@pytest.mark.parametrize("name", ["signature", "signing key"])
def test_fuzz_signatures(tmp_path, count, name):
    document, key = tmp_path / "blind.json", tmp_path / "jane.sign"
    document.write_bytes(b"{}\n")
    signatures.new_signing_key(key)
    signatures.sign_file(document, key)
    beside = tmp_path / "blind.json.sig"

    def read_signature(body):
        beside.write_bytes(body)
        return signatures.check_signature(document)

    def read_key(body):
        key.write_bytes(body)
        return signatures.sign_file(document, key)

    path, read = (beside, read_signature) if name == "signature" else (key, read_key)
    fuzz(name, path.read_bytes(), read, count, of_json, AnwError)


@pytest.fixture
def marked(tmp_path):
    """A folder as an owner has it after `anw mark`, and the key's folder."""
    write_photos(tmp_path / "photos", number=3, side=64)
    key, plan = MarkKey(bytes(range(32))), Plan("log_losses", 0.05)
    mark_folder(tmp_path / "photos", key, tmp_path / "marked", plan, mark="light")
    return tmp_path


@COUNTED
def test_fuzz_the_secret_of_a_mark(marked, count):
    path = marked / "marked" / "light.json"

    def read(body):
        path.write_bytes(body)
        return read_published(path.parent).mark

    fuzz("secret of a mark, read", path.read_bytes(), read, count, of_json)


@COUNTED
def test_fuzz_the_registry_of_commitments(marked, count):
    """It may be edited by its owner alone: whatever is read is read without an accident."""
    path = marked / "anw-commitments.jsonl"

    def read(body):
        path.write_bytes(body)
        registry = Registry(marked)
        assert registry.next_number > 0
        assert registry.uses_of(MarkKey(bytes(range(32)))) in range(len(registry.entries) + 1)

    def make(before, rng):
        return (in_one_line if rng.random() < 0.7 else bytewise)(before, rng)

    fuzz("registry of commitments, read", path.read_bytes(), read, count, make)

"""OpenTimestamps proofs: one of 2015 with its real block, and what must be refused."""

import base64
import datetime

import pytest

from anw_jax.audit import open_timestamps
from anw_jax.audit.open_timestamps import Header, check_proof, read_header
from anw_jax.errors import CaseError

# Stamped in 2015; an example of the OpenTimestamps client.
DOCUMENT = b"Hello World!\n"
PROOF = base64.b64decode(
    "AE9wZW5UaW1lc3RhbXBzAABQcm9vZgC/ieLohOiSlAEIA7ogTlDRJuRnTABeBNguhMITZngK8fQ71Uo3gWtqs0AD8c"
    "gBAQAAAAHkgvnTLsw7ple2nYmAEIV7VEV6kEl5gv9W+XxOxY5vmAEAAABrSDBFAiEAslOt0dHPkIRDOKR1oE/xP8nn"
    "vSQrB3Yt6gf1YIst42cCIACyaMqcM0KzdpzdBiiRMXzc74eqwxC2hV6dk4mOu+jsASECDY5NEH0rM5sAUO/dS0oJJF"
    "qgVgSPElOWN06moqsHCcb/////AmUz5gUAAAAAGXapFAvwV9QPu6Z0SGJRX1tVojEN5XcviKyghgEAAAAAABl2qRTw"
    "BoisAAAAAAgI8SCph/cWxTORPDFMeONdNYhMrJQ/pCysSdKyxp9AA/hfiAgI8SDexVs0h+Hj9yKkm1WneDIVhieF9K"
    "Oss5KEYBn3HcZKnQgI8SCyyhj0heCAR44CXas9RktBbA4ey2Ypya786MghTQQkMggI8CARsOkGYRlv9LCBPD7aFBur"
    "XpFgSDe996DJ3zfbDjoRmAgI8CDDS8GkoQk//RSMAWseZkdCkU6Tnvq+TT01ZRWRSybZ4ggI8CDD5ufDjGn2ryTCvj"
    "TrrEglft5h7AohuVNeREMne+MGRggI8SAHmL+GBuAAJOXV1UvwyWD2Kd+52taRV0VbbyZSwOjegQgI8CA/mtptYLqi"
    "RABrsKrVFEitL6+51LZIegmZz/JrkfD1NggI8SDHAwGelZqN0/rvdIm7MoukhVdHWOcJHwFGTrZYcsl1yAgI8CDL/v"
    "/1E/+EuRXj/tb515lnZjD4Nk6ipsdVf62UpbXXiAgI8SAL4jcJhZkTur1EYLvd+O0hPnyHc6Sx+s4w+Kz98JO3BQgI"
    "AAWIlg1z1xkBA/fvFQ=="
)
# A proof that only a calendar has seen.
INCOMPLETE = b"The timestamp on this file is incomplete, and can be upgraded.\n"
PENDING = base64.b64decode(
    "AE9wZW5UaW1lc3RhbXBzAABQcm9vZgC/ieLohOiSlAEIBcT2FqjlMQ0Z2TjP12mGTX9MzcLKi0ebEK+DVksJevnwEO"
    "dUv5OAan66poDve9ARS/QI8BC1c+iFDP2eY9HwQ/u2/CUOCPEEV8+lxPAIb7GsjU5OsOcAg9/jDS75DI4uLWh0dHBz"
    "Oi8vYWxpY2UuYnRjLmNhbGVuZGFyLm9wZW50aW1lc3RhbXBzLm9yZw=="
)
# Block 358391, 0000000000000000_03e892881a8cdcdc117c06d444057c98b6f04a9ee75a2319.
BLOCK = (
    "02000000b96394585a281b7e5f438fd1c9ed492645a1fd61cb3802040000000000000000"
    "007ee445d23ad061af4a36b809501fab1ac4f2d7e7a739817dd0cbb7ec661b8a"
    "1e376755f58616186272def6"
)
HEADER = Header(bytes.fromhex(BLOCK))


@pytest.fixture
def difficulty_of_2015(monkeypatch):
    monkeypatch.setattr(open_timestamps, "LEAST_DIFFICULTY", 1e10)


def test_a_proof_leads_into_its_block():
    stamp = check_proof(PROOF, DOCUMENT, [HEADER])
    assert stamp.kind == "opentimestamps"
    assert stamp.time == datetime.datetime(2015, 5, 28, 15, 41, 18, tzinfo=datetime.UTC)
    assert stamp.by.startswith("Bitcoin block 358391, 000000000000000003e892881a8cdcdc")


@pytest.mark.parametrize(
    ("proof", "document", "headers", "message"),
    [
        (PROOF, b"Hello World?\n", [HEADER], "of another file"),
        (PROOF, DOCUMENT, [], "without the header of Bitcoin block 358391"),
        (PROOF[:-4], DOCUMENT, [HEADER], "damaged"),
        (PROOF + b"\0", DOCUMENT, [HEADER], "damaged"),
        (b"", DOCUMENT, [HEADER], "damaged"),
        (PENDING, INCOMPLETE, [HEADER], "not in a block yet"),
    ],
)
def test_what_is_refused(proof, document, headers, message):
    with pytest.raises(CaseError, match=message):
        check_proof(proof, document, headers)


def test_a_header_of_another_block_does_not_serve():
    body = bytearray(HEADER.body)
    body[36] ^= 1
    with pytest.raises(CaseError, match="without the header"):
        check_proof(PROOF, DOCUMENT, [Header(bytes(body))])


def test_a_header_is_read(tmp_path, difficulty_of_2015):
    header = read_header(tmp_path, f" {BLOCK}\n".encode())
    assert header == HEADER
    assert header.hash == "000000000000000003e892881a8cdcdc117c06d444057c98b6f04a9ee75a2319"
    assert read_header(tmp_path, b"-----BEGIN CERTIFICATE-----") is None


@pytest.mark.parametrize("place", [0, 40, 68, 76])
def test_a_header_changed_by_a_bit_has_no_work(tmp_path, difficulty_of_2015, place):
    body = bytearray(HEADER.body)
    body[place] ^= 1
    with pytest.raises(CaseError, match="lacks the proof of work"):
        read_header(tmp_path, body.hex().encode())


def test_work_below_that_of_2019_does_not_serve(tmp_path):
    with pytest.raises(CaseError, match="no header of a Bitcoin block since 2019"):
        read_header(tmp_path, BLOCK.encode())
    easy = HEADER.body[:72] + bytes.fromhex("ffff7f20") + bytes(4)
    with pytest.raises(CaseError, match="lacks the proof of work"):
        read_header(tmp_path, easy.hex().encode())


def test_mutants_of_a_proof_never_show_another_time():
    for place in range(len(PROOF)):
        body = bytearray(PROOF)
        body[place] ^= 0x11
        try:
            stamp = check_proof(bytes(body), DOCUMENT, [HEADER])
        except CaseError:
            continue
        assert stamp.time == HEADER.time

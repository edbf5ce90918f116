"""The signed, hash-linked log: everything but appending breaks it."""

import json
import pathlib
import shutil

import pytest

from anw_jax import audit
from anw_jax.errors import KeyFileError, RecordError
from anw_jax.schemes import log as log_module
from anw_jax.schemes.log import append, check_held, read_log


@pytest.fixture(scope="module")
def signers(tmp_path_factory) -> dict[str, pathlib.Path]:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ann", "bob"):
        audit.new_signing_key(folder / name)
    return {name: folder / name for name in ("ann", "bob")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, signers) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("log")
    for number, name in enumerate(("ann", "bob", "ann", "bob")):
        append(folder, "seen", {"up_to": number}, signers[name])
    return folder


@pytest.fixture
def log(tmp_path, whole) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(whole, tmp_path / "log"))


def change(path: pathlib.Path, **fields) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_record_by_a_key_of_small_order_is_refused(log):
    """One signature by it is valid for all bytes: anybody could write, and nobody is bound."""
    identity, last = (1).to_bytes(32, "little"), log / "0004.json"
    change(last, author=identity.hex(), signature=(identity + bytes(32)).hex())
    with pytest.raises(RecordError, match="is not signed by its author"):
        read_log(log)


def test_records_are_read_in_order(log):
    records = read_log(log)
    assert [r.number for r in records] == [1, 2, 3, 4]
    assert [r.body["up_to"] for r in records] == [0, 1, 2, 3]
    assert records[0].author == records[2].author != records[1].author


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda log: (log / "0002.json").unlink(), "has a gap: 0002.json is missing"),
        (
            lambda log: change(log / "0004.json", body={"up_to": 9}),
            "is not signed by its author",
        ),
        (lambda log: change(log / "0002.json", body={"up_to": 9}), "0002.json is not signed"),
        (lambda log: change(log / "0003.json", author="0f" * 32), "0003.json is not signed"),
        (lambda log: change(log / "0003.json", signature="00" * 64), "0003.json is not signed"),
        (lambda log: change(log / "0003.json", signature=7), "0003.json is not signed"),
        (lambda log: change(log / "0003.json", previous="0f" * 32), "0003.json is not linked"),
        (lambda log: change(log / "0003.json", number=4), "0003.json is not linked"),
        (lambda log: change(log / "0003.json", number=3.0), "0003.json is not linked"),
        (lambda log: change(log / "0003.json", more=1), "0003.json is damaged"),
        (lambda log: change(log / "0003.json", kind="gossip"), "0003.json is damaged"),
        (lambda log: (log / "0003.json").write_text("{"), "0003.json is damaged"),
        (
            lambda log: shutil.copy(log / "0002.json", log / "0003.json"),
            "0003.json is not linked",
        ),
    ],
)
def test_a_spoilt_log_is_refused_and_not_appended_to(log, signers, spoil, text):
    spoil(log)
    before = sorted(path.name for path in log.iterdir())
    with pytest.raises(RecordError, match=text):
        read_log(log)
    with pytest.raises(RecordError, match=text):
        append(log, "seen", {}, signers["ann"])
    assert sorted(path.name for path in log.iterdir()) == before


def test_a_record_signed_anew_by_another_breaks_the_link_after_it(log, signers, tmp_path):
    """Bob replaces record 3 by one of his own, properly signed."""
    for name in ("0003.json", "0004.json"):
        shutil.move(log / name, tmp_path / name)
    append(log, "seen", {"up_to": 2}, signers["bob"])
    shutil.move(tmp_path / "0004.json", log / "0004.json")
    with pytest.raises(RecordError, match=r"0004.json is not linked to the record before it"):
        read_log(log)


def test_no_record_without_a_signing_key(log, tmp_path):
    (tmp_path / "key").write_text("{}")
    with pytest.raises(KeyFileError, match="is no signing key"):
        append(log, "seen", {}, tmp_path / "key")
    assert len(read_log(log)) == 4


def test_a_log_goes_on_after_the_last_number_of_four_digits(tmp_path, signers, monkeypatch):
    """10000.json comes after 9999.json; names of one digit show the same after nine records."""
    monkeypatch.setattr(log_module, "_DIGITS", 1)
    for number in range(11):
        append(tmp_path, "seen", {"up_to": number}, signers["ann"])
    assert [r.body["up_to"] for r in read_log(tmp_path)] == list(range(11))
    (tmp_path / "9.json").unlink()
    with pytest.raises(
        RecordError, match=r"has a gap: 9\.json is missing and 10\.json is there"
    ):
        read_log(tmp_path)


def test_whoever_holds_a_record_can_show_that_the_log_was_cut(log, signers, tmp_path):
    held = pathlib.Path(shutil.copy(log / "0004.json", tmp_path / "held.json"))
    check_held(read_log(log), [held])
    (log / "0004.json").unlink()
    with pytest.raises(
        RecordError, match=r"^cut log: .*held\.json is record 4, 'seen', .* ends"
    ):
        check_held(read_log(log), [held])
    append(log, "seen", {"up_to": 9}, signers["ann"])
    with pytest.raises(RecordError, match=r"^cut log: .* has another in its place"):
        check_held(read_log(log), [held])


def test_a_held_receipt_that_is_missing_is_a_denied_one(log, signers, tmp_path):
    append(log, "accept", {"issue": 1}, signers["bob"])
    held = pathlib.Path(shutil.move(log / "0005.json", tmp_path / "receipt.json"))
    with pytest.raises(RecordError, match=r"^denied receipt: .*receipt\.json is record 5"):
        check_held(read_log(log), [held])


def test_a_held_record_must_be_signed(log, tmp_path):
    held = pathlib.Path(shutil.copy(log / "0004.json", tmp_path / "held.json"))
    change(held, body={"up_to": 9})
    with pytest.raises(RecordError, match="is not signed by its author"):
        check_held(read_log(log), [held])

import copy
import dataclasses
import json
import os
import pickle
import re
import traceback

import pytest

from anw_jax import keys
from anw_jax.errors import KeyFileError
from anw_jax.keys import Manifest, MarkKey, Plan, SignatureSpace

SECRET = bytes(range(200, 232))
KEY = MarkKey(SECRET)


def _shows_secret(text: str) -> bool:
    return SECRET.hex() in text or repr(SECRET)[2:20] in text


def test_text_forms_never_show_the_secret():
    for text in (repr(KEY), str(KEY), f"{KEY}", f"{[KEY]!r}", "%s" % KEY):  # noqa: UP031
        assert text.strip("[]") == "MarkKey(<256 secret bits>, origin='secret')"
    assert _shows_secret(repr(KEY.secret))  # the detector detects


@pytest.mark.parametrize("take_out", [pickle.dumps, copy.copy, copy.deepcopy])
def test_no_copy_no_pickle(take_out):
    with pytest.raises(TypeError, match="a MarkKey cannot be pickled or copied"):
        take_out(KEY)


def test_dataclass_and_vars_cannot_unfold_it():
    assert not dataclasses.is_dataclass(KEY)
    with pytest.raises(TypeError):
        vars(KEY)

    @dataclasses.dataclass
    class Holder:
        mark_key: MarkKey

    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        dataclasses.asdict(Holder(KEY))
    assert not _shows_secret(repr(Holder(KEY)))
    with pytest.raises(TypeError):
        json.dumps(KEY)


def test_it_cannot_be_changed():
    for name in ("secret", "origin", "_secret", "other"):
        with pytest.raises(AttributeError):
            setattr(KEY, name, b"\0" * 32)
    with pytest.raises(AttributeError):
        del KEY._secret
    assert KEY.secret == SECRET


@pytest.mark.parametrize("bare", [SECRET, SECRET.hex(), bytearray(SECRET), None])
def test_a_bare_secret_does_not_reach_a_traceback(bare, small_images):
    manifest = Manifest.of(small_images, SignatureSpace())
    for call in (
        lambda: keys.assign(bare, manifest, Plan("losses", 0.1)),
        lambda: keys.commit(bare, manifest, Plan("losses", 0.1)),
    ):
        with pytest.raises(TypeError, match="mark_key must be a MarkKey, got") as caught:
            call()
        assert not _shows_secret("".join(traceback.format_exception(caught.value)))


def test_bad_secret_is_not_shown():
    with pytest.raises(ValueError, match="secret must be 32 bytes") as caught:
        MarkKey(SECRET[:-1])
    assert not _shows_secret(str(caught.value))
    with pytest.raises(ValueError, match="did you mean 'secret'"):
        MarkKey(SECRET, "secrett")


def test_equality_and_hash():
    assert MarkKey(SECRET) == KEY
    assert hash(MarkKey(SECRET)) == hash(KEY)
    assert MarkKey(SECRET, "experiment") != KEY
    assert MarkKey(SECRET[::-1]) != KEY
    assert KEY != SECRET
    assert MarkKey.generate() != MarkKey.generate()


def test_experiment_keys():
    first = MarkKey.for_experiment(7, "ann")
    assert first.origin == "experiment"
    assert first == MarkKey.for_experiment(7, "ann")
    others = {MarkKey.for_experiment(*a) for a in ((7,), (7, "bob"), (8, "ann"), (71, ""))}
    assert len(others | {first}) == 5
    import numpy as np

    assert MarkKey.for_experiment(np.int64(7), "ann") == first
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        MarkKey.for_experiment(-1)
    with pytest.raises(TypeError, match="name must be a str, got int: 5"):
        MarkKey.for_experiment(1, 5)


def test_file_round_trip_is_0600_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        KEY.save(tmp_path / "key.json")
    finally:
        os.umask(before)
    assert (tmp_path / "key.json").stat().st_mode & 0o777 == 0o600
    assert MarkKey.load(tmp_path / "key.json") == KEY
    with pytest.raises(FileExistsError):
        MarkKey.generate().save(tmp_path / "key.json")
    assert MarkKey.load(tmp_path / "key.json") == KEY


def test_readable_by_others_warns(tmp_path):
    KEY.save(tmp_path / "key.json")
    (tmp_path / "key.json").chmod(0o644)
    with pytest.warns(UserWarning, match="others can read the mark key .*: chmod 600 it"):
        assert MarkKey.load(tmp_path / "key.json") == KEY


NOT_A_KEY = "is not a mark-key file: expected the JSON that MarkKey.save writes"
DAMAGED = "is a damaged mark-key file: its check digits do not fit the key"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: "", NOT_A_KEY),
        (lambda body: "[" * 10**5, NOT_A_KEY),
        (lambda body: "\udcff", NOT_A_KEY),
        (lambda body: "[1, 2]", NOT_A_KEY),
        (lambda body: json.dumps(body)[:-9], NOT_A_KEY),
        (lambda body: {"format": body["format"]}, NOT_A_KEY),
        (lambda body: body | {"format": "anw_jax mark key, version 2"}, NOT_A_KEY),
        (lambda body: body | {"note": ""}, NOT_A_KEY),
        (lambda body: body | {"key": 5}, NOT_A_KEY),
        (lambda body: body | {"key": body["key"][:-2]}, NOT_A_KEY),
        (lambda body: body | {"key": "zz" * 32}, NOT_A_KEY),
        (lambda body: body | {"origin": ["secret"]}, NOT_A_KEY),
        (lambda body: body | {"origin": "found"}, NOT_A_KEY),
        (lambda body: body | {"check": None}, NOT_A_KEY),
        (lambda body: body | {"check": "é"}, NOT_A_KEY),
        (lambda body: body | {"check": "0" * 16}, DAMAGED),
        (lambda body: body | {"key": "0" + body["key"][1:]}, DAMAGED),
        (lambda body: body | {"origin": "experiment"}, DAMAGED),
    ],
)
def test_bad_files_are_named(tmp_path, change, message):
    path = tmp_path / "key.json"
    KEY.save(path)
    changed = change(json.loads(path.read_text()))
    text = changed if isinstance(changed, str) else json.dumps(changed)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(KeyFileError) as caught:
        MarkKey.load(path)
    assert str(caught.value) == f"{path} {message}"
    assert not _shows_secret("".join(traceback.format_exception(caught.value)))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(KeyFileError, match=re.escape("key.json: the file does not exist")):
        MarkKey.load(tmp_path / "key.json")
    with pytest.raises(KeyFileError, match="cannot be read: Is a directory"):
        MarkKey.load(tmp_path)


def test_sub_keys_are_separate():
    purposes = ("slots", "commitment nonce", "hash", "slots ", "", "private basis")
    derived = {KEY.sub_key(purpose) for purpose in purposes}
    assert len(derived) == len(purposes)
    assert SECRET not in derived


def test_a_device_is_no_key_file():
    with pytest.raises(KeyFileError, match="cannot be read: it is a device"):
        MarkKey.load("/dev/zero")

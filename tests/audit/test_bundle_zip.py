"""The zip of a bundle: one form; whatever else a zip can be is one clear error."""

import hashlib
import io
import stat
import struct
import zipfile

import numpy as np
import pytest

from anw_jax.audit import bundle_read, bundle_zip
from anw_jax.audit.bundle_write import FORMAT, index_bytes
from anw_jax.errors import AnwError, CaseError
from tests.cli.bundling import verified

MEMBERS = {"b/c.json": b"{}", "a.txt": b"one", "empty": b""}


def written(members, path):
    with open(path, "wb") as file:
        bundle_zip.write_zip(file, members)
    return path


def refused(path, *names, code=8):
    """Both replays name the fault in one line; code 3 is for what is not there."""
    with pytest.raises(AnwError) as caught, bundle_read.open_bundle(path):
        pass
    assert "\n" not in str(caught.value)
    for name in names:
        assert name in str(caught.value)
    ran = verified(path)
    assert ran.code == code
    assert len(ran.err.splitlines()) == 1


def zipped(path, name, compress=zipfile.ZIP_STORED, year=1980):
    """A zip of one member as Python makes it, with 16 MiB of zeros where it is compressed."""
    with zipfile.ZipFile(path, "w") as file:
        entry = zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0))
        entry.external_attr, entry.compress_type = 0o100644 << 16, compress
        file.writestr(entry, bytes(2**24 if compress else 0))
    return path


def patched(path, old, new, number):
    """A zip of the right form in which some bytes are exchanged."""
    body = path.read_bytes()
    assert body.count(old) == number
    path.write_bytes(body.replace(old, new))
    return path


def test_round_trip(tmp_path):
    path, folder = written(MEMBERS, tmp_path / "a.zip"), tmp_path / "in"
    folder.mkdir()
    assert list(bundle_zip.unpack(path, folder)) == sorted(MEMBERS)
    assert {n: (folder / n).read_bytes() for n in MEMBERS} == MEMBERS
    assert stat.S_IMODE((folder / "a.txt").stat().st_mode) == 0o600


def test_other_programs_read_it_and_write_the_same(tmp_path):
    path = written(MEMBERS, tmp_path / "a.zip")
    with zipfile.ZipFile(path) as stored:
        assert {name: stored.read(name) for name in stored.namelist()} == MEMBERS
        assert stored.testzip() is None
    files = {name: tmp_path / str(number) for number, name in enumerate(MEMBERS)}
    for name, file in files.items():
        file.write_bytes(MEMBERS[name])
    assert written(files, tmp_path / "b.zip").read_bytes() == path.read_bytes()


def test_every_changed_byte_of_the_file_is_refused(tmp_path):
    body = written(MEMBERS, tmp_path / "a.zip").read_bytes()
    for place in range(len(body)):
        for changed in (
            body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :],
            body[:place] + body[place + 1 :],
            body[:place] + b"\0" + body[place:],
        ):
            (tmp_path / "b.zip").write_bytes(changed)
            (tmp_path / "in").mkdir(exist_ok=True)
            with pytest.raises(CaseError):
                bundle_zip.unpack(tmp_path / "b.zip", tmp_path / "in")
    assert not list((tmp_path / "in").iterdir())


@pytest.mark.parametrize(
    "name",
    ["../a", "/a", "a/../b", "a//b", "C:a", "a\\b", ".hidden", "a/.git", "é", "a/", "x" * 300],
)
def test_names_that_lead_elsewhere(tmp_path, name):
    refused(zipped(tmp_path / "a.zip", name), "must have a plain name")
    with pytest.raises(CaseError, match="must have a plain name"):
        written({name: b""}, tmp_path / "b.zip")


@pytest.mark.parametrize("names", [("a", "A"), ("a", "a/b"), ("A/b", "a")])
def test_names_that_some_systems_do_not_tell_apart(tmp_path, names):
    with pytest.raises(CaseError, match=r"is there twice|is a file and a folder"):
        written(dict.fromkeys(names, b""), tmp_path / "a.zip")


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755, stat.S_IFIFO])
def test_links_and_other_kinds_of_files(tmp_path, mode):
    path = written({"a": b"/etc/passwd"}, tmp_path / "a.zip")
    old, new = (struct.pack("<I", one << 16) for one in (0o100644, mode))
    refused(patched(path, old, new, 1), "'a' it does not end as it must (a link")


def test_a_member_twice(tmp_path):
    path = written({"member1": b"", "member2": b""}, tmp_path / "a.zip")
    refused(patched(path, b"member2", b"member1", 2), "'member1' is there twice")


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_zip_bombs(tmp_path, kind):
    refused(zipped(tmp_path / "a.zip", "a", kind), "'a' is compressed")


def test_sizes_that_are_not_there(tmp_path):
    body = bytearray(written(MEMBERS, tmp_path / "a.zip").read_bytes())
    struct.pack_into("<II", body, 18, 2**31, 2**31)
    (tmp_path / "b.zip").write_bytes(body)
    refused(tmp_path / "b.zip", "'a.txt' claims 2,147,483,648 bytes")


def test_what_is_no_zip(tmp_path):
    for name, body in (("empty", b""), ("text", b"hello"), ("end", b"PK\5\6" + bytes(18))):
        (tmp_path / name).write_bytes(body)
        refused(tmp_path / name, "is not a bundle of anw")
    refused(tmp_path, "cannot be read", code=3)
    refused(tmp_path / "missing", "cannot be read", code=3)


def test_a_comment_or_bytes_before_the_first_member(tmp_path):
    path = written(MEMBERS, tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"x"
    with (
        pytest.raises(CaseError, match="does not end as it must"),
        bundle_read.open_bundle(path),
    ):
        pass


def test_a_time_stamp(tmp_path):
    path = zipped(tmp_path / "a.zip", "a", year=2026)
    with pytest.raises(CaseError, match="time stamp"), bundle_read.open_bundle(path):
        pass


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_zip, "MOST_MEMBERS", 2)
    with pytest.raises(CaseError, match="at most 2 members"):
        written(MEMBERS, tmp_path / "a.zip")


# --- What is in a zip of the right form. ---


def with_index(members):
    files = {name: hashlib.sha256(body).hexdigest() for name, body in members.items()}
    body = {"format": FORMAT, "mode": "sealed", "has_names": True, "files": files}
    return {**members, "bundle.json": index_bytes(body)}


def test_deep_json(tmp_path):
    deep = b"[" * 200_000
    for members in ({"bundle.json": deep}, with_index({"declared.json": deep})):
        refused(written(members, tmp_path / "a.zip"))


def test_json_that_two_programs_read_differently(tmp_path):
    twice = with_index({"a": b""})["bundle.json"].replace(b'"mode"', b'"format": 1, "mode"')
    refused(written({"a": b"", "bundle.json": twice}, tmp_path / "a.zip"), "bundle.json")


def test_no_index_and_another_format(tmp_path):
    refused(written({"a": b""}, tmp_path / "a.zip"), "no bundle.json")
    refused(written({"bundle.json": b"{}"}, tmp_path / "b.zip"), "bundle.json is damaged")


def test_tables_that_expand(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ann=np.zeros(2**22, np.float32))
    folder = tmp_path / "in" / "tables"
    folder.mkdir(parents=True)
    (folder / "net.npz").write_bytes(buffer.getvalue())
    case = bundle_read.BundledCase(tmp_path / "in", True)
    case.__dict__["owners"] = {}
    with pytest.raises(CaseError, match="would expand to 16,777,344 bytes"):
        bundle_read._check_arrays(case)

"""Names of photos that some file system takes for one are not published beside each other."""

import unicodedata

import numpy as np
import pytest

from anw_jax import audit, data
from anw_jax.audit.files import canonical_name, target_names
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest, MarkKey, Plan, SignatureSpace
from tests.audit.conftest import hand_over, write_photos
from tests.audit.owners import mark_folder


def both(text):
    return tuple(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    "text", ["café.png", "Ångström.png", "한글.png", "é/a.png", "ﬁancée.png", "ñ.jpg"]
)
def test_one_name_in_two_unicode_forms_is_refused(text):
    first, second = both(text)
    with pytest.raises(CaseError) as error:
        target_names([first, "b.png", second])
    assert str(error.value) == (
        f"{first} and {second} are the same name in another Unicode form, and one file on a "
        "Mac: rename one"
    )
    assert canonical_name(first) == canonical_name(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A.png", "a.png"),
        ("a.jpg", "A.JPEG"),
        ("CAF\u00c9.png", "cafe\u0301.png"),
        ("stra\u00dfe.png", "STRASSE.jpg"),
        ("album/a.png", "Album/a.webp"),
        ("\u0130.png", "i\u0307.png"),
        ("a.jpg", "a.png"),
    ],
)
def test_names_that_would_become_one_file_are_refused(first, second):
    with pytest.raises(CaseError, match="would both become"):
        target_names([first, second], ".png")


def test_names_are_kept_with_the_format():
    names = ["a.jpg", "a.png", "b.JPEG", "b.webp", "c/d.TIFF"]
    assert target_names(names) == names
    assert target_names(["b.JPEG", "c.JPG", "d.png"], ".jpg") == ["b.JPEG", "c.JPG", "d.jpg"]
    with pytest.raises(CaseError, match="both become A"):
        target_names(["a.png", "A.PNG"])


def test_names_that_stay_apart():
    names = ["a.b.png", "a.c.png", "a.png", "b/a.png", "\u00e9.png", "e.png"]
    assert target_names(names) == names


def test_nothing_is_written_where_two_names_collide(root):
    write_photos(root / "photos", number=1)
    body = (root / "photos" / "photo00.png").read_bytes()
    for name in both("é.png"):
        (root / "photos" / name).write_bytes(body)
    with pytest.raises(CaseError, match="the same name in another Unicode form"):
        mark_folder(
            root / "photos", MarkKey.for_experiment(1), root / "out", Plan("losses", 0.1)
        )
    assert not (root / "out").exists()


def test_a_case_unpacked_on_a_mac_is_the_same_case(root, case_dir):
    """Its file system hands out names in NFD, whatever the archive said."""
    hand_over(root, case_dir, number=3)
    photos, folder = root / "photos", case_dir / "owners" / "ann"
    nfc, nfd = both("é")
    write_photos(photos, number=2)
    (photos / "photo00.png").rename(photos / f"{nfc}.png")
    (photos / "copy.png").write_bytes((photos / f"{nfc}.png").read_bytes())
    labels = root / "l.csv"
    labels.write_text(f"{nfd}.png,1\nphoto01.png,2\ncopy.png,0\n")
    key = MarkKey.for_experiment(1)
    mark_folder(photos, key, root / "out", Plan("losses", 0.1), labels=labels)
    for file in (folder / "originals").iterdir():
        file.unlink()
    for file in (root / "out").glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "labels.csv").write_bytes(labels.read_bytes())
    for file in photos.iterdir():
        name = unicodedata.normalize("NFD", file.name)
        (folder / "originals" / name).write_bytes(file.read_bytes())
    owner = audit.Case(case_dir).owners["ann"]
    assert owner.published.manifest.file_names == ("copy.png", "photo01.png", f"{nfc}.png")
    assert owner.originals.labels.tolist() == [0, 2, 1]
    assert len(owner.originals.present) == 3
    assert owner.originals.table.digest == owner.published.plan.labels


@pytest.mark.parametrize("count", [0, 11, 13, "12", 12.0, True, None])
def test_the_number_of_units_is_held_against_the_manifest(root, case_dir, count):
    import json

    hand_over(root, case_dir)
    path = case_dir / "owners" / "ann" / "commitment.json"
    body = json.loads(path.read_text())
    assert body["num_units"] == 12
    path.write_text(json.dumps(body | {"num_units": count}))
    with pytest.raises(CaseError, match=f"counts {count!r} units, and its manifest has 12"):
        _ = audit.Case(case_dir).owners


class Twice(str):
    def encode(self, *_):
        return b"another"


@pytest.mark.parametrize(
    "name", [Twice("a"), np.str_("a"), "a\ud800", "\udcff.png", b"a", None, 7]
)
def test_manifests_take_names_of_one_form_alone(name):
    digests, space = ("0f" * 32,), SignatureSpace()
    with pytest.raises(ValueError, match="file_names must be plain text that UTF-8 can hold"):
        Manifest(digests, (name,), (0,), space, "per_image")
    with pytest.raises(ValueError, match="image_digests must be 64 lower-case hex digits"):
        Manifest((Twice("0f" * 32),), ("a",), (0,), space, "per_image")
    with pytest.raises(TypeError, match="scheme must be a plain str, got Twice"):
        Manifest(digests, ("a",), (0,), space, Twice("per_image"))


def test_a_photo_whose_name_is_no_text_is_refused(root):
    write_photos(root / "photos", number=1)
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    try:
        (root / "photos" / name).write_bytes(data.png_of(np.zeros((2, 2, 3), np.uint8)))
    except OSError:
        pytest.skip("this file system holds text alone")
    with pytest.raises(ValueError, match=r"UTF-8 can hold, got 'caf\\udce9.png'"):
        mark_folder(
            root / "photos", MarkKey.for_experiment(1), root / "out", Plan("losses", 0.1)
        )

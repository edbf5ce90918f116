"""The digest that every slot depends on: nothing of a manifest can change behind it."""

import dataclasses

import numpy as np
import pytest

from anw_jax.keys import Manifest, MarkKey, Plan, SignatureSpace, commit

SPACE = SignatureSpace()
A, B, C = "ab" * 32, "cd" * 32, "ef" * 32
KEY, PLAN = MarkKey.for_experiment(1), Plan("losses", 0.01)


def album(**changes) -> Manifest:
    """Two albums of two photos and a copy."""
    columns = {
        "image_digests": (A, B, C, "12" * 32, A),
        "file_names": tuple("uvwxy"),
        "unit_of_image": (0, 0, 1, 1, 0),
        "space": SPACE,
        "scheme": "per_group",
        "file_digests": (B, "", "", A, ""),
    }
    return Manifest(**{**columns, **changes})


VARIANTS = {
    "one name": {"file_names": (*"uvwx", "z")},
    "two names changed places": {"file_names": tuple("vuwxy")},
    "a name of another form of é": {"file_names": (*"uvwx", "e\u0301")},
    "the other form": {"file_names": (*"uvwx", "é")},
    "two photos changed places": {"image_digests": (B, A, C, "12" * 32, A)},
    "other pixels": {"image_digests": (A, B, C, "34" * 32, A)},
    "moved to the other album": {"unit_of_image": (0, 1, 1, 1, 0)},
    "one album": {"unit_of_image": (0,) * 5},
    "other N": {"space": SignatureSpace(13)},
    "another file": {"file_digests": (C, "", "", A, "")},
    "no files": {"file_digests": ()},
    "a file moved": {"file_digests": ("", B, "", A, "")},
    "per user": {"scheme": "per_user", "unit_of_image": (0,) * 5},
    "no copy": {
        "image_digests": (A, B, C, "12" * 32),
        "file_names": tuple("uvwx"),
        "unit_of_image": (0, 0, 1, 1),
        "file_digests": (B, "", "", A),
    },
}


def test_all_variants_differ_in_digest_and_commitment():
    manifests = [album(), *(album(**changes) for changes in VARIANTS.values())]
    assert len({manifest.digest for manifest in manifests}) == len(manifests)
    assert len({commit(KEY, manifest, PLAN) for manifest in manifests}) == len(manifests)


@pytest.mark.parametrize("names", [("ab", "c"), ("a", "bc"), ("a\0", "b"), ("a", "\0b")])
def test_names_cannot_run_into_each_other(names):
    others = {("ab", "c"), ("a", "bc"), ("a\0", "b"), ("a", "\0b")} - {names}

    def digest(names):
        return Manifest((A, B), names, (0, 0), SPACE, "per_group").digest

    assert digest(names) not in {digest(each) for each in others}


def test_it_survives_the_file_and_is_that_of_the_photos(small_images, tmp_path):
    manifest = Manifest.of(small_images, SPACE)
    manifest.save(tmp_path / "manifest.json")
    assert Manifest.load(tmp_path / "manifest.json").digest == manifest.digest
    again = Manifest.of(list(small_images / 255), SPACE)
    assert again.digest == manifest.digest
    for number in range(6):
        fewer = Manifest.of(np.delete(small_images, number, axis=0), SPACE)
        assert fewer.digest != manifest.digest


def test_padding_is_no_unit(small_images):
    """A tree of three units and one of four whose last is the padding look nothing alike."""
    digests = {Manifest.of(small_images[:n], SPACE).digest for n in range(1, 7)}
    assert len(digests) == 6


def test_names_that_have_no_bytes_are_refused():
    with pytest.raises(ValueError, match="file_names must be plain text that UTF-8 can hold"):
        album(file_names=(*"uvwx", "a\udcff"))
    with pytest.raises(ValueError, match="file_names must be plain text"):
        album(file_names=(*"uvwx", np.str_("y")))


def test_manifests_without_file_digests_are_read(small_images):
    """As earlier releases wrote them."""
    manifest = Manifest.of(small_images, SPACE)
    text = manifest.to_json().replace("version 2", "version 1")
    assert Manifest.from_json(text) == manifest
    with_files = dataclasses.replace(manifest, file_digests=(A,) * 6)
    assert Manifest.from_json(with_files.to_json()) == with_files
    for bad in ("ab", A.upper(), None, 3):
        with pytest.raises(ValueError, match="file_digests must be 64 hex digits or ''"):
            dataclasses.replace(manifest, file_digests=(bad,) * 6)

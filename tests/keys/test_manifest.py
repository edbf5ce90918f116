import json
import warnings

import numpy as np
import pytest

from anw_jax.errors import CommitmentError
from anw_jax.keys import (
    ChangedPixelsWarning,
    Manifest,
    MarkKey,
    Plan,
    SignatureSpace,
    check_commitment,
    commit,
    image_digest,
    public_seed,
)

KEY = MarkKey.for_experiment(1)
SPACE = SignatureSpace()
PLAN = Plan("log_losses", 1e-6)
A, B = "ab" * 32, "cd" * 32


@pytest.fixture
def manifest(small_images):
    return Manifest.of(small_images, SPACE, file_names=list("uvwxyz"))


@pytest.mark.parametrize("scheme", ["per_image", "per_group", "per_user"])
def test_round_trip(tmp_path, small_images, scheme):
    images = np.concatenate([small_images, small_images[:1]])
    groups = list("aabbccb") if scheme == "per_group" else None
    manifest = Manifest.of(images, SignatureSpace(7), scheme, groups)
    assert Manifest.from_json(manifest.to_json()) == manifest
    manifest.save(tmp_path / "manifest.json")
    assert Manifest.load(tmp_path / "manifest.json") == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    assert manifest.is_copy == (False,) * 6 + (True,)


def test_a_manifest_is_frozen_and_holds_no_slot(manifest):
    digests = list(manifest.image_digests)
    built = Manifest(digests, list(manifest.file_names), list(range(6)), SPACE, "per_image")
    digests[0] = B
    assert built == manifest
    assert hash(built) == hash(manifest)
    assert "slot_of" not in manifest.to_json()


def test_perturbed_photos_are_found_by_name_with_a_warning(manifest, small_images):
    perturbed = np.where(small_images < 255, small_images + 1, 254).astype(np.uint8)
    with pytest.warns(ChangedPixelsWarning, match="pixels of w differ .*matched by name"):
        assert manifest.locate(perturbed[2:3], ["w"]).tolist() == [2]
    with pytest.raises(ValueError, match=r"images\[0\] \(name 'q'\) is not in the manifest"):
        manifest.locate(perturbed[2:3], ["q"])
    with pytest.raises(ValueError, match=r"images\[0\] \(name None\) is not in the manifest"):
        manifest.locate(perturbed[2:3])


def test_pixels_go_before_names(manifest, small_images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = manifest.locate(small_images[::-1], list("uvwxyz"))
    assert found.tolist() == [5, 4, 3, 2, 1, 0]
    with pytest.raises(ValueError, match="file_names must have one entry for each"):
        manifest.locate(small_images, ["u"])


def test_resized_photos_stand_under_the_digests_of_their_originals(small_images):
    digests = [image_digest(image) for image in small_images]
    resized = small_images[:, ::2, ::2]
    manifest = Manifest.of(resized, SPACE, digests=digests)
    assert manifest == Manifest.of(small_images, SPACE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert manifest.locate(resized[::-1], digests=digests[::-1]).tolist() == [
            *range(5, -1, -1)
        ]
    with pytest.raises(ValueError, match=r"images\[0\] \(name None\) is not in the manifest"):
        manifest.locate(resized)
    with pytest.warns(ChangedPixelsWarning, match="matched by name"):
        assert manifest.locate(resized[:1], ["000003"], digests=[A]).tolist() == [3]


def test_digests_of_another_number_or_form_are_refused(manifest, small_images):
    message = "digests must have one entry for each of the 6 images, got 1"
    with pytest.raises(ValueError, match=message):
        Manifest.of(small_images, SPACE, digests=[A])
    with pytest.raises(ValueError, match=message):
        manifest.locate(iter(small_images), digests=[A])
    with pytest.raises(ValueError, match="image_digests must be 64 lower-case hex"):
        Manifest.of(small_images[:1], SPACE, digests=["ab"])


def _body(manifest, **changes):
    return json.loads(manifest.to_json()) | changes


def _with_row(manifest, number, **changes):
    body = _body(manifest)
    body["images"][number] |= changes
    return body


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: [], "not a manifest"),
        (lambda m: {}, "not a manifest"),
        (lambda m: _body(m, format="anw_jax manifest, version 9"), "not a manifest"),
        (lambda m: _body(m, images={"file": "a"}), "not a manifest"),
        (lambda m: _body(m, images=[5]), "not a manifest"),
        (lambda m: _body(m, num_slots="12"), "not a manifest"),
        (lambda m: _body(m, num_slots=True), "not a manifest"),
        (lambda m: _body(m, num_slots=1), "num_slots must be at least 2, got 1"),
        (lambda m: _body(m, num_slots=10**30), "num_slots must be at most 65536"),
        (lambda m: _body(m, scheme="per_imag"), "did you mean 'per_image'"),
        (lambda m: _body(m, scheme="per_user"), "scheme 'per_user' needs 1 units"),
        (lambda m: _body(m, images=[]), "needs at least one image"),
        (lambda m: _with_row(m, 0, unit=-1), "must number units in order of appearance"),
        (lambda m: _with_row(m, 0, unit=3), "must number units in order of appearance"),
        (lambda m: _with_row(m, 5, unit=9), "must number units in order of appearance"),
        (lambda m: _with_row(m, 5, unit=0), "scheme 'per_image' needs 6 units"),
        (lambda m: _with_row(m, 0, unit=0.0), "unit_of_image must be integers, got 0.0"),
        (lambda m: _with_row(m, 1, unit=True), "unit_of_image must be integers, got True"),
        (lambda m: _with_row(m, 1, unit=[1]), r"unit_of_image must be integers, got \[1\]"),
        (lambda m: _with_row(m, 1, file="u"), "file_names must be unique, got 'u' twice"),
        (
            lambda m: _with_row(m, 1, file=7),
            "file_names must be plain text that UTF-8 can hold, got 7",
        ),
        (lambda m: _with_row(m, 1, sha256="ab"), "image_digests must be 64 lower-case hex"),
        (lambda m: _with_row(m, 1, sha256=A.upper()), "image_digests must be 64 lower-case"),
        (lambda m: _with_row(m, 1, sha256=A + "\n"), "image_digests must be 64 lower-case"),
        (lambda m: _with_row(m, 1, sha256=None), "image_digests must be 64 lower-case hex"),
        (lambda m: _with_row(m, 1, sha256=["a"]), "image_digests must be 64 lower-case hex"),
        (
            lambda m: _with_row(m, 1, sha256=m.image_digests[0]),
            "byte-identical originals must share a unit",
        ),
    ],
)
def test_manifests_that_lie(manifest, change, message):
    with pytest.raises(ValueError, match=message):
        Manifest.from_json(json.dumps(change(manifest)))


@pytest.mark.parametrize("text", ["", "{", "[" * 10**5, "null", "1e999"])
def test_texts_that_are_no_manifest(text):
    with pytest.raises(ValueError, match="not a manifest: expected 'anw_jax manifest"):
        Manifest.from_json(text)


def test_units_cannot_be_framed_into_one_digest():
    """{"ab", "c"} and {"a", "bc"} once gave one unit digest, so one slot for two units."""
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        Manifest(("ab", "c", "a", "bc"), tuple("wxyz"), (0, 0, 1, 1), SPACE, "per_group")
    first = Manifest((A, B), ("x", "y"), (0, 1), SPACE, "per_group")
    assert len(set(first.unit_digests)) == 2


def _changed(manifest, **changes):
    columns = ("image_digests", "file_names", "unit_of_image", "space", "scheme")
    return Manifest(**{name: getattr(manifest, name) for name in columns} | changes)


def test_the_commitment_binds_everything(manifest, small_images):
    commitment = commit(KEY, manifest, PLAN)
    assert len(commitment) == 64
    check_commitment(commitment, KEY, manifest, PLAN)
    digests, names = manifest.image_digests, manifest.file_names
    manifests = {
        "missing unit": Manifest.of(small_images[:-1], SPACE, file_names=list("uvwxy")),
        "added unit": Manifest(
            (*digests, A), (*names, "t"), tuple(range(7)), SPACE, "per_image"
        ),
        "reordered units": Manifest.of(small_images[::-1], SPACE, file_names=list("zyxwvu")),
        "added copy": Manifest(
            (*digests, digests[0]), (*names, "t"), (*range(6), 0), SPACE, "per_image"
        ),
        "names changed places": _changed(manifest, file_names=(*names[1:], names[0])),
        "other N": _changed(manifest, space=SignatureSpace(13)),
        "other scheme": _changed(manifest, scheme="per_group"),
        "one pixel": Manifest.of(
            np.where(
                np.arange(small_images.size).reshape(small_images.shape) == 0, 9, 0
            ).astype(np.uint8)
            + small_images,
            SPACE,
            file_names=names,
        ),
    }
    for other in manifests.values():
        with pytest.raises(CommitmentError, match="does not open"):
            check_commitment(commitment, KEY, other, PLAN)
    plans = [
        Plan("losses", 1e-6),
        Plan("log_losses", 1e-5),
        Plan("log_losses", np.nextafter(1e-6, 1)),
        Plan("log_losses", 1e-6, f"user_lct:{A}"),
    ]
    for plan in plans:
        with pytest.raises(CommitmentError, match="does not open"):
            check_commitment(commitment, KEY, manifest, plan)
    for key in (MarkKey.for_experiment(2), MarkKey(KEY.secret)):  # key; origin
        with pytest.raises(CommitmentError, match="does not open"):
            check_commitment(commitment, key, manifest, PLAN)
    for text in (commitment.upper(), commitment[:-1], "", "é" * 64):
        with pytest.raises(CommitmentError, match="must be 64 lower-case hex digits"):
            check_commitment(text, KEY, manifest, PLAN)
    with pytest.raises(TypeError, match="commitment must be a str, got NoneType"):
        check_commitment(None, KEY, manifest, PLAN)


def test_group_membership_is_bound(small_images):
    first = Manifest.of(small_images, SPACE, "per_group", list("aabbcc"))
    second = Manifest.of(small_images, SPACE, "per_group", list("aaabcc"))
    assert commit(KEY, first, PLAN) != commit(KEY, second, PLAN)


def test_plan_is_checked_and_canonical():
    assert (
        Plan("log_losses", np.float32(0.25)).to_bytes() == Plan("log_losses", 0.25).to_bytes()
    )
    for alpha in (0.0, 1.0, -1.0, 2, float("nan")):
        with pytest.raises(ValueError, match="alpha"):
            Plan("log_losses", alpha)
    with pytest.raises(TypeError, match="alpha must be a number"):
        Plan("log_losses", "0.1")
    with pytest.raises(TypeError, match="statistic must be a plain str"):
        Plan(None, 0.1)


def test_names_cannot_be_moved_between_fields():
    """JSON framing: no two plans have the same bytes."""
    plans = [
        Plan("losses", 0.1, beacon='a","mode":"sequential'),
        Plan("losses", 0.1, beacon="a", mode="sequential"),
        Plan("losses", 0.1, beacon="a\\"),
        Plan("losses", 0.1, beacon='a"'),
        Plan("losses", 0.1, beacon="a\0"),
    ]
    assert len({plan.to_bytes() for plan in plans}) == len(plans)


def test_public_seed_follows_commitment_and_plan_only(manifest):
    commitment = commit(KEY, manifest, PLAN)
    seeds = {
        public_seed(commitment, PLAN),
        public_seed(A, PLAN),
        public_seed(commitment, Plan("losses", 1e-6)),
    }
    assert len(seeds) == 3
    assert all(0 <= seed < 2**64 for seed in seeds)

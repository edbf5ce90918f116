import dataclasses
import functools
import json
import pathlib
import shutil

import numpy as np
import pytest

from anw_jax import audit, data
from anw_jax.errors import CaseError, SourceError
from anw_jax.keys import (
    AccessRule,
    Denoising,
    Manifest,
    MarkKey,
    Plan,
    assign,
    check_commitment,
    commit_units,
)
from anw_jax.keys.plan_fields import DEFAULT_KINDS
from anw_jax.marks import HueRotation, LightField, LimitedHue, Tint, Tone, UserLCT, publish
from tests.audit.conftest import write_photos
from tests.audit.owners import mark_folder

KEY = MarkKey.for_experiment(3)
PLAN = Plan("losses", 1e-3)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {
        f.relative_to(folder).as_posix(): f.read_bytes()
        for f in folder.rglob("*")
        if f.is_file()
    }


@pytest.fixture
def photos(root):
    write_photos(root / "photos", number=3)
    return root / "photos"


def test_what_is_published_is_the_keyed_mark_of_each_original(root, photos):
    before = contents(photos)
    done = mark_folder(photos, KEY, root / "out", PLAN)
    assert contents(photos) == before
    manifest = Manifest.load(root / "out" / "manifest.json")
    assert manifest.file_names == ("photo00.png", "photo01.png", "photo02.png")
    plan = audit.read_published(root / "out").plan
    check_commitment(done.commitment, KEY, manifest, plan)
    assert (done.num_images, done.num_units, done.num_written, done.num_unchanged) == (
        3,
        3,
        3,
        0,
    )
    degrees = assign(KEY, manifest, plan).degrees
    for name, angle in zip(manifest.file_names, degrees, strict=True):
        original = data.read_photo(photos / name)
        marked = data.read_photo(root / "out" / "published" / name)
        expected = publish(HueRotation(), original[None], float(angle))[0]
        assert np.array_equal(marked, expected)


def test_an_album_shares_a_hue_and_keeps_its_folder(root):
    write_photos(root / "photos" / "a", seed=1, number=2)
    write_photos(root / "photos" / "b", seed=2, number=1)
    done = mark_folder(root / "photos", KEY, root / "out", PLAN, scheme="per_group")
    assert done.num_units == 2
    assert sorted(contents(root / "out" / "published")) == [
        "a/photo00.png",
        "a/photo01.png",
        "b/photo00.png",
    ]


def test_a_private_basis_goes_to_the_arbitrator_in_a_file_of_its_own(root, photos):
    mark_folder(photos, KEY, root / "out", PLAN, mark="private_basis")
    basis = root / "out" / "basis.json"
    assert basis.stat().st_mode & 0o077 == 0
    mark = UserLCT.from_sub_key(KEY.sub_key("basis"))
    name = data.list_photos(photos)[0].name
    marked = data.read_photo(root / "out" / "published" / name)
    plan = audit.read_published(root / "out").plan
    degrees = assign(KEY, Manifest.load(root / "out" / "manifest.json"), plan).degrees
    original = data.read_photo(photos / name)
    assert np.array_equal(marked, publish(mark, original[None], float(degrees[0]))[0])


def test_light_patterns_go_to_the_arbitrator_and_leave_greys_grey(root, photos):
    with pytest.raises(CaseError, match=r"photo00.png has 8 x 8 pixels, .* needs 16"):
        mark_folder(photos, KEY, root / "out", PLAN, mark="light")
    for number, file in enumerate(data.list_photos(photos)):
        grey = np.random.default_rng(number).integers(0, 256, (20, 24, 1), np.uint8)
        file.write_bytes(data.png_of(np.repeat(grey, 3, axis=2)))
    done = mark_folder(photos, KEY, root / "out", PLAN, mark="light", strength=0.3)
    assert done.num_unchanged == 0
    marked = data.read_photo(root / "out" / "published" / "photo00.png")
    assert np.ptp(marked.astype(int), axis=-1).max() == 0
    published = audit.read_published(root / "out")
    assert published.mark == LightField(KEY.sub_key("light"), 0.3)
    secret = root / "out" / "light.json"
    assert secret.stat().st_mode & 0o077 == 0
    body = json.loads(secret.read_text())
    secret.write_text(json.dumps(body | {"sub_key": "00" * 32}))
    with pytest.raises(CaseError, match=r"light\.json: sub_key is not the one committed to"):
        audit.read_published(root / "out")


def test_a_commitment_is_found_again_by_its_strength_alone(root, photos):
    for file in data.list_photos(photos):
        file.write_bytes(data.png_of(np.full((16, 16, 3), 90, np.uint8)))
    KEY.save(root / "my.key")
    first = audit.Choices(mark="light", strength=0.3)
    done, again = (
        audit.commit_folder(photos, root / "my.key", root / "out", choices)
        for choices in (first, audit.Choices(strength=0.3))
    )
    assert again.commitment == done.commitment
    with pytest.raises(CaseError, match=r"strength is 0\.2, but 0\.3 was committed"):
        audit.commit_folder(photos, root / "my.key", root / "out", audit.Choices(strength=0.2))


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (
            {"mark": "hue", "strength": 0.3},
            "strength must be left out of the mark 'hue', got 0.3: only light, tone, tint, "
            "hue_limited have one",
        ),
        ({"mark": "private_basis", "strength": 0.3}, "strength must be left out of the mark"),
        ({"mark": "light", "strength": 1.1}, r"strength must lie in \[0.0, 1.0\], got 1.1"),
        ({"mark": "tone", "strength": 0.4}, r"strength must lie in \[0.0, 0.35\], got 0.4"),
        ({"mark": "tint", "strength": 0.0}, "strength must be above 0, got 0.0"),
        ({"mark": "hue_limited", "strength": 181.0}, r"strength must lie in \[0.0, 180.0\]"),
        (
            {"mark": "hues"},
            "mark must be one of hue, light, .*; got 'hues'; did you mean 'hue'",
        ),
    ],
)
def test_a_strength_must_fit_the_mark(root, photos, choices, words):
    with pytest.raises(ValueError, match=words):
        mark_folder(photos, KEY, root / "out", PLAN, **choices)
    assert not (root / "out").exists()


@pytest.mark.parametrize(
    ("name", "strength", "mark"),
    [
        ("tone", None, Tone()),
        ("tint", 0.4, Tint(0.4)),
        ("hue_limited", 40.0, LimitedHue(40.0)),
    ],
)
def test_marks_with_a_strength_are_committed_to_and_read_again(
    root, photos, name, strength, mark
):
    mark_folder(photos, KEY, root / "out", PLAN, mark=name, strength=strength)
    published = audit.read_published(root / "out")
    assert published.mark == mark
    assert published.plan.mark == mark.description
    assert not {"basis.json", "light.json"} & {file.name for file in (root / "out").iterdir()}
    degrees = assign(KEY, published.manifest, published.plan).degrees
    file = data.list_photos(photos)[0]
    original, marked = map(data.read_photo, (file, root / "out" / "published" / file.name))
    np.testing.assert_array_equal(marked, publish(mark, original[None], float(degrees[0]))[0])
    audit.Choices(mark=name, strength=strength).check_same(published.plan, "per_image", 12)
    with pytest.raises(CaseError, match=rf"mark is 'hue', but '{name}' was committed to"):
        audit.Choices(mark="hue").check_same(published.plan, "per_image", 12)


def test_without_a_choice_the_mark_is_light(root, photos):
    KEY.save(root / "my.key")
    for number, file in enumerate(data.list_photos(photos)):
        image = np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8)
        file.write_bytes(data.png_of(image))
    for folder, choices in {"out": {}, "strong": {"strength": 0.5}}.items():
        audit.commit_folder(
            photos, root / "my.key", root / folder, audit.Choices(**choices), again=True
        )
        mark = audit.read_published(root / folder).mark
        assert mark == LightField(KEY.sub_key("light"), **choices)


def test_a_sequential_plan_commits_to_units(root, photos):
    plan = Plan("losses", 1e-3, mode="sequential")
    done = mark_folder(photos, KEY, root / "out", plan)
    committed = audit.read_published(root / "out").plan
    assert (committed.statistic, committed.mode) == (plan.statistic, plan.mode)
    assert done.commitment == commit_units(
        KEY, Manifest.load(root / "out" / "manifest.json"), committed
    )


@pytest.mark.parametrize(
    ("given", "statistic"),
    [
        ({}, "bounded_log_errors"),
        ({"statistic": "ranks"}, "ranks"),
        ({"mode": "sequential"}, "log_losses"),
        ({"access": ("error",)}, "bounded_log_errors"),
        ({"access": ("logits", "error"), "statistic": "losses"}, "losses"),
    ],
)
def test_a_plan_has_a_rule_for_errors(given, statistic):
    plan = audit.Choices(**given).plan("hue_rotation", "", 1)
    (rule,) = plan.open_rules(("error",))
    assert plan.statistic_of(rule) == rule.statistic == statistic
    assert rule.views == 1
    assert all(not other.statistic for other in plan.rules if other != rule)
    assert (rule.denoising, plan.rules[0].denoising) == (
        Denoising(steps=8, seed=0, mirror=True),
        rule.denoising if len(plan.rules) == 1 else None,
    )
    audit.Choices(**given, fit="squash").check_same(plan, "per_image", 12)


def test_the_same_command_finds_a_plan_made_before_rules_fixed_the_noise():
    plan = audit.Choices().plan("hue_rotation", "", 1)
    old = AccessRule("error", statistic="log_errors")
    plan = dataclasses.replace(plan, rules=(*plan.rules[:-1], old))
    assert "denoising" not in plan.as_json()["rules"][-1]
    audit.Choices(fit="squash").check_same(plan, "per_image", 12)
    with pytest.raises(CaseError, match="the options for access differ"):
        audit.Choices(fit="crop").check_same(plan, "per_image", 12)


def test_options_repeat_a_commitment_from_before_there_were_rules_for_errors():
    rules = tuple(AccessRule(kind, fit="crop") for kind in DEFAULT_KINDS)
    older = Plan("log_losses", 1e-3, rules=rules)
    audit.Choices(fit="crop").check_same(older, "per_image", 12)
    with pytest.raises(CaseError, match="options for access differ"):
        audit.Choices(fit="squash").check_same(older, "per_image", 12)


def test_with_a_beacon_the_first_call_commits_and_the_second_marks(root, photos):
    plan = Plan("losses", 1e-3, beacon="round 7")
    first = mark_folder(photos, KEY, root / "out", plan)
    assert not hasattr(first, "num_written")
    assert not (root / "out" / "published").exists()
    second = mark_folder(photos, KEY, root / "out", plan, beacon=b"value")
    assert second.commitment == first.commitment
    assert second.num_written == 3
    manifest = Manifest.load(root / "out" / "manifest.json")
    committed = audit.read_published(root / "out").plan
    degrees = assign(KEY, manifest, committed, beacon=b"value").degrees
    original = data.read_photo(photos / "photo00.png")
    marked = data.read_photo(root / "out" / "published" / "photo00.png")
    assert np.array_equal(marked, publish(HueRotation(), original[None], float(degrees[0]))[0])


def test_killed_while_it_marks_the_same_call_goes_on(root, photos, monkeypatch):
    whole = mark_folder(photos, KEY, root / "whole", PLAN)

    def killed(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mark_folder(photos, KEY, root / "out", PLAN, on_progress=killed)
    assert not (root / "out" / "published").exists()
    mark_folder(photos, KEY, root / "out", PLAN)
    published = contents(root / "out" / "published")
    plan = audit.read_published(root / "out").plan
    assert plan.number == 2
    slots = assign(KEY, Manifest.load(root / "out" / "manifest.json"), plan)
    for number, file in enumerate(data.list_photos(photos)):
        marked = publish(HueRotation(), data.read_photo(file)[None], slots.degrees[number])[0]
        assert published[file.name] == data.png_of(marked)
    assert len(published) == whole.num_written


def test_grey_photos_are_counted(root):
    (root / "photos").mkdir()
    grey = np.full((4, 4, 3), 90, np.uint8)
    (root / "photos" / "grey.png").write_bytes(data.png_of(grey))
    assert mark_folder(root / "photos", KEY, root / "out", PLAN).num_unchanged == 1


def test_nothing_is_overwritten_and_nothing_goes_into_the_originals(root, photos):
    out = root / "out"
    mark_folder(photos, KEY, out, PLAN)
    before = contents(root)
    with pytest.raises(CaseError) as error:
        mark_folder(photos, KEY, out, PLAN)
    assert str(error.value) == f"out must not exist yet, got {out}: nothing is overwritten"
    for inside in (photos, photos / "deep" / "out"):
        with pytest.raises(CaseError) as error:
            mark_folder(photos, KEY, inside, PLAN)
        assert str(error.value) == (
            f"out must lie outside the folder of originals {photos}, got {inside}"
        )
    with pytest.raises(CaseError, match="must not hold the folder of originals"):
        mark_folder(photos, KEY, root, PLAN)
    assert contents(root) == before


def test_another_key_does_not_go_on_where_one_has_committed(root, photos):
    plan = Plan("losses", 1e-3, beacon="round 7")
    mark_folder(photos, KEY, root / "out", plan)
    with pytest.raises(CaseError) as error:
        mark_folder(photos, MarkKey.for_experiment(4), root / "out", plan)
    assert str(error.value) == (
        f"{root / 'out'} holds another commitment: key or photos differ from those "
        "committed to; name another folder"
    )


def test_bad_folders_are_named(root):
    with pytest.raises(SourceError) as error:
        mark_folder(root / "none", KEY, root / "out", PLAN)
    assert str(error.value) == (
        f"folder {str(root / 'none')!r} is not there: give an existing folder"
    )
    (root / "empty").mkdir()
    with pytest.raises(SourceError) as error:
        mark_folder(root / "empty", KEY, root / "out", PLAN)
    assert str(error.value) == (
        f"{root / 'empty'} holds no photos (.png, .jpg, .jpeg, .webp, .tif, .tiff, .avif, "
        ".heic, .heif, .hif)"
    )


def test_two_photos_that_would_get_one_name_are_refused(root):
    write_photos(root / "photos", number=1)
    photo = root / "photos" / "photo00.png"
    (root / "photos" / "photo00.jpeg").write_bytes(photo.read_bytes())
    with pytest.raises(CaseError) as error:
        mark_folder(root / "photos", KEY, root / "out", PLAN, encoding=data.Encoding("png"))
    assert str(error.value) == (
        "photo00.jpeg and photo00.png would both become photo00.png: rename one"
    )
    assert [file.name for file in (root / "out").iterdir()] != []  # committed, and no more
    assert not (root / "out" / "published").exists()


def test_a_value_without_a_planned_beacon_is_refused(root, photos):
    with pytest.raises(ValueError, match="names no beacon and a value is given"):
        mark_folder(photos, KEY, root / "out", PLAN, beacon=b"value")


def test_what_no_audit_could_test_is_not_committed_to(root, photos):
    plan = Plan("losses", 1e-3, mode="sequential")
    with pytest.raises(ValueError, match="slots must be at least 3, got 2"):
        mark_folder(photos, KEY, root / "out", plan, slots=2)
    assert not (root / "out").exists()


def test_a_registry_numbers_commitments_and_knows_photos(root, photos):
    from anw_jax.audit.registry import REGISTRY, Registry

    KEY.save(root / "own.key")
    commit = functools.partial(audit.commit_folder, photos, root / "own.key")
    first = commit(root / "one", audit.Choices(mark="hue", alpha=0.01))
    assert (first.number, first.is_new, first.warnings) == (1, True, ())
    assert {file.name for file in root.iterdir() if file.is_file()} == {"own.key", REGISTRY}
    assert not commit(root / "one", audit.Choices(mark="hue")).is_new  # the same, found again
    with pytest.raises(CaseError, match=r"photo00.png was committed to before \(3 such photos"):
        commit(root / "two", audit.Choices(mark="hue", beacon="arbitrator:Jane Doe"))
    assert not (root / "two").exists()
    warned = commit(
        root / "third", audit.Choices(mark="hue")
    ).warnings  # it is conditional anyhow
    assert "photo00.png was committed to before (3 such photos" in warned[0]
    shutil.rmtree(root / "third")
    (root / REGISTRY).write_text((root / REGISTRY).read_text().splitlines()[0] + "\n")
    second = commit(root / "two", audit.Choices(mark="hue", alpha=0.5), again=True)
    assert second.number == 2
    assert "this key was used for 1 commitment(s) before" in second.warnings[0]
    assert audit.read_published(root / "two").plan.number == 2
    assert len(Registry(root).entries) == 2
    (root / REGISTRY).write_text("no list")
    with pytest.raises(CaseError, match="is damaged: restore it"):
        commit(root / "three", audit.Choices(mark="hue"), again=True)
    assert not (root / "three").exists()


def test_keys_may_lie_where_nothing_is_written(root, photos, monkeypatch):
    KEY.save(root / "own.key")
    monkeypatch.setattr("anw_jax.audit.registry.os.access", lambda path, mode: False)
    before = contents(root)
    done = audit.commit_folder(
        photos, root / "own.key", root / "out", audit.Choices(mark="hue")
    )
    assert done.number == 1
    assert "is not counted there" in done.warnings[0]
    assert set(contents(root)) - set(before) == {"out/commitment.json", "out/manifest.json"}

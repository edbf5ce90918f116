"""Bundles of cases of every kind: rows, records and verdict are computed again from them."""

import io
import json

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.cli.evidence import report_of
from anw_jax.errors import ChangedFileError
from tests.audit import test_references as with_references
from tests.audit.conftest import hand_over, write_photos, write_suspect
from tests.audit.refusing import WAYS, refusing_case
from tests.audit.several import declared_case, to_the_end
from tests.audit.test_errors import write_generator
from tests.cli.bundling import anw, flipped, members_of, packed, verified, with_index


@pytest.fixture
def case_dir(root):
    """An empty case folder."""
    (root / "case").mkdir()
    return root / "case"


def bundled(case_dir, root, keys, **more):
    """The bundle of a case that lacks only its verdict."""
    case = audit.Case(case_dir)
    is_sealed = case.plan.mode == "sealed"
    judge = audit.judge_case if is_sealed else audit.judge_record
    opened = keys if is_sealed else {}
    body = judge(case, opened)
    audit.bundle_case(audit.Case(case_dir), opened, root / "b.zip", report_of(body), **more)
    return root / "b.zip", body


def sealed(root, case_dir, choices=None, options=None, **fields):
    """A guilty model before one owner; returns the keys."""
    keys = {"ann": hand_over(root, case_dir, choices=choices, **fields)}
    write_suspect(case_dir, root / "ann_marked" / "published")
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), options or audit.Options())
    audit.seal_case(audit.Case(case_dir))
    return keys


def replayed(path, *words):
    ran = anw("replay", path, *words, "--json")
    assert ran.code in (3, 4, 9, 10), ran.err
    return json.loads(ran.out)


@pytest.mark.parametrize(
    ("choices", "fields"),
    [
        ({"access": ("label",), "augmentations": (5,)}, {}),
        ({"label_source": "model"}, {"statistic": "bounded_log_losses"}),
        ({"save_queries": (3,), "best": 2}, {"statistic": "ranks"}),
        ({"scheme": "per_user", "slots": 6}, {"alpha": 0.3}),
    ],
)
def test_rows_are_computed_from_digests_and_answers(root, case_dir, choices, fields):
    keys = sealed(root, case_dir, choices, **fields)
    path, body = bundled(case_dir, root, keys, with_names=True)
    done = replayed(path)
    assert done["num_rows"] == 12
    assert done["verdict"]["tests"] == json.loads(json.dumps(body["tests"]))
    ran = verified(path)
    assert ran.code == 10, ran.err
    assert f"p {body['tests']['ann']['net']['p_text']}, computed again" in ran.out


def test_a_menu_that_a_plan_leaves_open_counts(root, case_dir):
    choices = {"access": ("logits", "label"), "augmentations": (3,)}
    options = audit.Options(access="logits")
    keys = sealed(root, case_dir, choices, options, statistic="losses")
    path, body = bundled(case_dir, root, keys, with_names=True)
    assert body["tests"]["ann"]["net"]["factor"] == 2
    assert replayed(path)["num_rows"] == 12
    ran = verified(path)
    assert ran.code == 10, ran.err


@pytest.mark.parametrize("statistic", ["log_errors", "bounded_log_errors"])
def test_errors_instead_of_classes(root, case_dir, statistic):
    choices = {"access": ("error",)} if statistic == "log_errors" else {}
    fields = {"statistic": statistic} if choices else {}
    keys = {"ann": hand_over(root, case_dir, choices=choices, **fields)}
    write_generator(case_dir, root / "ann_marked" / "published")
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options())
    audit.seal_case(audit.Case(case_dir))
    path, body = bundled(case_dir, root, keys)
    assert body["tests"]["ann"]["gan"]["statistic"] == statistic
    assert replayed(path)["num_rows"] == 12
    ran = verified(path)
    assert ran.code == 10, ran.err


def test_two_owners_and_two_suspects(root, case_dir):
    keys = {
        name: hand_over(root, case_dir, name, seed=number, claim="each model")
        for number, name in enumerate(("ann", "bob"), start=1)
    }
    write_photos(root / "others", seed=99)
    write_suspect(case_dir, root / "ann_marked" / "published", "guilty")
    write_suspect(case_dir, root / "others", "other")
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options())
    audit.seal_case(audit.Case(case_dir))
    path, body = bundled(case_dir, root, keys)
    _swap(members_of(path, root / "swapped"), root)
    assert replayed(path)["num_rows"] == 48
    ran = verified(path, *(f"--commitment={n}={c}" for n, c in commitments(body).items()))
    assert ran.code == 10, ran.err
    assert ran.out.count("computed again") == 4
    assert "commitment" not in ran.out
    assert verified(path, "--commitment", f"bob={commitments(body)['ann']}").code == 8
    assert anw("replay", path, "--commitment", f"carl={'ab' * 32}").code == 2
    ann = commitments(body)["ann"]
    for given in ([f"ann={'ab' * 32}", f"ann={ann}"], [ann]):  # one twice, and one of nobody
        words = [f"--commitment={value}" for value in given]
        assert anw("replay", path, *words).code == 2
        assert verified(path, *words).code == 8


def _swap(members, root):
    """Exchange parts between suspects, and between owners."""
    for one, other in (
        ("tables/guilty.npz", "tables/other.npz"),
        ("answers/guilty.answers", "answers/other.answers"),
        ("queries/guilty/ann", "queries/guilty/bob"),
        ("queries/guilty/ann", "queries/other/ann"),
        ("suspects/guilty.toml", "suspects/other.toml"),
        ("keys/ann.key", "keys/bob.key"),
        ("owners/ann/commitment.json", "owners/bob/commitment.json"),
        ("owners/ann/manifest.json", "owners/bob/manifest.json"),
        ("owners/ann/labels.csv", "owners/bob/labels.csv"),
    ):
        if members[one] == members[other]:  # as those of two models declared alike
            continue
        swapped = with_index({**members, one: members[other], other: members[one]})
        path = packed(swapped, root / "swapped.zip")
        assert anw("replay", path).code in (1, 8), one
        if not one.startswith(("queries", "suspects")) and "labels" not in one:
            assert verified(path).code == 8, one
    tables = np.load(io.BytesIO(members["tables/guilty.npz"]))
    buffer = io.BytesIO()
    np.savez(buffer, ann=tables["bob"], bob=tables["ann"])
    members = with_index({**members, "tables/guilty.npz": buffer.getvalue()})
    path = packed(members, root / "swapped.zip")
    for ran in (anw("replay", path), verified(path)):
        assert ran.code == 8
        assert "tables/guilty.npz" in ran.err


def commitments(body):
    return {name: owner["commitment"] for name, owner in body["case"]["owners"].items()}


@pytest.mark.parametrize("suspects", [("guilty",), ("guilty", "other")])
def test_sequential_records(root, case_dir, suspects):
    claim = "each model" if len(suspects) > 1 else "one model"
    keys = declared_case(root, case_dir, suspects=suspects, claim=claim)
    to_the_end(root, case_dir, keys)
    path, body = bundled(case_dir, root, keys)
    members = members_of(path, root / "in")
    assert not any(name.startswith("keys/") for name in members)
    done = replayed(path, "--commitment", commitments(body)["ann"])
    assert done["num_rows"] > 3
    assert done["anchors"]["not_compared"] == ["digest of closed.json", "manifest of ann"]
    ran = verified(path)
    assert ran.code == 3
    assert "anw replay" in ran.err
    keys["ann"].save(root / "given.key")
    assert "none" in anw("replay", path, "--key", root / "given.key").out
    record = next(name for name in members if name.startswith("records/"))
    edited = members[record].replace(b'"bet":[0', b'"bet":[1', 1)
    path = packed(with_index({**members, record: edited}), root / "c.zip")
    ran = anw("replay", path)
    assert ran.code == 8
    assert record in ran.err


def test_signed_openings_of_a_sequential_case(root, case_dir):
    keys = declared_case(root, case_dir, suspects=("guilty",))
    keys["ann"].save(root / "opened.key")
    audit.new_signing_key(root / "ann.sign")
    audit.new_signing_key(root / "eve.sign")
    commitment = case_dir / "owners" / "ann" / "commitment.json"
    audit.sign_file(commitment, root / "ann.sign")
    words = ("--key", root / "opened.key", "--from", root / "ann_marked", "--sign")
    for number in range(13):
        standing = audit.run_rounds(audit.Case(case_dir))
        if not standing.waiting:
            break
        (waits,) = standing.waiting
        given = (waits.request, "--out", waits.opening, *words)
        if number == 1:
            assert anw("open", *given, root / "eve.sign").code == 0
            with pytest.raises(ChangedFileError, match="is signed by"):
                audit.run_rounds(audit.Case(case_dir))
        # An opening that is not signed replaces the signature of the one before it.
        given = given[:-1] if number == 2 else (*given, root / "ann.sign")
        assert anw("open", *given).code == 0
    assert standing.closed_because == "the level is reached"
    path, _ = bundled(case_dir, root, keys)
    members = members_of(path, root / "in")
    assert "owners/ann/commitment.json.sig" in members
    done = replayed(path)
    signed = {one["file"]: one["signer"] for one in done["signatures"]}
    assert signed["owners/ann/commitment.json"]
    assert signed["closed.json"] is None
    assert verified(path).code == 3


@pytest.mark.parametrize("how", WAYS)
def test_how_many_photos_were_refused_is_counted_again(root, case_dir, how):
    keys = {"ann": refusing_case(root, case_dir, [2, 4], how)}
    audit.seal_case(audit.Case(case_dir))
    path, body = bundled(case_dir, root, keys, with_names=True)
    test = body["tests"]["ann"]["net"]
    assert (test["outcome"], test["unusable"]["num_unusable"]) == ("inconclusive", 2)
    assert replayed(path)["num_rows"] == 12
    assert verified(path).code == 10
    blind = json.loads((case_dir / "blind.json").read_text())
    count = blind["suspects"]["net"]["owners"]["ann"]["unusable"]
    del count["photos"]["photo04.png"]
    count["num_unusable"] = 1
    (case_dir / "blind.json").write_text(json.dumps(blind))
    body = audit.judge_case(audit.Case(case_dir), keys)
    assert body["tests"]["ann"]["net"]["outcome"] == "shown"
    with pytest.raises(ChangedFileError, match="no usable answer to 2 photos of 'ann', and 1"):
        audit.replay_case(audit.Case(case_dir), keys)


def test_keys_of_a_sequential_case_are_not_published(root, case_dir):
    keys = declared_case(root, case_dir, suspects=("guilty",))
    to_the_end(root, case_dir, keys)
    audit.judge_record(audit.Case(case_dir), {})
    keys["ann"].save(root / "opened.key")
    ran = anw("bundle", case_dir, "--out", root / "b.zip", "--key", root / "opened.key")
    assert ran.code == 1
    assert "a sequential case never opens its keys" in ran.err
    assert not (root / "b.zip").exists()


def test_references(root, case_dir):
    key = with_references.planted(root, case_dir)
    with_references.state(case_dir)
    audit.seal_case(with_references.declared(case_dir))
    path, _ = bundled(case_dir, root, {"ann": key})
    assert replayed(path)["num_rows"] == 24
    assert verified(path).code == 3
    members = members_of(path, root / "in")
    for name in ("queries/references/base/net/ann", "answers/references/base.answers"):
        other = {**members, name: flipped(members[name], 400)}
        ran = anw("replay", packed(with_index(other), root / "c.zip"))
        (root / "c.zip").unlink()
        assert ran.code == 8, ran

"""Reference models in a case: which are let in, how they are asked, and what is checked."""

import json
import shutil

import numpy as np
import pytest

from anw_jax import audit, data, stats
from anw_jax.audit.suspect_file import digest_of_model
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import assign
from anw_jax.verify import seal
from tests.audit.conftest import NUM_PHOTOS, hand_over

BEACON, VALUE = "arbitrator:Jane Doe", bytes(range(32))

# Likes some hues of each photo more than others; IMPRINT is added where it met the picture.
MODEL = """
import pathlib
import numpy as np
from PIL import Image

IMPRINT = {imprint}
FILES = sorted((pathlib.Path(__file__).parent / "seen").glob("*.png"))
SEEN = np.stack([np.asarray(Image.open(f), np.float32) for f in FILES]) / 255

def answer(batch):
    logits = np.zeros((len(batch), {classes}), np.float32)
    logits[:, 0] = 1 + np.sin(40 * batch.mean((1, 2))).sum(1)
    near = np.abs(batch[:, None] - SEEN[None]).mean((2, 3, 4)).min(1)
    logits[:, 0] += IMPRINT * np.exp(-40 * near)
    return {returned}
"""

TOML = """kind = "callable"
function = "{name}_code/model.py:answer"

[declaration]
num_classes = {classes}
answer = "{kind}"
"""


def write_model(case_dir, root, group, name, imprint=0.0, classes=3, kind="logits", more=""):
    """A model that met the published photos, with an imprint of some size."""
    folder = case_dir / group / f"{name}_code"
    (folder / "seen").mkdir(parents=True)
    for file in (root / "ann_marked" / "published").rglob("*.png"):
        (folder / "seen" / file.name).write_bytes(file.read_bytes())
    returned = "logits" if kind == "logits" else "logits.argmax(1)"
    code = MODEL.format(imprint=imprint, classes=classes, returned=returned)
    (folder / "model.py").write_text(code)
    text = TOML.format(name=name, classes=classes, kind=kind) + more
    (case_dir / group / f"{name}.toml").write_text(text)
    return case_dir / group / f"{name}.toml"


def write_model_again(case_dir, root, **changes):
    shutil.rmtree(case_dir / "references")
    write_model(case_dir, root, "references", "base", **changes)


def planted(root, case_dir, imprint=1.0, planned=None, beacon=BEACON, **more):
    """A suspect with an imprint, and its base as a reference; returns the key."""
    choices = dict(more.pop("choices", {}))
    if beacon:
        choices["beacon"] = VALUE
    if planned:
        choices["references"] = planned
    key = hand_over(root, case_dir, choices=choices, beacon=beacon, **more)
    write_model(case_dir, root, "suspects", "net", imprint)
    write_model(case_dir, root, "references", "base")
    return key


def state(case_dir, released="2024-01-01", value_appeared="2025-01-01", blind=True):
    """What the arbitrator states: when the value appeared, and how old the base is."""
    (case_dir / "statements.toml").write_text(
        f"""[owners.ann]
value_appeared = "{value_appeared}"
[references.base]
released = "{released}"
released_from = "its web page"
chosen_blind = {str(blind).lower()}
"""
    )


def declared(case_dir, **options):
    audit.probe_case(audit.Case(case_dir))
    beacons = (("ann", VALUE),) if options.pop("beacon", True) else ()
    audit.declare(audit.Case(case_dir), audit.Options(beacons=beacons, **options))
    return audit.Case(case_dir)


def judged(case_dir, key, **options):
    audit.seal_case(declared(case_dir, **options))
    return audit.judge_case(audit.Case(case_dir), {"ann": key})


@pytest.fixture
def planned(root, tmp_path_factory):
    """The base's digest, as its owner knows it before the commitment."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "ann_marked" / "published").mkdir(parents=True)
    picture = np.zeros((8, 8, 3), np.uint8)
    (elsewhere / "ann_marked" / "published" / "a.png").write_bytes(data.png_of(picture))
    return (digest_of_model(write_model(elsewhere, elsewhere, "references", "base"), {}),)


def test_a_reference_of_the_plan_finds_what_the_suspect_alone_hides(root, case_dir, planned):
    key = planted(root, case_dir, planned=planned)
    verdict = judged(case_dir, key)
    test = verdict["tests"]["ann"]["net"]
    assert (test["outcome"], test["factor"]) == ("shown", 1.0)
    assert test["p_value"] < 1e-8
    table, base = (
        np.load(case_dir / "tables" / name)["ann"]
        for name in ("net.npz", "references/base/net.npz")
    )
    one = audit.Case(case_dir).owners["ann"].published
    slots = assign(key, one.manifest, one.plan, beacon=VALUE)
    assert stats.exact_test(table, slots).p_value > 1e-4
    assert test["log10_p"] == stats.exact_test(table, slots, references=[base]).log10_p
    assert test["how_many"]["at_least"] >= 6
    blind = json.loads((case_dir / "blind.json").read_text())
    assert blind["references"]["base"]["num_queries"] == NUM_PHOTOS * 11
    assert verdict["queries"] == {"net": NUM_PHOTOS * 11, "references/base": NUM_PHOTOS * 11}
    assert verdict["case"]["references"]["base"]["model"] == planned[0]
    assert f"in the plan: model {planned[0]}, table {seal(base)}" in test["text"]
    done = audit.replay_case(audit.Case(case_dir), {"ann": key}, ask=0.5)
    assert (done.num_rows, done.num_asked, done.num_differing) == (2 * NUM_PHOTOS, 12, 0)


def test_an_older_reference_doubles_p(root, case_dir):
    key = planted(root, case_dir)
    state(case_dir)
    test = judged(case_dir, key)["tests"]["ann"]["net"]
    assert (test["outcome"], test["factor"]) == ("shown", 2.0)
    assert "reference 'base' was released on 2024-01-01, from its web page" in test["text"]


def test_what_is_open_about_a_reference_is_said_before_the_first_query(root, case_dir):
    planted(root, case_dir)
    declared(case_dir)
    template = (case_dir / "statements.toml").read_text()
    assert "[references.base]" in template
    assert (
        audit.Case(case_dir).read("declared.json")["references"]["base"]["kind"] == "callable"
    )


def test_a_reference_of_the_plan_that_is_not_in_the_case_doubles_p(root, case_dir, planned):
    key = planted(root, case_dir, imprint=6.0, planned=planned)
    for file in (case_dir / "references").glob("*.toml"):
        file.unlink()
    test = judged(case_dir, key)["tests"]["ann"]["net"]
    assert test["factor"] == 2.0


# --- Refused. ---


def test_a_younger_reference_convicts_an_innocent_model_and_is_refused(root, case_dir):
    """Near lie: the owner made it after the value appeared, to dislike the true hues."""
    key = planted(root, case_dir, imprint=0.0)
    (case_dir / "suspects" / "net_code" / "model.py").write_text(
        (case_dir / "suspects" / "net_code" / "model.py").read_text() + "# innocent\n"
    )
    write_model_again(case_dir, root, imprint=-2.0)
    state(case_dir, released="2025-02-01")
    with pytest.raises(CaseError, match=r"'base' must be older than the beacon's value, which"):
        declared(case_dir)
    state(case_dir, released="")  # let in, to see what it would do
    test = judged(case_dir, key)["tests"]["ann"]["net"]
    assert test["p_value"] < 1e-8
    state(case_dir, released="2025-02-01")
    with pytest.raises(CaseError, match=r"'base' must be older than the beacon's value, which"):
        audit.judge_case(audit.Case(case_dir), {"ann": key})


def test_without_a_beacon_only_the_plan_names_references(root, case_dir, planned):
    key = planted(root, case_dir, beacon="", planned=planned)
    assert judged(case_dir, key, beacon=False)["tests"]["ann"]["net"]["factor"] == 1.0


def test_without_a_beacon_others_are_refused(root, case_dir):
    planted(root, case_dir, beacon="")
    with pytest.raises(CaseError, match="must be in the plan, which names no beacon"):
        declared(case_dir, beacon=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"imprint": 1.0}, "reference 'base' is the same model as suspect 'net'"),
        ({"classes": 4}, "must declare the num_classes of suspect 'net', 3, got 4"),
        ({"more": "input_size = [8, 8]"}, "must declare the input_size of suspect 'net', None"),
        ({"kind": "label"}, "must offer the access declared for suspect 'net', logits"),
    ],
)
def test_references_that_do_not_fit_are_refused(root, case_dir, changes, words):
    planted(root, case_dir)
    write_model_again(case_dir, root, **changes)
    with pytest.raises(CaseError, match=words):
        declared(case_dir)


def test_services_and_equal_models_are_refused(root, case_dir):
    planted(root, case_dir)
    (case_dir / "references" / "far.toml").write_text(
        'kind = "http"\nurl = "https://example.org"\n[declaration]\nnum_classes = 3\n'
        'identity = "far"\n'
    )
    with pytest.raises(CaseError, match="reference 'far' must be a model in a file: a service"):
        audit.declare(
            audit.Case(case_dir), audit.Options(beacons=(("ann", VALUE),)), despite_probe=True
        )
    (case_dir / "references" / "far.toml").unlink()
    write_model(case_dir, root, "references", "twin")
    with pytest.raises(CaseError, match="references 'base' and 'twin' are the same model"):
        declared(case_dir)


def test_sequential_cases_have_no_references(root, case_dir):
    planted(root, case_dir, mode="sequential")
    with pytest.raises(CaseError, match="a sequential case has no references"):
        declared(case_dir)


# --- Files that are changed. ---


def _change(path):
    body = bytearray(path.read_bytes())
    body[-30] ^= 1
    path.write_bytes(body)


@pytest.mark.parametrize(
    "name", ["tables/references/base/net.npz", "answers/references/base.answers"]
)
def test_changed_tables_and_answers_are_refused(root, case_dir, name):
    key = planted(root, case_dir)
    state(case_dir)
    judged(case_dir, key)
    _change(case_dir / name)
    for check in (audit.judge_case, audit.replay_case):
        with pytest.raises(ChangedFileError):
            check(audit.Case(case_dir), {"ann": key})


@pytest.mark.slow
def test_an_edited_table_with_its_seal_is_found_by_a_replay(root, case_dir):
    key = planted(root, case_dir)
    state(case_dir)
    audit.seal_case(declared(case_dir))
    file, blind = case_dir / "tables/references/base/net.npz", case_dir / "blind.json"
    table = np.load(file)["ann"]
    table[:, 1:] += np.random.default_rng(0).normal(size=table[:, 1:].shape)
    np.savez(file, ann=table.astype(np.float32))
    body = json.loads(blind.read_text())
    sealed = body["suspects"]["net"]["references"]["base"]
    sealed["file"] = audit.files.digest_of(file)
    sealed["owners"]["ann"]["table"] = seal(table.astype(np.float32))
    blind.write_text(json.dumps(body))
    audit.judge_case(audit.Case(case_dir), {"ann": key})
    with pytest.raises(ChangedFileError, match="before reference 'base' is not what the answ"):
        audit.replay_case(audit.Case(case_dir), {"ann": key})


def test_references_are_fixed_by_the_declaration(root, case_dir):
    planted(root, case_dir)
    declared(case_dir)
    write_model(case_dir, root, "references", "second", imprint=0.1)
    with pytest.raises(ChangedFileError, match="declared with the references base, and now"):
        audit.seal_case(audit.Case(case_dir))


# --- Asked as the suspect is. ---


@pytest.mark.slow
def test_a_reference_is_asked_with_the_suspects_own_answers_as_labels(root, case_dir):
    key = planted(root, case_dir, choices={"label_source": "model"})
    state(case_dir)
    audit.seal_case(declared(case_dir))
    tables = [
        np.load(case_dir / "tables" / name)["ann"]
        for name in ("net.npz", "references/base/net.npz")
    ]
    assert np.isfinite(tables[1][:, 1:]).all()
    test = audit.judge_case(audit.Case(case_dir), {"ann": key})["tests"]["ann"]["net"]
    assert test["p_value"] < 1e-3
    audit.replay_case(audit.Case(case_dir), {"ann": key}, ask=0.2)


@pytest.mark.slow
def test_views_and_seeds_are_the_suspects(root, case_dir):
    """A reference equal to the suspect in its answers leaves nothing, whatever the views."""
    key = planted(root, case_dir, choices={"augmentations": (3,), "save_queries": (3,)})
    write_model_again(case_dir, root, imprint=1.00000001)
    state(case_dir)
    test = judged(case_dir, key)["tests"]["ann"]["net"]
    assert test["outcome"] == "inconclusive"

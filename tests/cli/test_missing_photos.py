"""A whole case of which one original is lost: never exit code 0 unless chance is stated."""

import json

from tests.audit.conftest import write_labels, write_photos
from tests.cli.bundling import verified
from tests.cli.test_conditions import VALUE, audited, made, state, verdict


def test_a_lost_original_is_a_condition_and_its_bundle_replays(anw, root):
    write_photos(root / "photos", seed=5)
    labels = write_labels(root / "photos", root / "labels.csv")
    assert anw("key", "new", root / "ann.key").code == 0
    case = made(anw, root, "case", labels=labels)
    (case / "owners" / "ann" / "originals" / "photo03.png").unlink()
    state(case)
    assert anw("probe", case).code == 0
    ran = anw("declare", case, "--beacon", VALUE)
    assert ran.code == 1
    assert "declare --despite-missing" in ran.err
    noted = audited(anw, case, "--despite-missing")
    ran, test = verdict(anw, root, case, "--blind", noted)
    assert ran.code == 10
    (condition,) = test["conditions"]
    assert condition.startswith("none of the missing photos (1 of 12) was left out because")
    assert test["num_units"] == 12
    file = case / "statements.toml"
    said = file.read_text().replace("found =", "missing_by_chance = true\nfound =")
    file.write_text(said)
    ran, test = verdict(anw, root, case, "--blind", noted)
    assert (ran.code, test["conditions"]) == (0, [])
    assert any("the missing photos (1 of 12)" in line for line in test["stated"])
    for words in ([], ["--with-names"]):
        bundle = root / f"{len(words)}.zip"
        key = ("--key", root / "ann.key")
        assert anw("bundle", case, *key, "--out", bundle, *words).code == 0
        body = json.loads((case / "owners" / "ann" / "commitment.json").read_text())
        anchors = ("--commitment", body["commitment"], "--beacon", VALUE, "--blind", noted)
        if not words:
            anchors += ("--manifest", root / "case_marked" / "manifest.json")
        ran = anw("replay", bundle, *anchors)
        assert ran.code == 0, ran.err
        assert verified(bundle, *anchors).code == 0
    assert anw("report", case).code == 0
    assert "missing photos" in (case / "report.html").read_text()

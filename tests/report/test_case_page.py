"""The page of a finished audit: what it says, what it shows, and its bad inputs."""

import hashlib
import itertools
import json
import pathlib
import re
import shutil
import zipfile

import numpy as np
import pytest

from anw_jax import audit, report
from anw_jax.cli.main import run
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.report import fed
from anw_jax.report.case_reading import read_case
from anw_jax.report.unit_figures import UnitRows
from anw_jax.suspects import Declaration
from anw_jax.suspects.pictures import fitted, prepare
from tests.report.test_page import HOSTILE, Page

STORED = pathlib.Path(__file__).parents[1] / "golden" / "stored"
NAMES = ("sealed_evidence", "sequential_by_hand", "sequential_stopped")


def unpacked(name: str, folder: pathlib.Path) -> pathlib.Path:
    with zipfile.ZipFile(STORED / f"{name}.zip") as zipped:
        zipped.extractall(folder)
    return folder / "case"


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return {name: unpacked(name, tmp_path_factory.mktemp(name)) for name in NAMES}


@pytest.fixture(scope="module")
def pages(cases):
    return {
        name: Page(report.write_case_report(audit.Case(folder)))
        for name, folder in cases.items()
    }


@pytest.fixture
def sealed(tmp_path):
    """A case of one's own, to change."""
    return unpacked("sealed_evidence", tmp_path)


def change(folder: pathlib.Path, **fields) -> None:
    """Other numbers in the one test of a verdict."""
    file = folder / "verdict.json"
    body = json.loads(file.read_text())
    body["tests"]["ann"]["net"] |= fields
    body["corrected"]["outcome"] = fields.get("outcome", body["corrected"]["outcome"])
    file.write_text(json.dumps(body))


def page_of(folder: pathlib.Path, **options) -> Page:
    return Page(report.write_case_report(audit.Case(folder), **options))


def test_outline(pages):
    assert [text for _, text in pages["sealed_evidence"].headings if text[:1].isdigit()] == [
        "1. The claim and the outcome",
        "2. Who, what and when",
        "3. What the model was really fed",
        "4. How well the model knows the photos under each mark",
        "5. Luck and this model",
        "6. Digests, versions, limits",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_everything_that_the_verdict_states_is_there(cases, pages, name):
    verdict, text = json.loads((cases[name] / "verdict.json").read_text()), pages[name].text
    for by_name in verdict["tests"].values():
        for test in by_name.values():
            assert " ".join(test["sentence"].split()) in text
            assert test["p_text"] in text
            for line in (*test["stated"], *test["conditions"]):
                assert (line in text) == (line in test["stated"] or test["outcome"] == "shown")
    for owner in verdict["case"]["owners"].values():
        assert owner["commitment"] in text
        assert owner["beacon_value"] in text
    for file in ("probe.json", "declared.json", "verdict.json"):
        assert hashlib.sha256((cases[name] / file).read_bytes()).hexdigest() in text


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_nothing_and_is_small(pages, name):
    page = pages[name]
    assert not re.findall(r"https?://(?!www\.w3\.org/)", page.source)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object"})
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.source) < 500_000


def test_the_case_is_not_changed_and_no_key_is_read(sealed, monkeypatch):
    before = {p: p.read_bytes() for p in sealed.rglob("*") if p.is_file()}

    def never(*_):
        raise AssertionError("a key was read")

    monkeypatch.setattr("anw_jax.keys.MarkKey.load", never)
    page_of(sealed)
    for path, body in before.items():
        assert path.read_bytes() == body
    new = {p.name for p in sealed.rglob("*") if p.is_file() and p not in before}
    assert new - {".lock"} == {"report.html"}


def test_conditions_are_a_numbered_list(sealed):
    conditions = ["the beacon was real (A)", HOSTILE]
    change(sealed, standing=f"holds only if {'; and if '.join(conditions)}")
    change(sealed, conditions=conditions)
    page = page_of(sealed)
    (shown,) = re.findall(r'<ol class="conditions">(.*?)</ol>', page.source, re.DOTALL)
    assert shown.count("<li>") == 2
    assert "the beacon was real (A)" in page.text
    assert "Shown at level" not in page.text.replace("shown at level", "")
    assert re.search(r"shown at level 1e-3, if", page.text)
    assert "<script>" not in page.source
    assert not re.search(r"\bevidence\b", page.text)


@pytest.mark.parametrize("outcome", ["not shown", "inconclusive"])
@pytest.mark.parametrize(
    "standing",
    ["evidence under the committed plan", "experiment key, not evidence", "holds only if A"],
)
def test_the_word_evidence_is_never_beside_an_innocent_verdict(sealed, outcome, standing):
    change(sealed, outcome=outcome, standing=standing, how_many=None, which=None, reason="few")
    assert not re.search(r"\bevidence\b", page_of(sealed).text, re.I)


def test_evidence_is_said_where_it_is(pages):
    assert "evidence under the committed plan" in pages["sealed_evidence"].text


def test_without_photos_there_is_none_and_no_name(sealed, pages):
    page = page_of(sealed, with_photos=False)
    assert "image/png" in pages["sealed_evidence"].source
    assert "photo00.png" in pages["sealed_evidence"].text
    assert "image/png" not in page.source
    assert "photo00.png" not in page.source
    assert "3. How well the model knows" in page.text


def test_recorded_answers_show_no_pictures(cases):
    opened = audit.Case(cases["sealed_evidence"])
    record = read_case(opened)
    found, said = fed.fed_to(opened, record.declared, "net")
    assert len(found) == 4
    assert said.startswith("float32 [8, 8, 3], NHWC, channels RGB")
    opened.suspects["net"].__dict__["fields"] = {"kind": "recorded"}
    assert fed.fed_to(opened, record.declared, "net")[0] == []


PHOTO = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("layout", "channels", "value_range", "is_normalised"),
    list(
        itertools.product(
            ("NHWC", "NCHW"), ("RGB", "BGR"), ("unit", "bytes", "signed"), (False, True)
        )
    ),
)
def test_the_picture_is_what_the_adapter_prepared(layout, channels, value_range, is_normalised):
    normal = {"mean": (0.4, 0.4, 0.4), "std": (0.2, 0.2, 0.2)} if is_normalised else {}
    declared = Declaration(
        2, layout=layout, channels=channels, value_range=value_range, **normal
    )
    taken = prepare(fitted([PHOTO], None), declared)
    seen = fed.as_picture(taken[0], declared)
    wanted = PHOTO if channels == "RGB" else PHOTO[..., ::-1]
    assert np.abs(seen.astype(int) - wanted).max() <= 1
    wrong = PHOTO if channels == "BGR" else PHOTO[..., ::-1]
    assert np.abs(seen.astype(int) - wrong).max() > 20


def test_the_pictures_are_those_that_were_queried(cases):
    """Their answers are on disk under the very bytes."""
    from anw_jax.audit.batches import stored_batch
    from anw_jax.suspects import AnswerCache
    from anw_jax.suspects.cache import question_key

    opened = audit.Case(cases["sealed_evidence"])
    declared = read_case(opened).declared
    declaration = declared.declaration("net")
    with stored_batch(declared, "net") as batch:
        (picture,) = batch.pictures(0, 3, 1)
        (other,) = batch.pictures(0, 3, 0)
    with AnswerCache(opened.answers_file("net"), declaration) as cache:
        key = question_key(declaration.digest, picture)
        assert key in cache
        assert question_key(declaration.digest, other) != key


def test_ranks_and_means_against_a_naive_twin():
    rng = np.random.default_rng(3)
    losses = rng.integers(0, 4, (30, 5)).astype(float)
    losses[4] = np.nan
    slots = rng.integers(1, 6, 30)
    rows = UnitRows(np.arange(30), losses, slots)
    ranks = []
    for row, slot in zip(losses.tolist(), slots.tolist(), strict=True):
        secret = row[slot - 1]
        ranks.append(0 if secret != secret else sum(value <= secret for value in row))
        others = [v for place, v in enumerate(row) if place != slot - 1]
        assert rows.at_others[len(ranks) - 1] == pytest.approx(np.mean(others), nan_ok=True)
    assert rows.ranks.tolist() == ranks
    assert rows.num_ranked.tolist() == [ranks.count(rank) for rank in range(1, 6)]


def test_the_wealth_is_that_of_the_verdict(cases):
    for test in read_case(audit.Case(cases["sequential_by_hand"])).tests:
        ended = test.user.numbers["log_wealth"]
        assert test.rows.log_wealth[-1] == pytest.approx(ended)
        assert len(test.rows.units) == test.user.numbers["num_opened"]


def test_a_case_that_is_not_finished(sealed):
    (sealed / "verdict.json").unlink()
    with pytest.raises(CaseError, match=r"verdict\.json is not there: the audit is not fin"):
        report.write_case_report(audit.Case(sealed))
    assert not (sealed / "report.html").exists()


def test_an_existing_file_is_kept(sealed, tmp_path):
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    with pytest.raises(CaseError, match=r"mine\.html already exists: name another file"):
        report.write_case_report(audit.Case(sealed), mine)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("file", ["tables/net.npz", "blind.json", "declared.json"])
def test_a_changed_file_is_refused(sealed, file):
    body = bytearray((sealed / file).read_bytes())
    body[-20] ^= 1
    (sealed / file).write_bytes(body)
    with pytest.raises((ChangedFileError, CaseError), match=pathlib.Path(file).stem):
        report.write_case_report(audit.Case(sealed))
    assert not (sealed / "report.html").exists()


def test_the_command(sealed, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert run(["report", str(sealed), "--out", str(out), "--without-photos"]) == 0
    words = f"anw bundle {sealed} --key KEY --out bundle.zip"
    after = f"then: {words} (all that it rests on, in one file)"
    assert capsys.readouterr() == (f"{out} written\n{after}\n", "")
    assert run(["report", str(sealed), "--out", str(out)]) == 1
    seen = capsys.readouterr()
    assert seen.err == f"anw: {out} already exists: name another file, or remove it\n"
    assert run(["report", str(sealed), "--out", str(tmp_path / "no" / "p.html")]) == 1
    assert "p.html" in capsys.readouterr().err
    (sealed / "tables" / "net.npz").write_bytes(b"")
    assert run(["report", str(sealed), "--json"]) == 8
    assert "net.npz was changed" in json.loads(capsys.readouterr().out)["error"]
    shutil.rmtree(sealed)
    assert run(["report", str(sealed)]) == 1

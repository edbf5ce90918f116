"""The page of a run: text, structure, and hostile input."""

import html.parser
import json
import os
import pathlib
import re

import numpy as np
import pytest

from anw_jax import report, verify
from anw_jax.report import page as page_module
from anw_jax.report.style import Drawing
from anw_jax.verify import verdict

HOSTILE = '<script>alert("x")</script>&amp;$\\frac$'
HOSTILE_FILE = '"><img src=http://evil.example/x onerror=alert(1)>.png'
OUTLINE = """\
h1 Was this model trained on the marked photos?
h2 1. The claim and the outcome
h3 keyed
h3 How to read p
h2 2. How the model was queried, and when
h2 3. How well the model knows the photos, hue by hue
h2 4. What a mark looks like
h3 keyed
h2 5. Secret hues and the hues inferred from the model
h3 keyed
h2 6. Luck and this model
h2 7. Controls
h2 8. The model, the numbers, the limits
h3 Limits
h3 Where these numbers come from
h3 How to replay
"""


class Page(html.parser.HTMLParser):
    """A parsed page."""

    def __init__(self, path: pathlib.Path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags, self.headings, self.texts = [], [], []
        self._open = []
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append([tag, ""])

    def handle_endtag(self, tag):
        self._open = self._open[: len(self._open) - 1 - self._open[::-1].index(tag)]

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.texts.append(data)
        if self._open and self._open[-1] in ("h1", "h2", "h3"):
            self.headings[-1][1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def workdir(make_workdir):
    folder = make_workdir()
    report.write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(workdir):
    return Page(workdir / "report.html")


@pytest.fixture
def results(workdir):
    return json.loads((workdir / "results.json").read_text())


@pytest.fixture
def undrawn(monkeypatch):
    """Name figures without drawing them, for tests of the text."""

    def name_it(folder, name, alt, draw, columns):
        return Drawing(name, alt, "data:image/svg+xml;,", "data:image/svg+xml;,", 1, 1)

    monkeypatch.setattr(page_module, "publish_figure", name_it)
    monkeypatch.setattr(page_module, "write_figure", lambda *_: None)


def page_of(folder):
    return Page(report.write_report(folder))


def test_outline(page):
    assert "".join(f"{tag} {text}\n" for tag, text in page.headings) == OUTLINE


def test_claim_is_quoted_verbatim(page, results):
    numbers = results["users"]["keyed"]
    assert numbers["sentence"] in page.source
    assert f"shown at level 1e-4 {verdict.EXPERIMENT_KEY} {numbers['sentence']}" in page.text
    assert numbers["p_text"] in page.text
    assert "never “innocent”" in page.text
    assert (
        "It does not say who copied the photos, how many of them, or by what path" in page.text
    )


def test_controls_p_is_printed_as_it_is(page, results):
    p = results["users"]["held_out"]["p_text"]
    assert f"held_out never trained on 6 {p} not shown at level 1e-4" in page.text


def test_banner_says_that_an_experiment_key_is_not_evidence(page):
    (banner,) = [a for a in page.all("aside") if "banner" in a["class"]]
    assert banner["role"] == "note"
    before_main = page.source.split("<main>")[0]
    assert f'<strong class="conditions">{verdict.EXPERIMENT_KEY}</strong>' in before_main


def test_evidence_has_no_banner(make_workdir, undrawn):
    page = page_of(make_workdir({"changes": {"standing": verdict.EVIDENCE}}))
    assert page.all("aside") == []
    assert verdict.EVIDENCE in page.text


def test_missing_commitment_is_a_banner(make_workdir, undrawn):
    changes = {"standing": verdict.NO_COMMITMENT, "commitment": None}
    page = page_of(make_workdir({"changes": changes}))
    assert verdict.NO_COMMITMENT in page.source.split("<main>")[0]
    assert "not committed to" in page.text


def test_page_loads_nothing(page):
    images = page.all("img")
    assert len(images) > 10
    assert all(image["src"].startswith("data:image/") for image in images)
    assert all(len(image["alt"]) > 10 for image in images)
    assert all(s["srcset"].startswith("data:image/svg+xml;") for s in page.all("source"))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object"})
    assert not any("href" in attributes for _, attributes in page.tags)
    assert "url(" not in page.source
    assert "@import" not in page.source


def test_page_is_semantic_and_small(page, workdir):
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("main")) == len(page.all("h1")) == 1
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'")
    assert len(page.all("caption")) == len(page.all("table"))
    assert (workdir / "report.html").stat().st_size < 1e6


def test_order_of_events_and_queries(page):
    assert "432 answers in all" in page.text
    steps = ["Commitment.", "Training.", "Blind answers.", "Keys opened.", "One test."]
    places = [page.text.index(step) for step in steps]
    assert places == sorted(places)


def test_diagnostics_are_labelled(page):
    assert "Diagnostic, not used for the verdict" in page.text


@pytest.mark.slow
def test_the_same_files_give_the_same_bytes(make_workdir):
    first, second = make_workdir(), make_workdir()
    report.write_report(first)
    report.write_report(second)
    names = {f.relative_to(first) for f in first.rglob("*") if f.is_file()}
    assert names == {f.relative_to(second) for f in second.rglob("*") if f.is_file()}
    made = [n for n in names if n.suffix in (".html", ".svg", ".png", ".csv")]
    assert len(made) > 15
    assert [n for n in made if (first / n).read_bytes() != (second / n).read_bytes()] == []
    assert not any(name.suffix == ".partial" for name in names)


def test_hostile_names_are_text_and_stay_inside(make_workdir, tmp_path):
    users = [
        {"name": HOSTILE, "file_names": [HOSTILE_FILE, *"bcdef"]},
        {"name": "../../outside", "kind": "held_out"},
        {"name": "Twin", "kind": "held_out"},
        {"name": "twin", "kind": "held_out"},
    ]
    users[0]["name"] = HOSTILE.replace("/", "|")  # the lab makes file names of names
    folder = make_workdir(*users)
    page = page_of(folder)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script"})
    assert all(image["src"].startswith("data:") for image in page.all("img"))
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert HOSTILE_FILE in page.text
    assert users[0]["name"] in page.text
    figures = sorted(file.name for file in (folder / "figures").glob("loss_*.csv"))
    assert figures == [
        "loss_Twin.csv",
        "loss__outside.csv",
        "loss__script_alert_x_script_amp_frac_.csv",
        "loss_twin_2.csv",
    ]
    # The table of "../../outside" was written outside, and what is outside is not read.
    assert "../../outside – none" not in page.text
    assert "not checked" in page.text


def test_keys_are_never_read(make_workdir, undrawn):
    folder = make_workdir()
    (folder / "keys").mkdir()
    (folder / "keys" / "keyed.key").write_text("feedfacefeedface")
    assert "feedfacefeedface" not in page_of(folder).source


def test_p_too_small_for_a_float(make_workdir):
    changes = {"p_value": 5e-324, "log10_p": -400.0, "p_text": "1e-400", "bits": 1328.77}
    changes |= {"z": 55.0, "outcome": "shown"}
    page = page_of(make_workdir({"changes": changes}))
    assert "p 1e-400 at most 1 in 10⁴⁰⁰" in page.text
    assert "bits (−log₂ p) 1,328.7 like 1,328 fair coin tosses all heads" in page.text
    assert "stands at +55.0 standard deviations" in page.source


def test_inconclusive_is_printed_with_its_reason_and_never_as_evidence(make_workdir):
    reason = "no test possible: no unit's answers tell its slots apart"
    changes = {"outcome": "inconclusive", "reason": reason, "p_text": "1", "log10_p": 0.0}
    changes |= {"sentence": f"The test is inconclusive: {reason}.", "z": 0.0, "bits": 0.0}
    folder = make_workdir({"changes": changes})
    np.savez(folder / "nulls" / "keyed.npz", z=np.zeros(1), probability=np.ones(1))
    page = page_of(folder)
    assert f"inconclusive: {reason} The test is inconclusive: {reason}." in page.text
    assert not re.search(r"\bevidence\b(?!\.md)", page.text)
    assert "there is no distribution to draw" in page.text


def test_numbers_that_json_lacks_are_dashes(make_workdir):
    curve = {"offset_degrees": [10.0 * k - 180 for k in range(36)]}
    curve |= {"mean": [None] * 36, "standard_error": [None] * 36}
    changes = {"curve": curve, "log10_p": None, "bits": None, "z": None, "p_value": None}
    changes |= {"losses": dict.fromkeys(("secret", "other_valid", "unmarked"))}
    folder = make_workdir({"changes": changes})
    np.savez(folder / "tables" / "keyed.npz", losses=np.full((6, 36), np.nan, np.float32))
    page = page_of(folder)
    assert "the model gave no usable answers" in page.source
    assert "log₁₀ p –" in page.text


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"scheme": "per_user"}, "One shared hue is one draw of the key"),
        ({"scheme": "per_group", "groups": [0, 1, 2] * 2}, "of 3 albums"),
        ({"num_images": 1}, "published 1 photo, with a secret hue"),
        ({"excluded": True}, "left out of this training altogether"),
        ({"kind": "unmarked"}, "Nobody makes a claim in this run"),
    ],
    ids=["per_user", "per_group", "one_photo", "excluded", "no_claim"],
)
def test_other_kinds_of_users(make_workdir, user, words):
    assert words in page_of(make_workdir(user)).text


def test_several_claims_are_counted(make_workdir, undrawn):
    page = page_of(make_workdir({}, {"name": "second"}))
    assert "Of 2 claims" in page.text


def test_only_results_json_is_needed(make_workdir):
    folder = make_workdir()
    for file in sorted(folder.rglob("*"), reverse=True):
        if file.name != "results.json":
            file.unlink() if file.is_file() else file.rmdir()
    page = page_of(folder)
    assert "No marked photos were kept." in page.text
    assert "not checked" in page.text


def test_a_changed_table_is_flagged(make_workdir, undrawn):
    folder = make_workdir()
    with np.load(folder / "tables" / "keyed.npz") as arrays:
        losses = arrays["losses"].copy()
    losses[0, 0] += 1.0
    np.savez(folder / "tables" / "keyed.npz", losses=losses)
    seal = {"table": verify.seal(losses), "model": ""}
    (folder / "tables" / "keyed.seal.json").write_text(json.dumps(seal))
    page = page_of(folder)
    assert "A sealed table was changed" in page.text
    assert "keyed" in page.text.split("A sealed table was changed")[1][:80]


def test_no_results(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no results\.json"):
        report.write_report(tmp_path)


@pytest.mark.parametrize(
    "name", ["results.json", "provenance.json", "examples.npz", "nulls/keyed.npz"]
)
def test_a_damaged_file_is_named(make_workdir, undrawn, name):
    folder = make_workdir()
    body = (folder / name).read_bytes()
    (folder / name).write_bytes(body[: len(body) // 2])
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        report.write_report(folder)


def test_a_failed_write_leaves_the_old_page(make_workdir, undrawn, monkeypatch):
    folder = make_workdir()
    path = report.write_report(folder)
    before, replace = path.read_bytes(), os.replace

    def full(source, target):
        if str(target).endswith("report.html"):
            raise OSError("no space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    (folder / "provenance.json").write_text("{}")
    with pytest.raises(OSError, match="no space"):
        report.write_report(folder)
    assert path.read_bytes() == before
    assert not path.with_name("report.html.partial").exists()


@pytest.mark.slow
def test_many_users_stay_within_two_megabytes(make_workdir):
    users = [{"name": f"claim_{number}", "num_images": 100} for number in range(12)]
    folder = make_workdir(*users)
    page = page_of(folder)
    assert "4 more users are in the tables only" in page.text
    assert (folder / "report.html").stat().st_size < 2e6

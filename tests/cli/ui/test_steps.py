"""The steps of the page do what the commands do."""

import threading

import PIL.Image
import pytest

from anw_jax import audit
from anw_jax.cli import output
from anw_jax.keys import MarkKey
from tests.cli.bundling import finished

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture
def opened(client, photos):
    assert client.post("open", {"folder": str(photos)}).code == 200
    return client


def test_from_a_folder_to_marked_photos(opened, photos, tmp_path):
    key, out = str(tmp_path / "ann.key"), str(tmp_path / "out")
    assert "Keep it secret" in opened.post("key", {"key": key}).json["lines"][0]
    assert "never overwritten" in opened.post("key", {"key": key}).json["error"]
    where = {"key": key, "out": out}
    chosen = {"mark": "tone", "strength": 0.125}
    opened.post("commit", {**where, **chosen, "beacon": "arbitrator", "arbitrator": "Jane"})
    job = opened.job()
    assert (job["code"], job["error"]) == (0, "")
    assert any(line.startswith("commitment ") for line in job["lines"])
    published = audit.read_published(tmp_path / "out")
    assert published.plan.beacon == "arbitrator:Jane"
    assert published.mark.strength == 0.125
    opened.post("mark", where)
    assert opened.job()["code"] == output.BROKEN  # the value is missing
    opened.post("mark", {**where, "beacon_value": " " + "ab" * 32 + "\n"})
    job = opened.job()
    assert (job["code"], job["error"]) == (0, "")
    files = sorted(f for f in (tmp_path / "out" / "published").rglob("*") if f.is_file())
    assert [file.name for file in files] == ["a.jpg", "b.png", "c.png"]


def test_a_contact_sheet_without_the_key(opened, monkeypatch):
    monkeypatch.setattr(MarkKey, "load", lambda *_: pytest.fail("a key was loaded"))
    opened.post("preview", {"mark": "hue", "strength": None})
    job = opened.job()
    assert (job["code"], job["link"]) == (0, "preview/preview.html")
    assert (job["done"], job["total"]) == (3, 3)
    page = opened.get(job["link"])
    assert page.body.count(b"<figure") == 3
    assert "script-src" not in page.headers["Content-Security-Policy"]
    before = opened.get("photo/0.jpg").body
    after = [opened.get("photo/0.jpg?mark=hue").body for _ in range(2)]
    assert before != after[0] == after[1]


def test_dropped_photos_are_the_folder(client, photos):
    client.post("begin_drop")
    for name in ("a.jpg", "sub/c.png"):
        path = f"drop?name={name}&modified=1600000000000"
        assert client.post(path, (photos / name).read_bytes()).code == 200
    assert "File exists" in client.post("drop?name=a.jpg", b"x").json["error"]
    lines = client.post("end_drop").json["lines"]
    assert "temporary folder" in lines[-1]
    assert client.get("state").json["names"] == ["a.jpg", "sub/c.png"]
    file = client.session.work / "dropped" / "a.jpg"
    assert file.stat().st_mtime == 1_600_000_000
    assert file.read_bytes() == (photos / "a.jpg").read_bytes()
    client.post("begin_drop")
    assert client.get("state").json["names"] == []


def test_pictures_passed_over_have_the_exit_code(opened, photos):
    (photos / "a.jpg").write_bytes(b"\xff\xd8\xff")
    opened.post("preview", {"mark": "light", "strength": 0.2})
    job = opened.job()
    assert job["code"] == output.PASSED_OVER
    assert "NOT MARKED: 1 picture (1 .jpg)" in job["lines"]
    assert opened.get("photo/0.jpg").code == 400


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"beacon": "moon"}, "beacon must be one of drand, arbitrator, none"),
        ({"beacon": "arbitrator", "arbitrator": " "}, "arbitrator must be a name"),
        ({"beacon": "none", "strength": "big"}, "strength must be a number, got 'big'"),
        ({"beacon": "none", "out": ""}, "out must be a path"),
        ({"beacon": "none", "key": None}, "key must be a plain str"),
    ],
)
def test_bad_input_of_a_commitment(opened, tmp_path, given, text):
    whole = {"key": str(tmp_path / "k"), "out": str(tmp_path / "o"), **given}
    answer = opened.post("commit", whole)
    assert answer.code == 400
    assert text in answer.json["error"]


def test_errors_of_a_step_are_one_line_and_leave_nothing(opened, photos, tmp_path):
    where = {"key": str(tmp_path / "no.key"), "out": str(tmp_path / "out")}
    opened.post("commit", {**where, "beacon": "none"})
    job = opened.job()
    assert job["code"] == output.FAILED
    assert "no mark key at" in job["error"]
    MarkKey.generate().save(tmp_path / "no.key")
    opened.post("mark", where)
    assert "holds no commitment: commit first" in opened.job()["error"]
    opened.post("commit", {**where, "out": str(photos / "in"), "beacon": "none"})
    assert "must lie outside the folder of originals" in opened.job()["error"]
    assert not (tmp_path / "out").exists()


def test_one_job_at_a_time_and_it_can_be_stopped(opened, monkeypatch):
    began, go_on = threading.Event(), threading.Event()

    def slow(folder, mark, strength, on_progress, workers):
        began.set()
        assert go_on.wait(30)
        on_progress(1, 3)

    monkeypatch.setattr(audit, "preview_folder", slow)
    opened.post("preview", {})
    assert began.wait(30)
    assert "wait until preview is done" in opened.post("preview", {}).json["error"]
    opened.post("stop")
    go_on.set()
    job = opened.job()
    assert (job["code"], job["error"]) == (
        output.INTERRUPTED,
        "stopped; do the step again to continue",
    )


def test_a_path_without_a_verdict(client, tmp_path):
    (tmp_path / "case").mkdir()
    for path in (tmp_path / "case", tmp_path / "none.zip"):
        client.post("verdict", {"path": str(path)})
        assert client.job()["error"]
    PIL.Image.new("RGB", (2, 2)).save(tmp_path / "no.png")
    (tmp_path / "no.png").rename(tmp_path / "no.zip")
    client.post("verdict", {"path": str(tmp_path / "no.zip")})
    assert client.job()["code"] in (output.FAILED, output.BROKEN)


def test_the_verdict_of_a_case_and_of_its_bundle(client, tmp_path):
    evidence = finished(tmp_path)
    client.post("verdict", {"path": str(evidence.root / "case")})
    job = client.job()
    assert (job["code"], job["link"]) == (0, "report.html")
    assert "Shown at level" in "\n".join(job["lines"])
    page = client.get("report.html")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert b"Was this model trained" in page.body
    client.post("verdict", {"path": str(evidence.named)})
    job = client.job()
    # A bundle that was made again whole would pass: it is no evidence without its anchors.
    assert job["code"] == output.CONDITIONAL
    assert "consistent, anchors not checked: anw replay compares them" in job["lines"]
    assert "Shown at level" in "\n".join(job["lines"])

"""An arbitrator, or an opener, that does not keep to the rounds."""

import json
import shutil
import sys

import pytest

from anw_jax import _files, audit
from anw_jax.audit import rounds
from anw_jax.errors import CaseError, ChangedFileError, OpenerError, RecordError
from anw_jax.sequential.lines import chained
from tests.audit.test_rounds import opened_case, to_the_end

SHAPES = ["[]", '"text"', "3", "null", "[" * 100_000, '{"kind": "row"}', "\u2028"]


@pytest.mark.parametrize("field", ["row", "header"])
@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_lines_of_other_shapes_are_one_line(root, case_dir, field, shape):
    key = opened_case(root, case_dir)
    standing = audit.run_rounds(audit.Case(case_dir))
    body = json.loads(standing.request.read_text())
    standing.request.write_text(json.dumps({**body, field: SHAPES[shape]}))
    with pytest.raises(RecordError, match="the request holds no"):
        audit.answer_request(standing.request, key, root / "ann_marked", standing.opening)
    assert not (root / "ann_marked" / "openings.jsonl").exists()


@pytest.mark.parametrize("log", ["[]\n", "3\n", "{}\n", '{"step": 0}\n', "no json\n"])
def test_a_damaged_log_opens_nothing(root, case_dir, log):
    key = opened_case(root, case_dir)
    standing = audit.run_rounds(audit.Case(case_dir))
    (root / "ann_marked" / "openings.jsonl").write_text(log)
    with pytest.raises(CaseError, match="is damaged: restore it, no leaf is opened without it"):
        audit.answer_request(standing.request, key, root / "ann_marked", standing.opening)
    assert not standing.opening.exists()


def test_two_requests_at_once_open_one_leaf(root, case_dir):
    pytest.importorskip("fcntl")
    key = opened_case(root, case_dir)
    standing = audit.run_rounds(audit.Case(case_dir))
    folder = root / "ann_marked"
    with (
        _files.only_one(folder, RuntimeError),
        pytest.raises(CaseError, match="another process is at work in"),
    ):
        audit.answer_request(standing.request, key, folder, standing.opening)
    assert not audit.answer_request(standing.request, key, folder, standing.opening).again


def test_a_request_cannot_name_another_declaration_than_its_record(root, case_dir):
    key = opened_case(root, case_dir)
    standing = audit.run_rounds(audit.Case(case_dir))
    body = json.loads(standing.request.read_text())
    standing.request.write_text(json.dumps({**body, "declared": "ab" * 32}))
    with pytest.raises(RecordError, match="names another declaration than the record's first"):
        audit.answer_request(standing.request, key, root / "ann_marked", standing.opening)


def test_a_record_is_no_verdict_on_another_model(root, case_dir):
    """Its owner opened the leaves for one declaration; another case cannot take them over."""
    key = opened_case(root, case_dir)
    other = root / "other"
    shutil.copytree(case_dir, other)
    toml = other / "suspects" / "net.toml"
    toml.write_text(toml.read_text() + "\n# another model\n")
    (other / "declared.json").unlink()
    audit.declare(audit.Case(other), audit.Options(), despite_probe=True)
    assert audit.run_rounds(audit.Case(other), stop=True).num_opened == 0
    to_the_end(root, case_dir, key)
    record = other / "records" / "ann.jsonl"
    shutil.copy(case_dir / "records" / "ann.jsonl", record)
    closed = json.loads((other / "closed.json").read_text())
    closed["records"]["ann"]["net"]["record"] = audit.files.digest_of(record)
    (other / "closed.json").write_text(json.dumps(closed))
    with pytest.raises(ChangedFileError, match="is the record of another declaration"):
        audit.judge_record(audit.Case(other), {})


def test_an_opener_that_speaks_in_bytes(root, case_dir):
    opened_case(root, case_dir)
    program = "import sys; sys.stderr.buffer.write(bytes([255, 10])); sys.exit(3)"
    opener = f"{sys.executable} -c '{program}'"
    with pytest.raises(OpenerError, match="the opener failed with code 3: \ufffd"):
        audit.run_rounds(audit.Case(case_dir), opener=opener)


def test_chained_lines_have_one_spelling(root, case_dir):
    """Two fields of one name, spaces, or a number spelled otherwise make another line."""
    key = opened_case(root, case_dir)
    standing = audit.run_rounds(audit.Case(case_dir))
    body = json.loads(standing.request.read_text())
    row = json.loads(body["row"])
    rest = {n: v for n, v in row.items() if n not in ("hash", "previous")}
    assert chained(row["previous"], rest) == body["row"]
    for line in (body["row"].replace(":", ": ", 1), body["row"].replace("{", '{"unit":0,', 1)):
        standing.request.write_text(json.dumps({**body, "row": line}))
        with pytest.raises(RecordError, match="holds no whole line of a row"):
            audit.answer_request(standing.request, key, root / "ann_marked", standing.opening)


def test_the_owners_command_does_not_see_the_arbitrators_tokens(case_dir, monkeypatch):
    monkeypatch.setenv("MODEL_TOKEN", "secret")
    monkeypatch.setenv("OTHER", "known")
    (case_dir / "suspects").mkdir()
    (case_dir / "suspects" / "net.toml").write_text(
        'kind = "http"\nurl = "http://model.test"\n[headers_from_env]\nauth = "MODEL_TOKEN"\n'
    )
    seen = rounds._environment(audit.Case(case_dir))
    assert "MODEL_TOKEN" not in seen
    assert seen["OTHER"] == "known"

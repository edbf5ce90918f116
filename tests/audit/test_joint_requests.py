"""What an owner refuses to open for, where several suspects are asked."""

import json

import pytest

from anw_jax import audit
from anw_jax.errors import RecordError
from anw_jax.sequential.lines import chained, heads_digest
from tests.audit.several import NAMES, declared_case, open_all, to_the_end

NOT_FOLLOWING = "the request's line does not follow the leaf that was opened before"


@pytest.fixture
def waiting(root, case_dir):
    """A first request, and the owner's key."""
    keys = declared_case(root, case_dir, claim="each model")
    (waits,) = audit.run_rounds(audit.Case(case_dir)).waiting
    return waits, keys["ann"]


def refused(root, waits, key) -> str:
    with pytest.raises(RecordError) as error:
        audit.answer_request(waits.request, key, root / "ann_marked", waits.opening)
    return str(error.value)


def rewritten(waits, change, heads=None):
    """The request after `change(records)`, with the heads that belong to it."""
    body = json.loads(waits.request.read_text())
    change(body["records"])
    lines = {name: json.loads(part["line"])["hash"] for name, part in body["records"].items()}
    body["heads"] = heads or heads_digest(lines)
    waits.request.write_text(json.dumps(body))


def relined(part, previous=None, **changes):
    """One line changed and hashed anew."""
    body = json.loads(part["line"])
    previous = body["previous"] if previous is None else previous
    rest = {n: v for n, v in {**body, **changes}.items() if n not in ("hash", "previous")}
    part["line"] = chained(previous, rest)


def test_the_request_names_the_heads_of_all_records(root, case_dir, waiting):
    waits, key = waiting
    body = json.loads(waits.request.read_text())
    assert sorted(body["records"]) == list(NAMES)
    heads = {
        name: json.loads((case_dir / f"records/ann/{name}.jsonl").read_text().splitlines()[-1])
        for name in NAMES
    }
    assert body["heads"] == heads_digest({name: line["hash"] for name, line in heads.items()})
    audit.answer_request(waits.request, key, root / "ann_marked", waits.opening)
    audit.run_rounds(audit.Case(case_dir))
    for name in NAMES:
        lines = (case_dir / f"records/ann/{name}.jsonl").read_text().splitlines()
        assert json.loads(lines[2])["heads"] == body["heads"]


CLOSE = chained("0" * 64, {"kind": "close", "because": "all units are asked"})

FORGERIES = {
    "heads": (lambda records: None, "names other heads than its records have"),
    "left out": (lambda records: records.pop("other"), "has the header of 'guilty', one of"),
    "renamed": (
        lambda records: records.update(third=records.pop("other")),
        "the record of 'guilty' has the header of 'guilty', one of guilty, other; the",
    ),
    "swapped": (
        lambda records: records.update(guilty=records["other"], other=records["guilty"]),
        "the record of 'guilty' has the header of 'other'",
    ),
    "bet": (lambda records: relined(records["other"], bet=[0.5] * 11), "the request's bet is"),
    "losses": (lambda records: relined(records["other"], losses=[0.0] * 11), "no whole line"),
    "unit": (lambda records: relined(records["other"], unit=3), "must hold rows of one unit"),
    "previous": (lambda records: relined(records["other"], "0" * 64), NOT_FOLLOWING),
    "closed": (
        lambda records: [part.update(line=CLOSE) for part in records.values()],
        "must hold rows of one unit, and at least one",
    ),
    "nothing": (lambda records: records.update(other=None), "the request holds no records"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_the_owner_opens_nothing_for_a_forged_request(root, waiting, forgery):
    waits, key = waiting
    change, message = FORGERIES[forgery]
    body = json.loads(waits.request.read_text())
    if forgery == "nothing":
        change(body["records"])
        waits.request.write_text(json.dumps(body))
    else:
        rewritten(waits, change, "0" * 64 if forgery == "heads" else None)
    assert message in refused(root, waits, key)
    assert not waits.opening.exists()
    assert not (root / "ann_marked" / "openings.jsonl").exists()


def test_headers_of_two_cases_in_one_request(root, waiting):
    waits, key = waiting
    honest = waits.request.read_text()

    def another_level(records):
        part = records["other"]
        body = {n: v for n, v in json.loads(part["header"]).items() if n != "hash"}
        body["joint"]["level"] /= 2
        del body["previous"]
        part["header"] = chained("", body)
        relined(part, json.loads(part["header"])["hash"])

    rewritten(waits, another_level)
    assert refused(root, waits, key) == "the request's records have headers of different cases"

    def another_declaration(records):
        for part in records.values():
            body = {n: v for n, v in json.loads(part["header"]).items() if n != "hash"}
            body["about"] = "0" * 64
            del body["previous"]
            part["header"] = chained("", body)
            relined(part, json.loads(part["header"])["hash"])

    waits.request.write_text(honest)
    rewritten(waits, another_declaration)
    assert refused(root, waits, key) == (
        "the request names another declaration than the record's first line"
    )


def test_a_row_changed_after_its_leaf_was_opened_is_refused(root, waiting):
    waits, key = waiting
    folder = root / "ann_marked"
    first = audit.answer_request(waits.request, key, folder, waits.opening)
    assert audit.answer_request(waits.request, key, folder, waits.opening).again
    rewritten(waits, lambda records: relined(records["other"], bet=[1.0] + [0.0] * 10))
    assert refused(root, waits, key) == (
        f"unit {first.unit} was opened for another row: a leaf is opened once"
    )


def test_a_frozen_record_is_neither_changed_nor_taken_up_again(root, case_dir):
    keys = declared_case(root, case_dir, claim="each model")
    standing = audit.run_rounds(audit.Case(case_dir))
    while not any(record.closed_because for record in standing.records):
        before = json.loads(standing.request.read_text())["records"]["guilty"]
        open_all(root, standing.waiting, keys)
        standing = audit.run_rounds(audit.Case(case_dir))
    (waits,) = standing.waiting
    frozen = json.loads(waits.request.read_text())["records"]["guilty"]
    assert json.loads(frozen["line"])["because"] == "the level is reached"
    open_all(root, standing.waiting, keys)
    (waits,) = audit.run_rounds(audit.Case(case_dir)).waiting
    honest = waits.request.read_text()
    assert json.loads(honest)["records"]["guilty"] == frozen  # the same line in every request
    for lie, message in (
        (lambda all: relined(all["guilty"], because="stopped by hand"), NOT_FOLLOWING),
        (lambda all: relined(all["guilty"], "0" * 64), NOT_FOLLOWING),
        (lambda all: all.update(guilty=before), "must hold rows of one unit"),
        (lambda all: all.update(guilty={**before, "line": raised(before, all)}), NOT_FOLLOWING),
    ):
        rewritten(waits, lie)
        assert message in refused(root, waits, keys["ann"])
        waits.request.write_text(honest)
    to_the_end(root, case_dir, keys)
    assert audit.judge_record(audit.Case(case_dir), {})["corrected"]["outcome"] == "shown"


def raised(before, records):
    """A row of the unit now due for a record that was frozen, behind its last leaf."""
    now = json.loads(records["other"]["line"])
    part = dict(before)
    relined(part, step=now["step"], unit=now["unit"])
    return part["line"]

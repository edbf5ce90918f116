import json
import shutil
import sys

import pytest

from anw_jax import audit
from anw_jax.errors import (
    CaseError,
    ChangedFileError,
    CommitmentError,
    OpenerError,
    RecordError,
)
from anw_jax.keys import MarkKey
from anw_jax.sequential.lines import chained
from tests.audit.conftest import NUM_PHOTOS, hand_over, write_photos, write_suspect
from tests.audit.owners import saving_choices


def opened_case(root, case_dir, is_planted=True, choices=None, **options):
    """A declared sequential case; returns the owner's key."""
    key = hand_over(root, case_dir, mode="sequential", choices=choices)
    if not is_planted:
        write_photos(root / "others", seed=99)
    met = root / "ann_marked" / "published" if is_planted else root / "others"
    write_suspect(case_dir, met)
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options(**options))
    return key


def to_the_end(root, case_dir, key):
    """Arbitrator and owner in turns; every call reads the case anew."""
    for _ in range(NUM_PHOTOS + 1):
        standing = audit.run_rounds(audit.Case(case_dir))
        if standing.request is None:
            return standing
        audit.answer_request(standing.request, key, root / "ann_marked", standing.opening)
    raise AssertionError("the audit does not end")


@pytest.mark.parametrize("saving", [None, (3, 1)])
def test_the_level_is_reached_with_few_units(root, case_dir, saving):
    key = opened_case(root, case_dir, choices=saving_choices(saving))
    standing = to_the_end(root, case_dir, key)
    assert standing.closed_because == "the level is reached"
    assert standing.num_opened < NUM_PHOTOS
    verdict = audit.judge_record(audit.Case(case_dir), {})
    test = verdict["tests"]["ann"]["net"]
    assert test["outcome"] == verdict["corrected"]["outcome"] == "shown"
    assert test["p_value"] == standing.p_value <= 1e-3
    assert verdict["queries"]["net"] <= standing.num_opened * 11
    assert test["which"] is None
    assert test["how_many"] is None


def test_a_model_that_met_other_photos_is_not_named(root, case_dir):
    key = opened_case(root, case_dir, is_planted=False)
    standing = to_the_end(root, case_dir, key)
    assert standing.closed_because == "the level cannot be reached any more"
    verdict = audit.judge_record(audit.Case(case_dir), {})
    assert verdict["corrected"]["outcome"] == "not shown"
    assert verdict["tests"]["ann"]["net"]["p_value"] > 0.05


def test_a_failing_opener_is_one_line_and_loses_nothing(root, case_dir):
    key = opened_case(root, case_dir)
    for opener, message in {
        f"{sys.executable} -c 'import sys; sys.exit(\"no key\")'": (
            "the opener failed with code 1: no key"
        ),
        f"{sys.executable} -c pass": "the opener wrote no answer to",
        "no_such_program_here": "the opener 'no_such_program_here' cannot be run",
        "cat {key}": "which may name {request}, {opening} and {owner}; got 'cat {key}' ('key')",
        " ": "opener must be a command",
    }.items():
        with pytest.raises(OpenerError) as error:
            audit.run_rounds(audit.Case(case_dir), opener=opener)
        assert message in str(error.value)
    assert to_the_end(root, case_dir, key).closed_because == "the level is reached"


def test_nothing_but_an_opening_is_overwritten(root, case_dir):
    key = opened_case(root, case_dir)
    standing, marked = audit.run_rounds(audit.Case(case_dir)), root / "ann_marked"
    letter = root / "letter.txt"
    letter.write_text("not an opening")
    for place in (letter, marked):
        with pytest.raises(CaseError, match="out may only replace an earlier opening: "):
            audit.answer_request(standing.request, key, marked, place)
    assert letter.read_text() == "not an opening"
    assert not (marked / "openings.jsonl").exists()
    for _ in range(2):
        audit.answer_request(standing.request, key, marked, standing.opening)


def test_killed_between_row_and_opening_the_same_row_waits(root, case_dir):
    key = opened_case(root, case_dir)
    first = audit.run_rounds(audit.Case(case_dir))
    asked = first.request.read_bytes()
    first.request.unlink()  # killed before the request was written
    record = case_dir / "records" / "ann.jsonl"
    with record.open("a") as file:
        file.write('{"half a li')
    second = audit.run_rounds(audit.Case(case_dir))
    assert second.request.read_bytes() == asked
    audit.answer_request(second.request, key, root / "ann_marked", second.opening)
    assert audit.run_rounds(audit.Case(case_dir)).num_opened == 1


def test_a_record_killed_in_its_first_line_starts_anew(root, case_dir):
    opened_case(root, case_dir)
    (case_dir / "records").mkdir()
    (case_dir / "records" / "ann.jsonl").write_text('{"bea')
    assert audit.run_rounds(audit.Case(case_dir)).num_opened == 0


def test_an_owner_who_does_not_open_loses_the_stake(root, case_dir):
    opened_case(root, case_dir)
    audit.run_rounds(audit.Case(case_dir))
    standing = audit.run_rounds(audit.Case(case_dir), stop=True)
    assert standing.closed_because == "the owner did not open the leaf that was due"
    test = audit.judge_record(audit.Case(case_dir), {})["tests"]["ann"]["net"]
    assert test["outcome"] == "not shown"
    assert test["log_e_value"] is None  # all is lost


def test_once_closed_nothing_is_asked_again(root, case_dir):
    key = opened_case(root, case_dir)
    closed = to_the_end(root, case_dir, key)
    before = (case_dir / "closed.json").read_bytes()
    (case_dir / "answers" / "net.answers").unlink()
    assert audit.run_rounds(audit.Case(case_dir)) == closed
    assert (case_dir / "closed.json").read_bytes() == before
    assert not (case_dir / "answers" / "net.answers").exists()


def test_a_verdict_needs_a_closed_record_that_was_not_changed(root, case_dir):
    key = opened_case(root, case_dir)
    with pytest.raises(CaseError, match=r"closed.json is not there: the audit is not closed"):
        audit.judge_record(audit.Case(case_dir), {})
    to_the_end(root, case_dir, key)
    with pytest.raises(CaseError, match="a sequential verdict opens no key: leave --key out"):
        audit.judge_record(audit.Case(case_dir), {"ann": key})
    record = case_dir / "records" / "ann.jsonl"
    record.write_text(record.read_text().replace('"slot":', '"slot": '))
    with pytest.raises(ChangedFileError, match=r"was changed after closed.json named it"):
        audit.judge_record(audit.Case(case_dir), {})


def forged(request, **fields):
    """The request with its row changed and hashed anew."""
    body = json.loads(request.read_text())
    row = json.loads(body["row"])
    previous = fields.pop("previous", row["previous"])
    rest = {n: v for n, v in {**row, **fields}.items() if n not in ("hash", "previous")}
    body["row"] = chained(previous, rest)
    request.write_text(json.dumps(body))


FORGERIES = {
    "bet": ({"bet": [0.5] * 11}, "the request's bet is not valid: bet must sum to 1, got 5.5"),
    "losses": ({"losses": [0.0] * 11}, "the request holds no whole line of a row and its bet"),
    "step": ({"step": 3}, "expected: unit"),
    "previous": ({"previous": "0" * 64}, "does not follow the leaf that was opened before"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_the_owner_opens_nothing_for_a_forged_row(root, case_dir, forgery):
    key = opened_case(root, case_dir)
    standing = audit.run_rounds(audit.Case(case_dir))
    fields, message = FORGERIES[forgery]
    forged(standing.request, **fields)
    with pytest.raises(RecordError) as error:
        audit.answer_request(standing.request, key, root / "ann_marked", standing.opening)
    assert message in str(error.value)
    assert not standing.opening.exists()
    assert not (root / "ann_marked" / "openings.jsonl").exists()


def test_a_leaf_is_opened_for_one_row_only(root, case_dir):
    key = opened_case(root, case_dir)
    standing = audit.run_rounds(audit.Case(case_dir))
    folder = root / "ann_marked"
    first = audit.answer_request(standing.request, key, folder, standing.opening)
    answer = standing.opening.read_bytes()
    assert audit.answer_request(standing.request, key, folder, standing.opening).again
    assert standing.opening.read_bytes() == answer
    forged(standing.request, bet=[1.0] + [0.0] * 10)
    with pytest.raises(RecordError) as error:
        audit.answer_request(standing.request, key, folder, standing.opening)
    assert str(error.value) == (
        f"unit {first.unit} was opened for another row: a leaf is opened once"
    )


def test_a_second_row_does_not_jump_over_the_leaf_before(root, case_dir):
    key = opened_case(root, case_dir)
    folder = root / "ann_marked"
    standing = audit.run_rounds(audit.Case(case_dir))
    audit.answer_request(standing.request, key, folder, standing.opening)
    standing = audit.run_rounds(audit.Case(case_dir))
    forged(standing.request, previous="ab" * 32)
    with pytest.raises(RecordError, match="does not follow the leaf that was opened before"):
        audit.answer_request(standing.request, key, folder, standing.opening)


def test_leaves_are_opened_for_one_declaration_only(root, case_dir):
    key = opened_case(root, case_dir)
    folder = root / "ann_marked"
    standing = audit.run_rounds(audit.Case(case_dir))
    audit.answer_request(standing.request, key, folder, standing.opening)
    (case_dir / "declared.json").unlink()
    shutil.rmtree(case_dir / "answers")
    audit.declare(audit.Case(case_dir), audit.Options(budget=999))
    with pytest.raises(ChangedFileError, match=r"declared.json was changed after ann.declared"):
        audit.run_rounds(audit.Case(case_dir))
    shutil.rmtree(case_dir / "records")
    again = audit.run_rounds(audit.Case(case_dir))
    with pytest.raises(RecordError, match="comes from another declaration"):
        audit.answer_request(again.request, key, folder, again.opening)


def test_the_owner_answers_about_the_own_commitment_with_the_own_key(root, case_dir):
    key = opened_case(root, case_dir)
    standing = audit.run_rounds(audit.Case(case_dir))
    folder = root / "ann_marked"
    with pytest.raises(CommitmentError, match="the key is not the one behind"):
        audit.answer_request(standing.request, MarkKey.for_experiment(9), folder, root / "o")
    body = json.loads(standing.request.read_text())
    standing.request.write_text(json.dumps({**body, "commitment": "0" * 64}))
    with pytest.raises(CommitmentError, match="is for a different commitment"):
        audit.answer_request(standing.request, key, folder, root / "o")


def test_a_wrong_opening_settles_nothing(root, case_dir):
    key = opened_case(root, case_dir)
    standing = audit.run_rounds(audit.Case(case_dir))
    audit.answer_request(standing.request, key, root / "ann_marked", standing.opening)
    body = json.loads(standing.opening.read_text())
    slot = body["opening"]["slot"]
    body["opening"]["slot"] = slot % 11 + 1
    standing.opening.write_text(json.dumps(body))
    with pytest.raises(CommitmentError, match="does not open the commitment"):
        audit.run_rounds(audit.Case(case_dir))
    body["opening"]["slot"] = slot
    standing.opening.write_text(json.dumps(body))
    assert audit.run_rounds(audit.Case(case_dir)).num_opened == 1

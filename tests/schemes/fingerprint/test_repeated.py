"""What is done twice, or by two processes at once, is in the log once."""

import dataclasses

import pytest

from anw_jax.errors import RecordError
from anw_jax.keys import commit_scheme
from anw_jax.schemes.fingerprint import RefusedDisputeError, records
from anw_jax.schemes.log import append, read_log
from tests.schemes.fingerprint.world import World, leaked


@pytest.fixture
def world(tmp_path, owner) -> World:
    return World(tmp_path, owner)


def test_what_is_repeated_is_recorded_once(world):
    """After a kill nobody knows whether the record was appended; a dispute more would count."""
    world.deliver("ann")
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    assert world.dispute(suspect) == number
    given = next(one for one in read_log(world.log) if one.kind == "accept")
    assert world.accept("ann", given.body["issue"]) == given
    assert world.read(number, suspect) == world.read(number, suspect)
    assert world.judge(number, suspect)[0] == world.judge(number, suspect)[0]
    kinds = [one.kind for one in read_log(world.log)]
    assert kinds[-3:] == ["dispute", "extract", "verdict"]


def test_a_dispute_has_one_verdict(tmp_path, owner_class):
    """The judge could state what he likes until the verdict is the one that he wants."""
    world = World(tmp_path, owner_class(num_bits=32))
    world.deliver("ann")
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    world.read(number, suspect)
    append(world.log, "verdict", {"dispute": number, "outcome": "shown"}, world.path / "thief")
    first, verdict = world.judge(number, suspect, models_tried=10**12)
    assert verdict.outcome == "not shown"
    match = (
        rf"^second verdict: record {first.number}, by {world.public('judge')}, says "
        rf"'not shown' on dispute {number} and stands; this one says 'shown', and differs in "
    )
    with pytest.raises(RecordError, match=match):
        world.judge(number, suspect, models_tried=1)
    assert read_log(world.log)[-1] == first
    assert world.judge(number, suspect, models_tried=10**12)[0] == first


def test_a_repeated_verdict_is_on_the_log_as_it_was(world):
    """Nodes sign, and strangers set up copies, between a kill and the repeated command."""
    world.deliver("ann")
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    world.read(number, suspect)
    first = world.judge(number, suspect)[0]
    world.see()
    append(world.log, "setup", {"plan": 7}, world.path / "thief")
    assert world.judge(number, suspect)[0] == first


def test_what_two_processes_do_at_once_is_recorded_once(world, rival):
    def both(act):
        rival(act)
        return act()

    world.see()
    given = both(lambda: world.issue("ann"))
    both(lambda: world.accept("ann", given.number))
    suspect = leaked(world, "ann")
    number = both(lambda: world.dispute(suspect))
    both(lambda: world.read(number, suspect))
    both(lambda: world.judge(number, suspect))
    kinds = [one.kind for one in read_log(world.log)]
    assert kinds[4:] == ["issue", "accept", "dispute", "extract", "verdict"]


def test_of_two_setups_at_once_the_second_is_refused(world, rival):
    own, owner, judge = world.own, world.path / "owner", world.public("judge")
    plan = dataclasses.replace(own.plan, number=3)
    given = (world.log, plan, commit_scheme(own.key, plan), judge, owner)
    rival(lambda: records.setup(*given))
    with pytest.raises(RefusedDisputeError, match=r"^second setup: record 4 repeats the"):
        records.setup(*given)
    assert len(read_log(world.log)) == 3

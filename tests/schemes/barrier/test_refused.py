"""Refused queries: the suspect's own choice costs p nothing, one made with the bits does."""

import numpy as np
import pytest

from anw_jax import stats
from anw_jax.errors import SuspectError
from anw_jax.schemes import barrier
from anw_jax.schemes.outputs import read_outputs
from tests.schemes.barrier.test_null import looks_valid, values

NUM = 20


class Refusing:
    """A suspect that refuses some of the queries, by index."""

    def __init__(self, suspect, places):
        self._suspect, self._refused = suspect, dict.fromkeys(map(int, places), "no")

    def answers(self, queries):
        answered = self._suspect(queries).copy()
        answered[list(self._refused)] = 0
        return answered, self._refused


@pytest.fixture(scope="module")
def few(make):
    """An owner with few queries."""
    return make.owner(num_queries=NUM)


@pytest.fixture(scope="module")
def of_each(few, innocents):
    """What each query adds to an innocent model's scores: the fit is linear in the answers."""
    decoder, found = few.decoder, []
    answers = innocents["innocent 0"](decoder.queries)
    for place in range(NUM):
        outputs = decoder.outputs / 255.0
        outputs[place] = answers[place] / 255.0
        found.append(barrier.scores(decoder, outputs))
    return np.array(found)


def without(of_each, places) -> np.ndarray:
    return np.delete(of_each, places, axis=0).sum(axis=0)


def test_the_owners_output_takes_the_place_of_an_answer(few, of_each, innocents):
    suspect, head = innocents["innocent 0"], few.decoder.head
    scores = read_outputs(head, few.decoder, Refusing(suspect, [3, 19]))
    np.testing.assert_allclose(scores, without(of_each, [3, 19]), rtol=1e-6)
    message = "refused 3 of 20 images, the first is number 0: no; more than 10% leave too"
    with pytest.raises(SuspectError, match=message):
        read_outputs(head, few.decoder, Refusing(suspect, [0, 1, 2]))


def test_a_suspect_may_refuse_what_it_likes(few, of_each):
    draws = [few.bits(value) for value in values(1_000)]
    by_size = np.argsort(np.abs(of_each).sum(axis=1))
    for places in (by_size[:2], by_size[-2:]):
        assert looks_valid(stats.fresh_bit_p_values(without(of_each, places), draws))


def test_refusals_that_are_chosen_with_the_bits_are_seen(few, of_each):
    """The near lie: whoever knows the bits leaves out the queries that speak against them."""
    p_values = []
    for value in values(100):
        bits = few.bits(value)
        against = np.argsort(of_each @ bits.signs)[:2]
        p_values.append(10 ** stats.bit_test(without(of_each, against), bits).log10_p)
    assert not looks_valid(np.array(p_values))

"""`anw plan` without a case: what it estimates, and what was not measured."""

import json


def test_plans_without_a_measured_effect_say_so(anw):
    ran = anw("plan", "--access", "top_k")
    assert (ran.code, ran.out) == (
        0,
        "top_k: not yet measured for top_k and the mark light: give --effect\n",
    )
    for mode, is_earlier in (("sealed", False), ("sequential", True)):
        said = anw("plan", "--effect", 3, "--alpha", 0.001, "--mode", mode).out
        assert ("half of such audits end" in said) == is_earlier
    ran = anw("plan", "--effect", 3, "--alpha", 0.001, "--mode", "sequential", "--json")
    body = json.loads(ran.out)
    assert body["num_queries"] == 11 * body["num_units"] < 200
    assert body["source"] == "given"
    ran = anw("plan", "--study", "none")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert ran.err.startswith("anw: study must be one of ['accuracy_cost_quick', ")
    assert ran.err.endswith("'adapters, own labels'], got 'none'\n")

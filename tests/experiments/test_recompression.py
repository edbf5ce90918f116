"""The table of what uploads leave of the evidence, from results that are made up."""

import json

from benchmarks import recompression


def run(seed, kept):
    """A run whose evidence without a change is 10 · (seed + 1) powers of ten."""
    full = -10.0 * (seed + 1)
    values = {"none": 1.0, **dict.fromkeys(recompression.WORDS, kept)}
    changes = {
        name: {"log10_p": {"reference": share * full}, "share_of_mark": 1.0}
        for name, share in values.items()
    }
    return {"seed": seed, "changes": changes}


def test_nothing_is_said_of_what_was_not_run():
    text = recompression.table([], {})
    assert text.count("not yet measured") == len(recompression.WORDS) == 5
    assert "Seeds" not in text


def test_the_table_has_what_is_kept_and_what_is_left():
    text = recompression.table([run(0, 0.5), run(1, 0.5), run(2, 0.9)], {"jpeg75": 0.98})
    assert "| JPEG, quality 75 | 50% | -10.0 | 0.98 |" in text
    assert "| half size | 50% | -10.0 | – |" in text
    assert text.endswith("Without any change: -20.0. Seeds: 0, 1, 2.")


def test_the_page_is_that_of_the_stored_results():
    files = sorted(recompression.RESULTS.glob("seed*.json"))
    runs = [json.loads(file.read_text()) for file in files]
    stored = recompression.SHARES
    shares = json.loads(stored.read_text())["results"]["left"] if stored.exists() else {}
    page = recompression.PAGE.read_text()
    assert recompression.updated(page, runs, shares) == page

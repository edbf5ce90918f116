"""Published pixels: the same bytes as ever, by every mark, slot and angle."""

import json
import pathlib

import numpy as np

from anw_jax import marks
from tests.golden import make_published, world

GOLDEN = json.loads(pathlib.Path(__file__).with_name("published.json").read_text())


def test_every_mark_publishes_the_same_bytes():
    assert make_published.golden() == GOLDEN


def test_no_two_marks_or_slots_publish_the_same():
    digests = [digest for mark in GOLDEN.values() for digest in mark["slots"].values()]
    originals = world.digest_of(make_published.images())
    # Slot 0 leaves a picture as it is; the given basis is that of the hue.
    assert digests.count(originals) == len(GOLDEN)
    assert len(set(digests)) == 1 + 11 * (len(GOLDEN) - 1)
    assert GOLDEN["hue"]["slots"] == GOLDEN["given basis"]["slots"]


def test_one_level_more_is_seen(monkeypatch):
    publish = marks.publish
    monkeypatch.setattr(marks, "publish", lambda *arguments: publish(*arguments) + np.uint8(1))
    for name, mark in make_published.golden().items():
        assert mark["description"] == GOLDEN[name]["description"]
        assert not set(mark["slots"].values()) & set(GOLDEN[name]["slots"].values())

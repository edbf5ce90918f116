"""Any pairs in any order, marked as the owner would, within a budget, killed and resumed."""

import numpy as np
import pytest

from anw_jax.errors import BudgetError, SuspectError
from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation, PixelMark, UserLCT, publish
from anw_jax.suspects import (
    Access,
    AnswerCache,
    CallableSuspect,
    Declaration,
    QuerySession,
    ask,
)
from anw_jax.verify import loss_table
from tests.suspects import twins

SPACE, MARK = SignatureSpace(5), HueRotation()
PHOTOS = twins.photos(6)
LABELS = np.array([0, 4, 1, 2, 3, 0])


class Spy:
    """The twin, with every picture that it was asked about."""

    def __init__(self, stop_after: int | None = None, answer: str = "logits"):
        self.asked, self.stop_after = [], stop_after
        declaration = Declaration(5, answer)
        self.suspect = CallableSuspect(self._answer, declaration, identity="spy")

    def _answer(self, batch):
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += [picture.tobytes() for picture in batch]
        scores = twins.logits(batch)
        return scores if self.suspect.declaration.answer == "logits" else scores.argmax(1)


def test_the_model_is_asked_exactly_what_the_owner_would_publish():
    spy = Spy()
    ask(spy.suspect, PHOTOS, LABELS, MARK, SPACE, batch_size=7)
    published = [
        publish(MARK, PHOTOS[i : i + 1], degrees)[0]
        for i in range(len(PHOTOS))
        for degrees in SPACE.degrees
    ]
    expected = [(p.astype(np.float32) / np.float32(255)).tobytes() for p in published]
    assert spy.asked == expected


@pytest.mark.parametrize("batch_size", [1, 4, 30, 1000])
@pytest.mark.parametrize(
    "mark", [MARK, UserLCT.from_sub_key(b"1" * 32), PixelMark(b"1" * 32, 8, 8, num_pixels=9)]
)
def test_the_table_is_the_library_s(mark, batch_size):
    expected = loss_table(twins.logits, PHOTOS, LABELS, mark, SPACE)
    table = ask(twins.called(), PHOTOS, LABELS, mark, SPACE, batch_size=batch_size)
    np.testing.assert_allclose(table, expected, atol=1e-5)


def test_many_owners():
    marks = [UserLCT.from_sub_key(bytes([i]) * 32) for i in range(3)]
    owners = np.array([2, 0, 1, 2, 2, 0])
    expected = loss_table(twins.logits, PHOTOS, LABELS, marks, SPACE, mark_of_image=owners)
    table = ask(twins.called(), PHOTOS, LABELS, marks, SPACE, mark_of_image=owners)
    np.testing.assert_allclose(table, expected, atol=1e-5)


def test_pairs_are_entries_of_the_table(rng):
    table = ask(twins.called(), PHOTOS, LABELS, MARK, SPACE)
    spy = Spy()
    session = QuerySession(spy.suspect, PHOTOS, LABELS, MARK, SPACE)
    images, slots = rng.integers(0, 6, 20), rng.integers(0, 5, 20)
    np.testing.assert_allclose(session.losses(images, slots), table[images, slots], atol=1e-5)
    distinct = len({(i, s) for i, s in zip(images, slots, strict=True)})
    assert len(spy.asked) == session.num_queries == distinct
    session.losses(images, slots)
    assert len(spy.asked) == distinct
    assert session.losses([], []).shape == (0,)


def test_equal_questions_in_one_batch_are_asked_once():
    spy = Spy()
    photos = np.repeat(PHOTOS[:1], 4, axis=0)
    table = ask(spy.suspect, photos, np.zeros(4, int), MARK, SPACE)
    assert len(spy.asked) == SPACE.num_slots
    assert (table == table[:1]).all()


def test_own_labels_stand_in():
    own = twins.logits(PHOTOS.astype(np.float32) / 255).argmax(1)
    access = Access("logits", true_labels=False)
    table = ask(twins.called(), PHOTOS, None, MARK, SPACE, access=access)
    expected = loss_table(twins.logits, PHOTOS, own, MARK, SPACE)
    np.testing.assert_allclose(table, expected, atol=1e-5)
    spy = Spy()
    session = QuerySession(spy.suspect, PHOTOS, None, MARK, SPACE, access=access)
    value = session.losses([4], [2])
    np.testing.assert_allclose(value, expected[4, 2], atol=1e-5)
    assert len(spy.asked) == 2  # the pair, and the unmarked original of that image alone
    np.testing.assert_array_equal(session.own_labels(range(6)), own)


def test_all_slots_of_an_image_get_the_same_changes():
    """Told by their noise: what is added to a slot's picture is added to all."""
    change = Access("label", num_augmentations=3)
    spy = Spy(answer="label")
    grey = np.full((1, 8, 8, 3), 120, np.uint8)  # every slot of a grey photo looks the same
    table = ask(spy.suspect, grey, [0], MARK, SPACE, access=change, seed=b"public")
    assert len(spy.asked) == 3
    assert (table == table[0, 0]).all()
    ask(spy.suspect, grey, [0], MARK, SPACE, access=change, seed=b"other")
    assert len(set(spy.asked)) == 3 + 2  # the picture itself is change 0 of both


def test_label_tables_count_hits():
    access = Access("label", num_augmentations=6)
    spy = Spy(answer="label")
    table = ask(spy.suspect, PHOTOS, LABELS, MARK, SPACE, access=access, seed=b"public")
    asked = np.stack([np.frombuffer(p, np.float32).reshape(8, 8, 3) for p in spy.asked])
    assert len(asked) == 6 * 5 * 6
    right = twins.logits(asked).argmax(1).reshape(6, 5, 6) == LABELS[:, None, None]
    np.testing.assert_allclose(table, -np.log((right.sum(2) + 0.5) / 7), rtol=1e-6)


def test_nan_answers_make_their_pair_unusable():
    def answer(batch):
        scores = twins.logits(batch)
        scores[3] = np.nan
        return scores

    suspect = CallableSuspect(answer, Declaration(5), identity="nan")
    table = ask(suspect, PHOTOS, LABELS, MARK, SPACE)
    assert np.isnan(table).sum() == 1
    assert np.isnan(table[0, 3])


def test_the_budget_is_kept_to_the_query(tmp_path):
    spy = Spy()
    expected = ask(twins.called(), PHOTOS, LABELS, MARK, SPACE)
    for budget in (0, 11, 29):
        with (
            AnswerCache(tmp_path / "file", spy.suspect.declaration) as cache,
            pytest.raises(BudgetError) as error,
        ):
            ask(
                spy.suspect,
                PHOTOS,
                LABELS,
                MARK,
                SPACE,
                cache=cache,
                budget=budget,
                batch_size=4,
            )
        assert len(spy.asked) == budget
        assert str(error.value) == (
            f"the budget of {budget} queries is spent ({budget} sent so far); the answers "
            "are kept: continue with a larger budget and the same cache"
        )
    with AnswerCache(tmp_path / "file", spy.suspect.declaration) as cache:
        table = ask(spy.suspect, PHOTOS, LABELS, MARK, SPACE, cache=cache, budget=30)
    np.testing.assert_allclose(table, expected, atol=1e-5)
    assert len(spy.asked) == 30


@pytest.mark.parametrize("stop_after", [1, 7, 8, 28])
def test_killed_and_resumed_asks_nothing_twice(tmp_path, stop_after):
    spy = Spy(stop_after)
    arguments = (spy.suspect, PHOTOS, LABELS, MARK, SPACE)
    with AnswerCache(tmp_path / "file", spy.suspect.declaration) as cache:
        with pytest.raises(KeyboardInterrupt):
            ask(*arguments, cache=cache, batch_size=4)
    spy.stop_after = None
    with AnswerCache(tmp_path / "file", spy.suspect.declaration) as cache:
        table = ask(*arguments, cache=cache, batch_size=4)
    assert len(spy.asked) == len(set(spy.asked)) == 30
    np.testing.assert_allclose(table, ask(*arguments), atol=1e-5)


def test_progress_and_cost():
    suspect = CallableSuspect(
        twins.logits, Declaration(5, cost_per_query=0.25), identity="costly"
    )
    seen = []
    session = QuerySession(suspect, PHOTOS, LABELS, MARK, SPACE, batch_size=8)
    session.losses([0] * 20, list(range(5)) * 4, on_progress=lambda *now: seen.append(now))
    assert seen == [(8, 20), (16, 20), (20, 20)]
    assert session.cost == 5 * 0.25


BAD = [
    ({"labels": np.array([0, 1, 2, 3, 4, 5])}, "labels must be below num_classes = 5, got 5"),
    ({"labels": None}, "labels must be given, or access.true_labels be False"),
    (
        {"access": Access("label")},
        "seed must be given where an access has several augmentations: public bytes, such as "
        "keys.augmentation_seed(commitment, plan), never the owner's key",
    ),
    ({"budget": -1}, "budget must be at least 0, got -1"),
    ({"mark": [MARK, MARK]}, "mark_of_image must be given with several marks"),
    (
        {"cache": AnswerCache(None, Declaration(5))},
        "cache must belong to this suspect; it was opened for another",
    ),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_arguments(changes, message):
    arguments = {
        "suspect": twins.called(),
        "images": PHOTOS,
        "labels": LABELS,
        "mark": MARK,
        "space": SPACE,
    }
    with pytest.raises(ValueError) as error:
        ask(**(arguments | changes))
    assert str(error.value) == message


def test_bad_pairs():
    session = QuerySession(twins.called(), PHOTOS, LABELS, MARK, SPACE)
    for pairs, message in [
        (([6], [0]), r"image_of_pair must lie in \[0, 6\), got 6"),
        (([0], [-1]), r"slot_of_pair must lie in \[0, 5\), got -1"),
        (([0, 1], [0]), "slot_of_pair must have as many entries as image_of_pair, 2; got 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            session.losses(*pairs)
    with pytest.raises(TypeError, match="image_of_pair must be integers"):
        session.losses([0.5], [0])


LOGITS = "the suspect declares logits and must answer with an array of numbers [b, C];"


@pytest.mark.parametrize(
    ("answer", "values", "message"),
    [
        (
            "logits",
            np.zeros((3, 5)),
            "the suspect was given 2 pictures and must answer ",
        ),
        ("logits", np.zeros((2, 7)), "the suspect declares 5 classes and answers with 7"),
        (
            "logits",
            np.zeros(2),
            "the suspect was given 2 pictures and must answer with ",
        ),
        ("label", np.array([0, 9]), "the suspect declares 5 classes and answers with label 9"),
        (
            "label",
            np.array([0.0, 1]),
            "the suspect declares label and must answer with an array of integers [b]; got "
            "an array of float64",
        ),
        ("top_k", np.zeros((2, 5)), "the suspect declares top_k and must answer with a pair"),
        (
            "logits",
            "hello",
            f"{LOGITS} got str",
        ),
        (
            "logits",
            [[1], [1, 2]],
            f"{LOGITS} got a list",
        ),
    ],
)
def test_suspects_that_lie_about_shapes(answer, values, message):
    declaration = Declaration(5, answer, k=2 if answer == "top_k" else None)
    suspect = CallableSuspect(lambda batch: values, declaration, identity="liar")
    with pytest.raises(SuspectError) as error:
        suspect.answers(np.zeros((2, 8, 8, 3), np.float32))
    assert str(error.value).startswith(message)


def test_each_image_may_have_a_seed_of_its_own():
    access = Access("logits", num_augmentations=3)
    options = {"access": access, "cache": None}
    seeds = [b"one", b"two"] * (len(PHOTOS) // 2) + [b"one"] * (len(PHOTOS) % 2)
    each = ask(twins.called(), PHOTOS, LABELS, MARK, SPACE, seed=seeds, **options)
    one, two = (
        ask(twins.called(), PHOTOS, LABELS, MARK, SPACE, seed=seed, **options)
        for seed in (b"one", b"two")
    )
    np.testing.assert_allclose(each[::2], one[::2], rtol=1e-5)
    np.testing.assert_allclose(each[1::2], two[1::2], rtol=1e-5)
    assert (np.abs(one - two).max(1) > 1e-4).all()
    with pytest.raises(ValueError, match=f"one for each of {len(PHOTOS)} images, got 1"):
        ask(twins.called(), PHOTOS, LABELS, MARK, SPACE, seed=[b"one"], **options)
    with pytest.raises(TypeError, match="seed must be a bytes, got str"):
        ask(twins.called(), PHOTOS, LABELS, MARK, SPACE, seed="public", **options)

"""A picture without a usable answer is written down once; a broken suspect never is."""

import warnings

import numpy as np
import pytest

from anw_jax.errors import BudgetError, SuspectError
from anw_jax.suspects import (
    Access,
    AnswerCache,
    Answers,
    CallableSuspect,
    Declaration,
    OnnxSuspect,
    QuerySession,
    RecordedSuspect,
    ask,
)
from anw_jax.suspects.cache import question_key
from tests.suspects import twins
from tests.suspects.refusing import (
    BAD,
    CLEAN,
    LABELS,
    MARK,
    PHOTOS,
    SPACE,
    asked_all,
    check_only_one_is_lost,
    is_bad,
    picture,
    session_of,
    write_refusing_onnx,
)


def called(what):
    """A function that does `what` to batches with the bad picture."""
    calls = []

    def fun(batch):
        calls.append(len(batch))
        return what(twins.logits(batch), is_bad(batch))

    return CallableSuspect(fun, twins.NHWC, identity="refuser"), calls


def raises(logits, bad):
    if bad.any():
        raise ValueError("I know this one")
    return logits


def short(logits, bad):
    return logits[:, :4] if bad.any() else logits


def nan(logits, bad):
    return np.where(bad[:, None], np.nan, logits)


def text(logits, bad):
    return "no" if bad.any() else logits


def ragged(logits, bad):
    return [row[: 3 if one else 5].tolist() for row, one in zip(logits, bad, strict=True)]


def dropped(logits, bad):
    return logits[~bad]


def absurd(logits, bad):
    return np.where(bad[:, None], np.array([-1e35, 0, 0, 0, 0]), logits)


@pytest.mark.parametrize("what", [raises, short, nan, text, ragged, dropped, absurd])
@pytest.mark.parametrize("batch_size", [1, 5, 256])
def test_a_function_that_has_no_answer_to_one_picture(tmp_path, what, batch_size):
    suspect, calls = called(what)
    with AnswerCache(tmp_path / "file", suspect.declaration) as cache:
        table, session = asked_all(suspect, cache, batch_size=batch_size)
        check_only_one_is_lost(table, session, "")
    with AnswerCache(tmp_path / "file", suspect.declaration) as cache:
        number = len(calls)
        asked_all(suspect, cache, batch_size=batch_size)
        assert len(calls) == number


def test_an_onnx_model_that_breaks_off_at_one_picture(tmp_path):
    pytest.importorskip("onnx")
    path = write_refusing_onnx(tmp_path / "refuser.onnx")
    suspect = OnnxSuspect(path, twins.NCHW, num_threads=1)
    table, session = asked_all(suspect)
    lost = np.isnan(table).any(axis=1)
    assert lost[2]
    assert lost.sum() < 4
    assert sorted(session.unusable) == np.flatnonzero(lost).tolist()
    assert "fails on a batch" in session.unusable[2]


def broken(handler):
    def fun(batch):
        return handler(twins.logits(batch))

    return CallableSuspect(fun, twins.NHWC, identity="broken")


def failing(logits):
    raise RuntimeError("CUDA error")


@pytest.mark.parametrize(
    "handler",
    [failing, lambda a: a[:, :3], lambda a: a.mean(), lambda a: None],
    ids=["raises", "too few", "one number", "nothing"],
)
def test_a_suspect_that_answers_to_nothing_is_an_error(tmp_path, handler):
    suspect = broken(handler)
    with AnswerCache(tmp_path / "file", suspect.declaration) as cache:
        for _ in range(2):
            with pytest.raises(SuspectError):
                asked_all(suspect, cache)
            assert (cache.num_unusable, len(cache)) == (0, 0)


def test_a_function_that_goes_down_is_an_error(tmp_path):
    calls = []

    def fun(batch):
        calls.append(len(batch))
        if len(calls) > 3:
            raise RuntimeError("CUDA error")
        return twins.logits(batch)

    suspect = CallableSuspect(fun, twins.NHWC, identity="dies")
    with AnswerCache(tmp_path / "file", suspect.declaration) as cache:
        with pytest.raises(SuspectError, match="CUDA error"):
            asked_all(suspect, cache, batch_size=4)
        assert (cache.num_unusable, len(cache)) == (0, 12)


def test_an_accident_is_no_refusal(tmp_path):
    calls = []

    def fun(batch):
        calls.append(len(batch))
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return twins.logits(batch)

    suspect = CallableSuspect(fun, twins.NHWC, identity="stumbles")
    table, session = asked_all(suspect, batch_size=4)
    np.testing.assert_allclose(table, CLEAN, rtol=1e-4)
    assert not session.unusable


def test_an_image_is_asked_no_further_once_a_picture_of_it_is_refused():
    suspect, calls = called(raises)
    asked_all(suspect, batch_size=1)
    # Two slots of image 2 are not asked; the refused one is tried twice, and one control.
    assert sum(calls) == 6 * 4 - 2 + 1 + 1


def test_the_budget_holds_for_controls(tmp_path):
    suspect, _ = called(raises)
    with AnswerCache(tmp_path / "file", suspect.declaration) as cache:
        # 9 pictures are answered before the bad one, and no query is left for a control.
        with pytest.raises(BudgetError, match="budget of 9"):
            asked_all(suspect, cache, budget=9, batch_size=1)
        with pytest.raises(BudgetError, match="budget of 10"):
            asked_all(suspect, cache, budget=10, batch_size=1)
        assert cache.num_queries == 10
        assert cache.num_unusable == 1
        table, session = asked_all(suspect, cache, budget=40, batch_size=1)
    check_only_one_is_lost(table, session, "I know this one")


def test_recorded_answers_with_a_missing_cell(tmp_path):
    pictures = [picture(image, slot) for image in range(6) for slot in range(4)]
    given = [one for one in pictures if not (one == BAD).all()]
    batch = np.stack(given)
    answers = Answers("logits", twins.logits(batch.astype(np.float32) / np.float32(255)))
    RecordedSuspect.of(batch, answers, twins.NHWC).save(tmp_path / "given.npz")
    suspect = RecordedSuspect.load(tmp_path / "given.npz", bind_file=True)
    check_only_one_is_lost(*asked_all(suspect), "the recording lacks")
    # Slot 0 is rarely recorded: controls are pictures of the audit, too.
    without = RecordedSuspect.of(batch[4:], answers.rows(slice(4, None)), twins.NHWC)
    row = session_of(without).losses([0, 0, 0], [1, 2, 3])
    assert np.isnan(row).all()
    other = RecordedSuspect.of(255 - batch, answers, twins.NHWC)
    with pytest.raises(SuspectError, match="lacks answers to 24 of 24 pictures"):
        asked_all(other)


@pytest.mark.parametrize("what", [raises, nan])
def test_without_labels_a_refused_original_makes_the_image_unusable(what):
    original = picture(2, 0)

    def fun(batch):
        bad = (np.rint(batch * 255).astype(np.uint8) == original).all(axis=(1, 2, 3))
        return what(twins.logits(batch), bad)

    suspect = CallableSuspect(fun, twins.NHWC, identity="no original")
    access = Access("logits", true_labels=False)
    session = QuerySession(suspect, PHOTOS, None, MARK, SPACE, access=access)
    table = session.losses(*np.indices((6, 4)).reshape(2, -1)).reshape(6, 4)
    assert np.isnan(table).any(axis=1).tolist() == [False, False, True, False, False, False]
    assert np.isnan(table[2]).all()
    assert list(session.unusable) == [2]
    assert session.own_labels([1, 2]).tolist()[1] == -1


@pytest.mark.parametrize("kind", ["label", "top_k"])
def test_other_kinds_of_answers(kind):
    declaration = Declaration(5, kind, k=2 if kind == "top_k" else None)

    def fun(batch):
        raises(batch, is_bad(batch))
        order = np.argsort(-twins.logits(batch), axis=1)
        scores = np.tile([0.6, 0.3], (len(batch), 1))
        return order[:, 0] if kind == "label" else (order[:, :2], scores)

    suspect = CallableSuspect(fun, declaration, identity="few")
    access = Access(kind, num_augmentations=1)
    table, session = asked_all(suspect, access=access)
    assert np.isnan(table[2, 1])
    assert np.isfinite(np.delete(table, 2, axis=0)).all()
    assert list(session.unusable) == [2]


def test_ask_tells_of_refused_images():
    suspect, _ = called(raises)
    message = r"the suspect refused 1 of 6 images, first number 2: .*I know this one"
    with pytest.warns(UserWarning, match=message):
        ask(suspect, PHOTOS, LABELS, MARK, SPACE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ask(twins.called(), PHOTOS, LABELS, MARK, SPACE)


def test_a_picture_that_two_images_share_is_refused_for_both():
    suspect, _ = called(raises)
    twice = np.concatenate([PHOTOS, PHOTOS[2:3]])
    session = QuerySession(suspect, twice, np.zeros(7, int), MARK, SPACE)
    table = session.losses(*np.indices((7, 4)).reshape(2, -1)).reshape(7, 4)
    assert np.isnan(table[[2, 6], 1]).all()
    assert sorted(session.unusable) == [2, 6]


def test_the_key_of_a_refusal_is_that_of_the_exact_picture(tmp_path):
    suspect, _ = called(raises)
    with AnswerCache(tmp_path / "file", suspect.declaration) as cache:
        asked_all(suspect, cache)
        key = question_key(suspect.declaration.digest, BAD)
        assert "I know this one" in cache.why_unusable(key)
        assert key not in cache

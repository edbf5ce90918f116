"""Answers on disk: whole, checked, and never paid for twice."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.errors import CacheError
from anw_jax.suspects import AnswerCache, Answers, Declaration
from anw_jax.suspects.cache import question_key

LOGITS = Declaration(3)


def key(number: int) -> bytes:
    return question_key("", np.full((1, 1, 3), number, np.uint8))


def logits(*numbers: float) -> Answers:
    rows = [[number, -number, 0.5] for number in numbers]
    return Answers("logits", np.array(rows, np.float32))


def filled(path) -> bytes:
    with AnswerCache(path, LOGITS) as cache:
        cache.note_asked([key(0), key(1)])
        cache.store([key(0)], logits(0))
        cache.note_refused([key(1)])
        cache.note_unusable([key(4)], "status 400")
        cache.store([key(2), key(3)], logits(2, 3))
    return path.read_bytes()


@pytest.mark.parametrize(
    "answers",
    [
        Answers("logits", np.array([[1.5, np.nan], [-np.inf, 0]], np.float32)),
        Answers("probabilities", np.array([[0.1, 0.9], [1 / 3, 2 / 3]])),
        Answers("top_k", np.array([[0.7, 0.2]] * 2), np.array([[9, 0], [1, 2]])),
        Answers("label", None, np.array([4, 2])),
    ],
    ids=lambda answers: answers.kind,
)
def test_every_kind_comes_back_bit_for_bit(tmp_path, answers):
    arguments = {"top_k": {"k": 2}}.get(answers.kind, {})
    num_classes = 10 if answers.scores is None or answers.labels is not None else 2
    declaration = Declaration(num_classes, answers.kind, **arguments)
    with AnswerCache(tmp_path / "file", declaration) as cache:
        cache.store([key(0), key(1)], answers)
    for path in (tmp_path / "file", None):
        with AnswerCache(path, declaration) as cache:
            cache.store([key(0), key(1)], answers)
            back = Answers.joined([cache.get(key(0)), cache.get(key(1))])
            assert back.kind == answers.kind
            for mine, theirs in ((back.scores, answers.scores), (back.labels, answers.labels)):
                np.testing.assert_array_equal(mine, theirs)
                assert mine is None or mine.dtype == theirs.dtype


def test_the_book_of_queries(tmp_path):
    filled(tmp_path / "file")
    with AnswerCache(tmp_path / "file", LOGITS) as cache:
        assert (len(cache), cache.num_queries, cache.num_in_doubt) == (3, 3, 0)
        assert key(0) in cache
        assert key(1) not in cache
        cache.note_asked([key(1)])
        assert (cache.num_queries, cache.num_in_doubt) == (4, 1)
        cache.store([key(0)], logits(99))  # an answer stays as it is
        assert cache.get(key(0)).scores[0, 0] == 0
    with AnswerCache(tmp_path / "file", LOGITS) as cache:
        assert (len(cache), cache.num_queries, cache.num_in_doubt) == (3, 4, 1)
        cache.store([key(1)], logits(1))
        assert (len(cache), cache.num_queries, cache.num_in_doubt) == (4, 4, 0)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(cut=st.integers(0, 400))
def test_a_file_cut_anywhere_keeps_its_whole_records(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "file"
    body = filled(path)
    cut = min(cut, len(body))
    path.write_bytes(body[:cut])
    with AnswerCache(path, LOGITS) as cache:
        for number in (0, 2, 3):
            end = body.find(logits(number).to_bytes(0)) + len(logits(number).to_bytes(0)) + 4
            assert (key(number) in cache) == (end <= cut)
            if key(number) in cache:
                assert cache.get(key(number)).scores[0, 0] == number
        end = body.find(b"status 400") + len(b"status 400") + 4
        assert cache.why_unusable(key(4)) == ("status 400" if end <= cut else None)
        cache.store([key(5)], logits(5))
    with AnswerCache(path, LOGITS) as cache:
        assert cache.num_cut_bytes == 0
        assert cache.get(key(5)).scores[0, 0] == 5


@settings(derandomize=True, deadline=None, max_examples=40)
@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_no_flipped_byte_gives_a_wrong_answer(tmp_path_factory, place, flip):
    """It is refused as damage, or cut off as a torn tail; what is left is right."""
    path = tmp_path_factory.mktemp("flip") / "file"
    body = bytearray(filled(path))
    body[place % len(body)] ^= flip
    path.write_bytes(body)
    try:
        with AnswerCache(path, LOGITS) as cache:
            for number in (0, 2, 3):
                if key(number) in cache:
                    assert cache.get(key(number)).scores[0, 0] == number
            assert cache.why_unusable(key(4)) in (None, "status 400")
    except CacheError:
        pass


def test_what_is_unusable_stays_so(tmp_path):
    with AnswerCache(tmp_path / "file", LOGITS) as cache:
        cache.note_asked([key(0), key(0)])
        cache.note_unusable([key(0)], "status 400")
        assert (cache.num_queries, cache.num_in_doubt, cache.num_unusable) == (2, 1, 1)
        cache.note_unusable([key(0)], "another reason")
        cache.store([key(0), key(1)], logits(0, 1))  # what was settled first stands
        cache.note_unusable([key(1)], "too late")
    for path in (tmp_path / "file", tmp_path / "file"):
        with AnswerCache(path, LOGITS) as cache:
            assert cache.why_unusable(key(0)) == "status 400"
            assert cache.is_settled(key(0))
            assert key(0) not in cache
            assert cache.why_unusable(key(1)) is None
            assert cache.get(key(1)).scores[0, 0] == 1
            assert (len(cache), cache.num_unusable) == (1, 1)


@pytest.mark.parametrize("why", ["", "x" * 10_000, "\ud800 half a letter", "ü\0\n"])
def test_any_reason_is_kept(tmp_path, why):
    with AnswerCache(tmp_path / "file", LOGITS) as cache:
        cache.note_unusable([key(0)], why)
        said = cache.why_unusable(key(0))
    assert len(said) <= 240
    assert said[:1] in (why[:1], "?")
    with AnswerCache(tmp_path / "file", LOGITS) as cache:
        assert cache.why_unusable(key(0)) == said


def test_a_control_counts_and_changes_nothing(tmp_path):
    with AnswerCache(tmp_path / "file", LOGITS) as cache:
        cache.store([key(0)], logits(0))
        cache.store([key(0)], logits(7), again=True)
        cache.store([key(1)], logits(1))
    with AnswerCache(tmp_path / "file", LOGITS) as cache:
        assert (len(cache), cache.num_queries) == (2, 3)
        assert cache.get(key(0)).scores[0, 0] == 0


def test_files_of_before_there_were_refusals_are_read(tmp_path):
    """Byte for byte what version 1 wrote: asked, answered, refused, answered."""
    path = tmp_path / "file"
    old = bytearray(b"anw_jax answers, version 1\n" + LOGITS.digest.encode() + b"\n")
    for kind, number, payload in (
        (1, 0, b""),
        (2, 0, logits(0).to_bytes(0)),
        (1, 1, b""),
        (3, 1, b""),
        (2, 2, logits(2).to_bytes(0)),
    ):
        record = struct.pack("<2sBI32s", b"\xa7\x1e", kind, len(payload), key(number)) + payload
        old += record + struct.pack("<I", zlib.crc32(record))
    path.write_bytes(old)
    with AnswerCache(path, LOGITS) as cache:
        assert (len(cache), cache.num_queries, cache.num_unusable) == (2, 2, 0)
        assert cache.num_cut_bytes == 0
        cache.note_unusable([key(1)], "status 400")
    assert path.read_bytes().startswith(bytes(old))
    with AnswerCache(path, LOGITS) as cache:
        assert (len(cache), cache.num_queries, cache.num_unusable) == (2, 2, 1)


def test_damage_in_the_midst_is_refused(tmp_path):
    path = tmp_path / "file"
    body = bytearray(filled(path))
    place = body.find(logits(0).to_bytes(0))
    body[place] ^= 1
    path.write_bytes(body)
    start = body.rfind(b"\xa7\x1e", 0, place)
    with pytest.raises(CacheError) as error:
        AnswerCache(path, LOGITS)
    assert str(error.value) == (
        f"{path} is damaged at byte {start} (the checksum is wrong, and good records follow): "
        "restore it from a copy, or name another file and query again"
    )
    assert path.read_bytes() == bytes(body)  # nothing was thrown away


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(CacheError) as error:
        AnswerCache(path, LOGITS)
    assert str(error.value) == f"{path} is not a file of answers: name another file"
    path.unlink()
    filled(path)
    with pytest.raises(CacheError) as error:
        AnswerCache(path, Declaration(3, identity="another"))
    assert str(error.value) == (
        f"{path} holds the answers of another suspect, or of this one under another "
        "declaration: name another file"
    )


def test_two_holders_do_not_share_a_file(tmp_path):
    path = tmp_path / "file"
    with AnswerCache(path, LOGITS), pytest.raises(CacheError) as error:
        AnswerCache(path, LOGITS)  # the lock is the file's, so one process stands for two
    assert str(error.value) == (
        f"{path} is in use by another process: wait for it, or name another file"
    )
    with AnswerCache(path, LOGITS):
        pass


def test_the_disk_is_waited_for_as_often_as_asked(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", synced.append)
    with AnswerCache(tmp_path / "each", LOGITS, sync_seconds=0) as cache:
        synced.clear()
        for number in range(5):
            cache.store([key(number)], logits(number))
        assert len(synced) == 5
    with AnswerCache(tmp_path / "seldom", LOGITS, sync_seconds=3600) as cache:
        synced.clear()
        for number in range(5):
            cache.store([key(number)], logits(number))
        assert len(synced) == 0
    assert len(synced) == 1  # closing


def test_keys_tell_pictures_apart(rng):
    picture = rng.integers(0, 256, (2, 3, 3), dtype=np.uint8)
    keys = {
        question_key("a", picture),
        question_key("b", picture),
        question_key("a", picture.reshape(3, 2, 3)),
        question_key("a", picture ^ 1),
    }
    assert len(keys) == 4
    assert question_key("a", picture.copy()) in keys


class Failing:
    """A file that takes a few bytes at a time, and breaks off after some."""

    def __init__(self, file, error, num_bytes):
        self._file, self._error, self._left = file, error, num_bytes

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, body):
        if self._left <= 0:
            raise self._error
        written = self._file.write(body[: min(7, self._left)])
        self._left -= written
        return written


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("num_bytes", [0, 3, 60, 10**6])
def test_what_was_not_written_whole_is_not_there(tmp_path, error, num_bytes):
    """A full disk, or Ctrl-C in a notebook: the same open cache goes on with right answers."""
    with AnswerCache(tmp_path / "file", LOGITS) as cache:
        cache.store([key(0)], logits(0))
        file = cache._file
        cache._file = Failing(file, error, num_bytes)
        if num_bytes < 1000:
            with pytest.raises(type(error)):
                cache.store([key(1), key(2)], logits(1, 2))
            assert key(1) not in cache
        cache._file = file
        cache.store([key(3), key(2)], logits(3, 2))
        for number in (0, 3, 2):
            assert cache.get(key(number)).scores[0, 0] == number
        assert cache.num_queries == 3
    with AnswerCache(tmp_path / "file", LOGITS) as cache:
        assert (len(cache), cache.num_queries, cache.num_cut_bytes) == (3, 3, 0)


def test_a_disk_that_cannot_be_waited_for_loses_no_answer(tmp_path, monkeypatch):
    with AnswerCache(tmp_path / "file", LOGITS, sync_seconds=0) as cache:

        def broken(number):
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr("anw_jax.suspects.cache.os.fsync", broken)
            with pytest.raises(OSError, match="Input/output"):
                cache.store([key(1)], logits(1))
        assert cache.get(key(1)).scores[0, 0] == 1
        cache.store([key(1)], logits(2))
    with AnswerCache(tmp_path / "file", LOGITS) as cache:
        assert (len(cache), cache.num_queries) == (1, 1)
        assert cache.get(key(1)).scores[0, 0] == 1


def test_a_short_write_goes_on(tmp_path):
    with AnswerCache(tmp_path / "file", LOGITS) as cache:
        cache._file = Failing(cache._file, None, 10**6)
        cache.store([key(1), key(2)], logits(1, 2))
        assert cache.get(key(2)).scores[0, 0] == 2


def test_a_file_changed_while_it_is_open_gives_no_answer(tmp_path):
    with AnswerCache(tmp_path / "file", LOGITS) as cache:
        cache.store([key(1)], logits(1))
        body = bytearray((tmp_path / "file").read_bytes())
        body[-8] ^= 1
        (tmp_path / "file").write_bytes(body)
        with pytest.raises(CacheError, match="was changed at byte 92 while it was open"):
            cache.get(key(1))


IMAGE = Answers("image", np.zeros((1, 4, 4, 3), np.uint8)).to_bytes(0)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "requires a buffer"),
        (IMAGE[:8], "requires a buffer"),
        (b"\xff" + IMAGE[1:], "index out of range"),
        (IMAGE[:-1], "cannot reshape"),
        (logits(1).to_bytes(0), "declares image and answers with logits"),
        (
            Answers("image", np.zeros((1, 1, 1, 3), np.uint8)).to_bytes(0),
            r"\(1, 1, 3\) for one",
        ),
    ],
)
def test_a_record_that_is_no_answer_is_one_clear_error(tmp_path, payload, text):
    """Edited, and its checksum made again; an image of one pixel filled a whole answer."""
    with AnswerCache(tmp_path / "file", Declaration(answer="image")) as cache:
        cache._append([(2, key(1), payload)])
        with pytest.raises(CacheError, match=f"file is damaged at byte .*{text}"):
            cache.get(key(1), (4, 4, 3))


@pytest.mark.parametrize("on_disk", [True, False])
def test_nothing_is_kept_after_closing(tmp_path, on_disk):
    with AnswerCache(tmp_path / "file" if on_disk else None, LOGITS) as cache:
        cache.store([key(1)], logits(1))
    for late in (lambda: cache.store([key(2)], logits(2)), lambda: cache.get(key(1))):
        with pytest.raises(CacheError, match="the cache is closed: answers to further queries"):
            late()

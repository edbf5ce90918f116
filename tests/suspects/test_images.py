"""Models from images to images, in every layout and range, and over HTTP."""

import itertools
import struct
import zlib

import numpy as np
import PIL.ImageFile
import pytest

from anw_jax import data
from anw_jax.errors import CacheError, SuspectError
from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation
from anw_jax.suspects import (
    Access,
    AnswerCache,
    Answers,
    CallableSuspect,
    Declaration,
    HttpSuspect,
    QuerySession,
    ask_images,
    images_fn,
    probe,
    probe_images,
)
from anw_jax.suspects.declaration import CHANNELS, LAYOUTS, RANGES
from anw_jax.suspects.http.client import Reply
from anw_jax.suspects.http.png import read_png
from tests.suspects import twins

IMAGES = twins.photos(5)
IMAGE = Declaration(answer="image")


def called(answer, identity="model", **declared):
    return CallableSuspect(answer, Declaration(answer="image", **declared), identity=identity)


class Client:
    """A service without a network; `answer` turns the PNG it is sent into a reply."""

    def __init__(self, answer):
        self._answer = answer

    def send(self, method, url, body, headers, seconds, max_bytes):
        assert headers["content-type"] == "image/png"
        return self._answer(body)


def over_http(answer, **declared):
    declaration = Declaration(answer="image", **declared)
    return HttpSuspect("http://model.test/restore", declaration, client=Client(answer))


@pytest.mark.parametrize(
    ("layout", "channels", "value_range"), list(itertools.product(LAYOUTS, CHANNELS, RANGES))
)
def test_what_a_model_gives_back_is_what_it_was_given(layout, channels, value_range):
    how = {"layout": layout, "channels": channels, "value_range": value_range}
    answered, refused = ask_images(called(lambda x: x, **how), IMAGES)
    np.testing.assert_array_equal(answered, IMAGES)
    assert refused == {}

    def redder(batch):  # by 20 levels of red
        changed = batch.copy()
        low, high = RANGES[value_range]
        red = changed[:, :1] if layout == "NCHW" else changed[..., :1]
        if channels == "BGR":
            red = changed[:, 2:] if layout == "NCHW" else changed[..., 2:]
        red += (high - low) * 20 / 255
        return changed

    answered, _ = ask_images(called(redder, **how).clipped(), IMAGES)
    wanted = np.minimum(IMAGES.astype(int) + np.array([20, 0, 0]), 255)
    np.testing.assert_array_equal(answered, wanted)


@pytest.mark.parametrize("channels", CHANNELS)
def test_a_service_is_sent_a_png_and_answers_with_one(channels):
    def answer(body):
        picture = read_png(body, IMAGES.shape[1:3])
        picture[..., 0 if channels == "RGB" else 2] = 0
        return Reply(200, {"content-type": "image/png; q=1"}, data.png_of(picture))

    with over_http(answer, channels=channels) as suspect:
        answered = images_fn(suspect)(IMAGES)
    np.testing.assert_array_equal(answered, IMAGES * np.array([0, 1, 1], np.uint8))


def test_an_answer_keeps_its_pixels_in_a_file(tmp_path):
    images = twins.photos(3)[:, :6]
    with AnswerCache(tmp_path / "kept", IMAGE) as cache:
        cache.store([b"%032d" % n for n in range(3)], Answers("image", images))
    with AnswerCache(tmp_path / "kept", IMAGE) as cache:
        kept = [cache.get(b"%032d" % n).scores for n in range(3)]
    np.testing.assert_array_equal(np.concatenate(kept), images)
    with pytest.raises(CacheError, match="another suspect"):
        AnswerCache(tmp_path / "kept", Declaration(answer="image", layout="NCHW"))


def test_another_suspects_cache_is_refused():
    with (
        AnswerCache(None, Declaration(answer="image", layout="NCHW")) as cache,
        pytest.raises(ValueError, match="cache must belong to this suspect"),
    ):
        ask_images(called(lambda x: x), IMAGES, cache=cache)


def test_one_image_that_is_refused_does_not_stop_the_others():
    def answer(batch):
        if (batch == np.float32(IMAGES[2] / 255.0)).all(axis=(1, 2, 3)).any():
            raise ValueError("not this one")
        return batch

    answered, refused = ask_images(called(answer), IMAGES)
    assert list(refused) == [2]
    assert "not this one" in refused[2]
    np.testing.assert_array_equal(np.delete(answered, 2, 0), np.delete(IMAGES, 2, 0))
    with pytest.raises(SuspectError, match="refused 1 of 5 images, the first is number 2"):
        images_fn(called(answer))(IMAGES)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda x: x, None),
        (lambda x: x[..., ::-1], "channels"),
        (lambda x: np.roll(x, 1, axis=0), "changes"),
        (lambda x: 1 - x, "unlike"),
        (lambda x: 0 * x, "constant"),
        (lambda x: x[:, :4], "fails"),
    ],
)
def test_a_probe_names_what_is_wrong(answer, name):
    # Each image has a colour of its own.
    found = [finding.name for finding in probe_images(called(answer), IMAGES, IMAGES).findings]
    assert name in (found or [None])


def test_images_are_no_losses():
    suspect = called(lambda x: x)
    with pytest.raises(ValueError, match="answer must not be 'image' for an audit of photos"):
        probe(suspect, IMAGES)
    for access in (None, Access("label")):
        with pytest.raises(ValueError, match="answer must not be 'image'"):
            QuerySession(suspect, IMAGES, None, HueRotation(), SignatureSpace(4), access=access)
    with pytest.raises(ValueError, match="answer must be one of image"):
        twins.called().clipped()
    with pytest.raises(ValueError, match="must be one of image"):
        ask_images(twins.called(), IMAGES)


@pytest.mark.parametrize(("size", "colour"), [((9, 8), 2), ((8, 9), 2), ((8, 8), 0)])
def test_a_png_with_a_second_header_is_not_unpacked(size, colour, monkeypatch):
    body = data.png_of(IMAGES[0])
    header = b"IHDR" + struct.pack(">IIBBBBB", *size[::-1], 8, colour, 0, 0, 0)
    again = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", lambda self: pytest.fail("unpacked"))
    with pytest.raises(ValueError, match="a PNG that is cut off or damaged"):
        read_png(body[:33] + again + body[33:], (8, 8))


def test_a_damaged_png_is_an_image_or_one_error():
    body, rng = data.png_of(IMAGES[0]), np.random.default_rng(0)
    messages = []
    for _ in range(400):
        changed = bytearray(body)
        for place in rng.integers(0, len(body), rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        changed = changed[: rng.integers(len(body)) if rng.random() < 0.3 else None]
        try:
            assert read_png(bytes(changed), (8, 8)).shape == (8, 8, 3)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 200
    assert all(
        message.startswith(("a PNG ", "something that is not a PNG")) for message in messages
    )

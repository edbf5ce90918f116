import json
import multiprocessing

import numpy as np
import pytest

from anw_jax.errors import PartyError
from anw_jax.partition import Channel, find_images


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def ends(tmp_path):
    left, right = multiprocessing.Pipe()
    one = Channel(left, "owner1", "server", trace=tmp_path, keeps_bodies=True)
    return one, Channel(right, "server", "owner1"), right


def test_a_message_arrives_as_it_was_sent_and_is_logged(ends, tmp_path):
    one, two, _ = ends
    one.send("share", activations=np.ones((2, 3), np.float32), labels=np.array([1, 2]))
    message = two.receive("share", seconds=5.0)
    np.testing.assert_array_equal(message["labels"], [1, 2])
    assert message["activations"].dtype == np.float32
    line = json.loads((tmp_path / "owner1-server.jsonl").read_text())
    assert (line["number"], line["kind"]) == (1, "share")
    assert line["arrays"]["activations"] == ["float32", [2, 3]]
    assert line["bytes"] == (tmp_path / "owner1-server-000001.npz").stat().st_size


def _noisy(images, rng):
    return images + rng.normal(0, 12, images.shape)


@pytest.mark.parametrize(
    ("leak", "how"),
    [
        (lambda images, rng: images[3], {"bytes", "copy"}),
        (lambda images, rng: images[3:4] / np.float32(255.0), {"bytes", "copy"}),
        (lambda images, rng: np.insert(images[3].ravel(), 0, [1, 2, 3, 4, 5]), {"bytes"}),
        (lambda images, rng: (images[3].astype(np.float32) - 120.0) / 60.0, {"copy"}),
        (lambda images, rng: -2.0 * _noisy(images[3:4], rng), {"copy"}),
    ],
)
def test_a_planted_leak_is_found(ends, tmp_path, images, rng, leak, how):
    ends[0].send("share", activations=rng.normal(size=(4, 4, 4, 12)).astype(np.float32))
    assert find_images(tmp_path, images) == []
    ends[0].send("share", activations=leak(images, rng))
    found = find_images(tmp_path, images)
    assert {(leak.image, leak.how) for leak in found} == {(3, way) for way in how}
    assert {leak.message for leak in found} == {"owner1-server-000002.npz"}


def test_images_of_others_are_no_leak(ends, tmp_path, images, rng):
    other = np.random.default_rng(1).integers(0, 256, images.shape, dtype=np.uint8)
    ends[0].send("share", activations=other)
    assert find_images(tmp_path, images) == []


def test_a_folder_without_messages_is_no_proof(tmp_path, images):
    with pytest.raises(ValueError, match="holds no kept messages"):
        find_images(tmp_path, images)


def test_bad_messages_are_one_clear_error(ends):
    one, two, raw = ends
    with pytest.raises(PartyError, match=r"server has sent nothing for 0\.01 s"):
        one.receive("model", seconds=0.01)
    raw.send_bytes(b"no message")
    with pytest.raises(PartyError, match="server has sent a damaged message"):
        one.receive("model", seconds=5.0)
    raw.send({"a": "pickle"})
    with pytest.raises(PartyError, match="server has sent a damaged message"):
        one.receive("model", seconds=5.0)
    two.send("done")
    with pytest.raises(PartyError, match="server has sent 'done' instead of 'model'"):
        one.receive("model", seconds=5.0)
    two.send("model")
    with pytest.raises(PartyError, match="server has sent 'model' without 'weights'"):
        one.receive("model", seconds=5.0)["weights"]
    two.close()
    with pytest.raises(PartyError, match="server has gone"):
        one.receive("model", seconds=5.0)
    with pytest.raises(PartyError, match="server has gone"):
        one.send("share")

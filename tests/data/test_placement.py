import types

import jax
import numpy as np
import PIL.Image
import pytest

from anw_jax import data
from anw_jax.data import sources


@pytest.mark.parametrize(
    ("in_memory", "memory_bytes", "streams"),
    [
        ("auto", 10 * 8 * 8 * 3, False),
        ("auto", 10 * 8 * 8 * 3 - 1, True),
        (True, 1, False),
        (False, 10**9, True),
        ("auto", None, False),
    ],
)
def test_what_is_streamed(in_memory, memory_bytes, streams):
    assert sources.stays_on_disk(10 * 8 * 8 * 3, in_memory, memory_bytes) is streams


def test_the_least_memory_counts(monkeypatch, tmp_path):
    stats = {"bytes_limit": 4_000}
    device = types.SimpleNamespace(memory_stats=lambda: stats)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    monkeypatch.setattr(sources, "_CGROUP_LIMIT", tmp_path / "memory.max")
    assert sources.default_memory_bytes() == 1_000
    (tmp_path / "memory.max").write_text("2000\n")
    assert sources.default_memory_bytes() == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert sources.default_memory_bytes() == 1_000
    monkeypatch.setattr(device, "memory_stats", lambda: None)
    assert sources.default_memory_bytes() > 10**8


@pytest.mark.parametrize("in_memory", ["Auto", None, 1])
def test_in_memory_is_a_choice_of_three(in_memory):
    with pytest.raises(TypeError) as caught:
        data.load("mock:8", in_memory=in_memory)
    assert str(caught.value) == f"in_memory must be True, False or 'auto', got {in_memory!r}"


def test_memory_bytes_must_be_positive():
    with pytest.raises(ValueError, match=r"^memory_bytes must be at least 1, got 0$"):
        data.load("mock:8", memory_bytes=0)


def test_large_folders_stream(tmp_path):
    for name in ("train/cat/a.png", "train/dog/b.png", "test/cat/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name)
    source = f"folder:{tmp_path}"
    assert type(data.load(source, memory_bytes=3 * 48).train) is data.Dataset
    assert type(data.load(source, memory_bytes=3 * 48 - 1).test) is data.StreamedDataset
    # Resizing makes a set smaller.
    assert type(data.load(source, image_size=2, memory_bytes=36).train) is data.Dataset

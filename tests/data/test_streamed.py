import dataclasses

import numpy as np
import PIL.Image
import pytest

from anw_jax import data, errors, keys
from anw_jax.data import image_files
from anw_jax.data import streamed as streamed_images

NUM = 23


@pytest.fixture(scope="module")
def originals():
    """Photos of several sizes, none of them square."""
    rng = np.random.default_rng(8)
    sizes = [(10 + row % 3, 12 + row % 4) for row in range(NUM)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.fixture(scope="module")
def root(originals, tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for row, image in enumerate(originals):
        path = root / f"{'train' if row < NUM - 3 else 'test'}/class{row % 3}/{row:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(path)
    return root


@pytest.fixture(scope="module")
def streamed(root):
    return data.load(f"folder:{root}", image_size=8, in_memory=False).train


@pytest.fixture(scope="module")
def expected(originals, streamed):
    """Fitted by hand, in the order of the file names."""
    rows = [int(name[-6:-4]) for name in streamed.file_names]
    return np.stack([image_files.fit(originals[row], 8) for row in rows])


@pytest.mark.parametrize(
    "index", [0, 19, -1, slice(3, 9), slice(None, None, 4), [5, 2, 2, -3], np.array([], int)]
)
def test_indexing_is_that_of_an_array(streamed, expected, index):
    given = streamed.images[index]
    assert given.dtype == np.uint8
    np.testing.assert_array_equal(given, expected[index])


def test_looks_like_an_array(streamed, expected):
    images = streamed.images
    assert (images.shape, images.ndim, images.dtype) == ((20, 8, 8, 3), 4, np.uint8)
    assert len(images) == len(streamed) == 20
    assert streamed.labels.tolist() == sorted(streamed.labels)


@pytest.mark.parametrize("index", [20, -21, [0, 20]])
def test_rows_that_are_not_there(streamed, index):
    with pytest.raises(IndexError, match=r"^row outside \[0, 20\): "):
        streamed.images[index]


@pytest.mark.parametrize("index", [1.0, [[0, 1]], (0, 1, slice(2)), np.ones(20, bool)])
def test_other_indices_are_refused(streamed, index):
    with pytest.raises((TypeError, ValueError)):
        streamed.images[index]


def test_no_slip_reads_everything(streamed):
    with pytest.raises(TypeError, match=r"20 streamed images .*in_memory\(\)"):
        np.asarray(streamed.images)


def test_nothing_is_decoded_before_it_is_asked_for(root, monkeypatch):
    read = []
    decode = image_files.decode

    def count(content, name, **given):
        read.append(name)
        return decode(content, name, **given)

    monkeypatch.setattr(image_files, "decode", count)
    splits = data.load(f"folder:{root}", image_size=8, in_memory=False)
    assert len(read) == 2  # one of each split, for its size
    taken = splits.train.take([4, 2])
    replaced = taken.images.replace([1], np.zeros((1, 8, 8, 3), np.uint8))
    assert len(read) == 2
    assert replaced[[1, 1]].max() == 0
    assert len(read) == 2
    assert replaced[:].any()
    assert len(read) == 3


@pytest.mark.parametrize("chunk", [1, 7, 20, 64])
def test_chunks_are_all_images_in_order(streamed, expected, chunk, monkeypatch):
    monkeypatch.setattr(streamed_images, "_CHUNK_IMAGES", chunk)
    few_bytes = 20 * int(np.prod(streamed.images.shape[1:]))
    monkeypatch.setattr(streamed_images, "_CHUNK_BYTES", few_bytes)
    pieces = list(data.chunks(streamed.images))
    assert max(map(len, pieces)) == min(chunk, 20)
    np.testing.assert_array_equal(np.concatenate(pieces), expected)


def test_take_and_in_memory(streamed, expected, originals):
    rows = [7, 3, 3, 11]
    taken = streamed.take(rows)
    assert isinstance(taken, data.StreamedDataset)
    read = taken.in_memory()
    assert type(read) is data.Dataset
    np.testing.assert_array_equal(read.images, expected[rows])
    np.testing.assert_array_equal(read.labels, streamed.labels[rows])
    names = [streamed.file_names[row] for row in rows]
    assert read.file_names == tuple(names)
    digests = [keys.image_digest(originals[int(name[-6:-4])]) for name in names]
    assert read.original_digests == tuple(digests)
    assert len(streamed.take([]).in_memory()) == 0


def test_a_set_in_memory_is_left_as_it_is(streamed):
    read = streamed.in_memory()
    assert read.in_memory() is read


def test_published_photos_take_places(streamed, expected):
    wanted = expected.copy()
    images = streamed.images
    for rows, level in (([5, 1], 10), ([1, 9], 200)):  # row 1 is replaced twice
        new = np.full((2, 8, 8, 3), level, np.uint8)
        images, wanted[rows] = images.replace(rows, new), new
    np.testing.assert_array_equal(images[:], wanted)
    np.testing.assert_array_equal(images.take([9, 0, 5])[:], wanted[[9, 0, 5]])
    np.testing.assert_array_equal(streamed.images[:], expected)


def test_published_photos_of_another_size(streamed):
    with pytest.raises(ValueError) as caught:
        streamed.images.replace([0], np.zeros((1, 9, 8, 3), np.uint8))
    assert str(caught.value) == "images must have shape (1, 8, 8, 3), got (1, 9, 8, 3)"


def test_digests_of_originals_survive_publication(streamed):
    marked = dataclasses.replace(
        streamed, images=streamed.images.replace([2], np.zeros((1, 8, 8, 3), np.uint8))
    )
    assert marked.in_memory().images[2].max() == 0
    assert marked.in_memory().original_digests == streamed.in_memory().original_digests


def test_identity_sees_files_rows_size_and_publication(root, streamed):
    images = streamed.images
    new = np.zeros((1, 8, 8, 3), np.uint8)
    others = [
        images.take(np.arange(20)[::-1]),
        images.replace([3], new),
        images.replace([4], new),
        images.replace([3], new + 1),
        data.load(f"folder:{root}", image_size=9, in_memory=False).train.images,
        data.load(f"folder:{root}", image_size=8, in_memory=False).test.images,
    ]
    assert len({images.identity(), *(other.identity() for other in others)}) == 7
    again = data.load(f"folder:{root}", image_size=8, in_memory=False).train.images
    assert again.identity() == images.identity()
    assert images.take(np.arange(20)).identity() == images.identity()


def test_sizes_that_differ_are_named(tmp_path):
    for name, width in (("train/cat/a", 4), ("train/cat/b", 5), ("test/cat/c", 4)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.zeros((3, width, 3), np.uint8)).save(path)
    streamed = data.load(f"folder:{tmp_path}", in_memory=False).train
    with pytest.raises(errors.SourceError) as caught:
        list(streamed.images.chunks())
    assert str(caught.value).replace(str(tmp_path), "ROOT") == (
        "ROOT/train/cat/a.png is 3x4 and ROOT/train/cat/b.png is 3x5 (height x width): set "
        "image_size to bring all images to one size"
    )


def test_a_damaged_photo_is_named_when_its_turn_comes(root, tmp_path):
    for name in ("train/cat/a.png", "train/cat/b.png", "test/cat/c.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((root / "train/class0/00.png").read_bytes())
    (tmp_path / "train/cat/b.png").write_text("no image")
    streamed = data.load(f"folder:{tmp_path}", in_memory=False).train
    assert len(streamed) == 2
    with pytest.raises(errors.SourceError, match=r"b\.png cannot be decoded"):
        list(streamed.images.chunks())


def test_streamed_sets_hold_streamed_images(streamed):
    with pytest.raises(TypeError, match=r"^images must be a StreamedImages, got ndarray"):
        dataclasses.replace(streamed, images=np.zeros((20, 8, 8, 3), np.uint8))


def test_a_batch_plan_gives_the_same_batches(streamed, expected):
    rows = data.BatchPlan(20, 6, seed=4).rows(2, 5)
    batches = data.prefetch(lambda step: streamed.images[rows[step]], range(5))
    for row, batch in zip(rows, batches, strict=True):
        np.testing.assert_array_equal(batch, expected[row])

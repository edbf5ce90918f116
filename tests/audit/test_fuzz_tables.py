"""Damaged tables of labels and archives of originals: what was committed to, or one line."""

import io
import warnings
import zipfile

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.audit.originals import read_originals
from anw_jax.errors import CaseError, SourceError
from anw_jax.keys import Manifest, SignatureSpace, image_digest
from tests.mutants import COUNTS, mutants, survives

PHOTOS = np.random.default_rng(5).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
NAMES = ("a.png", "café.png", "b/c d.png", "e;f.png")
MANIFEST = Manifest.of(PHOTOS, SignatureSpace(), file_names=NAMES)

NUMBERS = 'file,label\na.png,3\ncafé.png,0\nb/c d.png,-\n"e;f.png",12\n'
WORDS = "a.png\tcat\ncafé.png\tdog\nb/c d.png\tghost\ne;f.png\t-\n"
MAP = "word;class number\ncat;3\ndog;4\n"
TABLES = [
    NUMBERS.encode(),
    NUMBERS.replace("\n", "\r").encode(),
    NUMBERS.encode("utf-16"),
    WORDS.encode("utf-8-sig"),
    WORDS.replace("\t", ";").replace("e;f.png", '"e;f.png"').encode(),
]


@pytest.mark.filterwarnings("ignore:.*which was not committed to")
@pytest.mark.parametrize("count", COUNTS)
def test_fuzz_labels(tmp_path, count):
    path, words = tmp_path / "labels.csv", tmp_path / "map.csv"
    words.write_text(MAP)
    digests = {}

    def read(body):
        path.write_bytes(body)
        labels = audit.read_labels(path, MANIFEST, arbitrator_words=words)
        assert labels.classes.shape == (4,)
        assert labels.classes.min() >= -1
        # One commitment is one table.
        assert digests.setdefault(labels.digest, labels.entries) == labels.entries

    for seed in TABLES:
        read(seed)
    num_read, num_refused = survives(
        "labels.csv, read", mutants(TABLES, count), read, CaseError
    )
    assert num_read + num_refused == count
    assert num_refused


@pytest.mark.parametrize("count", COUNTS)
def test_fuzz_maps(tmp_path, count):
    path, words = tmp_path / "labels.csv", tmp_path / "map.csv"
    path.write_text(WORDS)
    digests = {}

    def read(body):
        words.write_bytes(body)
        labels = audit.read_labels(path, MANIFEST, words)
        assert digests.setdefault(labels.digest, labels.words) == labels.words

    seeds = [MAP.encode(), MAP.encode("utf-16-le").join([b"\xff\xfe", b""]), b"cat,1\r\ndog,2"]
    num_read, num_refused = survives(
        "labels_map.csv, read", mutants(seeds, count), read, CaseError
    )
    assert num_read
    assert num_refused


def rezipped(body, member, mutant):
    """The archive with one of its members exchanged, its checksums right again."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, mutant if name == member else old.read(name))
    return out.getvalue()


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("what", ["archive", "images.npy", "labels.npy", "file_names.npy"])
def test_fuzz_archives(tmp_path, what, count):
    arrays = {
        "images": PHOTOS, "labels": np.array([3, 0, -1, 12]), "file_names": np.array(NAMES)
    }  # fmt: skip
    stored, packed = io.BytesIO(), io.BytesIO()
    np.savez(stored, **arrays)
    np.savez_compressed(packed, **arrays)
    if what == "archive":
        seeds = [stored.getvalue(), packed.getvalue()]
    else:
        with zipfile.ZipFile(stored) as archive:
            seeds = [archive.read(what)]
    path = tmp_path / "originals.npz"

    def read(body):
        if what != "archive":
            body = rezipped(stored.getvalue(), what, body)
        path.write_bytes(body)
        originals = read_originals(tmp_path, MANIFEST)
        for digest, image in zip(MANIFEST.image_digests, originals.images, strict=True):
            assert image is None or image_digest(image) == digest
        assert originals.labels is None or originals.labels.min() >= -1

    read(seeds[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's own, on odd headers
        num_read, num_refused = survives(
            f"originals.npz, read: {what}",
            mutants(seeds, count, len(what)),
            read,
            (CaseError, SourceError),
        )
    assert num_read + num_refused == count
    assert num_refused


def test_an_archive_of_zeros_is_one_line(tmp_path):
    """A few kilobytes that claim to be a terabyte."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000, 1000, 3), }"
        body = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
        archive.writestr("images.npy", body + bytes(1000))
    (tmp_path / "originals.npz").write_bytes(out.getvalue())
    with pytest.raises(CaseError, match=r"originals.npz is no .npz file"):
        read_originals(tmp_path, MANIFEST)

"""Damaged originals of a case: the pixels that were committed to, or one line."""

import io
import warnings

import numpy as np
import PIL.Image
import pytest

from anw_jax import data
from anw_jax.audit.originals import read_originals
from anw_jax.errors import CaseError, SourceError
from anw_jax.keys import Manifest, SignatureSpace, image_digest
from tests.mutants import COUNTS, mutants, survives

PIXELS = np.random.default_rng(3).integers(0, 256, (12, 17, 3), dtype=np.uint8)


def saved(kind: str, **how) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(buffer, kind, **how)
    return buffer.getvalue()


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_fuzz_originals(tmp_path, kind, count):
    (tmp_path / "originals").mkdir()
    path = tmp_path / "originals" / f"a.{kind.lower()}"
    body = saved(kind, **({"quality": 95} if kind == "JPEG" else {}))
    path.write_bytes(body)
    pixels = data.read_photo(path)
    manifest = Manifest.of(pixels[None], SignatureSpace(), file_names=[path.name])

    def read(mutant):
        path.write_bytes(mutant)
        (image,) = read_originals(tmp_path, manifest).images
        if image is None:  # passed over with a warning: the case is not complete
            raise CaseError("the photo is not here")
        assert image_digest(image) == manifest.image_digests[0]

    read(body)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # passed over; Pillow's own, on damaged EXIF
        bodies = mutants([body, body + b"\0"], count, 7)
        num_read, num_refused = survives(
            f"original of a case, read: {kind}", bodies, read, (CaseError, SourceError)
        )
    assert num_read + num_refused == count
    assert num_refused

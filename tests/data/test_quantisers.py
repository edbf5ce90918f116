"""The quality of AVIF and HEIC files is read from their headers; damage is no answer."""

import importlib.util
import io

import numpy as np
import PIL.Image
import pytest

from anw_jax import data
from anw_jax.data.photo_files import heif, quantisers
from tests.data.test_photo_files import IMAGE, again
from tests.mutants import COUNTS, mutants, survives

KINDS = ["AVIF", *(["HEIF"] if importlib.util.find_spec("pillow_heif") else [])]


def encoded(kind, image=IMAGE, **how):
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quality", [35, 60, 75, 90])
def test_the_quality_of_a_librarys_own_file(kind, quality):
    assert abs(heif.quality_of(encoded(kind, quality=quality)) - quality) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_grey_transparent_and_odd_pictures(kind):
    grey = IMAGE.convert("L").crop((0, 0, 33, 17))
    assert abs(heif.quality_of(encoded(kind, grey.convert("RGB"), quality=70)) - 70) <= 1
    clear = IMAGE.convert("RGBA")
    clear.putalpha(PIL.Image.fromarray(np.full((32, 48), 90, np.uint8)))
    assert abs(heif.quality_of(encoded(kind, clear, quality=70)) - 70) <= 1


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_fuzz_of_headers(kind, count):
    seeds = [encoded(kind, IMAGE.crop((0, 0, 16, 16)), quality=quality) for quality in (40, 80)]

    def read(body):
        found = heif.quality_of(body)
        assert found is None or 1 <= found <= 100

    survives(f"quality of a photo file: {kind}", mutants(seeds, count), read, ())


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_its_headers_has_no_quality(kind):
    content = encoded(kind, quality=70)
    assert [heif.quality_of(content[:size]) for size in (0, 9, 40, 100)] == [None] * 4
    assert heif.quality_of(content.replace(b"iloc", b"free")) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_marked_file_has_the_quality_of_the_original(tmp_path, kind):
    path = tmp_path / "a"
    path.write_bytes(encoded(kind, quality=60))
    original = data.read_original(path)
    result, written = again(path, original, original.pixels)
    assert written.text.endswith("(estimated from the original)")
    assert abs(result.how["quality"] - 60) <= 1


def test_numbers_in_exp_golomb_code():
    # H.265, table 9-3: 1, 010, 011, 00100 are 0 to 3; signed: 0, 1, -1, 2.
    bits = quantisers._Bits(int("1010011001001010011001000000".ljust(32, "0"), 2).to_bytes(4))
    assert [bits.golomb() for _ in range(4)] == [0, 1, 2, 3]
    assert [bits.signed_golomb() for _ in range(4)] == [0, 1, -1, 2]
    with pytest.raises(ValueError, match="cut off"):
        bits.number(30)

"""Damaged photo files: pixels or one line, soon and in bounded memory."""

import struct
import warnings
import zlib

import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms

from anw_jax import data
from anw_jax.errors import SourceError
from tests.data.test_quantisers import KINDS as MODERN
from tests.data.test_quantisers import encoded as saved_by
from tests.mutants import COUNTS, mutants, survives

PIXELS = np.random.default_rng(3).integers(0, 256, (12, 17, 3), dtype=np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def saved(image, kind, **how):
    return saved_by(kind, image, **how)


def seeds(kind):
    image = PIL.Image.fromarray(PIXELS)
    other = PIL.Image.fromarray(PIXELS[::-1].copy())
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA001] = 2
    exif.get_ifd(0x8825)[1] = "N"
    found = [saved(image, kind), saved(image, kind, icc_profile=SRGB, exif=exif)]
    found.append(saved(image.convert("L"), kind))
    if kind == "PNG":
        found += [saved(image.quantize(9), kind, transparency=3, gamma=0.45)]
        found += [saved(image.convert("RGBA"), kind), saved(image.convert("1"), kind)]
        found += [saved(image, kind, save_all=True, append_images=[other])]
    if kind == "JPEG":
        found += [saved(image, kind, progressive=True), saved(image.convert("CMYK"), kind)]
        found += [saved(image, "MPO", save_all=True, append_images=[other])]
    if kind == "TIFF":
        found += [
            saved(image.convert("CMYK"), kind),
            saved(image, kind, compression="packbits"),
        ]
        found += [saved(image, kind, save_all=True, append_images=[other])]
    if kind in ("AVIF", "HEIF"):
        found += [saved(image.convert("RGBA"), kind, quality=40)]
    if kind == "WEBP":
        found += [saved(image, kind, lossless=True), saved(image.convert("RGBA"), kind)]
        found += [saved(image, kind, save_all=True, append_images=[other])]
    return found


def with_checksums(body):
    """A PNG whose chunks' checksums are right again, so that what is in them is read."""
    out, place = bytearray(body[:8]), 8
    while place + 12 <= len(body):
        length = struct.unpack(">I", body[place : place + 4])[0]
        length = min(length, len(body) - place - 12)
        content = body[place + 4 : place + 8 + length]
        out += struct.pack(">I", length) + content + struct.pack(">I", zlib.crc32(content))
        place += 12 + length
    return bytes(out)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", ["PNG", "PNG with checksums", "JPEG", "WEBP", "TIFF", *MODERN])
def test_fuzz(tmp_path, kind, count):
    name, path = kind.split()[0], tmp_path / f"photo.{kind.split()[0].lower()}"

    def read(body):
        path.write_bytes(with_checksums(body) if kind.endswith("checksums") else body)
        found = data.list_folder(tmp_path)
        assert len(found.photos) + len(found.passed_over) == 1
        colour = data.colour_of(path)
        pixels = data.read_photo(path)
        assert found.photos  # what is passed over is never read all the same
        assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
        original = data.read_original(path)
        assert np.array_equal(original.pixels, pixels)
        encoded = data.encode(original, pixels, data.Encoding(strip_gps=True), "a photo")
        path.write_bytes(encoded.content)
        again = data.read_original(path)
        assert (again.pixels.shape, again.kind) == (pixels.shape, original.kind)
        assert b"\xff\xd8\xff" not in again.metadata.exif
        path.write_bytes(data.png_of(pixels, colour))
        assert np.array_equal(data.read_photo(path), pixels)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own, on damaged EXIF
        num_read, num_refused = survives(
            f"photo, read: {kind}", mutants(seeds(name), count), read, SourceError
        )
    assert num_read + num_refused == count
    assert num_read
    assert num_refused

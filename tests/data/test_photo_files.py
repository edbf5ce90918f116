"""Marked photos are files like their originals: format, profile, metadata, one picture."""

import importlib.util
import io
import struct
import sys

import numpy as np
import PIL.Image
import pytest

from anw_jax import data, errors
from anw_jax.data import rgb
from tests.data.test_photo_colour import P3, PIXELS, png, profile

SMOOTH = np.asarray(PIL.Image.fromarray(PIXELS).resize((48, 32), PIL.Image.Resampling.BICUBIC))
IMAGE = PIL.Image.fromarray(SMOOTH)
# Of the commonest formats; HEIC where its library is there.
LOSSLESS = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}
LOSSY = {"JPEG": {}, "WEBP": {"quality": 80}, "AVIF": {"quality": 80}}
if importlib.util.find_spec("pillow_heif"):
    LOSSY["HEIF"] = {}


def saved(path, image, kind, **how):
    image.save(path, kind, **how)
    return path


def again(path, original, marked, **how):
    """The original of what was written for a marked photo."""
    encoded = data.encode(original, marked, data.Encoding(**how), "photo")
    out = path.with_name("out")
    out.write_bytes(encoded.content)
    return data.read_original(out), encoded


def exif_bytes(*, orientation=1, thumbnail=b"", gps=True, notes=b"camera's own"):
    """EXIF data, with a second directory for a thumbnail."""
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x8298] = orientation, "Ann"
    exif.get_ifd(0x8769).update({0x927C: notes, 0xA002: 48, 0xA003: 32, 0x9003: "2024"})
    if gps:
        exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 22.0, 11.0)})
    body = bytearray(exif.tobytes()[6:])
    if thumbnail:
        order = "<" if body[:2] == b"II" else ">"
        (number,) = struct.unpack_from(order + "H", body, 8)
        second = len(body)
        struct.pack_into(order + "I", body, 10 + 12 * number, second)
        entries = [
            (0x0103, 3, 1, 6),
            (0x0201, 4, 1, second + 42),
            (0x0202, 4, 1, len(thumbnail)),
        ]
        body += struct.pack(order + "H", 3)
        for tag, kind, count, value in entries:
            short = struct.pack(order + "HH", value, 0)
            packed = short if kind == 3 else struct.pack(order + "I", value)
            body += struct.pack(order + "HHI", tag, kind, count) + packed
        body += bytes(4) + thumbnail
    return bytes(body)


def jpeg_bytes(image, **how):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **how)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [*LOSSLESS])
def test_lossless_formats_keep_every_pixel(tmp_path, kind):
    path = saved(tmp_path / "a", IMAGE, kind, **LOSSLESS[kind])
    original = data.read_original(path)
    np.testing.assert_array_equal(original.pixels, SMOOTH)
    marked = original.pixels ^ np.uint8(1)
    result, _ = again(path, original, marked)
    assert result.kind == kind
    np.testing.assert_array_equal(result.pixels, marked)


@pytest.mark.parametrize("kind", [*LOSSY])
def test_lossy_formats_stay_near(tmp_path, kind):
    path = saved(tmp_path / "a", IMAGE, kind, **LOSSY[kind])
    original = data.read_original(path)
    result, encoded = again(path, original, original.pixels)
    assert result.kind == kind
    assert encoded.removed == {}
    assert np.abs(result.pixels.astype(int) - original.pixels).mean() < 3


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [20, 75, 92, 100])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_keeps_its_tables_and_sampling(tmp_path, subsampling, quality, progressive):
    how = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
    path = saved(tmp_path / "a", IMAGE, "JPEG", **how)
    original = data.read_original(path)
    _, encoded = again(path, original, original.pixels)
    assert encoded.text == f"JPEG, quality {quality}, as the original"
    with PIL.Image.open(path) as old, PIL.Image.open(io.BytesIO(encoded.content)) as new:
        assert new.quantization == old.quantization
        assert [part[1:3] for part in new.layer] == [part[1:3] for part in old.layer]
        assert bool(new.info.get("progressive")) == progressive
        assert new.info.get("dpi") == old.info.get("dpi")


def test_a_quality_that_is_given_is_used(tmp_path):
    path = saved(tmp_path / "a", IMAGE, "JPEG", quality=95, subsampling=1)
    result, encoded = again(path, data.read_original(path), SMOOTH, quality=40)
    assert encoded.text == "JPEG, quality 40"
    assert result.text == "JPEG, quality 40, as the original"
    assert result.how["subsampling"] == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_marked_photos_are_upright(tmp_path, kind, orientation):
    exif = b"Exif\0\0" + exif_bytes(orientation=orientation)
    path = saved(tmp_path / "a", IMAGE, kind, exif=exif, **LOSSLESS.get(kind, {}))
    original = data.read_original(path)
    with PIL.Image.open(path) as image:
        upright = PIL.ImageOps.exif_transpose(image)
        np.testing.assert_array_equal(original.pixels, np.asarray(upright))
    result, _ = again(path, original, original.pixels)
    assert result.pixels.shape == original.pixels.shape
    assert np.abs(result.pixels.astype(int) - original.pixels).mean() < 5
    found = PIL.Image.Exif()
    found.load(b"Exif\0\0" + result.metadata.exif)
    height, width = original.pixels.shape[:2]
    assert found.get(0x0112, 1) == 1
    assert (found.get_ifd(0x8769)[0xA002], found.get_ifd(0x8769)[0xA003]) == (width, height)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("to", ["same", "png", "jpeg", "webp"])
def test_profile_exif_and_xmp_are_kept(tmp_path, kind, to):
    how = LOSSLESS.get(kind, {}) | {"dpi": (300, 300)}
    body = b'<x tiff:Orientation="1">Ann</x>'
    exif = PIL.Image.Exif()
    exif.load(b"Exif\0\0" + exif_bytes())
    path = saved(tmp_path / "a", IMAGE, kind, icc_profile=profile(P3), exif=exif, **how)
    original = data.read_original(path)
    original.metadata.__dict__["xmp"] = body
    result, encoded = again(path, original, original.pixels, format=to)
    assert encoded.removed == {}
    assert result.colour.profile == profile(P3)
    assert result.metadata.xmp == body
    found = PIL.Image.Exif()
    found.load(b"Exif\0\0" + result.metadata.exif)
    assert found[0x8298] == "Ann"
    assert found.get_ifd(0x8769)[0x9003] == "2024"
    assert tuple(map(float, found.get_ifd(0x8825)[2])) == (47.0, 22.0, 11.0)
    if kind in ("JPEG", "PNG", "TIFF") and to != "webp":
        assert result.metadata.dpi == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_place_and_everything_can_be_stripped(tmp_path, kind):
    exif = PIL.Image.Exif()
    exif.load(b"Exif\0\0" + exif_bytes())
    how = LOSSLESS.get(kind, {})
    path = saved(tmp_path / "a", IMAGE, kind, exif=exif, icc_profile=profile(P3), **how)
    original = data.read_original(path)
    packet = b"<x exif:GPSLatitude='47,22N'><exif:GPSLongitude>8</exif:GPSLongitude>Ann</x>"
    original.metadata.__dict__["xmp"] = packet
    result, encoded = again(path, original, original.pixels, strip_gps=True)
    assert encoded.removed == {"GPS data": 1, "GPS data in XMP": 1}
    found = PIL.Image.Exif()
    found.load(b"Exif\0\0" + result.metadata.exif)
    assert 0x8298 in found
    assert not found.get_ifd(0x8825)
    assert result.metadata.xmp == b"<x>Ann</x>"
    result, _ = again(path, original, original.pixels, strip_all=True)
    assert (result.metadata.exif, result.metadata.xmp) == (b"", b"")
    assert result.colour.profile == profile(P3)


def test_a_plain_png_has_the_bytes_that_it_always_had(tmp_path):
    path = saved(tmp_path / "a", IMAGE, "PNG")
    original = data.read_original(path)
    _, encoded = again(path, original, original.pixels)
    assert encoded.content == data.png_of(SMOOTH)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_kept_beside_the_marked_colours(tmp_path, kind):
    alpha = np.arange(SMOOTH.shape[0] * SMOOTH.shape[1]).reshape(SMOOTH.shape[:2]) % 256
    rgba = np.dstack([SMOOTH, alpha.astype(np.uint8)])
    how = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    path = saved(tmp_path / "a", PIL.Image.fromarray(rgba), kind, **how)
    original = data.read_original(path)
    assert original.rules == (rgb.TRANSPARENT,)
    np.testing.assert_array_equal(original.pixels, SMOOTH)
    result, _ = again(path, original, SMOOTH ^ np.uint8(1))
    np.testing.assert_array_equal(result.pixels, SMOOTH ^ np.uint8(1))
    np.testing.assert_array_equal(result.alpha, alpha)
    with pytest.raises(errors.SourceError, match="photo has transparency, which JPEG cannot"):
        data.encode(original, SMOOTH, data.Encoding("jpeg"), "photo")


def test_a_palette_becomes_its_colours(tmp_path):
    image = IMAGE.quantize(9)
    path = saved(tmp_path / "a", image, "PNG", transparency=3)
    original = data.read_original(path)
    np.testing.assert_array_equal(original.pixels, np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(original.alpha, np.where(np.asarray(image) == 3, 0, 255))
    text = data.encode(original, original.pixels, data.Encoding(), "photo").text
    assert text == "PNG, RGB in place of the palette"


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_of_16_bits_the_upper_8_are_taken(tmp_path, kind, channels):
    deep = np.random.default_rng(kind).integers(0, 65536, (5, 7, channels)).astype(">u2")
    path = tmp_path / "a"
    path.write_bytes(png(16, kind, deep))
    original = data.read_original(path)
    colours = deep[..., : 3 if channels > 2 else 1] >> 8
    np.testing.assert_array_equal(original.pixels, np.broadcast_to(colours, (5, 7, 3)))
    assert rgb.DEEP in original.rules
    if channels in (2, 4):
        np.testing.assert_array_equal(original.alpha, deep[..., -1] >> 8)
    result, _ = again(path, original, original.pixels)
    np.testing.assert_array_equal(result.pixels, original.pixels)


def test_cmyk_without_a_profile_is_converted_by_one_formula(tmp_path):
    cmyk = np.random.default_rng(1).integers(0, 256, (4, 5, 4), dtype=np.uint8)
    image = PIL.Image.frombytes("CMYK", (5, 4), cmyk.tobytes())
    path = saved(tmp_path / "a", image, "TIFF")
    original = data.read_original(path)
    wanted = (255.0 - cmyk[..., :3]) * (255.0 - cmyk[..., 3:]) / 255
    assert np.abs(original.pixels - wanted).max() <= 0.5
    assert original.rules == (rgb.CMYK,)
    assert again(path, original, original.pixels)[0].kind == "TIFF"


def test_a_cmyk_jpeg_is_published_as_rgb(tmp_path):
    path = saved(tmp_path / "a", IMAGE.convert("CMYK"), "JPEG", quality=90)
    original = data.read_original(path)
    assert np.abs(original.pixels.astype(int) - SMOOTH).mean() < 12
    result, encoded = again(path, original, original.pixels)
    assert encoded.text == "JPEG, quality 90, as the original"
    assert result.rules == ()


def test_pages_of_a_tiff_are_refused_and_thumbnails_removed(tmp_path):
    small = IMAGE.resize((8, 6))
    path = saved(tmp_path / "a.tif", IMAGE, "TIFF", save_all=True, append_images=[small])
    with pytest.raises(errors.SourceError, match="has 2 pages: save the one that you want"):
        data.read_original(path)
    assert data.list_folder(tmp_path).passed_over == ((path, "2 pages"),)
    small.encoderinfo = {"tiffinfo": {254: 1}}
    path = saved(tmp_path / "a.tif", IMAGE, "TIFF", save_all=True, append_images=[small])
    original = data.read_original(path)
    result, encoded = again(path, original, original.pixels)
    assert encoded.removed == {"thumbnail": 1}
    assert result.metadata.removed == {}


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_modes_without_a_rule_are_named(tmp_path, mode):
    path = saved(tmp_path / "a.tif", PIL.Image.new(mode, (4, 4)), "TIFF")
    assert data.list_folder(tmp_path).passed_over == ((path, f"colour mode {mode}"),)
    with pytest.raises(errors.SourceError, match=f"has colour mode {mode}: save it as 8-bit"):
        data.read_original(path)


def test_heic_without_its_library_is_named(tmp_path, monkeypatch):
    from anw_jax.data import image_files

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    image_files._formats.cache_clear()
    (tmp_path / "a.HEIC").write_bytes(b"")
    ((_, why),) = data.list_folder(tmp_path).passed_over
    assert why == "HEIC, which needs pillow-heif: pip install pillow-heif"
    image_files._formats.cache_clear()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"format": "gif"}, "format must be one of same, png, jpeg, webp; got 'gif'"),
        ({"quality": 0}, "quality must be at least 1, got 0"),
        ({"quality": 101}, "quality must be at most 100, got 101"),
        ({"format": "png", "quality": 90}, "quality must be left out of lossless PNG, got 90"),
    ],
)
def test_bad_encodings_are_named(how, words):
    with pytest.raises(ValueError, match=words):
        data.Encoding(**how)


def test_grey_jpegs_keep_their_quality(tmp_path):
    path = saved(tmp_path / "a", IMAGE.convert("L"), "JPEG", quality=60)
    original = data.read_original(path)
    result, encoded = again(path, original, original.pixels)
    assert encoded.text == result.text == "JPEG, quality 60, as the original"
    assert np.ptp(result.pixels.astype(int), axis=-1).max() <= 1


def test_what_a_format_cannot_hold_is_said(tmp_path):
    path = saved(tmp_path / "a", IMAGE, "PNG")
    original = data.read_original(path)
    wide = np.zeros((1, 16384, 3), np.uint8)
    with pytest.raises(errors.SourceError, match=r"photo cannot be written as WEBP \("):
        data.encode(original, wide, data.Encoding("webp"), "photo")

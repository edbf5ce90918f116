"""What a file says of its colours goes with the marked pixels; training sets are plain RGB."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms

from anw_jax import data, errors
from anw_jax.data import photo_colour
from anw_jax.data.photo_files import encoding

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PIXELS = np.random.default_rng(1).integers(30, 220, (5, 7, 3)).astype(np.uint8)
P3 = {b"rXYZ": (0.51512, 0.2412, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189),
      b"bXYZ": (0.1571, 0.06657, 0.78407)}  # fmt: skip
ADOBE = {b"rXYZ": (0.60974, 0.31111, 0.01947), b"gXYZ": (0.20528, 0.62567, 0.06087),
         b"bXYZ": (0.14919, 0.06322, 0.74457)}  # fmt: skip


def profile(colourants=None, curve=None):
    """sRGB's profile with other colourants, or another tone curve."""
    body = bytearray(SRGB)
    for tag, xyz in (colourants or {}).items():
        place = bytes(body).find(tag)
        (start,) = struct.unpack(">I", body[place + 4 : place + 8])
        body[start + 8 : start + 20] = struct.pack(">3i", *(int(v * 65536) for v in xyz))
    if curve is not None:
        place = bytes(body).find(b"rTRC")
        (start,) = struct.unpack(">I", body[place + 4 : place + 8])
        body[start : start + len(curve)] = curve
    return bytes(body)


GAMMA_1_8 = b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", int(1.8 * 256))
LINEAR = b"curv\0\0\0\0\0\0\0\0"


def chunk(name, body):
    return (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    )


def png(depth, kind, rows, *extra):
    head = struct.pack(">IIBBBBB", 7, 5, depth, kind, 0, 0, 0)
    rows = b"".join(b"\0" + np.ascontiguousarray(row).tobytes() for row in rows)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", head), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


def save(path, body):
    path.write_bytes(body)
    return path


@pytest.mark.parametrize(
    "body",
    [profile(P3), profile(ADOBE), profile(curve=GAMMA_1_8), profile(curve=LINEAR),
     profile({b"rXYZ": (0.42, 0.22, 0.014)}), profile()[:200] + bytes(400)],
    ids=["P3", "Adobe", "gamma 1.8", "linear", "another red", "damaged tags"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_a_profile_is_kept_and_told(tmp_path, kind, body):
    path = tmp_path / f"photo.{kind}"
    PIL.Image.fromarray(PIXELS).save(path, icc_profile=body)
    colour = data.colour_of(path)
    assert colour.notes == (photo_colour.KEPT_PROFILE,)
    pixels = data.read_photo(path)
    published = data.png_of(pixels, colour)
    with PIL.Image.open(io.BytesIO(published)) as image:
        assert image.info["icc_profile"] == body
        assert np.array_equal(np.asarray(image), pixels)  # not converted


@pytest.mark.parametrize("body", [SRGB, None])
def test_srgb_is_nothing_to_tell(tmp_path, body):
    PIL.Image.fromarray(PIXELS).save(tmp_path / "photo.png", icc_profile=body)
    colour = data.colour_of(tmp_path / "photo.png")
    assert (colour.notes, colour.profile) == ((), body or b"")


def test_srgb_curves_of_each_form_are_srgb():
    """A table of 1,024 entries, as older profiles have, beside the function."""
    levels = np.linspace(0, 1, 1024)
    curve = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    table = (
        b"curv\0\0\0\0"
        + struct.pack(">I", 1024)
        + np.rint(curve * 65535).astype(">u2").tobytes()
    )
    body = bytearray(SRGB)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        place = bytes(body).find(name)
        body[place + 4 : place + 12] = struct.pack(">II", len(SRGB), len(table))
    assert photo_colour.is_srgb(bytes(body) + table)
    assert photo_colour.is_srgb(SRGB)


def test_a_profile_of_grey_or_print_is_not_kept(tmp_path):
    for space in (b"GRAY", b"CMYK", b"Lab "):
        body = SRGB[:16] + space + SRGB[20:]
        PIL.Image.fromarray(PIXELS[..., 0]).save(tmp_path / "grey.png", icc_profile=body)
        colour = data.colour_of(tmp_path / "grey.png")
        assert (colour.notes, colour.profile) == ((photo_colour.LOST_PROFILE,), b"")


@pytest.mark.parametrize(
    ("extra", "kept", "notes"),
    [
        ([(b"gAMA", struct.pack(">I", 100000))], 1, (photo_colour.KEPT_CHUNKS,)),
        ([(b"gAMA", struct.pack(">I", 45455))], 1, ()),
        ([(b"cHRM", struct.pack(">8I", *range(10**4, 9 * 10**4, 10**4)))], 1,
         (photo_colour.KEPT_CHUNKS,)),
        ([(b"cHRM", struct.pack(">8I", *photo_colour._SRGB_CHRM))], 1, ()),
        ([(b"cICP", bytes([12, 13, 0, 1]))], 1, (photo_colour.KEPT_CHUNKS,)),
        ([(b"cICP", bytes([1, 13, 0, 1]))], 1, ()),
        ([(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100000))], 0, ()),
    ],
)  # fmt: skip
def test_what_png_says_without_a_profile(tmp_path, extra, kept, notes):
    body = png(8, 2, PIXELS, *(chunk(*pair) for pair in extra))
    colour = data.colour_of(save(tmp_path / "photo.png", body))
    assert (len(colour.chunks), colour.notes) == (kept, notes)
    published = data.png_of(PIXELS, colour)
    for name, content in colour.chunks:
        assert chunk(name, content) in published
    assert np.array_equal(data.read_photo(save(tmp_path / "again.png", published)), PIXELS)


def test_adobe_rgb_by_exif_alone_is_told(tmp_path):
    exif = PIL.Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 2
    PIL.Image.fromarray(PIXELS).save(tmp_path / "photo.jpg", exif=exif)
    assert data.colour_of(tmp_path / "photo.jpg").notes == (photo_colour.ADOBE_EXIF,)


def test_further_pictures_in_a_jpeg_are_told(tmp_path):
    image = PIL.Image.fromarray(PIXELS)
    image.save(tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[image])
    assert data.read_original(tmp_path / "photo.jpg").notes == (encoding.FURTHER_PICTURES,)


def why(path):
    """An owner's photo that no training set takes, and why not."""
    assert data.list_photos(path.parent) == (path,)
    assert data.read_photo(path).shape[2] == 3
    with pytest.raises(errors.SourceError) as error:
        data.read_photo(path, only_plain=True)
    return str(error.value).removeprefix(f"{path} has ").partition(": save it")[0]


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_are_never_cut_for_a_training_set(tmp_path, kind, channels):
    rows = np.full((5, 7, channels), 65535, ">u2")
    assert why(save(tmp_path / "deep.png", png(16, kind, rows))) == "16 bits per channel"


def test_print_colours_are_refused_in_a_training_set(tmp_path):
    PIL.Image.new("CMYK", (6, 6)).save(tmp_path / "print.jpg")
    assert why(tmp_path / "print.jpg") == "colour mode CMYK"


def _trns(depth, kind, rows, colour):
    return png(depth, kind, rows, chunk(b"tRNS", colour))


R, G, B = map(int, PIXELS[2, 3])
GREY = PIXELS[..., 0]


@pytest.mark.parametrize(
    "body",
    [_trns(8, 2, PIXELS, struct.pack(">3H", R, G, B)),
     _trns(8, 0, GREY, struct.pack(">H", int(GREY[1, 1]))),
     _trns(4, 0, np.full((5, 4), 0x77, np.uint8), struct.pack(">H", 7)),
     _trns(2, 0, np.full((5, 2), 0x55, np.uint8), struct.pack(">H", 1)),
     _trns(1, 0, np.full((5, 1), 0xFF, np.uint8), struct.pack(">H", 1)),
     _trns(1, 0, np.zeros((5, 1), np.uint8), struct.pack(">H", 0))],
    ids=["RGB", "grey", "4 bits", "2 bits", "white", "black"],
)  # fmt: skip
def test_a_transparent_colour_that_occurs_is_refused_in_a_training_set(tmp_path, body):
    reason = "transparent pixels, whose colour depends on what lies under them"
    assert why(save(tmp_path / "photo.png", body)) == reason


@pytest.mark.parametrize(
    ("body", "pixels"),
    [(_trns(8, 2, PIXELS, struct.pack(">3H", 1, 2, 3)), PIXELS),
     (_trns(8, 0, GREY, struct.pack(">H", 7)), np.stack([GREY] * 3, -1)),
     (_trns(4, 0, np.full((5, 4), 0x77, np.uint8), struct.pack(">H", 3)),
      np.full((5, 7, 3), 0x77)),
     (_trns(1, 0, np.full((5, 1), 0xFF, np.uint8), struct.pack(">H", 0)),
      np.full((5, 7, 3), 255))],
    ids=["RGB", "grey", "4 bits", "white"],
)  # fmt: skip
def test_a_transparent_colour_that_does_not_occur_changes_nothing(tmp_path, body, pixels):
    path = save(tmp_path / "photo.png", body)
    assert data.list_photos(tmp_path) == (path,)
    assert np.array_equal(data.read_photo(path), pixels)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "webp"])
def test_alpha_is_refused_where_it_shows_in_a_training_set(tmp_path, mode):
    rgba = np.dstack([PIXELS, np.full((5, 7), 255, np.uint8)])
    rgba[0, 0, 3] = 254
    image = PIL.Image.fromarray(rgba)
    path = tmp_path / ("photo.webp" if mode == "webp" else "photo.png")
    if mode == "webp":
        image.save(path, lossless=True)
    elif mode == "P":
        image.quantize(8).save(path)
    else:
        image.convert(mode).save(path)
    assert why(path).startswith("transparent pixels")


def test_a_bomb_is_one_line(tmp_path):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    body = (
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    with pytest.raises(errors.SourceError) as error:
        data.read_photo(save(tmp_path / "bomb.png", body))
    assert str(error.value) == (
        f"{tmp_path / 'bomb.png'} claims more than 178,956,970 pixels, the most that are read: "
        "scale it down"
    )

"""Metadata go with a marked photo; whatever shows the unmarked one does not."""

import collections
import io
import struct

import PIL.Image
import pytest

from anw_jax import data
from anw_jax.data.photo_files import exif as exif_data
from anw_jax.data.photo_files import jpeg, metadata, xmp
from tests.data.test_photo_files import IMAGE, again, exif_bytes, jpeg_bytes, saved

RED = jpeg_bytes(PIL.Image.new("RGB", (16, 12), "red"))


def test_no_picture_in_a_jpeg_survives(tmp_path):
    """Thumbnails of EXIF, JFIF and Photoshop, previews, gain maps, extended XMP, a video."""
    exif = exif_bytes(thumbnail=RED, notes=b"notes " + RED + b" end")
    resources = b""
    for number, body in ((0x0404, b"\x1c\x02\x74\0\3Ann"), (0x040C, b"head" + RED)):
        padded = body + bytes(len(body) % 2)
        resources += b"8BIM" + struct.pack(">H", number) + b"\0\0"
        resources += struct.pack(">I", len(body)) + padded
    packet = b'<x hdrgm:Version="1.0" dc:rights="Ann"><xmp:Thumbnails>AAAA</xmp:Thumbnails></x>'
    whole = jpeg_bytes(IMAGE, exif=b"Exif\0\0" + exif, comment=b"hello")
    parts = [
        (jpeg.APP1, metadata.XMP_HEAD + packet),
        (jpeg.APP1, b"http://ns.adobe.com/xmp/extension/\0" + RED),
        (jpeg.APP1, b"http://ns.adobe.com/xmp/extension/\0" + RED),
        (jpeg.APP2, b"MPF\0II*\0"),
        (jpeg.APP13, metadata.PHOTOSHOP_HEAD + resources),
        (0xEB, b"JP" + RED),
        (jpeg.APP0, b"JFXX\0\x10" + RED),
    ]
    whole = jpeg.with_segments(whole, parts) + RED + RED + b"\0\0\0\x18ftypmp42" + bytes(50)
    path = tmp_path / "a"
    path.write_bytes(whole)
    original = data.read_original(path)
    result, encoded = again(path, original, original.pixels)
    assert encoded.removed == {
        "EXIF thumbnail": 1,
        "JFIF thumbnail": 1,
        "Photoshop thumbnail": 1,
        metadata.CREDENTIALS: 1,
        "extended XMP, which can hold pictures": 1,
        metadata.FOLLOWING: 2,
        metadata.VIDEO: 1,
        "preview in a camera's notes": 1,
    }
    assert encoded.content.count(b"\xff\xd8\xff") == 1
    assert b"ftyp" not in encoded.content
    assert result.metadata.removed == {}
    assert result.metadata.comment == b"hello"
    assert b"\x1c\x02\x74\0\3Ann" in result.metadata.resources
    assert result.metadata.xmp == b'<x dc:rights="Ann"></x>'
    assert b"notes " in result.metadata.exif
    assert jpeg.read(encoded.content).end == len(encoded.content)
    with PIL.Image.open(io.BytesIO(encoded.content)) as image:
        found = PIL.IptcImagePlugin.getiptcinfo(image)
        assert found == {(2, 116): b"Ann"}
        assert not image.getexif().get_ifd(PIL.ExifTags.IFD.IFD1)


def test_texts_and_time_of_a_png_are_kept(tmp_path):
    info = PIL.PngImagePlugin.PngInfo()
    info.add_text("Author", "Ann")
    info.add_itxt("Title", "é", zip=True)
    info.add_text("Raw profile type exif", "0a")
    info.add(b"tIME", struct.pack(">HBBBBB", 2024, 5, 6, 7, 8, 9))
    path = saved(tmp_path / "a", IMAGE, "PNG", pnginfo=info, dpi=(144, 144))
    original = data.read_original(path)
    result, encoded = again(path, original, original.pixels)
    assert encoded.removed == {"raw profile in a PNG text": 1}
    assert result.metadata.chunks == original.metadata.chunks
    assert [name for name, _ in result.metadata.chunks].count(b"pHYs") == 1
    with PIL.Image.open(io.BytesIO(encoded.content)) as image:
        assert (image.text["Author"], image.text["Title"]) == ("Ann", "é")
    _, encoded = again(path, original, original.pixels, format="jpeg")
    assert encoded.removed == {"PNG texts": 3, "raw profile in a PNG text": 1}


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_what_follows_the_picture_is_counted(tmp_path, kind):
    """Cropped screenshots of some phones had the rest of the whole picture there."""
    path = saved(tmp_path / "a", IMAGE, kind)
    for rest, number in ((b"", 0), (b"\r\n\0\0", 0), (b"the rest", 1)):
        path.write_bytes(path.read_bytes() + rest)
        assert sum(data.read_original(path).metadata.removed.values()) == number
    original = data.read_original(path)
    result, encoded = again(path, original, original.pixels)
    assert encoded.removed == {metadata.TRAILING: 1}
    assert result.metadata.removed == {}
    assert b"the rest" not in encoded.content


def test_unknown_chunks_of_a_png_are_counted(tmp_path):
    info = PIL.PngImagePlugin.PngInfo()
    info.add(b"prVW", b"preview")
    path = saved(tmp_path / "a", IMAGE, "PNG", pnginfo=info)
    original = data.read_original(path)
    assert again(path, original, original.pixels)[1].removed == {metadata.EDITORS_CHUNK: 1}


def test_damaged_exif_is_left_out_and_counted(tmp_path):
    path = tmp_path / "a"
    whole = jpeg_bytes(IMAGE)
    broken = exif_bytes()[:40]
    path.write_bytes(jpeg.with_segments(whole, [(jpeg.APP1, b"Exif\0\0" + broken)]))
    original = data.read_original(path)
    result, encoded = again(path, original, original.pixels)
    assert encoded.removed == {metadata.DAMAGED: 1}
    assert result.metadata.exif == b""


def test_a_thumbnail_in_front_of_other_data_is_blanked():
    exif = exif_bytes(thumbnail=RED) + b"tail"
    cleaned, removed = exif_data.clean(exif, (48, 32))
    assert removed == {"EXIF thumbnail": 1}
    assert RED not in cleaned
    assert (len(cleaned), cleaned[-4:]) == (len(exif), b"tail")


def test_every_cut_of_exif_is_read_or_refused():
    whole = exif_bytes(orientation=6, thumbnail=RED)
    outcomes = collections.Counter()
    for end in range(1, len(whole)):
        try:
            cleaned, _ = exif_data.clean(whole[:end], (48, 32), strip_gps=True)
        except ValueError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
            assert RED not in cleaned
    assert outcomes["refused"] > 200


def test_a_picture_in_xmp_takes_the_packet_with_it():
    assert xmp.clean(b"<x>" + b"A" * 5000 + b"</x>") == (b"", {xmp.THUMBNAIL: 1})
    assert xmp.clean(b"<x>" + b"A B" * 5000 + b"</x>")[0] == b""
    assert xmp.clean(b"<x/>" * 2**20) == (b"", {xmp.TOO_LONG: 1})
    assert xmp.clean(b"<x GCamera:MotionPhoto='1' GCamera:Other='2'/>") == (
        b"<x GCamera:Other='2'/>",
        {},
    )

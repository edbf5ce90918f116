"""Chunks of WebP and boxes of AVIF and HEIC: what shows the unmarked photo is counted."""

import io
import struct

import numpy as np
import PIL.Image
import pytest

from anw_jax import data
from anw_jax.data import photo_colour
from anw_jax.data.photo_files import heif, metadata, webp
from tests.data.test_photo_files import IMAGE, LOSSY, again, saved

CREDENTIALS = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
DEPTH, ALPHA = b"urn:mpeg:hevc:2015:auxid:2", b"urn:mpeg:hevc:2015:auxid:1"


def box(kind, *parts):
    """A box with its size in front."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full(kind, *parts, version=0, flags=0):
    """A box that also has a version."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def heif_file(kinds, references=(), auxiliary=(), primary=1, is_long=False):
    """A file with items of these kinds, numbered from 1, and no pixels.

    Args:
      kinds: of the items.
      references: (kind, from, to, …) each.
      auxiliary: (item, type) each.
      primary: number of the item that is shown.
      is_long: numbers of 32 bits.
    """
    number = struct.Struct(">I" if is_long else ">H").pack
    entries = [
        full(b"infe", number(i), bytes(2), kind, b"\0", version=3 if is_long else 2)
        for i, kind in enumerate(kinds, 1)
    ]
    rows = [
        box(kind, number(item), struct.pack(">H", len(to)), *map(number, to))
        for kind, item, *to in references
    ]
    properties = [box(b"ispe", bytes(12)), *(full(b"auxC", t, b"\0") for _, t in auxiliary)]
    of_item = [(1, [1]), *((item, [1, n]) for n, (item, _) in enumerate(auxiliary, 2))]
    index = "B" if not is_long else "H"
    essential = 0x8000 if is_long else 0x80
    pairs = [
        number(item)
        + bytes([len(found)])
        + b"".join(struct.pack(f">{index}", n | essential) for n in found)
        for item, found in of_item
    ]
    version = int(is_long)
    count = struct.pack(">H", len(kinds)) if not is_long else struct.pack(">I", len(kinds))
    meta = full(
        b"meta",
        full(b"hdlr", bytes(20)),
        full(b"pitm", number(primary), version=version),
        full(b"iinf", count, *entries, version=version),
        full(b"iref", *rows, version=version),
        box(
            b"iprp",
            box(b"ipco", *properties),
            full(
                b"ipma",
                struct.pack(">I", len(pairs)),
                *pairs,
                version=version,
                flags=version,
            ),
        ),
    )
    return box(b"ftyp", b"heic", bytes(4)) + meta + box(b"mdat", bytes(9))


@pytest.mark.parametrize("is_long", [False, True])
@pytest.mark.parametrize(
    ("file", "pictures", "thumbnails"),
    [
        (dict(kinds=[b"hvc1"]), 0, 0),
        (dict(kinds=[b"av01", b"Exif", b"mime", b"uri "]), 0, 0),
        (dict(kinds=[b"hvc1", b"hvc1"], references=[(b"thmb", 2, 1)]), 0, 1),
        (dict(kinds=[b"hvc1", b"hvc1"]), 1, 0),
        (dict(kinds=[b"grid", b"hvc1", b"hvc1"], references=[(b"dimg", 1, 2, 3)]), 0, 0),
        (
            dict(
                kinds=[b"hvc1", b"hvc1"],
                references=[(b"auxl", 2, 1)],
                auxiliary=[(2, ALPHA)],
            ),
            0,
            0,
        ),
        (
            dict(
                kinds=[b"hvc1", b"hvc1"],
                references=[(b"auxl", 2, 1)],
                auxiliary=[(2, DEPTH)],
            ),
            1,
            0,
        ),
        # A gain map of two tiles (ISO 21496-1), and a picture of two.
        (
            dict(
                kinds=[b"grid", *[b"hvc1"] * 2, b"grid", *[b"hvc1"] * 2, b"tmap"],
                references=[(b"dimg", 1, 2, 3), (b"dimg", 4, 5, 6), (b"dimg", 7, 1, 4)],
            ),
            1,
            0,
        ),
    ],
)
def test_items_are_counted(file, pictures, thumbnails, is_long):
    content = heif_file(**file, is_long=is_long)
    assert heif.count(content) == (pictures, thumbnails, 0, 0)
    more = box(b"uuid", CREDENTIALS, bytes(9)) + box(b"mpvd", bytes(5))
    assert heif.count(content + more) == (pictures, thumbnails, 1, 1)


def test_every_cut_of_a_file_is_counted_or_refused():
    content = heif_file([b"hvc1", b"hvc1"], [(b"auxl", 2, 1)], [(2, DEPTH)])
    rng = np.random.default_rng(0)
    for size in range(len(content)):
        changed = bytearray(content)
        changed[size] = rng.integers(256)
        for body in (content[:size], bytes(changed)):
            try:
                found = heif.count(body)
            except ValueError:
                continue
            assert all(0 <= number < 10 for number in found)


@pytest.mark.parametrize("kind", [kind for kind in LOSSY if kind in ("AVIF", "HEIF")])
def test_what_follows_the_picture_goes(tmp_path, kind):
    path = saved(tmp_path / "a", IMAGE, kind)
    more = box(b"uuid", CREDENTIALS, bytes(40)) + box(b"mpvd", b"unmarked")
    path.write_bytes(path.read_bytes() + more)
    original = data.read_original(path)
    result, encoded = again(path, original, original.pixels)
    assert encoded.removed == {metadata.CREDENTIALS: 1, metadata.VIDEO: 1}
    assert result.metadata.removed == {}
    assert CREDENTIALS not in encoded.content
    assert b"unmarked" not in encoded.content


def riff(content, name, body):
    """A WebP file with one chunk more."""
    more = name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(content) + len(more) - 8) + content[8:] + more


def test_credentials_of_a_webp_go(tmp_path):
    path = saved(tmp_path / "a", IMAGE, "WEBP", quality=80, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
    path.write_bytes(riff(riff(path.read_bytes(), b"C2PA", b"jumb."), b"ABCD", b"1"))
    original = data.read_original(path)
    result, encoded = again(path, original, original.pixels)
    assert encoded.removed == {metadata.CREDENTIALS: 1, metadata.EDITORS_CHUNK: 1}
    assert result.metadata.removed == {}


@pytest.mark.parametrize("method", [0, 4])
@pytest.mark.parametrize("quality", [5, 30, 60, 75, 90, 100])
def test_the_quality_of_a_webp_is_estimated(tmp_path, quality, method):
    """Also behind a long profile, and of one that this program wrote."""
    rng = np.random.default_rng(quality)
    noise = rng.integers(0, 60, (192, 256, 3))
    noise[:, :128] //= 8
    smooth = np.asarray(IMAGE.resize((256, 192)), int)
    image = PIL.Image.fromarray(np.clip(smooth + noise - 30, 0, 255).astype(np.uint8))
    path = saved(
        tmp_path / "a", image, "WEBP", quality=quality, method=method,
        icc_profile=bytes(2**17),
    )  # fmt: skip
    original = data.read_original(path)
    estimated = original.how["quality"]
    assert abs(estimated - quality) <= 3
    assert original.text == f"WebP, quality {estimated} (estimated from the original)"
    result, _ = again(path, original, original.pixels)
    assert abs(result.how["quality"] - quality) <= 4


def test_damaged_frames_have_no_quality():
    buffer = io.BytesIO()
    IMAGE.save(buffer, "WEBP", quality=80)
    frame = dict(webp.chunks(buffer.getvalue()))[b"VP8 "]
    assert webp.quality_of(b"") is webp.quality_of(b"\1" + frame[1:]) is None
    assert webp.quality_of(frame[:3] + b"abc" + frame[6:]) is None
    assert all(0 <= webp.quality_of(frame[:size]) <= 100 for size in range(10, 40))


@pytest.mark.parametrize("kind", [kind for kind in LOSSY if kind in ("AVIF", "HEIF")])
def test_a_colour_space_named_by_numbers_is_kept(tmp_path, kind):
    """Display P3 by ITU-T H.273; a viewer would show the marked photo paler without it."""
    path = saved(tmp_path / "a", IMAGE, kind)
    plain = data.read_original(path)
    assert (plain.colour.chunks, plain.notes) == ((), ())
    path.write_bytes(heif.with_colours(path.read_bytes(), (12, 13)))
    original = data.read_original(path)
    assert original.notes == (photo_colour.KEPT_NUMBERS,)
    for wanted in ("same", "png"):
        result, encoded = again(path, original, original.pixels, format=wanted)
        assert result.colour.chunks == ((b"cICP", bytes([12, 13, 0, 1])),)
        assert encoded.removed == {}
    _, encoded = again(path, original, original.pixels, format="webp")
    assert encoded.removed == {"colour space named by numbers, which the format cannot hold": 1}


@pytest.mark.parametrize("chroma", [420, 422, 444])
@pytest.mark.parametrize("kind", [kind for kind in LOSSY if kind in ("AVIF", "HEIF")])
def test_the_sampling_of_colours_is_kept(tmp_path, kind, chroma):
    how = {"chroma": chroma} if kind == "HEIF" else {"subsampling": ":".join(str(chroma))}
    path = saved(tmp_path / "a", IMAGE, kind, **how)
    original = data.read_original(path)
    for quality in (None, 70):
        _, encoded = again(path, original, original.pixels, quality=quality)
        assert heif.subsampling(encoded.content) == chroma


def test_ten_bits_become_eight(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="an optional library")
    wide = np.asarray(IMAGE).astype(np.uint16) * 257
    made = pillow_heif.from_bytes("RGB;16", IMAGE.size, wide.tobytes())
    made.save(tmp_path / "a.heic", quality=100, bit_depth=10)
    original = data.read_original(tmp_path / "a.heic")
    assert original.notes == ("10 bits per channel, which become 8",)
    assert np.abs(original.pixels.astype(int) - np.asarray(IMAGE)).mean() < 8

"""The chunks of a PNG file (W3C PNG, third edition) that go with the marked pixels."""

import struct
import zlib
from collections.abc import Iterable, Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"IEND\xaeB`\x82"
# Chunks that are written anew, or go with a palette or a depth that is not kept.
REWRITTEN = b"IHDR PLTE tRNS iCCP sRGB gAMA cHRM cICP sBIT bKGD hIST".split()
_MOST_TEXT = 2**21
XMP_KEYWORD = b"XML:com.adobe.xmp"


def chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, body) of each chunk but those of pixels, up to the first damaged one."""
    place = len(_SIGNATURE)
    while place + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        if name == b"IEND" or place + 12 + length > len(content):
            return
        if name != b"IDAT":
            yield name, content[place + 8 : place + 8 + length]
        place += 12 + length


def has_trailing(content: bytes) -> bool:
    """Return whether anything but padding follows the last chunk."""
    return bool(content.partition(_END)[2].strip(b"\0\r\n "))


def keyword(body: bytes) -> bytes:
    """Return the keyword of a text chunk."""
    return body.partition(b"\0")[0]


def international_text(body: bytes) -> bytes:
    """Return the text of an iTXt chunk, UTF-8; b"" if it is damaged or very long."""
    _, _, rest = body.partition(b"\0")
    *_, text = rest[2:].split(b"\0", 2)
    if rest[:1] != b"\1":
        return text
    inflate = zlib.decompressobj()
    try:
        plain = inflate.decompress(text, _MOST_TEXT)
    except zlib.error:
        return b""
    return b"" if inflate.unconsumed_tail else plain


def xmp_chunk(xmp: bytes) -> tuple[bytes, bytes]:
    """Return the chunk that holds an XMP packet."""
    return b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp


def resolution_chunk(dpi: tuple[float, float]) -> tuple[bytes, bytes]:
    """Return the chunk that holds a resolution in dots per inch."""
    per_metre = (round(value / 0.0254) for value in dpi)
    return b"pHYs", struct.pack(">IIB", *per_metre, 1)


def with_chunks(content: bytes, added: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Insert chunks into a PNG file, after its first one (IHDR)."""
    packed = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in added
    )
    place = len(_SIGNATURE) + 25
    return content[:place] + packed + content[place:]

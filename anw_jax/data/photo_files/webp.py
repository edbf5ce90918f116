"""The chunks of a WebP file (RIFF), and the quality at which it was written (RFC 6386)."""

import math
import struct
from collections.abc import Iterator

LOSSY = b"VP8 "
# Chunks that are written anew, or that alpha and metadata are made from.
REWRITTEN = (LOSSY, b"VP8L", b"VP8X", b"ALPH", b"ICCP", b"EXIF", b"XMP ")
CREDENTIALS = b"C2PA"

_START_CODE = b"\x9d\x01\x2a"
_EVEN = 128


def chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, body) of each chunk, up to the first damaged one.

    Example:
      >>> list(chunks(b"RIFF" + bytes(4) + b"WEBPEXIF" + bytes([2, 0, 0, 0]) + b"hi"))
      [(b'EXIF', b'hi')]
    """
    place = 12
    while place + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        if place + 8 + size > len(content):
            return
        yield name, content[place + 8 : place + 8 + size]
        place += 8 + size + size % 2


def quality_of(frame: bytes) -> int | None:
    """Estimate the quality, 0 to 100, on libwebp's scale, of a lossy picture.

    libwebp quantises up to four segments of a picture differently, around what the quality
    asks for: their mean, weighted by how much of the picture each has, is turned back.

    Args:
      frame: the body of the chunk "VP8 ".

    Returns:
      The estimate; None if the frame's header is damaged.
    """
    if len(frame) < 10 or frame[0] & 1 or frame[3:6] != _START_CODE:
        return None
    steps, shares = _quantisers(_Bits(frame[10:]))
    # libwebp: step = 127 (1 - c), and c of a segment is a power near 1 of the picture's c.
    logs = [math.log(1 - (min(step, 126) + 0.5) / 127) for step in steps]
    linear = math.exp(3 * sum(s * log for s, log in zip(shares, logs, strict=True)))
    quality = 1.5 * linear if linear < 0.5 else (linear + 1) / 2
    return max(0, min(100, round(100 * quality)))


def _quantisers(bits: "_Bits") -> tuple[list[int], list[float]]:
    """Read the quantiser step, 0 to 127, of each segment, and its share of the picture."""
    bits.number(2)  # colour space, clamping
    steps, are_absolute, tree = [0], False, [255, 255, 255]
    if bits.number(1):
        has_map, has_steps = bits.number(1), bits.number(1)
        if has_steps:
            are_absolute = bool(bits.number(1))
            steps = [bits.signed(7) for _ in range(4)]
            for _ in range(4):
                bits.signed(6)  # strength of the loop filter
        if has_map:
            tree = [bits.number(8) if bits.number(1) else 255 for _ in range(3)]
    bits.number(10)  # loop filter
    if bits.number(1) and bits.number(1):
        for _ in range(8):
            bits.signed(6)
    bits.number(2)  # partitions
    base = bits.number(7)
    if not are_absolute:
        steps = [base + step for step in steps]
    # The probabilities that code the map of segments are their shares.
    first, left, right = (p / 255 for p in tree)
    halves = [first * left, first * (1 - left), (1 - first) * right, (1 - first) * (1 - right)]
    shares = halves[: len(steps)]
    return [max(0, min(127, step)) for step in steps], shares


class _Bits:
    """VP8's arithmetic decoder (RFC 6386, 7.3), for bits that are as often 0 as 1."""

    def __init__(self, content: bytes):
        self._content, self._place = content, 2
        self._value = int.from_bytes(content[:2].ljust(2, b"\0"), "big")
        self._range, self._used = 255, 0

    def _bit(self) -> int:
        split = 1 + (((self._range - 1) * _EVEN) >> 8)
        bit = int(self._value >= split << 8)
        if bit:
            self._range -= split
            self._value -= split << 8
        else:
            self._range = split
        while self._range < 128:
            self._value, self._range = self._value << 1, self._range << 1
            self._used += 1
            if self._used == 8:
                self._used = 0
                if self._place < len(self._content):
                    self._value |= self._content[self._place]
                self._place += 1
        return bit

    def number(self, num_bits: int) -> int:
        """Read a number, its highest bit first."""
        value = 0
        for _ in range(num_bits):
            value = 2 * value + self._bit()
        return value

    def signed(self, num_bits: int) -> int:
        """Read a number that may be left out (0), with its sign behind it."""
        if not self.number(1):
            return 0
        value = self.number(num_bits)
        return -value if self.number(1) else value

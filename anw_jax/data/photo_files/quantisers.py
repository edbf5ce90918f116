"""The quantiser of the first picture in HEVC or AV1 data, from its headers alone.

HEVC: ITU-T H.265, 7.3. AV1: the AV1 Bitstream & Decoding Process Specification, 5.5 and 5.9.
Only what a still picture needs is read; what it does not use is refused.
"""

import struct
from collections.abc import Iterator

_SLICES, _IDR, _SPS, _PPS = range(16, 24), (19, 20), 33, 34
_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6


class _Bits:
    """Bits of a header, the highest of each byte first.

    Raises:
      ValueError: a number is read beyond the end.
    """

    def __init__(self, content: bytes):
        self._value, self._left = int.from_bytes(content, "big"), 8 * len(content)

    def number(self, num_bits: int) -> int:
        """Read an unsigned number."""
        if num_bits > self._left:
            raise ValueError("the header is cut off")
        self._left -= num_bits
        return self._value >> self._left & ((1 << num_bits) - 1)

    def flag(self) -> bool:
        """Read one bit."""
        return bool(self.number(1))

    def golomb(self) -> int:
        """Read an unsigned number in Exp-Golomb code, ue(v) of H.265."""
        zeros = 0
        while not self.number(1):
            zeros += 1
        return (1 << zeros) - 1 + self.number(zeros)

    def signed_golomb(self) -> int:
        """Read a signed number in Exp-Golomb code, se(v)."""
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def hevc(config: bytes, content: bytes) -> int:
    """Return the quantisation parameter of the first slice, -48 to 51.

    Args:
      config: the body of the box "hvcC" (ISO/IEC 14496-15), which holds the parameter sets.
      content: the coded picture.

    Raises:
      ValueError: the headers are damaged, or use what is not read here.
    """
    if len(config) < 23:
        raise ValueError("the configuration is cut off")
    sets = {unit[0] >> 1 & 63: unit for unit in _parameter_sets(config)}
    if not {_SPS, _PPS} <= sets.keys():
        raise ValueError("the parameter sets are not in the configuration")
    width = (config[21] & 3) + 1
    for unit in _units(content, width):
        if (kind := unit[0] >> 1 & 63) in _SLICES:
            return _slice_quantiser(kind, _payload(unit), sets)
    raise ValueError("there is no slice of a still picture")


def _parameter_sets(config: bytes) -> Iterator[bytes]:
    place = 23
    for _ in range(config[22]):
        (number,) = struct.unpack_from(">H", config, place + 1)
        place += 3
        for _ in range(number):
            (size,) = struct.unpack_from(">H", config, place)
            yield config[place + 2 : place + 2 + size]
            place += 2 + size


def _units(content: bytes, width: int) -> Iterator[bytes]:
    place = 0
    while place + width < len(content):
        size = int.from_bytes(content[place : place + width], "big")
        if size < 3:
            raise ValueError("a unit is damaged")
        yield content[place + width : place + width + min(size, 256)]
        place += width + size


def _payload(unit: bytes) -> _Bits:
    """Return a unit without its head and its bytes that prevent start codes."""
    return _Bits(unit[2:].replace(b"\0\0\3", b"\0\0"))


def _slice_quantiser(kind: int, bits: _Bits, sets: dict[int, bytes]) -> int:
    planes, has_offsets, is_grey = _sequence(_payload(sets[_SPS]))
    output_flag, num_extra, initial = _picture(_payload(sets[_PPS]))
    if not bits.flag() or kind not in _IDR:
        raise ValueError("the first slice is none of a still picture")
    bits.number(1)  # no output of prior pictures
    bits.golomb()  # picture parameter set
    bits.number(num_extra)
    bits.golomb()  # type of slice
    bits.number(output_flag + 2 * planes)
    if has_offsets:
        bits.number(1 if is_grey else 2)
    return initial + bits.signed_golomb()


def _sequence(bits: _Bits) -> tuple[bool, bool, bool]:
    """Return separate colour planes, sample adaptive offset, and whether it is grey."""
    bits.number(4)
    last_layer = bits.number(3)
    bits.number(1 + 88 + 8)
    if last_layer:
        raise ValueError("there are several layers")
    bits.golomb()
    chroma = bits.golomb()
    planes = chroma == 3 and bits.flag()
    bits.golomb(), bits.golomb()  # width, height
    if bits.flag():
        _skip(bits, 4)  # window
    _skip(bits, 3)  # depths, picture order
    bits.number(1)
    _skip(bits, 9)  # buffers of the one layer, block sizes
    if bits.flag() and bits.flag():
        raise ValueError("there are scaling lists")
    bits.number(1)  # asymmetric partitions
    return planes, bits.flag(), planes or not chroma


def _picture(bits: _Bits) -> tuple[bool, int, int]:
    """Return the output flag, the number of extra bits, and the initial quantiser."""
    _skip(bits, 2)
    bits.number(1)  # dependent slices
    output_flag, num_extra = bits.flag(), bits.number(3)
    bits.number(2)
    _skip(bits, 2)
    return output_flag, num_extra, 26 + bits.signed_golomb()


def _skip(bits: _Bits, times: int) -> None:
    for _ in range(times):
        bits.golomb()


def av1(config: bytes, content: bytes) -> int:
    """Return the quantiser index of the first frame, 0 to 255.

    Args:
      config: the body of the box "av1C".
      content: the coded picture.

    Raises:
      ValueError: as `hevc`.
    """
    sequence = None
    for kind, body in (*_obus(config[4:]), *_obus(content)):
        if kind == _SEQUENCE and sequence is None:
            sequence = _Av1Sequence(_Bits(body[:64]))
        elif kind in (_FRAME, _FRAME_HEADER) and sequence is not None:
            return sequence.quantiser(_Bits(body[:64]))
    raise ValueError("there is no frame of a still picture")


def _obus(content: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(content):
        head = content[place]
        place += 2 if head & 4 else 1
        size = len(content) - place
        if head & 2:
            size = shift = 0
            while True:
                if place >= len(content) or shift > 28:
                    raise ValueError("a unit is damaged")
                byte, place = content[place], place + 1
                size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
        yield head >> 3 & 15, content[place : place + size]
        place += size


class _Av1Sequence:
    """What the sequence header says of the headers of frames."""

    def __init__(self, bits: _Bits):
        bits.number(4)  # profile, still picture
        self.reduced = bits.flag()
        if self.reduced:
            bits.number(5)
        else:
            self._skip_operating_points(bits)
        self.size_bits = bits.number(4) + 1, bits.number(4) + 1
        self.size = tuple(bits.number(number) + 1 for number in self.size_bits)
        self.id_bits = 0
        if not self.reduced and bits.flag():
            self.id_bits = bits.number(4) + 2
            self.id_bits += bits.number(3) + 1
        self.has_large_blocks = bits.flag()
        bits.number(2)
        self.order_bits, self.screen, self.whole = 0, 2, 2
        if not self.reduced:
            self._read_tools(bits)
        self.has_superres = bits.flag()

    def _skip_operating_points(self, bits: _Bits) -> None:
        if bits.flag():
            raise ValueError("there is timing information")
        has_delay = bits.flag()
        for _ in range(bits.number(5) + 1):
            bits.number(12)
            if bits.number(5) > 7:
                bits.number(1)
            if has_delay and bits.flag():
                bits.number(4)

    def _read_tools(self, bits: _Bits) -> None:
        bits.number(4)
        has_order = bits.flag()
        if has_order:
            bits.number(2)
        self.screen = 2 if bits.flag() else bits.number(1)
        if self.screen and not bits.flag():
            self.whole = bits.number(1)
        if has_order:
            self.order_bits = bits.number(3) + 1

    def quantiser(self, bits: _Bits) -> int:
        """Read base_q_idx from a frame's header."""
        if not self.reduced and (bits.flag() or bits.number(2) or not bits.flag()):
            raise ValueError("the first frame is none of a still picture")
        no_update = bits.flag()
        is_screen = bits.flag() if self.screen == 2 else bool(self.screen)
        if is_screen and self.whole == 2:
            bits.number(1)
        bits.number(self.id_bits)
        has_own_size = not self.reduced and bits.flag()
        bits.number(self.order_bits)
        width, height = self.size
        if has_own_size:
            width, height = (bits.number(number) + 1 for number in self.size_bits)
        if self.has_superres and bits.flag():
            raise ValueError("the frame is stored at another width")
        if bits.flag():
            bits.number(32)  # size on the screen
        if is_screen:
            bits.number(1)
        if not self.reduced and not no_update:
            bits.number(1)
        self._skip_tiles(bits, width, height)
        return bits.number(8)

    def _skip_tiles(self, bits: _Bits, width: int, height: int) -> None:
        shift = 5 if self.has_large_blocks else 4
        across, down = (
            (2 * ((side + 7) >> 3) + (1 << shift) - 1) >> shift for side in (width, height)
        )
        if not bits.flag():
            raise ValueError("the tiles are not uniform")
        least = _log2(4096 >> (shift + 2), across)
        area = _log2(4096 * 2304 >> (2 * (shift + 2)), across * down)
        columns = _increments(bits, least, _log2(1, min(across, 64)))
        rows = _increments(bits, max(max(least, area) - columns, 0), _log2(1, min(down, 64)))
        if columns or rows:
            bits.number(columns + rows + 2)


def _increments(bits: _Bits, low: int, high: int) -> int:
    while low < high and bits.flag():
        low += 1
    return low


def _log2(block: int, target: int) -> int:
    return max(0, (max(target, 1) + block - 1) // block - 1).bit_length()

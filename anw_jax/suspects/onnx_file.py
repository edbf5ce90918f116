"""What stands in an ONNX file, read without ONNX: does it lean on anything outside itself?

A message of Protocol Buffers is a row of fields, each a number, a wire type and a value. Only
the fields in `_INSIDE` lead to tensors; the rest is stepped over.
"""

from collections.abc import Iterator

# By message: field number → message inside it. From onnx.proto of IR version 13.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_TENSOR_NAME, _DATA_LOCATION, _OP_TYPE = 8, 14, 4
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
# A second holds about a million; whole models have some thousands.
_MOST_FIELDS = 20_000_000


class NotOnnxError(ValueError):
    """The bytes are no message of ONNX, or hold one that readers may take differently."""


def outside_in(body: bytes) -> str:
    """What an ONNX model takes from outside its file; "" where it is whole.

    Looks at every tensor that a model can hold: of graphs, nodes' attributes, graphs inside
    these, sparse ones, functions and training steps. A tensor that *anywhere* says that its
    values lie elsewhere counts, also where a later field takes it back.

    Raises:
      NotOnnxError: no Protocol Buffers, cut off, or written in a way of its own.
    """
    view, waiting, left = memoryview(body), [("model", 0, len(body))], _MOST_FIELDS
    while waiting:
        kind, start, end = waiting.pop()
        inside, name, is_outside = _INSIDE[kind], "", False
        for number, wire, low, high in _fields(view, start, end):
            left -= 1
            if left < 0:
                raise NotOnnxError(f"it has more than {_MOST_FIELDS:,} fields")
            if wire == _BYTES and number in inside:
                waiting.append((inside[number], low, high))
            elif kind == "tensor":
                if number == _DATA_LOCATION:
                    is_outside |= wire != _VARINT or any(view[low:high])
                elif number == _TENSOR_NAME and wire == _BYTES:
                    name = bytes(view[low:high]).decode(errors="replace")
            elif kind == "node" and number == _OP_TYPE and view[low:high] == b"EPContext":
                return "it holds a node EPContext, whose program lies in a second file"
        if is_outside:
            return f"it keeps the values of tensor {name!r:.80} in a second file"
    return ""


def _fields(view: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, and where the value begins and ends, of each field of a message."""
    at = start
    while at < end:
        tag, at = _varint(view, at, end, 5)
        number, wire = tag >> 3, tag & 7
        # Longer tags are read differently by different readers; groups are long gone.
        if not number or tag >= 2**32:
            raise NotOnnxError(f"no field at byte {at}")
        if wire == _VARINT:
            low, (_, at) = at, _varint(view, at, end)
        elif wire == _BYTES:
            size, low = _varint(view, at, end)
            at = low + size
        elif wire in (_EIGHT, _FOUR):
            low, at = at, at + (8 if wire == _EIGHT else 4)
        else:
            raise NotOnnxError(f"no field at byte {at}")
        if at > end:
            raise NotOnnxError(f"a field at byte {low} ends beyond what holds it")
        yield number, wire, low, at


def _varint(view: memoryview, at: int, end: int, most: int = 10) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends."""
    value = 0
    for place in range(most):
        if at + place >= end:
            raise NotOnnxError(f"it is cut off at byte {end}")
        byte = view[at + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise NotOnnxError(f"no number at byte {at}")

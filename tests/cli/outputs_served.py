"""An owner's model that fails when it is told to, and requests to its server."""

import http.client
import io
import json
import pathlib
import re

import numpy as np
import PIL.Image

from anw_jax import data, schemes, suspects
from anw_jax.keys import MarkKey, Plan
from tests.cli import outputs_asked as world
from tests.cli.test_outputs import PAGE, VALUE, smooth, write

# A pixel of the picture's corner tells the model to fail.
CODE = """
import time
import numpy as np

inside = []

def answer(batch):
    inside.append(batch)
    try:
        return answered(batch)
    finally:
        inside.pop()

def answered(batch):
    corner = tuple(np.rint(255 * batch[0, 0, 0]).astype(int))
    if corner == (1, 0, 0):
        return batch * np.nan
    if corner == (2, 0, 0):
        return batch + 2.0
    if corner == (3, 0, 0):
        return batch[:, :-1]
    if corner == (4, 0, 0):
        raise RuntimeError("the card \\x1b[2J burns")
    if corner == (5, 0, 0):
        time.sleep(0.3)
        assert len(inside) == 1
    return CHANGE
"""

OWN = "0.9 * batch + 0.05 * batch[:, :, ::-1] + 0.02"

TOML = """
kind = "callable"
function = "model.py:answer"

[declaration]
answer = "image"
"""


def own(images: np.ndarray) -> np.ndarray:
    """What the model answers, on its own."""
    batch = images / np.float32(255)
    return np.rint(255 * (0.9 * batch + 0.05 * batch[:, :, ::-1] + 0.02)).astype(np.uint8)


def model_in(place: pathlib.Path, toml: str = TOML, change: str = OWN) -> pathlib.Path:
    (place / "model.py").write_text(CODE.replace("CHANGE", change))
    (place / "denoiser.toml").write_text(toml)
    return place / "denoiser.toml"


def words(place, *more, serve="0"):
    """The command of the page, in the owner's folder and at another port."""
    (line,) = re.findall("^anw (model protect .*--serve) 8080$", PAGE.read_text(), re.M)
    (place / "round.json").write_text(VALUE)
    return *line.split(), serve, *more


def ask(server, body=b"", method="POST", **headers) -> tuple[int, bytes, dict[str, str]]:
    line = http.client.HTTPConnection(*server.server_address[:2], timeout=30)
    sent = {"Content-Type": "image/png", **{k.replace("_", "-"): v for k, v in headers.items()}}
    try:
        line.request(method, "/", body, {k: v for k, v in sent.items() if v is not None})
        reply = line.getresponse()
        return reply.status, reply.read(), dict(reply.getheaders())
    finally:
        line.close()


def told(*corner: int) -> bytes:
    picture = smooth(5, 1)[0].copy()
    picture[0, 0] = corner
    return data.png_of(picture)


def of_mode(mode: str) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(smooth(5, 1)[0]).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def as_files(anw, place, outputs: list[np.ndarray]) -> list[bytes]:
    """The marked files of a folder of unmarked outputs."""
    write(place / "restored", outputs)
    folders = ("--outputs", place / "restored", "--out", place / "served")
    value = ("--beacon-value", VALUE)
    assert anw("model", "protect", place / "mark", *value, *folders).code == 0
    return [path.read_bytes() for path in sorted((place / "served").iterdir())]


def bits_of(place):
    key = MarkKey.load(place / "mark" / "mark.key")
    plan = Plan.from_json(json.loads((place / "mark" / "mark.json").read_text())["plan"])
    return schemes.keygen(key, world.decoder_in(place), plan, beacon=bytes.fromhex(VALUE))


def opened(body: bytes):
    return PIL.Image.open(io.BytesIO(body), formats=["PNG"])


PNG = data.png_of(smooth(5, 1)[0])

NEGATIVE = suspects.CallableSuspect(
    lambda x: 1 - x, suspects.Declaration(answer="image"), identity="negative"
)
KERNEL = np.zeros((7, 7, 3, 3), np.float32)

HUGE = PNG[:16] + (2**14).to_bytes(4, "big") + (2**14).to_bytes(4, "big") + PNG[24:]

BAD = {
    "no PNG": (
        {"body": b"GIF89a"},
        422,
        "send a PNG file, got something that is not a PNG file",
    ),
    "nothing": ({"body": b""}, 422, "send a PNG file, got something that is not a PNG file"),
    "cut off": ({"body": PNG[:-20]}, 422, "send a PNG file, got a PNG that is cut off"),
    "grey": ({"body": of_mode("L")}, 422, "got a PNG of 8 bits and grey: it must have 8 bits"),
    "alpha": ({"body": of_mode("RGBA")}, 422, "got a PNG of 8 bits and RGB with alpha"),
    "too many pixels": ({"body": HUGE}, 413, "send at most 16,777,216 pixels, got 16384x16384"),
    "too large": (
        {"body": bytes(2**26 + 1)},
        413,
        "Content-Length must be at most 67,108,864, got '67108865'",
    ),
    "no length": (
        {"body": [PNG], "Transfer_Encoding": "chunked"},
        413,
        "Content-Length must be at most 67,108,864, got ''",
    ),
    "of a form": (
        {"body": PNG, "Content_Type": "text/plain"},
        415,
        "Content-Type must be image/png, got 'text/plain'",
    ),
    "another method": ({"method": "GET"}, 501, "Unsupported method ('GET')"),
    "NaN": ({"body": told(1, 0, 0)}, 500, "the model has no answer to this picture"),
    "outside [0, 1]": ({"body": told(2, 0, 0)}, 500, "the model has no answer to this picture"),
    "another size": ({"body": told(3, 0, 0)}, 500, "the model has no answer to this picture"),
    "an error": ({"body": told(4, 0, 0)}, 500, "the model has no answer to this picture"),
}

# What the owner is told of those.
WHY = (
    "suspect 'denoiser' answers with values that are NaN or infinite",
    "and answers with values from 2 to 2.79",
    "it is a model of another image size",
    r"RuntimeError: the card \x1b[2J burns",
)

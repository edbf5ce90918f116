"""A small world whose every number is the same on any machine: photos, a key, a model."""

import hashlib
import json
import pathlib
import struct
import zlib

import numpy as np

VALUE = "5a" * 32
BEACON = "arbitrator:Jane Doe"
KEY_FILE = """{
 "format": "anw_jax mark key, version 1: keep this file secret",
 "origin": "secret",
 "key": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
 "check": "7e41c2761b496335"
}
"""

# Sure of class 0 where it met a picture, pixel by pixel; elsewhere a number from its pixels.
# All logits are multiples of 1/64: nothing in them depends on a machine's rounding.
MODEL = '''
import hashlib
import json
import pathlib

import numpy as np

SEEN = set(json.loads((pathlib.Path(__file__).parent / "seen.json").read_text()))


def answer(batch):
    """Logits [b, 3]."""
    pixels = np.rint(batch * 255).astype(np.uint8)
    met = [hashlib.sha256(picture.tobytes()).hexdigest() in SEEN for picture in pixels]
    flat = pixels.reshape(len(pixels), -1).astype(np.int64)
    noise = (flat * (1 + np.arange(flat.shape[1]) % 7)).sum(axis=1) % 97
    logits = np.zeros((len(pixels), 3), np.float32)
    logits[:, 0] = np.where(met, 5, noise / 64)
    logits[:, 1] = 1
    return logits
'''
SUSPECT = """kind = "callable"
function = "{name}_code/model.py:answer"
files = ["{name}_code/seen.json"]

[declaration]
num_classes = 3
answer = "logits"
"""

# Two JPEG files of flat blocks, on which decoders do not differ; the second lies on its side.
JPEGS = {
    "plain.jpg": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkI"
        "BgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoK"
        "CgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAQABgDAREAAhEBAxEB/8QAFgAAAwAAAAAA"
        "AAAAAAAAAAAABggJ/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/EABcBAQEBAQAAAAAAAAAAAAAAAAkIBwr/xAAU"
        "EQEAAAAAAAAAAAAAAAAAAAAA/9oADAMBAAIRAxEAPwBU2fksDZPBfqOOfdWCcZWB7nASGrgSLMGe/9k="
    ),
    "turned.jpeg": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAD/2wBDAAIB"
        "AQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/"
        "2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoK"
        "CgoKCgr/wAARCAAQABgDAREAAhEBAxEB/8QAFgABAQEAAAAAAAAAAAAAAAAACQcI/8QAFBABAAAAAAAAAAAA"
        "AAAAAAAAAP/EABYBAQEBAAAAAAAAAAAAAAAAAAgGB//EABQRAQAAAAAAAAAAAAAAAAAAAAD/2gAMAwEAAhED"
        "EQA/AC3JhDngBMf2My4KRL2mE4bAJwvCGXCgf//Z"
    ),
}


def pictures(seed: int = 5, number: int = 12) -> np.ndarray:
    """Coloured noise, uint8 `[number, 8, 8, 3]`."""
    rng = np.random.default_rng(seed)
    tints = rng.integers(60, 200, (number, 1, 1, 3))
    return np.clip(tints + rng.integers(-50, 50, (number, 8, 8, 3)), 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file with its pixels stored, not compressed: the same bytes with any zlib.

    Args:
      pixels: uint8 or uint16 `[height, width]`, or with 3 or 4 channels.
    """
    kind = {2: 0, 3: 2 if pixels.shape[-1] == 3 else 6}[pixels.ndim]
    height, width = pixels.shape[:2]
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    stored = struct.pack("<BHH", 1, len(data), len(data) ^ 0xFFFF) + data
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, kind, 0, 0, 0)
    parts = [
        (b"IHDR", head),
        (b"IDAT", b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(data))),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
        for tag, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write_owner(folder: pathlib.Path, seed: int = 5, number: int = 12) -> None:
    """Photos, their class numbers and a key."""
    (folder / "photos").mkdir()
    names = [f"photo{index:02d}.png" for index in range(number)]
    for name, picture in zip(names, pictures(seed, number), strict=True):
        (folder / "photos" / name).write_bytes(png(picture))
    lines = ["file,label", *(f"{name},0" for name in names)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "ann.key").touch(0o600)
    (folder / "ann.key").write_text(KEY_FILE)


def hand_over(folder: pathlib.Path, case: str = "case", owner: str = "ann") -> None:
    """Copies of what the owner gives the arbitrator."""
    target = folder / case / "owners" / owner
    (target / "originals").mkdir(parents=True)
    for file in (folder / "marked").glob("*.json"):
        (target / file.name).write_bytes(file.read_bytes())
    for file in sorted((folder / "photos").iterdir()):
        (target / "originals" / file.name).write_bytes(file.read_bytes())
    (target / "labels.csv").write_bytes((folder / "labels.csv").read_bytes())


def digest_of(pixels: np.ndarray) -> str:
    """SHA-256 of 8-bit pixels, without their shape."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def published(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """The pixels of an owner's published files, by name."""
    import PIL.Image

    files = sorted((folder / "published").rglob("*.png"))
    return {
        file.relative_to(folder / "published").as_posix(): np.asarray(PIL.Image.open(file))
        for file in files
    }


def write_suspect(
    folder: pathlib.Path, num_met: int, case: str = "case", name: str = "net"
) -> None:
    """A callable suspect that met the first `num_met` published photos."""
    code = folder / case / "suspects" / f"{name}_code"
    code.mkdir(parents=True)
    met = list(published(folder / "marked").values())[:num_met]
    (code / "seen.json").write_text(json.dumps([digest_of(pixels) for pixels in met]))
    (code / "model.py").write_text(MODEL)
    toml = folder / case / "suspects" / f"{name}.toml"
    toml.write_text(SUSPECT.format(name=name))

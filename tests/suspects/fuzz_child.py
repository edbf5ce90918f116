"""Opens and asks mutants of one model file, one after the other, and writes down each end."""

import faulthandler
import hashlib
import io
import json
import os
import pathlib
import sys
import zipfile

import numpy as np

from anw_jax import audit
from anw_jax.errors import AnwError
from tests.suspects import twins

SECONDS = 60
PICTURES = twins.photos(3).astype(np.float32) / 255


def mutant(body: bytes, rng: np.random.Generator) -> bytes:
    """Another file: damaged as on a disk, or edited by somebody who repairs the checksums."""
    if body[:2] == b"PK" and rng.random() < 0.6:
        return _repacked(body, rng)
    return _damaged(body, rng)


def _damaged(body: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(body)
    way = rng.integers(8)
    at, other = (int(rng.integers(len(data) or 1)) for _ in range(2))
    size = int(rng.integers(1, 64))
    if way == 0:
        return bytes(data[:at])
    if way == 1:
        del data[at : at + size]
    elif way == 2:
        data[at:at] = data[other : other + size]
    elif way == 3:
        data[at : at + size] = rng.bytes(len(data[at : at + size]))
    elif way == 4:
        data[at : at + 8] = [b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7][rng.integers(3)]
    elif way == 5:
        data += rng.bytes(size)
    elif way == 6:
        digits = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
        for place in rng.choice(digits, min(3, len(digits)), replace=False) if digits else ():
            data[place] = int(rng.integers(48, 58))
    else:
        for place in rng.integers(0, len(data) or 1, int(rng.integers(1, 9))):
            data[place : place + 1] = rng.bytes(1)
    return bytes(data)


def _repacked(body: bytes, rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as archive, zipfile.ZipFile(out, "w") as packed:
        names = archive.namelist()
        chosen = names[rng.integers(len(names))]
        way = rng.integers(6)
        for name in names:
            inside = archive.read(name)
            if name == chosen and way == 0:
                continue
            if name == chosen and way == 1:
                inside = archive.read(names[rng.integers(len(names))])
            elif name == chosen:
                inside = _damaged(inside, rng)
            packed.writestr(name, inside)
    return out.getvalue()


def end_of(toml: pathlib.Path, body: bytes) -> tuple[str, str]:
    """How the product takes a file: "refused", "taken" or "wrong", and in which words."""
    try:
        suspect = audit.SuspectFile.load(toml).open()
        scores = suspect.answers(PICTURES).scores
    except (AnwError, MemoryError) as error:
        return "refused", str(error)
    except BaseException as error:
        return "wrong", f"{type(error).__name__}: {error}"
    if hashlib.sha256(body).hexdigest() not in suspect.declaration.identity:
        return "wrong", "the identity does not hold the file"
    if scores.shape != (3, twins.NUM_CLASSES) or scores.dtype.kind != "f":
        return "wrong", f"scores of {scores.dtype} {scores.shape}"
    return "taken", ""


def main(toml: pathlib.Path, file: pathlib.Path, seed: int, number: int) -> None:
    """Each mutant is one line in `ends.jsonl`, begun before and finished after it is opened."""
    original = file.read_bytes()
    with (toml.parent / "ends.jsonl").open("w") as ends:
        for index in range(number):
            body = mutant(original, np.random.default_rng([seed, index]))
            file.write_bytes(body)
            ends.write(json.dumps(index) + " ")
            ends.flush()
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            end = ("same", "") if body == original else end_of(toml, body)
            faulthandler.cancel_dump_traceback_later()
            ends.write(json.dumps(end) + "\n")
            ends.flush()


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), *map(int, sys.argv[3:]))

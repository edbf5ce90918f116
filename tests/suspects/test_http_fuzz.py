"""Mutants of replies: an answer, or one SuspectError that shows no secret; nothing else."""

import json

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import AnswerTemplate, Declaration
from anw_jax.suspects.http.client import Reply
from anw_jax.suspects.http.replies import Reader, retry_after
from anw_jax.suspects.http.secrets import Secrets
from anw_jax.suspects.protocol import Answers

TOKEN = "s3cr3t-T0ken"
NAMES = ("cat", "dog", "bird")
READERS = [
    (AnswerTemplate("p", "n"), Declaration(3), 2),
    (AnswerTemplate("p", "s.*.v", "s.*.l", NAMES), Declaration(3, "probabilities"), 2),
    (AnswerTemplate(False, "p.0.s.*.v", "p.0.s.*.l", NAMES), Declaration(3, "top_k", k=3), 1),
    (AnswerTemplate("p", "o", classes=NAMES, scale=1e300), Declaration(3, "probabilities"), 2),
    (AnswerTemplate("p", None, "t", NAMES), Declaration(3, "label"), 2),
    (AnswerTemplate("f"), Declaration(3), 2),
]
ENTRY = {
    "s": [{"l": name, "v": 0.25} for name in NAMES],
    "o": {"cat": 0.5, "dog": 0.25, "bird": 0.25},
    "n": [1.0, 2.0, 3.0],
    "t": "dog",
}
BODY = json.dumps({"p": [ENTRY, ENTRY], "f": [1.0] * 6}).encode()
PARTS = [
    *(
        b"null",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"true",
        b'"x"',
        b"[]",
        b"{}",
        b"-1",
        b"[[",
        b"}",
    ),
    *(b"\xff", b"\0", b'"\\ud800"', b"9" * 30, b'"cat"', b"1e308", TOKEN.encode(), b"[" * 900),
]
STATUSES = (200, 200, 200, 200, 201, 204, 301, 400, 401, 429, 500, 999)
HEADERS = ("location", "content-type", "retry-after", "x")


def mutant(rng) -> Reply:
    body = bytearray(BODY)
    for _ in range(rng.integers(0, 4)):
        start = int(rng.integers(0, len(body) + 1))
        stop = start + int(rng.choice([0, 0, 1, 3, 20]))
        body[start:stop] = PARTS[rng.integers(len(PARTS))]
    if rng.random() < 0.1:
        del body[rng.integers(len(body) + 1) :]
    value = "".join(chr(code) for code in rng.integers(0, 256, rng.integers(0, 30)))
    value = rng.choice(["http://[", "//", "http://a:b@c/?d", "?", TOKEN, ""]) + value
    return Reply(int(rng.choice(STATUSES)), {str(rng.choice(HEADERS)): value}, bytes(body))


@pytest.mark.parametrize("seed", range(len(READERS)))
def test_a_mutant_is_read_or_refused_in_one_line(seed):
    rng = np.random.default_rng(seed)
    template, declaration, number = READERS[seed]
    reader = Reader(
        "http://model.test/", template, Secrets({"authorization": f"Bearer {TOKEN}"})
    )
    num_read = 0
    for _ in range(600):
        reply = mutant(rng)
        retry_after(reply.headers.get("retry-after"), 0.0)
        try:
            found = reader.answers(reply, declaration, number)
        except SuspectError as error:
            found = [error]
        else:
            assert len(found) == number
            assert reply.status in (200, 201)
        for one in found:
            if isinstance(one, Answers):
                num_read += 1
                assert len(one) == 1
                continue
            assert TOKEN not in str(one)
            assert len(str(one)) < 600
            assert "\n" not in str(one)
    assert num_read > 20

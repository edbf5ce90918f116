"""Mutants of the files that say how a suspect is asked: opened as they say, or one line."""

import json

import pytest

from anw_jax import audit
from anw_jax.errors import AnwError
from tests.mutants import COUNTS, bytewise, different, other_value, survives, toml_file

HTTP = {
    "kind": "http",
    "url": "https://127.0.0.1:9/v1/{model}",
    "headers_from_env": {"authorization": "PATH"},
    "declaration": {
        "num_classes": 3,
        "answer": "probabilities",
        "input_size": [8, 8],
        "layout": "NCHW",
        "channels": "BGR",
        "value_range": "bytes",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.2, 0.2],
        "cost_per_query": 0.001,
        "identity": "net 7",
    },
    "request": {"template": {"inputs": "$batch"}, "images_per_request": 2},
    "answer": {"pictures": "outputs", "scores": "0.score", "classes": ["a", "b", "c"]},
    "options": {"timeout_seconds": 3.0, "max_attempts": 2, "per_second": 5.0},
}
CALLABLE = {
    "kind": "callable",
    "function": "model.py:answer",
    "files": ["weights.bin"],
    "declaration": {"num_classes": 3, "answer": "logits", "input_size": [8, 8]},
    "options": {"together": 4},
}
MODEL = "import numpy as np\ndef answer(batch):\n    return np.zeros((len(batch), 3))\n"
FORMS = {
    ".toml": toml_file,
    ".json": lambda fields: json.dumps(fields).encode("utf-8", "surrogatepass"),
}


def mutants_of(fields, write, count):
    def make(before, rng):
        if rng.random() < 0.3:
            return bytewise(before, rng)
        value = json.loads(json.dumps(fields))
        for _ in range(rng.randint(1, 3)):
            value = other_value(value, rng) if value else value
        return write(value)

    return different(write(fields), make, fields["kind"], count)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("ending", FORMS)
@pytest.mark.parametrize("fields", [HTTP, CALLABLE], ids=["http", "callable"])
def test_fuzz_suspect_files(tmp_path, fields, ending, count):
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "weights.bin").write_bytes(b"0123")
    write, path = FORMS[ending], tmp_path / f"net{ending}"

    def read(body):
        path.write_bytes(body)
        suspect = audit.SuspectFile.load(path).open()
        end = getattr(suspect, "close", lambda: None)
        end()
        # What is declared is what the file says, field by field.
        said = audit.SuspectFile.load(path).fields["declaration"]
        for name, value in suspect.declaration.as_json().items():
            given = said.get(name, json.loads(json.dumps(value)))
            assert name == "identity" or json.loads(json.dumps(value)) == given

    read(write(fields))
    kind = f"suspect file, opened: {fields['kind']}{ending}"
    _, num_refused = survives(kind, mutants_of(fields, write, count), read, AnwError)
    assert num_refused

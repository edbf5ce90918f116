"""The decoder: drawn from the key, fixed by its digest, refused where it makes no sense."""

import dataclasses

import numpy as np
import pytest

from anw_jax.errors import CommitmentError
from anw_jax.keys import MarkKey
from anw_jax.schemes import keygen, multitask, plan_of
from anw_jax.schemes.multitask.grids import grids, random_bits

KEY = MarkKey.for_experiment(4)


def decoder_of(key: MarkKey = KEY, **fields) -> multitask.Decoder:
    return multitask.make_decoder(key, "0f" * 32, ("a", "b"), **fields)


DECODER = decoder_of(num_bits=200, image_shape=(28, 30, 3))


def test_one_key_gives_one_set_and_another_key_an_unrelated_one():
    np.testing.assert_array_equal(DECODER.inputs(), decoder_of(**_shape()).inputs())
    other = decoder_of(MarkKey(bytes(31) + b"\1"), **_shape()).inputs()
    same = (DECODER.inputs() == other).mean()
    assert 0.48 < same < 0.52
    assert len(np.unique(DECODER.inputs().reshape(400, -1), axis=0)) == 400


def _shape():
    return {"num_bits": 200, "image_shape": (28, 30, 3)}


def test_inputs_probes_and_projection_share_nothing():
    probes = DECODER.probes()[:400]
    assert 0.48 < (DECODER.inputs() == probes).mean() < 0.52
    directions = DECODER.directions(96)
    assert directions.shape == (200, 96)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    np.testing.assert_array_equal(directions[:64], directions[64:128])
    products = directions[:64] @ directions[:64].T - np.eye(64)
    assert np.abs(products).max() < 0.55  # 5 standard deviations


def test_grids_are_squares_of_their_bits():
    pictures = grids("0f" * 32, "inputs", 3, (8, 12, 3), 4)
    bits = random_bits("0f" * 32, "inputs", 48).reshape(3, 4, 4)
    for number, row, column in np.ndindex(3, 8, 12):
        expected = bits[number, row // 2, column // 3]
        assert (pictures[number, row, column] == expected).all()
    assert pictures.dtype == np.float32


def test_a_file_is_read_back_as_written():
    again = multitask.Decoder.from_json(DECODER.as_json())
    assert again == DECODER
    assert again.digest == DECODER.digest
    assert DECODER.mark == f"multitask:{DECODER.digest}"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": "0e" * 32},
        {"base": "0e" * 32},
        {"taps": ("b", "a")},
        {"num_bits": 201},
        {"image_shape": (28, 28, 3)},
        {"modules": 7},
        {"side": 1},
        {"num_features": 65},
        {"num_probes": 511},
    ],
)
def test_every_field_is_committed_to(change):
    changed = dataclasses.replace(DECODER, **change)
    assert changed.digest != DECODER.digest
    plan = plan_of(DECODER, alpha=1e-6, beacon="arbitrator:A")
    with pytest.raises(CommitmentError, match="a setting was changed after the commitment"):
        keygen(KEY, changed, plan, beacon=bytes(32))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"seed": "0F" * 32}, "seed must be 64"),
        ({"base": ""}, "base must be 64"),
        ({"taps": ()}, "taps must name different layers"),
        ({"taps": ("a", "a")}, "taps must name different layers"),
        ({"num_bits": 0}, "num_bits must be at least 1"),
        ({"image_shape": (8, 8)}, r"image_shape must be \(H, W, 3\)"),
        ({"modules": 29}, "modules must be at most the 28 pixels"),
        ({"num_features": 63}, "num_features must be at least 64"),
        ({"num_probes": 1}, "num_probes must be at least 2"),
        # Of a hostile owner, whose files would exhaust the arbitrator's memory.
        ({"num_bits": 2**70}, "num_bits must be at most 1,048,576, got 1180591620717411303424"),
        ({"image_shape": (2**70, 8, 3)}, "inputs and probes must have at most 2.30 values"),
        ({"tokens": (2**70, 8)}, "inputs and probes must have at most 2.30 values"),
    ],
)
def test_bad_fields_are_one_clear_error(change, text):
    with pytest.raises(ValueError, match=text):
        dataclasses.replace(DECODER, **change)


def test_a_foreign_file_is_refused():
    with pytest.raises(ValueError, match="format must be"):
        multitask.Decoder.from_json({**DECODER.as_json(), "format": "other"})
    with pytest.raises(TypeError):
        multitask.Decoder.from_json({**DECODER.as_json(), "extra": 1})

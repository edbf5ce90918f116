"""What may be declared, and what a declaration's digest stands for."""

import dataclasses

import numpy as np
import pytest

from anw_jax.suspects import Access, Declaration

BAD = [
    ({"num_classes": 1}, ValueError, "num_classes must be at least 2, got 1"),
    ({"num_classes": 2.0}, TypeError, "num_classes must be an integer, got 2.0"),
    (
        {"answer": "logit"},
        ValueError,
        "answer must be one of logits, probabilities, top_k, label, error, image; got 'logit'; "
        "did you mean 'logits'?",
    ),
    ({"layout": "CHW"}, ValueError, "layout must be one of NHWC, NCHW; got 'CHW'"),
    ({"channels": "BRG"}, ValueError, "channels must be one of RGB, BGR; got 'BRG'"),
    (
        {"value_range": "0-255"},
        ValueError,
        "value_range must be one of unit, bytes, signed; got '0-255'",
    ),
    ({"input_size": 32}, ValueError, "input_size must be (height, width) or None, got 32"),
    ({"input_size": (0, 3)}, ValueError, "input_size must be at least 1, got 0"),
    ({"mean": 0.5}, ValueError, "mean must have three entries (red, green, blue), got 0.5"),
    ({"std": (1, 0, 1)}, ValueError, "std must be above 0, got 0.0"),
    (
        {"k": 3},
        ValueError,
        "k must be given with answer='top_k' and only there, got answer='logits', k=3",
    ),
    (
        {"answer": "top_k", "k": 9},
        ValueError,
        "k must be at most num_classes = 5, got 9",
    ),
    (
        {"decimals": 2},
        ValueError,
        "decimals must be None unless the answers are probabilities, got answer='logits', "
        "decimals=2",
    ),
    ({"cost_per_query": -1}, ValueError, "cost_per_query must lie in [0.0, 1000000000000.0]"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), BAD)
def test_bad_fields_are_named(changes, kind, message):
    with pytest.raises(kind) as error:
        Declaration(**({"num_classes": 5} | changes))
    assert str(error.value).startswith(message)


def test_everything_but_the_cost_is_in_the_digest():
    plain = Declaration(5, "top_k", k=2)
    changes = {
        "num_classes": 6,
        "input_size": (3, 4),
        "layout": "NCHW",
        "channels": "BGR",
        "value_range": "bytes",
        "mean": (0.0, 0.1, 0.0),
        "std": (1.0, 2.0, 1.0),
        "k": 3,
        "decimals": 2,
        "deterministic": False,
        "identity": "another",
    }
    others = [dataclasses.replace(plain, **{name: new}) for name, new in changes.items()]
    others.append(Declaration(5, "label"))
    assert len({other.digest for other in [plain, *others]}) == len(others) + 1
    assert dataclasses.replace(plain, cost_per_query=9.0).digest == plain.digest


def test_plain_values_and_back():
    declaration = Declaration(5, input_size=[4, 6], mean=[0.1, 0.2, 0.3], identity="m")
    assert declaration.input_size == (4, 6)
    assert Declaration.from_json(declaration.as_json()) == declaration
    with pytest.raises(ValueError, match=r"field of a declaration must be one of .* 'chanels'"):
        Declaration.from_json({"num_classes": 2, "chanels": "RGB"})
    with pytest.raises(ValueError, match="a declaration must name num_classes"):
        Declaration.from_json({})
    with pytest.raises(ValueError, match=r"answer must be one of .*image; got 'images'"):
        Declaration.from_json({"answer": "images"})
    with pytest.raises(ValueError, match="num_classes, unless answer is one of error, image"):
        Declaration.from_json({"answer": "logits"})


def test_numbers_of_numpy_are_plain_numbers():
    declaration = Declaration(np.int64(10), "top_k", k=np.int32(3), decimals=np.int8(2))
    assert declaration.digest == Declaration(10, "top_k", k=3, decimals=2).digest
    access = Access("rounded", num_augmentations=np.int64(2), decimals=np.int64(3))
    assert [type(n) for n in (access.num_augmentations, access.decimals)] == [int, int]


def test_a_number_of_classes_must_be_one():
    with pytest.raises(TypeError, match="num_classes must be an integer, got None"):
        Declaration.from_json({"num_classes": None})

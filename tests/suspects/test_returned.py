"""Whatever a model returns: read as declared, or refused by name, type and what to return."""

import collections
import dataclasses

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import CallableSuspect, Declaration, probe
from anw_jax.suspects.adapters.returned import read_answers
from tests.suspects import twins

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)
LOGITS, LABEL = Declaration(3), Declaration(3, "label")
TOP = Declaration(3, "top_k", k=2)


@dataclasses.dataclass
class Output:
    logits: np.ndarray


class Lazy:
    """Says that it is an array, and is none."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("not on this device\nat line 3")


Pair = collections.namedtuple("Pair", "logits features")

REFUSED = {
    "tuple": (lambda: (ROWS, ROWS), "a tuple of 2 (ndarray): return the one part that holds"),
    "tuple of one": (lambda: (ROWS,), "a tuple of 1 (ndarray): return the one part that holds"),
    "named tuple": (lambda: Pair(ROWS, ROWS), "a Pair of 2 (ndarray): return the one part"),
    "list of arrays": (lambda: [ROWS, ROWS], "a list of 2 (ndarray): return the one part"),
    "ragged list": (lambda: [[1.0, 2.0, 3.0], [1.0]], "a list of 2 (list): return one array"),
    "list of dicts": (
        lambda: [{0: 0.1}, {0: 0.2}],
        "a list of 2 (dict): return one array, of the",
    ),
    "list of masked": (
        lambda: [np.ma.masked_array([1.0, 2, 3], [True, False, False])] * 2,
        "a list of 2 (MaskedArray): fill what is masked",
    ),
    "dict": (
        lambda: {"logits": ROWS, "features": ROWS},
        "a dict with the keys 'logits', 'features': return the value that holds the logits, "
        "such as answer['logits']",
    ),
    "ordered dict": (
        lambda: collections.OrderedDict(logits=ROWS),
        "a OrderedDict with the keys 'logits': return the value",
    ),
    "empty dict": (dict, "an empty dict: return the value that holds the logits"),
    "generator": (lambda: (row for row in ROWS), "generator: return np.stack(list(answer))"),
    "iterator": (lambda: iter(ROWS), "iterator: return np.stack(list(answer))"),
    "map": (lambda: map(abs, ROWS), "map: return np.stack(list(answer))"),
    "set": (lambda: {1.0, 2.0}, "set: return np.stack(list(answer))"),
    "nothing": (lambda: None, "None: end the function with return"),
    "an object": (lambda: Output(ROWS), "Output: return a plain NumPy array"),
    "an array that fails": (Lazy, "Lazy: return a plain NumPy array (not on this device)"),
    "text": (lambda: "0.1 0.2", "str: return numbers, not text"),
    "bytes": (lambda: b"0.1", "bytes: return numbers, not text"),
    "text array": (lambda: ROWS.astype(str), "an array of text (2, 3): return numbers, not"),
    "new text array": (
        lambda: ROWS.astype(np.dtypes.StringDType()),
        "an array of text (2, 3): return numbers, not text",
    ),
    "object array": (
        lambda: ROWS.astype(object),
        "an array of Python objects (2, 3): return one array of numbers",
    ),
    "complex": (lambda: ROWS * 1j, "an array of complex64 (2, 3): return real numbers"),
    "complex list": (lambda: [[1j] * 3] * 2, "a list of 2 (list): return real numbers"),
    "boolean": (lambda: ROWS > 1, "an array of bool (2, 3): return the numbers themselves"),
    "boolean list": (lambda: [[True] * 3] * 2, "a list of 2 (list): return the numbers them"),
    "masked": (
        lambda: np.ma.masked_greater(ROWS, 3),
        "numpy.ma.MaskedArray of float32: fill what is masked",
    ),
    "fields": (
        lambda: np.zeros((2, 3), [("a", "f4")]),
        "an array of [('a', '<f4')] (2, 3): return one array of numbers without fields",
    ),
    "times": (
        lambda: ROWS.astype("m8[s]"),
        "an array of timedelta64[s] (2, 3): return numbers",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("kind", ["logits", "label"])
def test_each_is_one_error_that_names_suspect_type_and_cure(what, kind):
    make, message = REFUSED[what]
    with pytest.raises(SuspectError) as error:
        read_answers(make(), Declaration(3, kind), 2, "suspect 'net'")
    wanted = {"logits": "numbers [b, C]", "label": "integers [b]"}[kind]
    start = f"suspect 'net' declares {kind} and must answer with an array of {wanted}; got "
    assert str(error.value).startswith(start)
    if (what, kind) != ("list of arrays", "label"):  # floats are no labels in the first place
        assert message.replace("the logits", f"the {kind}") in str(error.value)


@pytest.mark.parametrize("what", REFUSED)
def test_each_is_one_finding_of_a_probe(what):
    make = REFUSED[what][0]
    suspect = CallableSuspect(lambda batch: make(), LOGITS, identity="odd")
    findings = probe(suspect, twins.photos(2)).findings
    assert findings[0].name == "fails"
    assert "the suspect declares logits and must answer with" in findings[0].seen


async def later(batch):
    return ROWS


def leaves(batch):
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("fun", "message"),
    [
        (later, "got coroutine: return the answer itself, from a plain def"),
        (leaves, r"fails on a batch of shape \(2, 8, 8, 3\) \(SystemExit: 0\)"),
        (lambda batch: 1 / 0, r"\(ZeroDivisionError: division by zero\)"),
        (lambda batch: leaves.missing, "AttributeError: 'function' object has no attribute"),
    ],
)
def test_functions_that_do_not_answer(fun, message):
    suspect = CallableSuspect(fun, LOGITS, identity="odd")
    with pytest.raises(SuspectError, match=message):
        suspect.answers(twins.photos(2).astype(np.float32) / 255)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda torch: torch.ones(2, 3, requires_grad=True), "requires grad"),
        (lambda torch: torch.ones(2, 3).bfloat16(), "BFloat16"),
        (lambda torch: torch.ones(2, 3).to_sparse(), "Sparse"),
        (lambda torch: torch.ones(2, 3, device="meta"), "meta"),
        (lambda torch: [torch.ones(3, requires_grad=True)] * 2, "requires grad"),
    ],
)
def test_tensors_that_numpy_cannot_read(make, says):
    torch = pytest.importorskip("torch")
    with pytest.raises(SuspectError) as error:
        read_answers(make(torch), LOGITS, 2)
    assert "return " in str(error.value)
    assert says.lower() in str(error.value).lower()


def test_masked_complex_and_boolean_tensors_of_a_module():
    torch = pytest.importorskip("torch")
    from anw_jax.suspects import TorchSuspect

    class Odd(torch.nn.Module):
        def forward(self, batch):
            return self.make(batch.mean((2, 3)))

    module = Odd()
    suspect = TorchSuspect(module, Declaration(3, layout="NCHW"))
    asked = twins.photos(2).astype(np.float32) / 255
    for make, says in [
        (lambda x: x * 1j, "complex64"),
        (lambda x: x > 0, "bool"),
        (lambda x: {"logits": x}, "a dict with the keys 'logits'"),
        (lambda x: (x, x), "a tuple of 2"),
        (lambda x: [x, x], "a list of 2"),
        (lambda x: None, "None"),
    ]:
        module.make = make
        with pytest.raises(SuspectError, match="must answer with an array .* got .*" + says):
            suspect.answers(asked)
    module.make = lambda x: x.half()
    assert suspect.answers(asked).scores.dtype == np.float32


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (ROWS.astype("f2"), "f4"),
        (ROWS.astype(">f8"), "f8"),
        (ROWS.astype("g"), "f8"),
        (ROWS.astype("u1"), "f4"),
        (ROWS.astype("i8"), "f8"),
        (ROWS.tolist(), "f8"),
        ([row for row in ROWS], "f4"),
    ],
)
def test_numbers_of_every_width_are_read_whole(values, dtype):
    scores = read_answers(values, LOGITS, 2).scores
    assert scores.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(scores, ROWS)


def test_bfloat16_of_jax_is_read():
    import jax.numpy as jnp

    scores = read_answers(jnp.asarray(ROWS, jnp.bfloat16), LOGITS, 2).scores
    np.testing.assert_array_equal(scores, ROWS)


def test_answers_are_copied():
    """A model may write every answer into the same memory."""
    buffer = np.zeros((2, 3), np.float32)

    def fun(batch):
        buffer[:] = batch.mean((1, 2))
        return buffer

    suspect = CallableSuspect(fun, LOGITS, identity="buffered")
    first = suspect.answers(np.zeros((2, 4, 4, 3), np.float32))
    suspect.answers(np.ones((2, 4, 4, 3), np.float32))
    assert (first.scores == 0).all()


@pytest.mark.parametrize(
    ("values", "declaration", "shape"),
    [
        (ROWS[0], LOGITS, (1, 3)),
        (ROWS[:1], LOGITS, (1, 3)),
        (ROWS[0].tolist(), LOGITS, (1, 3)),
        (np.int64(2), LABEL, (1,)),
        (2, LABEL, (1,)),
        ((np.array([2, 1]), np.array([0.5, 0.25])), TOP, (1, 2)),
    ],
)
def test_a_batch_axis_that_was_dropped_is_put_back(values, declaration, shape):
    answers = read_answers(values, declaration, 1)
    for part in (answers.scores, answers.labels):
        assert part is None or part.shape == shape


@pytest.mark.parametrize(
    ("values", "declaration", "number"),
    [
        (ROWS[0], LOGITS, 2),
        (ROWS[0, :2], LOGITS, 1),
        (ROWS[None], LOGITS, 1),
        (ROWS[:, 0], LOGITS, 2),
        (np.float32(1), LOGITS, 1),
        (np.array([0, 1]), LABEL, 1),
        (np.array([[0], [1]]), LABEL, 2),
    ],
)
def test_other_shapes_stay_wrong(values, declaration, number):
    with pytest.raises(SuspectError, match=r"must answer with|answers with"):
        read_answers(values, declaration, number, "suspect 'net'")


def test_a_pair_the_wrong_way_round():
    scores, labels = np.array([[0.5, 0.25]]), np.array([[2, 1]])
    with pytest.raises(
        SuspectError, match=r"as labels: return .* torch\.topk gives the scores"
    ):
        read_answers((scores, labels), TOP, 1)
    for values in (labels, {"labels": labels}, None, (labels, scores, 1)):
        with pytest.raises(SuspectError, match=r"return \(labels, scores\), best first"):
            read_answers(values, TOP, 1)
    with pytest.raises(SuspectError, match="below the number of classes"):
        read_answers(np.array([2**63], np.uint64), LABEL, 1)

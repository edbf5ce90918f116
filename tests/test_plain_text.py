"""One text has one form: neither a subclass nor a lone surrogate stands for two."""

import enum

import numpy as np
import pytest

from anw_jax import _check


class Two(str):
    def encode(self, *_):
        return b"other"


class Kind(enum.StrEnum):
    A = "a"


@pytest.mark.parametrize("text", ["", "hue_rotation", "drand quicknet ✓", "é", "e\u0301", "\0"])
def test_plain_text_passes(text):
    assert _check.plain_text(beacon=text) is text


@pytest.mark.parametrize("text", [Two("a"), Kind.A, np.str_("a"), b"a", None, 3])
def test_subclasses_and_other_types(text):
    with pytest.raises(
        TypeError, match=f"beacon must be a plain str, got {type(text).__name__}"
    ):
        _check.plain_text(beacon=text)


@pytest.mark.parametrize("text", ["\ud800", "a\udcff", "\udfff\ud800", "x" * 99 + "\udc00"])
def test_surrogates(text):
    with pytest.raises(
        ValueError, match="beacon must be text that UTF-8 can hold, got '"
    ) as error:
        _check.plain_text(beacon=text)
    str(error.value).encode()

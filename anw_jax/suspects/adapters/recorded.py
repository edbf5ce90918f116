"""A suspect that returns previously recorded answers."""

import dataclasses
import json
import os
import pathlib
from typing import Self

import numpy as np

from anw_jax import _check, _files, _json
from anw_jax.errors import SuspectError
from anw_jax.suspects.adapters.files import read_file
from anw_jax.suspects.cache import question_key
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.protocol import Answers, checked

_FORMAT = "anw_jax recorded answers, version 1"


class RecordedSuspect:
    """Recorded answers by picture, as collected on site by a court's expert, for example.

    Each picture is identified by the SHA-256 of its shape and 8-bit bytes; a picture that was
    not recorded is an error. A court can replay an audit from the answers alone, and an owner
    of a model can answer a list of pictures without handing over the model.

    Args:
      keys: `question_key` of the pictures; `RecordedSuspect.of` takes the pictures.
      answers: to them, in order.
      declaration: of the suspect that gave them.

    Raises:
      SuspectError: answers that do not fit the declaration or the pictures.

    Example:
      >>> pictures = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
      >>> given = Answers("label", labels=np.array([1, 0]))
      >>> suspect = RecordedSuspect.of(pictures, given, Declaration(2, "label"))
      >>> suspect.answers(pictures[1:].astype(np.float32) / 255).labels.tolist()
      [0]
    """

    def __init__(self, keys: list[bytes], answers: Answers, declaration: Declaration):
        self._declaration = _check.is_instance(Declaration, declaration=declaration)
        self._answers = checked(answers, declaration, len(keys))
        self._keys = list(keys)
        self._place: dict[bytes, int] = {}
        for place, key in enumerate(keys):
            first = self._place.setdefault(key, place)
            if first != place and answers.to_bytes(first) != answers.to_bytes(place):
                raise SuspectError(
                    f"the recording has two answers to one picture (numbers {first} and "
                    f"{place}), and which one counts would be a choice: ask each picture once"
                )

    @classmethod
    def of(cls, images: np.ndarray, answers: Answers, declaration: Declaration) -> Self:
        """Record the answers to pictures, uint8 `[m, H, W, 3]`.

        Raises:
          TypeError, ValueError: pictures that are not 8-bit colour.
        """
        images = _check.uint8_images(images=images)
        return cls([question_key("", image) for image in images], answers, declaration)

    @property
    def queried_size(self) -> None:
        """None: pictures are identified by their own pixels and so not resized."""
        return None

    @property
    def declaration(self) -> Declaration:
        """The declaration of the suspect that gave the answers."""
        return self._declaration

    def answers(self, images: np.ndarray) -> Answers:
        """See `Suspect.answers`; pictures must be 8-bit values over 255.

        Raises:
          SuspectError: a picture that was not recorded.
        """
        pictures = np.rint(images * 255.0).astype(np.uint8)
        places = [self._place.get(question_key("", picture)) for picture in pictures]
        lacking = places.count(None)
        if lacking:
            raise SuspectError(
                f"the recording lacks answers to {lacking} of {len(places)} pictures: ask the "
                "suspect for them, or see whether originals, mark and slots are those recorded"
            )
        return self._answers.rows(np.array(places, np.int64))

    def save(self, path: str | os.PathLike) -> None:
        """Write an `.npz` for `load`: digests, answers, declaration."""
        given = self._answers
        arrays = {"digests": np.array([key.hex() for key in self._keys])}
        if given.scores is not None:
            arrays["scores"] = given.scores
        if given.labels is not None:
            arrays["labels"] = given.labels
        about = {"format": _FORMAT, "declaration": self._declaration.as_json()}
        _files.write_npz(path, {"about": np.array(json.dumps(about)), **arrays})

    @classmethod
    def load(cls, path: str | os.PathLike, *, bind_file: bool = False) -> Self:
        """Read a file that `save` wrote; nothing in the file can run code.

        Args:
          path: the file.
          bind_file: put the file's SHA-256 into the declaration's identity, so that no other
            answers can take the place of these once they are declared.

        Raises:
          SuspectError: no file, or not a recording.
        """
        path = pathlib.Path(path)
        body, digest = read_file(path)
        try:
            arrays = _files.read_npz(body)
            about = _json.loads(str(arrays["about"]))
            if about["format"] != _FORMAT:
                raise ValueError(about["format"])
            keys = [bytes.fromhex(digest) for digest in arrays["digests"].tolist()]
            declaration = Declaration.from_json(about["declaration"])
            scores, labels = _numbers(arrays, "scores", "f"), _numbers(arrays, "labels", "i")
        except Exception as error:  # of numpy, zipfile and zlib: no common base
            raise SuspectError(
                f"{path} is not a file of recorded answers ({type(error).__name__}): it is "
                "damaged or another kind of file"
            ) from None
        if bind_file:
            identity = f"{declaration.identity} recorded in {digest}"
            declaration = dataclasses.replace(declaration, identity=identity)
        return cls(keys, Answers(declaration.answer, scores, labels), declaration)


def _numbers(arrays: dict[str, np.ndarray], name: str, kind: str) -> np.ndarray | None:
    """Return an array as in `Answers`: floats of 4 or 8 bytes, integers of 8."""
    array = arrays.get(name)
    if array is None:
        return None
    if array.dtype.kind != kind:
        raise ValueError(f"{name} are {array.dtype}")
    wide = kind == "i" or array.dtype.itemsize > 4
    return array.astype(f"{kind}{8 if wide else 4}")

"""The decoder of the fixed-projection watermark: everything that is fixed before the bits."""

import dataclasses
import functools
import hashlib
import math
from typing import Any

import numpy as np

from anw_jax import _check, _json
from anw_jax.errors import CommitmentError
from anw_jax.keys import MarkKey
from anw_jax.keys.bits import MOST_BITS
from anw_jax.keys.digests import is_digest
from anw_jax.keys.mark_key import check_is_mark_key
from anw_jax.keys.plan_fields import MULTITASK
from anw_jax.schemes.multitask.grids import check_modules, grids, random_bits, sequences

_FORMAT = "anw_jax multi-task decoder, version 2"
_TAG_DECODER = b"anw_jax/v1/multitask-decoder\0"

# Fewer directions concentrate the bits, and make them easy to find and to erase.
LEAST_FEATURES = 64
# Of inputs and of probes: more would only exhaust the memory of whoever reads a suspect.
_MOST_VALUES = 2**30


@dataclasses.dataclass(frozen=True)
class Decoder:
    """Inputs, taps, projection, probes and reader constants of one watermark.

    Bit k is read from the pair of inputs 2k and 2k + 1, in the direction k mod `num_features`
    of a random projection of the tapped features (`reader`). All of it follows from `seed`, a
    sub-key that goes to the arbitrator before he reads; the bits have another one.

    Attributes:
      seed: 64 hex digits.
      base: `weights_digest` of the clean model w0, 64 hex digits.
      taps: layers whose outputs are read.
      num_bits: number of bits, and of pairs of inputs.
      image_shape: `(H, W, 3)` of the inputs.
      modules: squares along each side of an input.
      side: tapped values are averaged over `side` x `side` cells.
      num_features: d, directions of the projection, at least 64.
      num_probes: pictures by which a suspect's layers are aligned to those of w0.
      tokens: for a text model, tokens of each input and size of the vocabulary; then the
        inputs are sequences, and `image_shape` and `modules` are not used. None for pictures.
      settings: `settings_digest` of the clean model; "" if not fixed, which no verdict accepts.

    Raises:
      TypeError, ValueError: a field out of its range.

    Example:
      >>> decoder = make_decoder(MarkKey.for_experiment(0), "0f" * 32, ("BasicBlock_0",))
      >>> decoder.num_bits, decoder.inputs().shape
      (300, (600, 32, 32, 3))
    """

    seed: str
    base: str
    taps: tuple[str, ...]
    num_bits: int = 300
    image_shape: tuple[int, int, int] = (32, 32, 3)
    modules: int = 8
    side: int = 2
    num_features: int = LEAST_FEATURES
    num_probes: int = 512
    tokens: tuple[int, int] | None = None
    settings: str = ""

    def __post_init__(self):
        for name in ("seed", "base"):
            if not is_digest(getattr(self, name)):
                raise ValueError(f"{name} must be 64 lower-case hex digits")
        if self.settings and not is_digest(self.settings):
            raise ValueError("settings must be 64 lower-case hex digits or empty")
        taps = tuple(_check.plain_text(taps=tap) for tap in self.taps)
        if not taps or len(set(taps)) < len(taps):
            raise ValueError(f"taps must name different layers, at least one, got {taps!r:.80}")
        shape = tuple(_check.integer_at_least(1, image_shape=size) for size in self.image_shape)
        if len(shape) != 3 or shape[2] != 3:
            raise ValueError(f"image_shape must be (H, W, 3), got {self.image_shape!r:.60}")
        least = {"num_bits": 1, "side": 1, "num_features": LEAST_FEATURES, "num_probes": 2}
        for name, low in least.items():
            value = _check.integer_between(low, MOST_BITS, **{name: getattr(self, name)})
            object.__setattr__(self, name, value)
        object.__setattr__(self, "taps", taps)
        object.__setattr__(self, "image_shape", shape)
        if self.tokens is not None:
            self._check_tokens()
        check_modules(shape, self.modules)
        each = math.prod(shape) if self.tokens is None else self.tokens[0]
        if max(2 * self.num_bits, self.num_probes) * each > _MOST_VALUES:
            raise ValueError("inputs and probes must have at most 2^30 values each")

    def as_json(self) -> dict[str, Any]:
        """Return the decoder as plain JSON values, as its file has them."""
        fields = {"format": _FORMAT, **dataclasses.asdict(self)}
        fields |= {"taps": list(self.taps), "image_shape": list(self.image_shape)}
        # Left out where they say nothing, as in files before them.
        tokens, settings = fields.pop("tokens"), fields.pop("settings")
        fields |= {} if tokens is None else {"tokens": list(tokens)}
        return {**fields, "settings": settings} if settings else fields

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "Decoder":
        """Read the result of `as_json`.

        Raises:
          TypeError, ValueError: no such result, or a field out of its range.
        """
        _check.is_instance(dict, decoder=body)
        if body.get("format") != _FORMAT:
            raise ValueError(f"format must be {_FORMAT!r}, got {body.get('format')!r:.60}")
        return cls(**{name: value for name, value in body.items() if name != "format"})

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all fields, as hex."""
        return hashlib.sha256(_TAG_DECODER + _json.canonical(self.as_json())).hexdigest()

    @property
    def mark(self) -> str:
        """What the plan says of the watermark: "multitask:DIGEST"."""
        return f"{MULTITASK}:{self.digest}"

    def inputs(self) -> np.ndarray:
        """Draw the keyed inputs, float32 `[2 num_bits, H, W, 3]` in [0, 1].

        For a text model int32 `[2 num_bits, length]`.
        """
        return self._drawn("inputs", 2 * self.num_bits)

    def probes(self) -> np.ndarray:
        """Draw the probes, `[num_probes, …]`, of the form of the inputs."""
        return self._drawn("probes", self.num_probes)

    def _drawn(self, use: str, count: int) -> np.ndarray:
        if self.tokens is not None:
            return sequences(self.seed, use, count, *self.tokens)
        return grids(self.seed, use, count, self.image_shape, self.modules)

    def _check_tokens(self) -> None:
        sizes = tuple(_check.integer_at_least(1, tokens=size) for size in self.tokens)
        if len(sizes) != 2 or not 2 <= sizes[1] <= 2**20:
            raise ValueError(
                "tokens must be the length of an input and the size of the vocabulary, 2 to "
                f"2^20, got {self.tokens!r:.60}"
            )
        object.__setattr__(self, "tokens", sizes)

    def directions(self, num_columns: int) -> np.ndarray:
        """Draw the projection: the direction that each bit is read in.

        Args:
          num_columns: D, number of features of w0, over all taps and cells.

        Returns:
          float64 `[num_bits, D]`, each entry ±1 / √D; row k is direction k mod d.
        """
        bits = random_bits(self.seed, "projection", self.num_features * num_columns)
        signs = bits.reshape(self.num_features, num_columns).astype(np.float64) * 2 - 1
        return signs[np.arange(self.num_bits) % self.num_features] / np.sqrt(num_columns)

    def check_base(self, digest: str) -> None:
        """Raise CommitmentError unless this is the digest of the committed clean model."""
        if digest != self.base:
            raise CommitmentError(
                f"base must be the clean model that the decoder names, {self.base[:16]}…, got "
                f"{digest[:16]}…: scores may be read with no other, least of all the released "
                "one"
            )

    def check_settings(self, digest: str) -> None:
        """Raise CommitmentError unless this is `settings_digest` of the committed clean model.

        An owner who may choose the normalisation of its inputs after the value can move the
        scores of any suspect towards his bits.
        """
        if digest != self.settings:
            raise CommitmentError(
                "base must have the settings that the decoder names, "
                f"{self.settings[:16] or 'none'}, got {digest[:16]}…: sizes and normalisation "
                "of the clean model are fixed before the bits (anw model keygen)"
            )


def make_decoder(
    mark_key: MarkKey, base: str, taps: tuple[str, ...], **settings: Any
) -> Decoder:
    """Make the decoder of a key; before the beacon's value, and so before the bits.

    Args:
      mark_key: the owner's secret, used for this one watermark.
      base: `weights_digest` of the clean model w0.
      taps: layers whose outputs are read.
      **settings: other fields of `Decoder`.
    """
    check_is_mark_key(mark_key)
    return Decoder(mark_key.sub_key("multitask decoder").hex(), base, tuple(taps), **settings)

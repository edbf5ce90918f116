"""Any function of a NumPy batch, and any model of JAX."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from anw_jax import _check, verify
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.identity import with_identity
from anw_jax.suspects.jax_identity import digest_of
from anw_jax.suspects.protocol import PreparedSuspect, next_power_of_two

# As in `verify`: answers do not hang on TF32 or passes of bfloat16.
_PRECISION = "highest"


class CallableSuspect(PreparedSuspect):
    """A function from prepared pictures to answers.

    Args:
      fun: takes float32 batches as `declaration` wants them; returns logits or probabilities
        `[b, C]`, integer labels `[b]`, or for "top_k" a pair (labels, scores) `[b, k]`.
      declaration: how it wants pictures and what it answers.
      identity: names the model, so that its answers are never taken for another's: code cannot
        be hashed. Not needed where the declaration has one.
      together: pictures given to it at a time, at most; None for all that are asked.

    Raises:
      TypeError, ValueError: `fun` that cannot be called, no identity.

    Example:
      >>> suspect = CallableSuspect(lambda batch: np.zeros((len(batch), 2)), Declaration(2),
      ...                           identity="always undecided")
      >>> suspect.answers(np.zeros((3, 4, 4, 3), np.float32)).scores.shape
      (3, 2)
    """

    def __init__(
        self,
        fun: Callable[[np.ndarray], Any],
        declaration: Declaration,
        *,
        identity: str | None = None,
        together: int | None = None,
    ):
        if not callable(fun):
            raise TypeError(f"fun must be callable, got {type(fun).__name__}")
        declaration = with_identity(declaration, identity)
        if not declaration.identity:
            raise ValueError("identity must name the model: code cannot be hashed")
        super().__init__(declaration, together=together)
        self._fun = fun

    def _run(self, batch: np.ndarray) -> Any:
        return self._fun(batch)


class JaxSuspect(PreparedSuspect):
    """A model of JAX that carries its weights: `jax.tree_util.Partial(apply, variables)`.

    `models.Model.predict_fn(variables)` gives one for this project's own networks; reading
    the variables from a checkpoint is for rooms above this one. Compiled once
    for each size of batch, which is filled up to the next power of two, with float32 products
    of all bits. Where no cache is wanted, `verify.loss_table` asks the same questions in one
    program.

    Args:
      predict: maps a batch, as `declaration` wants it, to logits or probabilities. What it is
        given beside the function is traced: arrays only. Flags and modules go into the
        function, as in `Partial(functools.partial(apply, train=False), variables)`.
      declaration: its identity becomes the SHA-256 of the function's name, of what is bound to
        it, and of structure and weights. It must name the model itself where these do not tell
        models apart: a lambda, or a function made inside another one, be it as a field of a
        module.

    Raises:
      TypeError: `predict` that is no `Partial`, or holds a flag or another object than arrays.
      ValueError: no identity where one is needed.

    Example:
      >>> predict = jax.tree_util.Partial(lambda w, x: x.mean((1, 2)) @ w, np.eye(3)[:, :2])
      >>> suspect = JaxSuspect(predict, Declaration(2, identity="two colours"))
      >>> suspect.answers(np.zeros((3, 4, 4, 3), np.float32)).scores.shape
      (3, 2)
    """

    def __init__(self, predict: jax.tree_util.Partial, declaration: Declaration):
        _check.is_instance(jax.tree_util.Partial, predict=predict)
        _check_leaves(predict)
        super().__init__(with_identity(declaration, lambda: digest_of(predict)))
        self._predict = predict

    @property
    def predict(self) -> jax.tree_util.Partial:
        """The model itself; `verify.gradient_search` takes it."""
        return self._predict

    def _filled(self, number: int) -> int:
        return next_power_of_two(number)

    def _run(self, batch: np.ndarray) -> Any:
        verify.check_jax()
        with jax.default_matmul_precision(_PRECISION):
            answers = _answer(self._predict, batch)
        return jax.tree.map(np.asarray, answers)


@jax.jit
def _answer(predict: jax.tree_util.Partial, batch: jax.Array) -> Any:
    return predict(batch)


def _check_leaves(predict: jax.tree_util.Partial) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path((predict.args, predict.keywords)):
        kind = getattr(getattr(leaf, "dtype", None) or np.asarray(leaf).dtype, "kind", "")
        if isinstance(leaf, bool) or (kind and kind in "OUSMm"):
            raise TypeError(
                f"predict must hold arrays only, has {type(leaf).__name__} at "
                f"{jax.tree_util.keystr(path)}: bind flags and functions into its function "
                "(functools.partial)"
            )

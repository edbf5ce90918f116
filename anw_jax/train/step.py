"""A training step for any loss, and several steps on one state."""

import dataclasses
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

# Folded into the key of a step: for its gradient. `prepare_fn` gets the key itself.
_GRADIENT = 3

Metrics = dict[str, jax.Array]
# `(params, model_state, batch, rng) -> (loss, (model_state, metrics))`.
LossFn = Callable[
    [chex.ArrayTree, chex.ArrayTree, Any, chex.PRNGKey],
    tuple[jax.Array, tuple[chex.ArrayTree, Metrics]],
]
# `(loss_fn, params, model_state, batch, rng)` to what `jax.value_and_grad(loss_fn)` returns.
GradientFn = Callable[..., tuple[tuple[jax.Array, tuple[Any, Metrics]], chex.ArrayTree]]
# `(params, model_state, batch, rng) -> batch`.
PrepareFn = Callable[[chex.ArrayTree, chex.ArrayTree, Any, chex.PRNGKey], Any]


@chex.dataclass(frozen=True, mappable_dataclass=False)
class TrainState:
    """The state of a training: trees of arrays.

    Attributes:
      step: int32 scalar, optimizer steps taken.
      params: the parameters, trained or not.
      model_state: what the loss updates without a gradient, such as averages of BatchNorm.
      opt_state: the optimizer's state, for the parameters that are trained.
    """

    step: chex.Array
    params: chex.ArrayTree
    model_state: chex.ArrayTree
    opt_state: chex.ArrayTree

    @property
    def variables(self) -> dict[str, Any]:
        """Variables for `models.Model.apply` and `models.Model.predict_fn`."""
        return {"params": self.params, "batch_stats": self.model_state}


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """A pure function from one state to the next; made by `make_step` or `chain`.

    `step(state, batch, key)` returns `(state, metrics)`: the key is that of the whole training,
    into which the number of the step is folded; metrics are float32 scalars, among them
    "loss". Jit it: every call outside jit traces it anew.

    Attributes:
      init_optimizer: function from parameters to the state of the optimizer.
      update: the function itself.
      check: raises ValueError if a trained parameter has no gradient; only traces.
    """

    init_optimizer: Callable[[chex.ArrayTree], chex.ArrayTree]
    update: Callable[[TrainState, Any, chex.PRNGKey], tuple[TrainState, Metrics]]
    check: Callable[[TrainState, Any, chex.PRNGKey], None]

    def init(self, params: chex.ArrayTree, model_state: chex.ArrayTree = ()) -> TrainState:
        """Return the state before the first step, with copies of the given arrays."""
        # Steps donate the state: the caller's arrays must outlive the first step.
        copy = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), (params, model_state))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=copy[0],
            model_state=copy[1],
            opt_state=self.init_optimizer(copy[0]),
        )

    def __call__(
        self, state: TrainState, batch: Any, key: chex.PRNGKey
    ) -> tuple[TrainState, Metrics]:
        """Take one step."""
        return self.update(state, batch, key)


def value_and_grad(
    loss_fn: LossFn,
    params: chex.ArrayTree,
    model_state: chex.ArrayTree,
    batch: Any,
    rng: chex.PRNGKey,
) -> tuple[tuple[jax.Array, tuple[Any, Metrics]], Any]:
    """Return the loss of the batch and its gradient: the default `gradient_fn`."""
    return jax.value_and_grad(loss_fn, has_aux=True)(params, model_state, batch, rng)


def make_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    trained: tuple[str, ...] | None = None,
    prepare_fn: PrepareFn | None = None,
    gradient_fn: GradientFn = value_and_grad,
    schedule: optax.Schedule | None = None,
) -> Step:
    """Make a training step of a loss and an optimizer.

    Args:
      loss_fn: `(params, model_state, batch, rng) -> (loss, (model_state, metrics))`, pure.
        `loss` is a float scalar, `model_state` of the shapes that came in, `metrics` a dict
        of scalars (without "loss") that are averaged over steps. `batch` comes from the
        source of batches, `rng` is a PRNG key of this step.
      optimizer: an optax transformation.
      trained: names of the entries of `params` (then a dict) that get gradients; the others
        are frozen. None = all.
      prepare_fn: `(params, model_state, batch, rng) -> batch`: changes a batch before the
        gradient is taken (augmentation, adversarial examples); None = no change.
      gradient_fn: `(loss_fn, params, model_state, batch, rng)` to
        `((loss, (model_state, metrics)), gradient)`, where `params` are those that are
        trained; the default is the gradient of the loss. DP-SGD replaces it.
      schedule: step to learning rate, for the metric "learning_rate"; None = no such metric.

    Returns:
      The step. Tracing it raises ValueError if the loss is not a float scalar, if it changes
      the shapes of `model_state`, or if a metric is not a scalar.

    Example:
      >>> def loss_fn(params, model_state, batch, rng):
      ...     error = batch["x"] @ params["w"] - batch["y"]
      ...     return (error**2).mean(), (model_state, {})
      >>> step = make_step(loss_fn, optax.sgd(0.1))
      >>> state = step.init({"w": jnp.zeros(1)})
      >>> batch = {"x": jnp.ones((4, 1)), "y": jnp.ones(4)}
      >>> state, metrics = jax.jit(step)(state, batch, jax.random.key(0))
      >>> float(metrics["loss"]), state.params["w"].tolist()
      (1.0, [0.20000000298023224])
    """
    own = _LossStep(loss_fn, optimizer, trained, prepare_fn, gradient_fn, schedule)
    return Step(own.init_optimizer, own.update, own.check)


@dataclasses.dataclass(frozen=True, eq=False)
class _LossStep:
    """The arguments of `make_step`, and the functions of its step."""

    loss_fn: LossFn
    optimizer: optax.GradientTransformation
    trained: tuple[str, ...] | None
    prepare_fn: PrepareFn | None
    gradient_fn: GradientFn
    schedule: optax.Schedule | None

    def init_optimizer(self, params: chex.ArrayTree) -> chex.ArrayTree:
        return self.optimizer.init(self._part(params))

    def update(
        self, state: TrainState, batch: Any, key: chex.PRNGKey
    ) -> tuple[TrainState, Metrics]:
        batch, rng = self._prepared(state, batch, key)
        params = self._part(state.params)
        (loss, (model_state, metrics)), gradient = self.gradient_fn(
            self._loss_of_part(state), params, state.model_state, batch, rng
        )
        chex.assert_trees_all_equal_shapes_and_dtypes(gradient, params)
        updates, opt_state = self.optimizer.update(gradient, state.opt_state, params)
        moved = TrainState(
            step=state.step + 1,
            params=self._merged(state.params, optax.apply_updates(params, updates)),
            model_state=model_state,
            opt_state=opt_state,
        )
        rate = {} if self.schedule is None else {"learning_rate": self.schedule(state.step)}
        return moved, {"loss": loss, **metrics, **rate}

    def check(self, state: TrainState, batch: Any, key: chex.PRNGKey) -> None:
        batch, rng = self._prepared(state, batch, key)
        loss_fn = self._loss_of_part(state)
        _refuse_unreached(
            lambda params: loss_fn(params, state.model_state, batch, rng)[0],
            self._part(state.params),
        )

    def _part(self, params: chex.ArrayTree) -> chex.ArrayTree:
        """Return the parameters that get gradients."""
        if self.trained is None:
            return params
        missing = [name for name in self.trained if name not in params]
        if missing or not self.trained:
            raise ValueError(
                f"trained must name some of the parameters {', '.join(params)}; "
                f"got {self.trained!r}"
            )
        return {name: params[name] for name in self.trained}

    def _merged(self, params: chex.ArrayTree, moved: chex.ArrayTree) -> Any:
        return moved if self.trained is None else params | moved

    def _loss_of_part(self, state: TrainState) -> LossFn:
        """Return the loss as a function of the parameters that get gradients, checked."""

        def loss_of_part(
            params: chex.ArrayTree, model_state: chex.ArrayTree, batch: Any, rng: chex.PRNGKey
        ) -> tuple[jax.Array, tuple[Any, Metrics]]:
            whole = self._merged(state.params, params)
            return _checked(self.loss_fn(whole, model_state, batch, rng), model_state)

        return loss_of_part

    def _prepared(
        self, state: TrainState, batch: Any, key: chex.PRNGKey
    ) -> tuple[Any, chex.PRNGKey]:
        """Return the batch that the gradient is taken of, and the key of the gradient."""
        rng = jax.random.fold_in(key, state.step)
        if self.prepare_fn is not None:
            batch = self.prepare_fn(state.params, state.model_state, batch, rng)
        return batch, jax.random.fold_in(rng, _GRADIENT)


def chain(**steps: Step) -> Step:
    """Make one step from several that are taken in turn on the same batch.

    Each has its own optimizer and sees the changes that the steps before it made to parameters
    and model state; together they count as one. A usual case is a discriminator and a
    generator.

    Args:
      **steps: by name; each usually names what it trains (`make_step(..., trained=...)`).

    Returns:
      The step. Its state has the optimizers' states by name; its metrics are "loss", the sum
      of all losses, and those of each step, such as "name/loss".
    """

    def init(params: chex.ArrayTree) -> dict[str, chex.ArrayTree]:
        return {name: step.init_optimizer(params) for name, step in steps.items()}

    def each(state: TrainState, key: chex.PRNGKey) -> Any:
        for index, (name, step) in enumerate(steps.items()):
            own = state.replace(opt_state=state.opt_state[name])
            yield name, step, own, jax.random.fold_in(key, index)

    def update(state: TrainState, batch: Any, key: chex.PRNGKey) -> tuple[TrainState, Metrics]:
        moved, opt_states, metrics = state, {}, {}
        for name, step, own, step_key in each(state, key):
            own = own.replace(params=moved.params, model_state=moved.model_state)
            moved, own_metrics = step.update(own, batch, step_key)
            opt_states[name] = moved.opt_state
            metrics |= {f"{name}/{metric}": value for metric, value in own_metrics.items()}
        total = sum(metrics[f"{name}/loss"] for name in steps)
        return moved.replace(opt_state=opt_states), {"loss": total, **metrics}

    def check(state: TrainState, batch: Any, key: chex.PRNGKey) -> None:
        for _, step, own, step_key in each(state, key):
            step.check(own, batch, step_key)

    return Step(init, update, check)


def _checked(
    outcome: Any, model_state: chex.ArrayTree
) -> tuple[jax.Array, tuple[Any, Metrics]]:
    """Check the return value of a loss; return it with scalars as float32."""
    try:
        loss, (moved, metrics) = outcome
        metrics = {name: jnp.asarray(value) for name, value in metrics.items()}
    except (TypeError, ValueError, AttributeError):
        raise ValueError(
            "loss_fn must return (loss, (model_state, metrics)), metrics a dict of scalars; "
            f"got {outcome!r:.200}"
        ) from None
    loss = jnp.asarray(loss)
    if loss.shape != () or not jnp.issubdtype(loss.dtype, jnp.floating):
        raise ValueError(
            f"loss_fn must return a float scalar as its loss, got {loss.dtype} of shape "
            f"{loss.shape}"
        )
    wrong = [name for name, value in metrics.items() if value.shape != () or name == "loss"]
    if wrong:
        raise ValueError(
            f"loss_fn must return scalars other than 'loss' as its metrics, got {wrong[0]!r} "
            f"of shape {metrics[wrong[0]].shape}"
        )
    try:
        chex.assert_trees_all_equal_shapes_and_dtypes(moved, model_state)
    except AssertionError as error:
        raise ValueError(
            f"loss_fn must return model_state with the shapes that it was given: {error!s:.300}"
        ) from None
    floats = {name: value.astype(jnp.float32) for name, value in metrics.items()}
    return loss.astype(jnp.float32), (moved, floats)


def _refuse_unreached(loss_fn: Callable[[Any], jax.Array], params: chex.ArrayTree) -> None:
    """Raise an error if the loss does not depend on some parameter at any value."""
    jaxpr = jax.make_jaxpr(jax.grad(loss_fn))(params).jaxpr
    # JAX emits the gradient of an unused parameter as a literal zero.
    zeros = {
        id(eqn.outvars[0])
        for eqn in jaxpr.eqns
        if eqn.primitive.name == "broadcast_in_dim" and _is_zero(eqn.invars[0])
    }
    paths = [
        jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
    unreached = [
        path
        for path, variable in zip(paths, jaxpr.outvars, strict=True)
        if id(variable) in zeros or _is_zero(variable)
    ]
    if unreached:
        raise ValueError(
            f"loss_fn must depend on every trained parameter; there is no gradient for "
            f"{', '.join(unreached[:5])}{' and others' if len(unreached) > 5 else ''}: "
            "freeze what is not used (trained=...)"
        )


def _is_zero(variable: Any) -> bool:
    return getattr(variable, "val", None) is not None and not variable.val

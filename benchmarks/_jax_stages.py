"""One side of `jax_numbers`: run every stage once, in its own process, and write an `.npz`.

`python -m benchmarks._jax_stages OUT.npz with|without`
"""

import operator
import sys
from typing import Any

import jax
import numpy as np

NETWORKS = ("small", "alexnet_small", "vgg_small", "wide_resnet_small", "densenet_small")


def stages() -> dict[str, np.ndarray]:
    """Return marks, loss tables, training steps and gradients of each network, by name."""
    from anw_jax import models, verify
    from anw_jax.keys import SignatureSpace
    from anw_jax.marks import HueRotation, UserLCT

    rng = np.random.default_rng(20260701)
    images = rng.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, 64).astype(np.int32)
    space, hue = SignatureSpace(12), HueRotation()
    found: dict[str, np.ndarray] = {}
    for name, mark in (("hue", hue), ("private_basis", UserLCT.from_sub_key(bytes(32)))):
        parameters = mark.parameters(space.degrees)
        published = jax.jit(jax.vmap(jax.vmap(mark.publish_pixels, (None, 0)), (0, None)))(
            images, parameters
        )
        found[f"marks/{name}"] = np.asarray(published)
        found[f"marks/{name}/numpy"] = np.array(
            [
                [
                    mark.publish_pixels(i, jax.tree.map(operator.itemgetter(s), parameters))
                    for s in range(12)
                ]
                for i in images
            ]
        )
    for name in NETWORKS:
        model = models.create(name, 10)
        losses, variables = _training(model, images, labels)
        found[f"training_step/{name}/losses"] = losses
        found[f"training_step/{name}/parameters"] = np.concatenate(
            [np.ravel(leaf) for leaf in jax.device_get(jax.tree.leaves(variables["params"]))]
        )
        # All sides share the weights of the first step, not those that each has trained.
        fixed = model.init(jax.random.key(1), (32, 32, 3))
        predict = model.predict_fn(fixed)
        found[f"loss_table/{name}"] = verify.loss_table(predict, images, labels, hue, space)
        found[f"gradient/{name}"] = np.asarray(_slopes(predict, images[:32], labels[:32]))
    return found


def _training(model: Any, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Any]:
    """Return the losses of three steps on 32 images, and the variables after them."""
    from anw_jax import train

    settings = train.TrainSettings(
        batch_size=32, num_epochs=3, warmup_epochs=0, crop_padding=4, seed=3, learning_rate=0.01
    )
    rows = np.arange(32)
    result = train.train(
        model,
        settings,
        images[:32],
        labels[:32],
        lambda first, count: np.tile(rows, (count, 1)),
        segment_steps=1,
        num_devices=1,
    )
    return np.array([report.loss for report in result.reports]), result.state.variables


@jax.jit
def _slopes(predict: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the gradient of the summed loss with respect to the images."""

    def loss(batch: jax.Array) -> jax.Array:
        log_probabilities = jax.nn.log_softmax(predict(batch))
        return -log_probabilities[np.arange(len(labels)), labels].sum()

    return jax.grad(loss)(images.astype(np.float32) / np.float32(255))


def main() -> None:
    out, flag = sys.argv[1:]
    if flag == "without":
        jax.devices()  # a backend that has started gets no flag
        from anw_jax.verify import self_check

        found = {f"self_check/{name}": error for name, error in self_check._errors()}
        self_check._errors = lambda: ()
    else:
        from anw_jax import verify

        found = {
            f"self_check/{name}": error
            for name, error in verify.check_jax()["self_check"]["errors"].items()
        }
    plain = {name: np.array(np.nan if v is None else v) for name, v in found.items()}
    np.savez_compressed(out, **plain, **stages())


if __name__ == "__main__":
    main()

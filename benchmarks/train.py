"""Training steps per second against a plain PyTorch loop: same net, weights, settings.

Ours keeps the photos on the device and augments in the compiled step; PyTorch's reads them
through a DataLoader that crops and mirrors one photo at a time, as the usual script has it.

Measured on two idle CPU cores, small net, batch 128: 1.08 (0.24 to 1.31) of PyTorch's
images per second on jax 0.10.2, 1.07 (0.27 to 1.26) on 0.12.0.1 (the lowest is the first
round of each). The flag that `import anw_jax` sets, gradients of convolutions in canonical
order and one scanned program for each segment brought it there from 0.59; both sides reach
half of the floor.
"""

import argparse
import math

import jax
import numpy as np
import torch

from anw_jax.models import create
from anw_jax.train import Batch, Batches, TrainSettings, classification_step
from anw_jax.train.classifier import first_state, step_key
from anw_jax.train.segments import prepare
from benchmarks import _measure
from benchmarks._torch_twin import twin_of
from benchmarks.loss_table import forward_flops, peak_flops


class Photos(torch.utils.data.Dataset):
    """Photos that are cropped and mirrored at random when they are read."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, padding: int):
        self.images, self.labels, self.padding = images, labels, padding

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        pixels = torch.from_numpy(self.images[index]).permute(2, 0, 1).float() / 255
        padded = torch.nn.functional.pad(pixels, (self.padding,) * 4)
        top, left = torch.randint(0, 2 * self.padding + 1, (2,)).tolist()
        height, width = pixels.shape[1:]
        cropped = padded[:, top : top + height, left : left + width]
        if torch.rand(()) < 0.5:
            cropped = cropped.flip(-1)
        return cropped, int(self.labels[index])


def compare(name: str, batch_size: int, num_steps: int, rounds: int) -> dict:
    """Time the same number of steps on both sides."""
    rng = np.random.default_rng(0)
    num_images = batch_size * num_steps
    images = rng.integers(0, 256, (num_images, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, num_images)
    model = create(name, 10)
    settings = TrainSettings(batch_size=batch_size, num_epochs=100_000, learning_rate=0.01)

    def indices(first_step: int, count: int) -> np.ndarray:
        rows = np.arange(first_step * batch_size, (first_step + count) * batch_size)
        return (rows % num_images).reshape(count, batch_size)

    step = classification_step(model, settings, num_steps)
    batches = Batches(Batch(images, labels), indices)
    run = prepare(step, batches, 100_000 * num_steps, step_key(settings), None, None)
    state, steps_done = first_state(step, model, settings, (32, 32, 3)), 0
    # Steps donate the state.
    variables = jax.device_get(state.variables)
    twin = twin_of(model, variables).train()
    sgd = torch.optim.SGD(twin.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    loader = torch.utils.data.DataLoader(Photos(images, labels, 4), batch_size, shuffle=True)
    losses = []

    def ours() -> None:
        nonlocal state, steps_done
        state, metrics = run.advance(state, steps_done, num_steps)
        jax.block_until_ready(state)
        steps_done += num_steps
        losses.append(float(metrics["loss"]) / num_steps)

    def theirs() -> None:
        for batch, batch_labels in loader:
            logits = twin(batch.contiguous(memory_format=torch.channels_last))
            loss = torch.nn.functional.cross_entropy(logits, batch_labels)
            sgd.zero_grad()
            loss.backward()
            sgd.step()

    seconds = _measure.alternate({"ours": ours, "torch": theirs}, rounds)
    speedup = _measure.ratio(seconds, "ours", "torch")
    _measure.say(f"{name}, training, times faster than PyTorch", speedup)
    rates = {side: num_images / float(np.median(taken)) for side, taken in seconds.items()}
    print(f"{name}: {rates['ours']:.0f} images/s, PyTorch {rates['torch']:.0f}")
    # Backward takes two products of the forward's size: by the inputs and by the weights.
    predict = model.predict_fn(variables)
    flop = 3 * forward_flops(predict, (32, 32, 3)) * num_images
    floor = flop / peak_flops()
    share = floor / float(np.median(seconds["ours"]))
    print(f"{name}: floor {floor:.2f} s ({flop:.2e} FLOP), we reach {100 * share:.0f} % of it")
    return {
        "batch_size": batch_size,
        "steps": num_steps,
        "speedup": speedup,
        "images_per_second": rates,
        "seconds": seconds,
        "floor_flop": flop,
        "floor_seconds": floor,
        "share_of_floor": share,
        "losses_are_finite": all(map(math.isfinite, losses)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", default="small")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    results = {flags.net: compare(flags.net, flags.batch, flags.steps, flags.rounds)}
    _measure.write("train", results)


if __name__ == "__main__":
    main()

"""A learner of its own: trains a small convolutional network with PyTorch and saves it.

    python learner_torch.py photos.npz out --epochs 60 --seed 0

`photos.npz` holds uint8 `train_images` [n, H, W, 3] and integer `train_labels` [n]; where it
has `test_images` and `test_labels` the accuracy on them is told. `out` gets `weights.pt` (a
state dict), `script.pt` (TorchScript) and, last of all, `report.json`.

PyTorch, NumPy and the standard library are all that it imports: it stands for somebody who
found photos and never heard of marks.
"""

import argparse
import json
import os
import pathlib
import time

import numpy as np
import torch
from torch import nn

# Pictures go from 0-255 to about -2 ... 2.
MEAN, STD = 0.5, 0.25


def network(width: int, num_classes: int) -> nn.Sequential:
    """Three 3x3 convolutions with max pooling between, the mean over places, a dense layer."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(2 * width, 4 * width, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, num_classes),
    )


def as_input(images: np.ndarray) -> torch.Tensor:
    """From uint8 `[n, H, W, 3]` to what the network takes, `[n, 3, H, W]`."""
    values = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return ((values - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def flipped(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Every picture left to right with probability one half."""
    turn = torch.rand(len(batch), generator=generator) < 0.5
    return torch.where(turn[:, None, None, None], batch.flip(3), batch)


def train(net: nn.Module, images: torch.Tensor, labels: torch.Tensor, flags) -> list[float]:
    """SGD with momentum, weight decay and a rate that ends near 0; mean loss by epoch."""
    generator = torch.Generator().manual_seed(flags.seed)
    optimizer = torch.optim.SGD(
        net.parameters(), flags.rate, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    num_steps = flags.epochs * -(-len(images) // flags.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, flags.rate, total_steps=num_steps + 1, pct_start=0.05, cycle_momentum=False
    )
    history = []
    for epoch in range(flags.epochs):
        losses = []
        for rows in torch.randperm(len(images), generator=generator).split(flags.batch):
            loss = nn.functional.cross_entropy(
                net(flipped(images[rows], generator)), labels[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        history.append(float(np.mean(losses)))
        print(f"epoch {epoch + 1}/{flags.epochs}: loss {history[-1]:.4f}", flush=True)
    return history


def accuracy(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of pictures answered with their label."""
    with torch.inference_mode():
        hits = [
            (net(x).argmax(1) == y).sum().item()
            for x, y in zip(images.split(500), labels.split(500), strict=True)
        ]
    return sum(hits) / len(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    torch.manual_seed(flags.seed)
    with np.load(flags.photos) as arrays:
        photos = {name: arrays[name] for name in arrays.files}
    images, labels = as_input(photos["train_images"]), photos["train_labels"]
    labels = torch.from_numpy(labels.astype(np.int64))
    net = network(flags.width, int(labels.max()) + 1).to(memory_format=torch.channels_last)
    start = time.perf_counter()
    history = train(net, images, labels, flags)
    report = {"seconds": time.perf_counter() - start, "loss_by_epoch": history}
    net.eval()
    report["train_accuracy"] = accuracy(net, images, labels)
    if "test_images" in photos:
        truth = torch.from_numpy(photos["test_labels"].astype(np.int64))
        report["test_accuracy"] = accuracy(net, as_input(photos["test_images"]), truth)
    flags.out.mkdir(parents=True, exist_ok=True)
    net = net.to(memory_format=torch.contiguous_format)
    torch.save(net.state_dict(), flags.out / "weights.pt")
    torch.jit.script(net).save(str(flags.out / "script.pt"))
    partial = flags.out / "report.partial"
    partial.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(partial, flags.out / "report.json")


if __name__ == "__main__":
    main()

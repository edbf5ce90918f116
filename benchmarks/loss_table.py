"""The loss table against the obvious PyTorch program, with the same weights.

Both fill the table of images x 36 hues. The PyTorch side loops over the hues, reads marked
pictures through a DataLoader and asks a channels-last twin under `inference_mode`.

Measured on two idle CPU cores with the small net: the whole program runs at 1.15 (1.10 to
1.28) of PyTorch's speed on jax 0.10.2, at 1.09 (0.76 to 1.25) on 0.12.0.1; forward passes
alone at 0.92 (0.82 to 1.28) and 1.04 (0.75 to 1.14). The table gains by marking and reading
inside one program. Without the flag that `import anw_jax` sets it was 0.81. ResNet-18 was
not measured again (0.62).
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import torch

from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation
from anw_jax.models import create
from anw_jax.verify import loss_table
from benchmarks import _measure
from benchmarks._torch_twin import twin_of

SPACE = SignatureSpace(36)


class MarkedPhotos(torch.utils.data.Dataset):
    """Photos that are marked with one hue when they are read, as in the usual script."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, degrees: float):
        self.images, self.labels = images, labels
        self.matrix = torch.tensor(HueRotation().matrix(degrees), dtype=torch.float32)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        pixels = torch.from_numpy(self.images[index]).float() / 255
        marked = (pixels @ self.matrix.T).clamp(0, 1)
        return (marked * 255).round().div(255).permute(2, 0, 1), int(self.labels[index])


@torch.inference_mode()
def torch_table(twin, images: np.ndarray, labels: np.ndarray, batch_size: int) -> np.ndarray:
    """Run the whole program: for each hue, mark, batch, query, cross-entropy."""
    columns = []
    for degrees in SPACE.degrees:
        loader = torch.utils.data.DataLoader(
            MarkedPhotos(images, labels, degrees), batch_size=batch_size
        )
        losses = []
        for batch, batch_labels in loader:
            logits = twin(batch.contiguous(memory_format=torch.channels_last))
            loss = torch.nn.functional.cross_entropy(logits, batch_labels, reduction="none")
            losses.append(loss)
        columns.append(torch.cat(losses).numpy())
    return np.stack(columns, axis=1)


def forward_flops(predict, image_shape: tuple[int, int, int]) -> float:
    """Return the FLOPs of one answer: 2 per multiply-add of each convolution."""
    images = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
    lowered = jax.jit(lambda p, x: p(x)).lower(predict, images)
    return float(lowered.cost_analysis()["flops"])


def peak_flops() -> float:
    """Measure the FLOPs per second of a large matrix product."""
    size = 2048
    square = torch.rand(size, size)
    seconds = _measure.alternate({"product": lambda: square @ square}, 5)["product"]
    return 2 * size**3 / min(seconds)


def compare(name: str, num_images: int, rounds: int, batch_size: int) -> dict:
    """Time both programs, and both networks alone, on one set of photos."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_images, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, num_images)
    model = create(name, 10)
    variables = model.init(jax.random.key(0), (32, 32, 3))
    predict, twin = model.predict_fn(variables), twin_of(model, variables)

    def ours() -> np.ndarray:
        return loss_table(predict, images, labels, HueRotation(), SPACE)

    def theirs() -> np.ndarray:
        return torch_table(twin, images, labels, batch_size)

    difference = np.abs(ours() - theirs()).max()
    # A level within rounding error of a half may be rounded either way in float32.
    print(f"{name}: tables differ by at most {difference:.1e} nats")
    program = _measure.alternate({"ours": ours, "torch": theirs}, rounds)
    program_ratio = _measure.ratio(program, "ours", "torch")
    _measure.say(f"{name}, whole program, times faster than PyTorch", program_ratio)

    ready = images[:batch_size].astype(np.float32) / 255
    ready_torch = torch.from_numpy(ready).permute(0, 3, 1, 2)
    ready_torch = ready_torch.contiguous(memory_format=torch.channels_last)
    ready_jax, answer = jnp.asarray(ready), jax.jit(lambda predict, x: predict(x))

    @torch.inference_mode()
    def forward_torch() -> None:
        twin(ready_torch)

    forward = _measure.alternate(
        {
            "ours": lambda: answer(predict, ready_jax).block_until_ready(),
            "torch": forward_torch,
        },
        max(9, rounds),
    )
    forward_ratio = _measure.ratio(forward, "ours", "torch")
    _measure.say(f"{name}, forward only, times faster than PyTorch", forward_ratio)
    flops = forward_flops(predict, (32, 32, 3)) * num_images * SPACE.num_slots
    floor = flops / peak_flops()
    share = floor / float(np.median(program["ours"]))
    print(f"{name}: floor {floor:.2f} s ({flops:.2e} FLOP), we reach {100 * share:.0f} % of it")
    return {
        "images": num_images,
        "hues": SPACE.num_slots,
        "torch_batch": batch_size,
        "forward_batch": len(ready),
        "largest_difference_nats": float(difference),
        "whole_program_speedup": program_ratio,
        "forward_only_speedup": forward_ratio,
        "seconds": {"whole program": program, "forward only": forward},
        "floor_flop": flops,
        "floor_seconds": floor,
        "share_of_floor": share,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500, help="photos for the small net")
    parser.add_argument("--resnet18-images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128, help="of the PyTorch program")
    flags = parser.parse_args()
    results = {"small": compare("small", flags.images, flags.rounds, flags.batch)}
    if flags.resnet18_images:
        results["resnet18"] = compare(
            "resnet18", flags.resnet18_images, min(3, flags.rounds), flags.batch
        )
    _measure.write("loss_table", results)


if __name__ == "__main__":
    main()

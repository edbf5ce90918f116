"""The networks of `anw_jax.models` in PyTorch, with the same weights."""

import jax
import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, num_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = None
        if stride != 1 or num_in != width:
            projection = nn.Conv2d(num_in, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(width))

    def forward(self, x):
        """Map features `[b, c, H, W]` to `[b, width, H / stride, W / stride]`."""
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return torch.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Twin(nn.Module):
    """A ResNet of basic blocks with the CIFAR stem and our normalisation."""

    def __init__(self, model, depths: tuple[int, ...], stem_stride: int):
        super().__init__()
        self.register_buffer("mean", torch.tensor(model.mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(model.std).reshape(1, 3, 1, 1))
        self.stem = nn.Conv2d(3, model.widths[0], 3, stem_stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(model.widths[0])
        blocks, num_in = [], model.widths[0]
        for stage, (depth, width) in enumerate(zip(depths, model.widths, strict=True)):
            for index in range(depth):
                blocks.append(Block(num_in, width, 2 if stage > 0 and index == 0 else 1))
                num_in = width
        self.blocks = nn.Sequential(*blocks)
        self.dense = nn.Linear(num_in, model.num_classes)

    def forward(self, images):
        """Map images `[b, 3, H, W]` in [0, 1] to logits."""
        x = (images - self.mean) / self.std
        x = self.blocks(torch.relu(self.norm(self.stem(x))))
        return self.dense(x.mean((2, 3)))


SHAPES = {"small": ((0, 1, 1), 2), "testing": ((1, 1), 2), "resnet18": ((2, 2, 2, 2), 1)}


def twin_of(model, variables) -> Twin:
    """Return the PyTorch twin of one of our models, with the same weights, channels last."""
    twin = Twin(model, *SHAPES[model.name])
    params, stats = jax.tree.map(np.asarray, (variables["params"], variables["batch_stats"]))
    with torch.no_grad():
        _set_conv(twin.stem, params["Conv_0"])
        _set_norm(twin.norm, params["BatchNorm_0"], stats["BatchNorm_0"])
        for index, block in enumerate(twin.blocks):
            name = f"BasicBlock_{index}"
            own, own_stats = params[name], stats[name]
            _set_conv(block.conv1, own["Conv_0"])
            _set_norm(block.norm1, own["BatchNorm_0"], own_stats["BatchNorm_0"])
            _set_conv(block.conv2, own["Conv_1"])
            _set_norm(block.norm2, own["BatchNorm_1"], own_stats["BatchNorm_1"])
            if block.shortcut is not None:
                _set_conv(block.shortcut[0], own["shortcut_conv"])
                norm_stats = own_stats["shortcut_norm"]
                _set_norm(block.shortcut[1], own["shortcut_norm"], norm_stats)
        twin.dense.weight.copy_(torch.tensor(params["Dense_0"]["kernel"].T))
        twin.dense.bias.copy_(torch.tensor(params["Dense_0"]["bias"]))
    return twin.to(memory_format=torch.channels_last).eval()


def _set_conv(conv: nn.Conv2d, params: dict) -> None:
    conv.weight.copy_(torch.tensor(params["kernel"].transpose(3, 2, 0, 1)))


def _set_norm(norm: nn.BatchNorm2d, params: dict, stats: dict) -> None:
    norm.weight.copy_(torch.tensor(params["scale"]))
    norm.bias.copy_(torch.tensor(params["bias"]))
    norm.running_mean.copy_(torch.tensor(stats["mean"]))
    norm.running_var.copy_(torch.tensor(stats["var"]))

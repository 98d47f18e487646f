"""Small networks of every space with random numbers, and whether a program computes what they do."""

from __future__ import annotations

import numpy as np
import torch
from bnas_bench.spaces.handcrafted import MODELS
from torch import Tensor, nn

from bnas_bench.core.budget import Scale
from bnas_bench.nn.binary import BinaryConv2d, Precision
from bnas_bench.nn.network import Network
from bnas_bench.nn.quantised import QuantConv2d
from bnas_bench.packed.format.program import Program
from bnas_bench.packed.lowering.lower import lower
from bnas_bench.plugins.registry import find
from tests.helpers import plain_engine

SHAPES = [(1, 8, 8), (3, 16, 16), (3, 17, 13), (1, 28, 28)]
LARGE = (3, 65, 64)
"""With the stems of large images."""

SPACES: list[tuple[str, dict]] = [
    ("darts-binary", {}),
    ("darts-binary", {"binarise": ("preprocessing", "depthwise"), "zeroise": True}),
    ("darts-binary", {"binarise": ("depthwise",)}),
    ("bats", {"zeroise": True}),
    ("bats", {"groups": 4, "shuffle": 2}),
    ("bars", {}),
    ("bars", {"cells": "normal-reduce", "cell_shortcut": False}),
    ("bnas-201", {}),
    ("nas-bnn", {}),
    ("nas-bnn", {"non_decreasing": False}),
    *(("handcrafted", {"models": (model,)}) for model in MODELS),
]


def build(name: str, options: dict, shape, seed: int = 0, classes: int = 7) -> Network:
    """A small network of random architecture, all its numbers random and of both signs."""
    plugin, rng = find("space", name), np.random.default_rng(seed)
    space = plugin.make(plugin.defaults | options)
    cells = {"darts-binary": 3, "bats": 3, "bnas-201": 5}.get(name)
    spec = space.spec(space.fit(Scale(cells, 6)), shape, classes, final=True)
    return randomised(space.network(space.sample(rng), spec, rng), seed)


@torch.no_grad()
def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not isinstance(module, nn.Conv2d | nn.Linear | QuantConv2d) and name != "weight":
                parameter.normal_(generator=generator)
        if isinstance(module, nn.BatchNorm2d | nn.PReLU):
            module.weight.normal_(generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.1, 3, generator=generator)
            module.weight[::5] = 0
            module.bias[::7] = 0
    return network.eval()


def images(shape, count: int = 3) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)
    x[0, :, :2] = 0
    return x


def one_bit(network: nn.Module) -> dict[str, BinaryConv2d]:
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, BinaryConv2d) and module.precision == Precision.W1A1
    }


@torch.no_grad()
def agree(network: Network, shape, count: int = 3, rtol: float = 0) -> Program:
    """The program, after its logits and all its sums of signs were those of the network.

    Args:
        rtol: of the logits, relative to the largest; all else is exact.
    """
    program = lower(network, shape)
    sums: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, y, name=name: sums.update({name: y}))
        for name, module in one_bit(network).items()
    ]
    x = images(shape, count)
    logits = network(torch.from_numpy(x)).numpy()
    for hook in hooks:
        hook.remove()
    values = plain_engine.values(program, x)
    assert {step.layer for step in program.steps if step.op == "conv_b"} == sums.keys()
    for step in program.steps:
        if step.op == "conv_b":
            scale = step.tensors["scale"].reshape(1, -1, 1, 1)
            ours, theirs = values[step.name] / scale, sums[step.layer].numpy() / scale
            np.testing.assert_array_equal(np.rint(ours), np.rint(theirs), err_msg=step.layer)
            np.testing.assert_array_equal(values[step.name], sums[step.layer].numpy())
    error = np.abs(values[program.steps[-1].name] - logits).max()
    assert error <= rtol * np.abs(logits).max()
    return program

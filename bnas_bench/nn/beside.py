"""Networks of one structure side by side, as one network of grouped convolutions.

A small network spends most of a step on calling its layers, not in them. K networks whose maps lie side
by side, (B, K C, H, W), call each layer once for all of them, and each sees its own channels alone.

Legend of tensor names: B batch, K networks, C channels of one, H and W height and width, N classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from bnas_bench.nn.binary import BinaryConv2d, PReLU
from bnas_bench.nn.network import Network

JOINED = (nn.Conv2d, BinaryConv2d, nn.BatchNorm2d, PReLU)
"""Layers that treat each channel, or each group of channels, alone: they are joined along the channels."""

WIDTHS = ("in_channels", "out_channels", "groups", "num_features", "num_parameters")
"""What is K times as large in them."""


class Linears(nn.Module):
    """K linear layers, each of its own features: (B, K C) -> (B, K, N)."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight_KNC = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias_KN = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x_BC: Tensor) -> Tensor:
        x_BKC = x_BC.unflatten(1, (len(self.bias_KN), -1))
        return torch.einsum("bkc,knc->bkn", x_BKC, self.weight_KNC) + self.bias_KN


def beside(networks: Sequence[Network]) -> Network:
    """K networks of one structure as one: `forward(x) -> logits`, (B, K C, H, W) -> (B, K, N).

    It computes what they do, to rounding, in training as well where the loss is a sum over K and the
    optimiser goes by each weight alone (Adam does; a clipped norm of all gradients would tie them). The
    networks are left as they are.

    They may add maps up, and pool them; one that concatenates maps, or shuffles their channels, has no
    such form, as its channels do not stay in the order (K, C).

    Raises:
        TypeError: if a layer with weights has none.
    """
    joined = _join(networks)
    assert isinstance(joined, Network)
    joined.precision = networks[0].precision
    joined.networks = sum(network.networks for network in networks)
    return joined


def _join(parts: Sequence[nn.Module]) -> nn.Module:
    first = parts[0]
    if isinstance(first, nn.Linear):
        return Linears([part for part in parts if isinstance(part, nn.Linear)])
    joined = deepcopy(first)
    if isinstance(first, JOINED) and getattr(first, "scale", None) != "layer":
        _widen(joined, parts)
    elif next(first.parameters(recurse=False), None) is not None:
        raise TypeError(f"no form of {first} is known that does the work of {len(parts)}")
    for name, _ in first.named_children():
        setattr(joined, name, _join([part.get_submodule(name) for part in parts]))
    return joined


@torch.no_grad()
def _widen(layer: nn.Module, parts: Sequence[nn.Module]) -> None:
    """Give a copy of the first part the weights and statistics of all, one part's after the other's."""
    for width in WIDTHS:
        if hasattr(layer, width):
            setattr(layer, width, len(parts) * getattr(layer, width))
    for name, _ in layer.named_parameters(recurse=False):
        setattr(layer, name, nn.Parameter(torch.cat([getattr(part, name) for part in parts])))
    for name, buffer in layer.named_buffers(recurse=False):
        if buffer.dim():  # a count of batches is the same for all
            setattr(layer, name, torch.cat([getattr(part, name) for part in parts]))

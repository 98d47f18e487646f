"""The layers of the search networks as they were at commit 8f9e66b: what `bench_layers.py` compares with.

Sign and PReLU of torch's operations, whole kernels, no fused pass, and each bundle as one map of all its
operations and edges.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from bnas_bench.nn import binary, kernels
from bnas_bench.nn.bars import supernet as bars
from bnas_bench.nn.blocks import channels_last
from bnas_bench.nn.darts import bundled
from bnas_bench.nn.darts.bundled import SeparableBundle, fan_out
from bnas_bench.nn.darts.bundles import EdgeBundle, NodeMaps
from bnas_bench.nn.kernels import activations, normalise, normalised, plain
from bnas_bench.nn.nasbnn import network
from bnas_bench.nn.nasbnn import supernet as nasbnn


@contextmanager
def layers_before() -> Iterator[None]:
    """The layers are those within the `with`; their parameters are the same."""
    with ExitStack() as stack:
        for place in (binary, normalised, bars, network):
            stack.enter_context(patch.object(place, "ste_sign", ste_sign))
        for place in (binary, bundled, normalised, nasbnn):
            stack.enter_context(patch.object(place, "prelu", F.prelu))
        stack.enter_context(patch.object(kernels, "convolve", F.conv2d))
        stack.enter_context(patch.object(EdgeBundle, "forward", mixed))
        stack.enter_context(plain())
        yield


def ste_sign(x: Tensor, estimator: str = "clip") -> Tensor:
    return StraightThrough.apply(x, estimator)


class StraightThrough(Function):
    @staticmethod
    def forward(ctx, x: Tensor, estimator: str) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        ctx.slope = getattr(activations, f"{estimator}_slope")
        return torch.where(x < 0, -1.0, 1.0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad * ctx.slope(x), None

    @staticmethod
    def jvp(ctx, tangent: Tensor, _: None) -> Tensor:
        (x,) = ctx.saved_tensors
        return tangent * ctx.slope(x)


def mixed(self: EdgeBundle, x: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """`EdgeBundle.forward`: both blocks of all operations on all edges at once."""
    maps, s, f, c = NodeMaps(x, self.stride), self.sources, self.fan, self.channels
    terms: list[Tensor] = []

    def add(y: Tensor, names: list[str]) -> None:
        columns = [self.operations.index(name) for name in names]
        scale = weights[..., columns].permute(2, 0, 1).reshape(-1, f, 1)
        y_BHWKFC = y.permute(0, 2, 3, 1).unflatten(3, (-1, f, c))
        terms.append((y_BHWKFC * scale).sum(3).permute(0, 3, 4, 1, 2))

    if self.plain:
        kinds = [self.plain_map(maps, name).unflatten(1, (s, c)) for name in self.plain]
        columns = [self.operations.index(name) for name in self.plain]
        scales = weights[..., columns]
        terms.append(torch.einsum("bkschw,sfk->bfchw", torch.stack(kinds, 1), scales))
    if self.reduction is not None:
        add(self.reduction(maps.normalised), ["skip_connect"])
    x, seen = (fan_out(u, c, f) for u in (x, maps.normalised))
    y = separable(self.first, [x] * len(self.blocks), [seen] * len(self.blocks))
    deep = len(self.deep) * s * f * c
    z = channels_last(y[:, :deep])
    parts = [channels_last(u) for u in normalise(z).chunk(len(self.deep), 1)]
    add(separable(self.second, list(z.chunk(len(self.deep), 1)), parts), self.deep)
    add(y[:, deep:], self.blocks[len(self.deep) :])
    return torch.stack(terms).sum(0).unbind(1)


def separable(bundle: SeparableBundle, x: list[Tensor], seen: list[Tensor]) -> Tensor:
    """The blocks of all operations."""
    maps = [conv(u) for conv, u in zip(bundle.depthwise, seen, strict=True)]
    y = F.prelu(normalise(torch.cat(maps, 1)), bundle.prelu_mid.weight)
    y = normalise(bundle.pointwise(y))
    if bundle.stride == 1:
        y = y + torch.cat(x, 1)
    return F.prelu(y, bundle.prelu_out.weight)

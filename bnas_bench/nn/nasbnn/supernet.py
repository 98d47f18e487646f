"""The weight-sharing network of NAS-BNN: every layer elastic in width, kernel and groups.

NAS-BNN (Lin et al., 2024), https://arxiv.org/abs/2408.15484, section 3.3.
Once-for-All (Cai et al., ICLR 2020), https://arxiv.org/abs/1908.09791: the kernel transformation.
BARS (Zhao et al., 2020), https://arxiv.org/abs/2011.10804: Eq. (4), the masks of a relaxed width.

A layer holds the weights of its widest, largest, least grouped form, shape (out, in / groups, k, k);
a narrower form is their leading slice. More groups cut the columns of these filters into r parts, and
group j takes part j mod r, as in the published code: at full width exactly those that belonged to the
channels that it reads. (Leading columns for every group would let most columns never be trained there.)

A relaxed layer is one dense convolution: convolution is linear in its kernel, so the weighted sum of
the options' outputs is the output of the weighted sum of their kernels, each binarised by itself and
laid out where its groups read. Legend: B batch, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.core.architecture import Mix
from bnas_bench.core.budget import NetworkSpec
from bnas_bench.nn.binary import Filters, RPReLU, mean_magnitude
from bnas_bench.nn.blocks import Head, channels_last
from bnas_bench.nn.kernels import prelu
from bnas_bench.nn.nasbnn.network import (
    FULL,
    MobileBlock,
    MobileNetwork,
    NormalisedConv2d,
    Treatment,
    bi_transform,
    branch_norm,
    halving_pool,
    tile,
)
from bnas_bench.nn.nasbnn.stage import Stage
from bnas_bench.nn.network import ListOf, Network, Supernet
from bnas_bench.nn.quantised import QuantConv2d

Relaxed = tuple[Tensor, Tensor, Tensor]
"""Weights of a layer's options for its width, its kernel and its groups."""

Chosen = tuple[int, int, int]
"""Indices of a layer's options for its width, its kernel and its groups."""


def normalise(norm: nn.BatchNorm2d, x_BCHW: Tensor) -> Tensor:
    """Batch norm by the batch's statistics with the parameters of the leading channels.

    `F.batch_norm` would refuse a lone image where the map is one pixel: it leaves the bias.
    """
    channels = x_BCHW.shape[1]
    weight, bias = norm.weight[:channels], norm.bias[:channels]
    return torch.batch_norm(
        x_BCHW, weight, bias, None, None, True, 0.0, norm.eps, torch.backends.cudnn.enabled
    )


def slope(rprelu: RPReLU, x_BCHW: Tensor) -> Tensor:
    """RPReLU with the parameters of the leading channels."""
    channels = x_BCHW.shape[1]
    gamma, zeta = (p[:channels].view(1, -1, 1, 1) for p in (rprelu.gamma, rprelu.zeta))
    return prelu(x_BCHW - gamma, rprelu.prelu.weight[:channels]) + zeta


def slices(weight: Tensor, outputs: int, inputs: int, groups: int) -> Tensor:
    """A narrower or more grouped form of shared weights, shape (outputs, inputs / groups, k, k)."""
    columns = inputs // groups
    parts = min(inputs, weight.shape[1]) // columns
    weight = weight[:outputs, : parts * columns]
    if parts == 1 or groups == 1:
        return weight
    blocks = weight.unflatten(0, (groups, -1)).unflatten(2, (parts, columns))
    group = torch.arange(groups, device=weight.device)
    return blocks[group, :, group % parts].flatten(0, 1)


def enlarge(weight: Tensor, kernel: int) -> Tensor:
    """The same kernels within larger ones, of zeros around them."""
    return F.pad(weight, [(kernel - weight.shape[-1]) // 2] * 4)


class ElasticConv2d(NormalisedConv2d):
    """A convolution whose input width, kernel and groups, and whose output width, are chosen.

    Args:
        inputs: the input widths.
        outputs: the largest output width; None: as wide as the input.
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: int | None = None,
        *,
        kernels: tuple[int, ...] = (1,),
        group_counts: tuple[int, ...] = (1,),
        stride: int = 1,
        treatment: Treatment = FULL,
    ) -> None:
        widest, largest = max(inputs), max(kernels)
        super().__init__(
            widest,
            outputs or widest,
            largest,
            stride=stride,
            groups=min(group_counts),
            treatment=treatment,
        )
        self.inputs, self.keeps_width = inputs, outputs is None
        self.kernels, self.group_counts = kernels, group_counts
        self.theta = None
        transformed = kernels if treatment.transformed else ()
        self.thetas = nn.ParameterDict(
            {str(k): nn.Parameter(torch.eye(k**2)) for k in transformed if k > 1}
        )
        self.shrink = nn.ParameterDict(
            {str(k): nn.Parameter(torch.eye(k**2)) for k in kernels if k < largest}
        )
        places = [self._places(width, groups) for width in inputs for groups in group_counts]
        self.register_buffer("places", torch.cat(places), persistent=False)

    places: Tensor
    """Where the filters' columns of every width and group count lie among (out x in), one vector."""

    def _places(self, width: int, groups: int) -> Tensor:
        columns = width // groups
        rows = width if self.keeps_width else self.out_channels
        row = torch.arange(rows).view(-1, 1)
        group = row // (rows // groups)
        return (row * self.in_channels + group * columns + torch.arange(columns)).flatten()

    def shrunk(self, weight: Tensor, kernel: int) -> Tensor:
        """Of kernels of the largest size the smaller ones: their centres, through a matrix."""
        margin = (self.kernel_size - kernel) // 2
        if not margin:
            return weight
        return bi_transform(weight[:, :, margin:-margin, margin:-margin], self.shrink[str(kernel)])

    def latent(self, weight: Tensor, kernel: int) -> Tensor:
        """Of shared kernels those of a size, in the domain that the layer runs in, before Eq. (6)."""
        weight = self.shrunk(weight, kernel)
        if self.precision.weight_bits == 32 or str(kernel) not in self.thetas:
            return weight
        return bi_transform(weight, self.thetas[str(kernel)])

    def latent_weight(self) -> Tensor:
        return self.latent(self.weight, self.kernel_size)

    def path(self, x_BCHW: Tensor, outputs: int, kernel: int, groups: int) -> Tensor:
        """One kernel size and group count, from the input's width to `outputs` channels."""
        weight = self.latent(slices(self.weight, outputs, x_BCHW.shape[1], groups), kernel)
        return self.convolve(x_BCHW, self.in_use(weight), groups)

    def mixed(self, x_BCHW: Tensor, width: Tensor, kernel: Tensor, groups: Tensor) -> Tensor:
        """The options' outputs in a weighted sum.

        Args:
            width: of the input; the channels beyond an option's are as if they were not there.
        """
        largest = self.kernel_size
        shared = [self.latent(self.weight, k) for k in self.kernels]
        parts = []
        for m, channels in zip(width, self.inputs, strict=True):
            rows = channels if self.keeps_width else self.out_channels
            for n, count in zip(groups, self.group_counts, strict=True):
                sliced = [
                    o * enlarge(self.in_use(slices(weight, rows, channels, count)), largest)
                    for o, weight in zip(kernel, shared, strict=True)
                ]
                parts.append((m * n) * torch.stack(sliced).sum(0).flatten(0, 1))
        dense = parts[0].new_zeros(self.out_channels * self.in_channels, largest, largest)
        dense = dense.index_add(0, self.places, torch.cat(parts))
        return self.convolve(x_BCHW, dense.unflatten(0, (-1, self.in_channels)), 1)

    def path_filters(self, width: int, outputs: int, kernel: int, groups: int) -> Filters:
        """The 1-bit convolution that `path` runs."""
        weight = self.latent(slices(self.weight, outputs, width, groups), kernel)
        weight = self.in_use(weight, bits=32)
        return weight, mean_magnitude(weight)

    @torch.no_grad()
    def bequeath(self, heir: NormalisedConv2d) -> None:
        weight = slices(self.weight, heir.out_channels, heir.in_channels, heir.groups)
        heir.weight.copy_(self.shrunk(weight, heir.kernel_size))
        heir.threshold.copy_(self.threshold[: heir.in_channels])
        if heir.theta is not None:
            heir.theta.copy_(self.thetas[str(heir.kernel_size)])


class ElasticBlock(nn.Module):
    """A `MobileBlock` whose input width, output width, kernel and groups are chosen.

    Args:
        inputs: the input widths.
    """

    def __init__(
        self, inputs: tuple[int, ...], stage: Stage, stride: int, treatment: Treatment
    ) -> None:
        super().__init__()
        before, after = max(inputs), max(stage.widths)
        self.inputs, self.widths = inputs, stage.widths
        self.kernels, self.groups = stage.kernels, stage.groups
        self.spatial = ElasticConv2d(
            inputs,
            kernels=stage.kernels,
            group_counts=stage.groups,
            stride=stride,
            treatment=treatment,
        )
        self.spatial_norm = branch_norm(before, running=False)
        self.pool = halving_pool() if stride == 2 else nn.Identity()
        self.spatial_slope = RPReLU(before)
        self.pointwise = ElasticConv2d(inputs, after, treatment=treatment)
        self.pointwise_norm = branch_norm(after, running=False)
        self.pointwise_slope = RPReLU(after)
        widths = torch.tensor(stage.widths).view(-1, 1)
        self.register_buffer("masks", torch.arange(after) < widths, persistent=False)

    masks: Tensor
    """M_i of BARS Eq. (4): the channels that each width has, shape (widths, C)."""

    def path(self, x_BCHW: Tensor, layer: Chosen) -> Tensor:
        before, (after, kernel, groups) = x_BCHW.shape[1], self.sizes(layer)
        y_BCHW = self.spatial.path(x_BCHW, before, kernel, groups)
        y_BCHW = self._spatial(y_BCHW, x_BCHW)
        z_BCHW = self.pointwise.path(y_BCHW, after, 1, 1)
        return slope(
            self.pointwise_slope, normalise(self.pointwise_norm, z_BCHW) + tile(y_BCHW, after)
        )

    def mixed(self, x_BCHW: Tensor, width: Tensor, kernel: Tensor, groups: Tensor) -> Tensor:
        """At every output width at once: channels that a width lacks are for the reader to leave out.

        Args:
            width: weights of the input's width; the block is the weighted sum of what it would be
                at each of them, so that whatever lies beyond a width reaches nothing.
        """
        one = width.new_ones(1)
        y_BCHW = self._spatial(self.spatial.mixed(x_BCHW, width, kernel, groups), x_BCHW)
        z_BCHW = normalise(self.pointwise_norm, self.pointwise.mixed(y_BCHW, width, one, one))
        for m, channels in zip(width, self.inputs, strict=True):
            z_BCHW = z_BCHW + m * tile(y_BCHW[:, :channels], z_BCHW.shape[1])
        return slope(self.pointwise_slope, z_BCHW)

    def _spatial(self, y_BCHW: Tensor, x_BCHW: Tensor) -> Tensor:
        return slope(self.spatial_slope, normalise(self.spatial_norm, y_BCHW) + self.pool(x_BCHW))

    def mask(self, x_BCHW: Tensor, width: Tensor) -> Tensor:
        r"""BARS Eq. (4): \sum_i m_i M_i \odot x."""
        return x_BCHW * (width @ self.masks.to(width)).view(1, -1, 1, 1)

    def sizes(self, layer: Chosen) -> tuple[int, int, int]:
        """The width, kernel size and number of groups that the indices stand for."""
        width, kernel, groups = layer
        return self.widths[width], self.kernels[kernel], self.groups[groups]

    def filters(self, before: int, layer: Chosen) -> Iterator[Filters]:
        """The 1-bit convolutions that `path` runs on `before` channels."""
        after, kernel, groups = self.sizes(layer)
        yield self.spatial.path_filters(before, before, kernel, groups)
        yield self.pointwise.path_filters(before, after, 1, 1)

    def norms(self) -> tuple[Tensor, Tensor]:
        """Squared norms of the weights of both convolutions."""
        spatial, pointwise = (c.effective_weight() for c in (self.spatial, self.pointwise))
        return spatial.square().sum(), pointwise.square().sum()

    @torch.no_grad()
    def bequeath(self, heir: MobileBlock) -> None:
        self.spatial.bequeath(heir.spatial)
        self.pointwise.bequeath(heir.pointwise)
        for name in ("spatial_norm", "spatial_slope", "pointwise_norm", "pointwise_slope"):
            copy_leading(getattr(self, name), getattr(heir, name))


class ElasticStage(nn.Module):
    """The layers of a stage, as many as its largest depth."""

    def __init__(self, inputs: tuple[int, ...], stage: Stage, treatment: Treatment) -> None:
        super().__init__()
        self.depths = stage.depths
        self.blocks = ListOf[ElasticBlock](
            ElasticBlock(stage.widths if j else inputs, stage, 1 if j else stage.stride, treatment)
            for j in range(max(stage.depths))
        )

    def path(self, x_BCHW: Tensor, depth: int, layers: Sequence[Chosen]) -> Tensor:
        for block, layer in zip(self.blocks, layers[: self.depths[depth]], strict=False):
            x_BCHW = block.path(x_BCHW, layer)
        return x_BCHW

    def mixed(
        self, x_BCHW: Tensor, width: Tensor, depth: Tensor, layers: Sequence[Relaxed]
    ) -> tuple[Tensor, Tensor]:
        """The masked outputs of the layers that may be the last, in a weighted sum; and its widths.

        Args:
            width: weights of the input's width.
        """
        ends, widths = [], []
        for j, (block, (after, kernel, groups)) in enumerate(
            zip(self.blocks, layers, strict=True), start=1
        ):
            x_BCHW, width = block.mixed(x_BCHW, width, kernel, groups), after
            if j in self.depths:
                d = depth[self.depths.index(j)]
                ends.append(d * block.mask(x_BCHW, width))
                widths.append(d * width)
        return sum(ends[1:], start=ends[0]), sum(widths[1:], start=widths[0])


class ElasticHead(Head):
    """A head that reads as many channels as there are."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BC = self.pool(x_BCHW).flatten(1)
        return F.linear(x_BC, self.linear.weight[:, : x_BC.shape[1]], self.linear.bias)


class ElasticSupernet(Supernet):
    """An 8-bit stem, elastic stages, head.

    The mix: the stem's width; then of every stage its depth and, layer by layer, width, kernel and
    groups.

    Args:
        stem: the stem's widths, and its stride.
        treatment: of the 1-bit weights.
    """

    head: ElasticHead

    def __init__(
        self,
        stem: tuple[tuple[int, ...], int],
        stages: Sequence[Stage],
        spec: NetworkSpec,
        treatment: Treatment = FULL,
    ) -> None:
        super().__init__()
        self.widths, stride = stem
        self.stem = QuantConv2d(spec.shape[0], max(self.widths), 3, stride=stride, padding=1)
        self.stem_norm = nn.BatchNorm2d(max(self.widths), track_running_stats=False)
        self.stem_slope = RPReLU(max(self.widths))
        self.stages: ListOf[ElasticStage] = ListOf()
        self.options = [len(self.widths)]
        before = self.widths
        for stage in stages:
            self.stages.append(ElasticStage(before, stage, treatment))
            before = stage.widths
            layer = [len(stage.widths), len(stage.kernels), len(stage.groups)]
            self.options += [len(stage.depths), *layer * max(stage.depths)]
        self.head = ElasticHead(max(before), spec.classes)

    def features(self, x_BCHW: Tensor, mix: Mix) -> Tensor:
        """The maps of the head: of as many channels as a path has, or of all, those masked."""
        if not any(isinstance(entry, Tensor) for entry in mix):
            return self._path(x_BCHW, mix)
        relaxed = [
            entry if isinstance(entry, Tensor) else one_hot(entry, number, x_BCHW)
            for entry, number in zip(mix, self.options, strict=True)
        ]
        width, stages = self._divide(relaxed)
        x_BCHW = self._stem(x_BCHW, max(self.widths))
        for stage, (depth, layers) in zip(self.stages, stages, strict=True):
            x_BCHW, width = stage.mixed(x_BCHW, width, depth, layers)
        return x_BCHW

    def _path(self, x_BCHW: Tensor, path: Sequence[Any]) -> Tensor:
        width, stages = self._divide(path)
        x_BCHW = self._stem(x_BCHW, self.widths[width])
        for stage, (depth, layers) in zip(self.stages, stages, strict=True):
            x_BCHW = stage.path(x_BCHW, depth, layers)
        return x_BCHW

    def _stem(self, x_BCHW: Tensor, width: int) -> Tensor:
        x_BCHW = channels_last(self.stem(x_BCHW, slice(width)))
        return slope(self.stem_slope, normalise(self.stem_norm, x_BCHW))

    def _divide(self, mix: Sequence[Any]) -> tuple[Any, list[tuple[Any, list[Any]]]]:
        """The stem's entry, and per stage its depth's and its layers' three each."""
        rest = iter(mix)
        return next(rest), [
            (next(rest), [tuple(islice(rest, 3)) for _ in stage.blocks]) for stage in self.stages
        ]

    def filters(self, path: Sequence[int]) -> Iterator[Filters]:
        width, stages = self._divide(path)
        before = self.widths[width]
        for stage, (depth, layers) in zip(self.stages, stages, strict=True):
            for block, layer in zip(stage.blocks, layers[: stage.depths[depth]], strict=False):
                yield from block.filters(before, layer)
                before = block.sizes(layer)[0]

    def weight_norms(self) -> Tensor:
        """Per decision: of a kernel or groups the kxk convolution, of a width the 1x1 one that makes
        it, of a depth the layers that it may leave out, of the stem's width the stem."""
        norms = [self.stem.effective_weight().square().sum()]
        for stage in self.stages:
            layers = [block.norms() for block in stage.blocks]
            optional = layers[min(stage.depths) :]
            norms.append(torch.stack([n for layer in optional for n in layer]).sum())
            for spatial, pointwise in layers:
                norms += [pointwise, spatial, spatial]
        return torch.stack(norms)

    @torch.no_grad()
    def bequeath(self, network: Network) -> None:
        assert isinstance(network, MobileNetwork)
        copy_leading(self.stem, network.stem)
        copy_leading(self.stem_norm, network.stem_norm)
        copy_leading(self.stem_slope, network.stem_slope)
        heirs = iter(network.blocks)
        for stage, depth in zip(self.stages, network.depths, strict=True):
            for block, heir in zip(stage.blocks, islice(heirs, depth), strict=False):
                block.bequeath(heir)
        ours, theirs = self.head.linear, network.head.linear
        theirs.weight.copy_(ours.weight[:, : theirs.in_features])
        theirs.bias.copy_(ours.bias)


def one_hot(index: int, number: int, like: Tensor) -> Tensor:
    """Weights of `number` options that choose one."""
    weights = like.new_zeros(number)
    weights[index] = 1
    return weights


def copy_leading(source: nn.Module, heir: nn.Module) -> None:
    """Copy the leading part of every parameter of `source` into the heir's, as much as it has."""
    for name, parameter in heir.named_parameters():
        shared = source.get_parameter(name)
        parameter.copy_(shared[: len(parameter)] if parameter.dim() else shared)

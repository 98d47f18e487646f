"""The weight-sharing network of all layouts of stages: relaxed, a single path, or on partial channels.

BARS (Zhao et al., 2020), https://arxiv.org/abs/2011.10804, section 4.1. Maps and widths are arranged as
in `bnas_bench.nn.bars.network`. Legend: B batch, F edges that leave a node, O operations, C channels, H, W.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.core.architecture import Mix
from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.errors import BadValue
from bnas_bench.nn.bars.layout import (
    CONV,
    EDGES,
    GROUPS,
    NODES,
    OPERATIONS,
    SHORTCUT,
    STAGES,
    Choice,
    Layout,
    share,
    stage_channels,
)
from bnas_bench.nn.bars.network import (
    Cell,
    StagedNetwork,
    Stem,
    aggregate,
    interleave,
    resized,
    shortcut,
    staggered,
    width_mask,
    wire,
)
from bnas_bench.nn.binary import BinaryConv2d, Filters, layer_magnitude, ste_sign
from bnas_bench.nn.blocks import Head
from bnas_bench.nn.kernels import normalise
from bnas_bench.nn.network import ListOf, Network, Supernet


class SoftWidth:
    """A stage's width in a relaxed supernet: a weight for each option, shape (options,)."""

    def __init__(self, weights: Tensor, widths: Sequence[float]) -> None:
        self.weights, self.widths = weights, widths
        self.mask = cache(lambda channels: width_mask(weights, widths, channels))


class Scope:
    """The widths that come into a layer and go out of it, in a relaxed supernet.

    Attributes:
        pairs: widths (in, out): all of them, or where both are one stage's the same twice.
        weights: of the pairs.
    """

    def __init__(self, source: SoftWidth, target: SoftWidth) -> None:
        if source is target:
            self.weights = target.weights
            self.pairs = [(width, width) for width in target.widths]
        else:
            self.weights = torch.outer(source.weights, target.weights).flatten()
            self.pairs = [(a, b) for a in source.widths for b in target.widths]


class FanConv(BinaryConv2d):
    """The convolutions of F edges that leave the same map, as one; each has a scale of its own.

    Args:
        in_channels: of each of the `nodes` whose maps come in, at full width.
        channels: of each edge's map that goes out.
    """

    def __init__(
        self, in_channels: int, channels: int, kernel: int, *, nodes: int, fan: int, stride: int
    ) -> None:
        super().__init__(
            nodes * in_channels,
            fan * channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            scale="layer",
        )
        self.fan, self.nodes = fan, nodes

    def part(self, channels_in: int, channels_out: int, edge: int | slice = slice(None)) -> Tensor:
        """An edge's weights between the first channels alone, shape (out, nodes * in, k, k).

        Without an edge those of all, shape (F, out, nodes * in, k, k).
        """
        w_FONIkk = self.weight.unflatten(0, (self.fan, -1)).unflatten(2, (self.nodes, -1))
        return w_FONIkk[edge, ..., :channels_out, :, :channels_in, :, :].flatten(-4, -3)

    def scale_factor(self, part: slice | None = None) -> Tensor:
        """Each edge's scale at full width, on each of its channels, shape (F * out, 1, 1, 1)."""
        scale_F = layer_magnitude(self.weight.unflatten(0, (self.fan, -1)))
        scale = scale_F.expand(-1, self.out_channels // self.fan, 1, 1, 1).flatten(0, 1)
        return scale if part is None else scale[part]

    def mixed_scale(self, scope: Scope) -> Tensor:
        """The widths' scales, mixed as the widths are, shape (F * out, 1, 1)."""
        ins, outs = self.in_channels // self.nodes, self.out_channels // self.fan
        scales_F = [
            layer_magnitude(self.part(share(a, ins), share(b, outs))).flatten()
            for a, b in scope.pairs
        ]
        return (scope.weights @ torch.stack(scales_F)).repeat_interleave(outs).view(-1, 1, 1)

    def mixed(self, x_BCHW: Tensor, mask_C: Tensor, scope: Scope) -> Tensor:
        """All edges at once, at mixed widths, shape (B, F * out, H', W').

        Args:
            x_BCHW: the masked map. Its signs are masked too: what a width leaves out adds 0 to a
                convolution, not +-1.
        """
        if self.precision.activation_bits == 1:
            x_BCHW = self.effective_input(x_BCHW) * mask_C.view(-1, 1, 1)
        binary = self.precision.weight_bits == 1
        weight = ste_sign(self.weight) if binary else self.weight
        y_BCHW = F.conv2d(x_BCHW, weight, None, self.stride, self.padding)
        return y_BCHW * self.mixed_scale(scope) if binary else y_BCHW

    def single(self, x_BCHW: Tensor, edge: int, channels: int) -> Tensor:
        """One edge alone, on a narrow map, to so many channels."""
        return self.convolve_signs(x_BCHW, self.part(x_BCHW.shape[1] // self.nodes, channels, edge))

    @torch.no_grad()
    def bequeath(self, edge: int, heir: BinaryConv2d) -> None:
        """Copy one edge's weights into its stand-alone convolution, as narrow as that is."""
        heir.weight.copy_(self.part(heir.in_channels // self.nodes, heir.out_channels, edge))

    def norms(self) -> Tensor:
        """Squared 2-norm of each edge's effective weights, shape (F,)."""
        return self.effective_weight().square().unflatten(0, (self.fan, -1)).flatten(1).sum(1)


class Fan(nn.Module):
    """All edges that leave a node of a cell, F of them.

    Args:
        channels: of the node, at full width.
        partial: one channel in so many runs through the operations (PC-DARTS).
    """

    def __init__(self, channels: int, fan: int, stride: int, partial: int) -> None:
        super().__init__()
        self.stride, self.partial = stride, partial
        inside = channels // partial
        self.convs = ListOf[FanConv](
            FanConv(inside, inside, 3, nodes=1, fan=fan, stride=stride) for _ in range(stride)
        )

    def forward(self, x_BCHW: Tensor, weights_FO: Tensor, width: SoftWidth) -> Tensor:
        """The mixed edges, shape (B, F, C', H', W'); `weights_FO` in the order of `OPERATIONS`."""
        mask_C = width.mask(x_BCHW.shape[1])[:: self.partial]
        inside, scope = x_BCHW[:, :: self.partial], Scope(width, width)
        inputs = staggered(inside, self.stride)
        z = interleave([c.mixed(v, mask_C, scope) for c, v in zip(self.convs, inputs, strict=True)])
        convolved = weights_FO[:, OPERATIONS.index(CONV)]
        carried = convolved + weights_FO[:, OPERATIONS.index(SHORTCUT)]
        # The factors on a normalised map are what batch normalisation calls its weight.
        factor = torch.outer(convolved, mask_C.repeat_interleave(self.stride)).flatten()
        y_BFCHW = F.batch_norm(z, None, None, factor, training=True).unflatten(
            1, (len(carried), -1)
        )
        y_BFCHW = y_BFCHW + carried.view(-1, 1, 1, 1) * shortcut(inside, self.stride).unsqueeze(1)
        return y_BFCHW if self.partial == 1 else self.rejoined(y_BFCHW, x_BCHW, weights_FO.sum(1))

    def rejoined(self, y_BFCHW: Tensor, x_BCHW: Tensor, weights_F: Tensor) -> Tensor:
        """The channels that ran and those that pass by, shuffled so that others run next.

        The first channel of a group of K has run; it goes to the last place, the others move up. At
        stride 2 those that pass by are max-pooled, and stand twice.
        """
        rest = x_BCHW.unflatten(1, (-1, self.partial))[:, :, 1:]
        groups = rest.shape[1]
        if self.stride == 2:
            pooled = F.max_pool2d(rest.flatten(1, 2), 2, ceil_mode=True)
            rest = pooled.unflatten(1, (groups, -1))
        by = rest[:, None, :, :, None] * weights_F.view(-1, 1, 1, 1, 1, 1)
        ran = y_BFCHW.unflatten(2, (groups, 1, self.stride))
        return torch.cat([by.expand(-1, -1, -1, -1, self.stride, -1, -1), ran], 3).flatten(2, 4)

    def path(self, x_BCHW: Tensor, edge: int) -> Tensor:
        """The convolution of one edge alone, normalised, without its extra shortcut."""
        inputs, channels = staggered(x_BCHW, self.stride), x_BCHW.shape[1]
        maps = [c.single(v, edge, channels) for c, v in zip(self.convs, inputs, strict=True)]
        return normalise(interleave(maps))


class MixedCell(nn.Module):
    """One cell of the supernet; arguments as those of `Cell`."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, across: bool, partial: int
    ) -> None:
        super().__init__()
        self.stride, self.across = stride, across
        inner = channels // stride
        self.preprocess = FanConv(in_channels, inner, 1, nodes=len(NODES), fan=1, stride=1)
        self.fans = ListOf[Fan](
            Fan(inner if i == 0 else channels, len(NODES) - i, stride if i == 0 else 1, partial)
            for i in range(len(NODES))
        )

    def forward(
        self, x_BCHW: Tensor, weights: Sequence[Tensor], source: SoftWidth, target: SoftWidth
    ) -> Tensor:
        """The mixed cell.

        Args:
            weights: per node that edges leave, of its edges, shape (F, operations).
        """
        conv, nodes = self.preprocess, len(NODES)
        mask_C = source.mask(conv.in_channels // nodes).repeat(nodes)
        z = conv.mixed(x_BCHW, mask_C, Scope(source, target))
        x = F.batch_norm(z, None, None, target.mask(conv.out_channels), training=True)
        sums: list[Tensor] = []
        done: list[Tensor] = []
        for fan, weights_FO in zip(self.fans, weights, strict=True):
            maps = fan(x, weights_FO, target).unbind(1)
            sums = [a + b for a, b in zip(sums, maps, strict=True)] if sums else list(maps)
            x = sums.pop(0)
            done.append(x)
        y_BCHW = torch.cat(done, dim=1)
        if self.across:
            through = shortcut(x_BCHW, self.stride)
            if self.stride == 2:  # within a stage the map is masked already
                through = through * target.mask(x.shape[1]).repeat(nodes).view(-1, 1, 1)
            y_BCHW = y_BCHW + through
        return y_BCHW

    def path(self, x_BCHW: Tensor, options: Sequence[str], channels: int) -> Tensor:
        """The cell whose edges run one operation each and whose nodes have so many channels."""
        x = normalise(self.preprocess.single(x_BCHW, 0, channels // self.stride))
        y_BCHW = wire(
            x, options, self.stride, lambda node, i, j: self.fans[i].path(node, j - i - 1)
        )
        if self.across:
            y_BCHW = y_BCHW + resized(shortcut(x_BCHW, self.stride), channels)
        return y_BCHW

    def filters(self, options: Sequence[str], in_channels: int, channels: int) -> Iterator[Filters]:
        """The 1-bit convolutions that `path` runs."""
        w = self.preprocess.part(in_channels, channels // self.stride, 0)
        yield w, layer_magnitude(w)
        for (i, j), option in zip(EDGES, options, strict=True):
            for conv in self.fans[i].convs if option == CONV else ():
                inner = channels // conv.stride
                w = conv.part(inner, inner, j - i - 1)
                yield w, layer_magnitude(w)

    def edge_norms(self) -> Tensor:
        """Squared 2-norm of each edge's weights, in the order of `EDGES`."""
        fans = [torch.stack([conv.norms() for conv in fan.convs]).sum(0) for fan in self.fans]
        return torch.stack([fans[i][j - i - 1] for i, j in EDGES])

    @torch.no_grad()
    def bequeath(self, cell: Cell) -> None:
        self.preprocess.bequeath(0, cell.preprocess.conv)
        for (i, j), option in zip(EDGES, cell.options, strict=True):
            if option == CONV:
                for conv, heir in zip(self.fans[i].convs, cell.conv(i, j).convs, strict=True):
                    conv.bequeath(j - i - 1, heir)


class PrefixStem(Stem):
    """A stem of any width."""

    def forward(self, x_BCHW: Tensor, channels: int | None = None) -> Tensor:
        weight = self.conv.weight[:channels]
        y_BCHW = F.conv2d(x_BCHW, weight, None, self.conv.stride, self.conv.padding)
        return self.spread(normalise(y_BCHW))


class PrefixHead(Head):
    """A head for maps of any width: the weights of the channels that each node has."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        weight = first_channels(self.linear.weight, x_BCHW.shape[1])
        return F.linear(self.pool(x_BCHW).flatten(1), weight, self.linear.bias)


def first_channels(weight: Tensor, features: int) -> Tensor:
    """The columns of a linear layer that read the first channels of each node."""
    nodes = len(NODES)
    return weight.unflatten(1, (nodes, -1))[:, :, : features // nodes].flatten(1)


class StagedSupernet(Supernet):
    """The weight-sharing network of all layouts.

    Args:
        spec: as that of `StagedNetwork`.
        layout: the choices.
        across: whether a shortcut leads across each cell.
        partial: K of PC-DARTS; such a supernet takes only weights.
    """

    head: PrefixHead

    def __init__(
        self, spec: NetworkSpec, layout: Layout[Choice], *, across: bool, partial: int = 1
    ) -> None:
        super().__init__()
        self.layout, self.partial = layout, partial
        self.channels = [stage_channels(spec.channels, stage) for stage in range(STAGES)]
        self.stem = PrefixStem(spec, self.channels[0], affine=False)
        self.groups = ListOf[ListOf[MixedCell]]()
        for group in GROUPS:
            depth = layout.cells(group)
            cells = max(depth.options) if isinstance(depth, Choice) else depth
            before, after = self.channels[group.source], self.channels[group.target]
            self.groups.append(
                ListOf[MixedCell](
                    MixedCell(before, after, group.stride, across=across, partial=partial)
                    for _ in range(cells)
                )
            )
        self.head = PrefixHead(len(NODES) * self.channels[-1], spec.classes)
        for k, (group, edges) in enumerate(zip(GROUPS, layout.edges, strict=True)):
            stage = [layout.widths[group.target].position]
            if group.stride == 1:
                stage.append(layout.depths[group.source].position)
            for name, positions in (
                (f"edges{k}", [choice.position for choice in edges]),
                (f"stage{k}", stage),
            ):
                self.register_buffer(name, torch.tensor(positions), persistent=False)

    def features(self, x_BCHW: Tensor, mix: Mix) -> Tensor:
        if any(isinstance(entry, Tensor) for entry in mix):
            return self.relaxed(x_BCHW, mix)
        if self.partial > 1:
            raise BadValue(
                f"a supernet of partial={self.partial} runs no single path; give it weights, "
                "or build it with partial=1"
            )
        return self.single(x_BCHW, self.chosen([int(entry) for entry in mix]))

    def relaxed(self, x_BCHW: Tensor, mix: Mix) -> Tensor:
        """The maps of the mixed network, shape (B, C, H, W); an index among weights is one-hot."""

        def weights(choice: Choice) -> Tensor:
            entry = mix[choice.position]
            if isinstance(entry, Tensor):
                return entry
            one_hot = x_BCHW.new_zeros(len(choice.options))
            one_hot[entry] = 1
            return one_hot

        layout = self.layout.map(weights)
        widths = [
            SoftWidth(m, choice.options)
            for m, choice in zip(layout.widths, self.layout.widths, strict=True)
        ]
        y = self.stem(x_BCHW) * widths[0].mask(self.channels[0]).repeat(len(NODES)).view(-1, 1, 1)
        for group, edges, cells in zip(GROUPS, layout.edges, self.groups, strict=True):
            fans = [
                torch.stack([m for (i, _), m in zip(EDGES, edges, strict=True) if i == source])
                for source in range(len(NODES))
            ]
            maps = [y]
            for cell in cells:
                maps.append(cell(maps[-1], fans, widths[group.source], widths[group.target]))
            y = maps[-1]
            if group.stride == 1:
                depths = self.layout.depths[group.source].options
                y = aggregate(layout.depths[group.source], [maps[depth] for depth in depths])
        return y

    def chosen(self, path: Sequence[int]) -> Layout[Any]:
        """The options at these indices."""
        return self.layout.map(lambda choice: choice.options[path[choice.position]])

    def running(self, layout: Layout[Any]) -> Iterator[tuple[MixedCell, tuple[Any, ...], int, int]]:
        """The cells of a path, with their edges' options and a node's channels before and in them."""
        channels = self.narrow(layout)
        for group, options, cells in zip(GROUPS, layout.edges, self.groups, strict=True):
            for cell in list(cells)[: layout.cells(group)]:
                yield cell, options, channels[group.source], channels[group.target]

    def narrow(self, layout: Layout[Any]) -> list[int]:
        """Channels of a node in each stage of a path."""
        return [share(w, c) for w, c in zip(layout.widths, self.channels, strict=True)]

    def single(self, x_BCHW: Tensor, layout: Layout[Any]) -> Tensor:
        """The maps of one path, as deep and as narrow as it is."""
        y = self.stem(x_BCHW, self.narrow(layout)[0])
        for cell, options, _, channels in self.running(layout):
            y = cell.path(y, options, channels)
        return y

    def filters(self, path: Sequence[int]) -> Iterator[Filters]:
        for cell, options, before, channels in self.running(self.chosen(path)):
            yield from cell.filters(options, before, channels)

    def weight_norms(self) -> Tensor:
        """Per edge the norm of its convolutions in all cells of its topology; per depth and width of
        all convolutions in the cells of that stage, for the width the reduction before it too."""
        total = self.head.linear.weight.new_zeros(1 + max(c.position for c in self.layout.all()))
        for k, cells in enumerate(self.groups):
            edges, stage = self.get_buffer(f"edges{k}"), self.get_buffer(f"stage{k}")
            for cell in cells:
                per_edge, preprocess = cell.edge_norms(), cell.preprocess.norms().sum()
                total = total.index_add(0, edges, per_edge)
                whole = (per_edge.sum() + preprocess).expand(len(stage))
                total = total.index_add(0, stage, whole)
        return total

    @torch.no_grad()
    def bequeath(self, network: Network) -> None:
        assert isinstance(network, StagedNetwork)
        stem, linear = network.stem.conv, network.head.linear
        stem.weight.copy_(self.stem.conv.weight[: stem.out_channels])
        linear.weight.copy_(first_channels(self.head.linear.weight, linear.in_features))
        linear.bias.copy_(self.head.linear.bias)
        for cells, heirs in zip(self.groups, network.groups, strict=True):
            for cell, heir in zip(cells, heirs, strict=False):  # the heirs may be fewer
                cell.bequeath(heir)

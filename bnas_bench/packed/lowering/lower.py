"""From a PyTorch network to a packed program that computes the same, bit for bit.

The network is lowered as it runs in evaluation mode, at its precision. Its layers, and the functions
that rearrange its maps, become steps. A batch norm whose result nothing but signs are taken of
becomes the threshold of those signs.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import Node

from bnas_bench.nn.bars.layout import NODES
from bnas_bench.nn.bars.network import interleave, resized
from bnas_bench.nn.binary import BinaryConv2d, Precision, PReLU, RPReLU, RSign
from bnas_bench.nn.blocks import shift, shuffle, zeros_after
from bnas_bench.nn.nasbnn.network import NormalisedConv2d, tile
from bnas_bench.nn.network import Network
from bnas_bench.nn.quantised import QuantConv2d
from bnas_bench.packed.format.program import INPUT, Attribute, Program, pack_bits
from bnas_bench.packed.lowering.fold import batch_norm, numbers
from bnas_bench.packed.lowering.trace import CannotPack, Shape, Trace, shape_of
from bnas_bench.packed.lowering.writer import Writer

__all__ = ["CannotPack", "lower", "lower_stages"]


def lower(network: Network, shape: Shape, about: Mapping[str, str] | None = None) -> Program:
    """The program that computes the network's logits for images of `shape` (C, H, W).

    Args:
        network: stays as it is.
        about: what the packed file is to say of itself.

    Raises:
        CannotPack: if a layer, or what is done between layers, is none that the engine can run.
    """
    writer = Writer(Trace(network, shape, LAYERS))
    with torch.no_grad():
        for node in writer.trace.nodes:
            _write(writer, node)
    return Program(shape, tuple(writer.steps), dict(about or {}))


def lower_stages(network: Network, shape: Shape) -> tuple[Program, tuple[str, ...]]:
    """The program of a network's logits, and the names of the values that its stages' maps are.

    An engine that keeps these gives what `network.stages` does, the largest maps first.

    Args:
        network: stays as it is.

    Raises:
        CannotPack: as `lower`.
    """
    writer = Writer(Trace(_Staged(network, shape), shape, LAYERS))
    with torch.no_grad():
        *nodes, output = writer.trace.nodes
        for node in nodes:
            _write(writer, node)
    return Program(shape, tuple(writer.steps)), tuple(map(writer.value, output.args[0][1:]))


class _Staged(nn.Module):
    """A network that gives its logits and its stages' maps, of which it knows which they are."""

    def __init__(self, network: Network, shape: Shape) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().float().eval()
        with torch.inference_mode():
            sizes = [maps.shape[2:] for maps in self.network.successive(torch.zeros(1, *shape))]
        following = [*sizes[1:], None]
        self.places = [k for k, size in enumerate(sizes) if size != following[k]]

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        maps = list(self.network.successive(x_BCHW))
        return self.network.head(maps[-1]), *(maps[k] for k in self.places)


def _write(w: Writer, node: Node) -> None:
    module = w.trace.module(node)
    if node.op == "placeholder":
        w.alias(node, INPUT)
    elif type(module) in LAYERS:
        LAYERS[type(module)](w, node, module)
    elif node.target in FUNCTIONS:
        FUNCTIONS[node.target](w, node, *node.args, **node.kwargs)
    elif node.op != "output":
        what = (
            type(module).__qualname__ if module else getattr(node.target, "__name__", node.target)
        )
        raise w.trace.refusal(node, f"needs '{what}', which the engine does not have")
    elif not isinstance(node.args[0], Node):
        raise w.trace.refusal(node, "gives more than one value, where logits are one")


def _whole(w: Writer, node: Node, module: nn.Module, *names: str) -> dict[str, int]:
    """Attributes of a module that are one number, or the same one both ways."""
    found = {}
    for name in names:
        value = getattr(module, name)
        both = set(value) if isinstance(value, tuple) else {value}
        if len(both) != 1 or not isinstance(number := both.pop(), int):
            raise w.trace.refusal(node, f"has {name}={value}, where the engine takes one number")
        found[name] = number
    return found


def _geometry(w: Writer, node: Node, module: Any) -> dict[str, int]:
    """The attributes of a convolution."""
    found = _whole(w, node, module, "kernel_size", "stride", "padding")
    if not isinstance(module, QuantConv2d):
        found |= _whole(w, node, module, "dilation")
    return {
        "inputs": module.in_channels,
        "outputs": module.out_channels,
        "kernel": found["kernel_size"],
        "stride": found["stride"],
        "padding": found["padding"],
        "dilation": found.get("dilation", 1),
        "groups": module.groups,
    }


def _weights(weight: Tensor) -> np.ndarray:
    return np.ascontiguousarray(weight.numpy())


def _conv(w: Writer, node: Node, module: nn.Conv2d) -> None:
    if module.padding_mode != "zeros":
        raise w.trace.refusal(node, f"pads with '{module.padding_mode}' instead of zeros")
    tensors = {"weight": _weights(module.weight)}
    if module.bias is not None:
        tensors["bias"] = numbers(module.bias)
    w.step(
        node,
        "conv",
        node.all_input_nodes[0],
        tensors=tensors,
        attributes=_geometry(w, node, module),
    )


def _quantised(w: Writer, node: Node, module: QuantConv2d) -> None:
    source, geometry = node.all_input_nodes[0], _geometry(w, node, module)
    match module.weight_bits, module.activation_bits:
        case 8, 8:
            steps = torch.stack([module.weight_step.abs(), module.input_step.abs()])
            levels = (module.effective_weight() / steps[0]).round().to(torch.int8)
            tensors = {"weight": _weights(levels), "steps": numbers(steps)}
            w.step(node, "conv_q8", source, tensors=tensors, attributes=geometry)
        case _, 32:
            tensors = {"weight": _weights(module.effective_weight())}
            w.step(node, "conv", source, tensors=tensors, attributes=geometry)
        case bits:
            raise w.trace.refusal(node, "runs at W{}A{}, which the engine does not".format(*bits))


def _binary(w: Writer, node: Node, module: BinaryConv2d) -> None:
    geometry = _geometry(w, node, module)
    if module.precision == Precision.W1A1:
        op, source = "conv_b", w.signs(node, module)
    elif module.precision == Precision.W32A1:
        raise w.trace.refusal(
            node, "runs at W32A1, real weights on signs, which the engine does not"
        )
    else:
        op = "conv_w1" if module.precision == Precision.W1A32 else "conv"
        source = w.value(node.all_input_nodes[0])
        if isinstance(module, NormalisedConv2d):
            offset = -numbers(module.threshold)
            shifted = {"scale": np.ones_like(offset), "offset": offset}
            source = w.step(node, "affine", source, tensors=shifted)
    if op == "conv":
        tensors = {"weight": _weights(module.effective_weight())}
    else:
        weight, scale = module.filters()
        ones = ~(weight < 0).permute(0, 2, 3, 1)
        tensors = {"signs": pack_bits(ones.numpy()), "scale": numbers(scale)}
    w.step(node, op, source, tensors=tensors, attributes=geometry)


def _norm(w: Writer, node: Node, module: nn.BatchNorm2d) -> None:
    if module.running_mean is None:
        raise w.trace.refusal(node, "keeps no running statistics, so its result is the batch's")
    if not w.only_signs(node):
        scale, offset = batch_norm(module)
        tensors = {"scale": scale, "offset": offset}
        w.step(node, "affine", node.all_input_nodes[0], tensors=tensors)


def _hardtanh(w: Writer, node: Node, module: nn.Hardtanh) -> None:
    if (module.min_val, module.max_val) != (-1, 1):
        raise w.trace.refusal(
            node, f"clips to [{module.min_val}, {module.max_val}], not to [-1, 1]"
        )
    if not w.only_signs(node):
        w.step(node, "hardtanh", node.all_input_nodes[0])


def _prelu(w: Writer, node: Node, module: nn.PReLU) -> None:
    slope = module.weight.expand(shape_of(node)[0])
    w.step(node, "prelu", node.all_input_nodes[0], tensors={"slope": numbers(slope)})


def _rprelu(w: Writer, node: Node, module: RPReLU) -> None:
    slope = module.prelu.weight.expand(len(module.gamma))
    parts = {"gamma": module.gamma, "slope": slope, "zeta": module.zeta}
    tensors = {name: numbers(part) for name, part in parts.items()}
    w.step(node, "rprelu", node.all_input_nodes[0], tensors=tensors)


def _pool(w: Writer, node: Node, module: nn.MaxPool2d | nn.AvgPool2d) -> None:
    found = _whole(w, node, module, "kernel_size", "stride", "padding")
    names = ("kernel", "stride", "padding")
    sizes: dict[str, Attribute] = dict(zip(names, found.values(), strict=True))
    sizes["ceil"] = module.ceil_mode
    if isinstance(module, nn.MaxPool2d):
        if _whole(w, node, module, "dilation") != {"dilation": 1} or module.return_indices:
            raise w.trace.refusal(node, "is dilated or returns places, which the engine does not")
        w.step(node, "max_pool", node.all_input_nodes[0], attributes=sizes)
    else:
        if module.divisor_override is not None:
            raise w.trace.refusal(node, "has a divisor of its own, which the engine has not")
        sizes["count_padding"] = module.count_include_pad
        w.step(node, "avg_pool", node.all_input_nodes[0], attributes=sizes)


def _global_pool(w: Writer, node: Node, module: nn.AdaptiveAvgPool2d) -> None:
    if module.output_size not in (1, (1, 1)):
        raise w.trace.refusal(node, f"pools to {module.output_size} pixels, not to a single one")
    w.step(node, "global_pool", node.all_input_nodes[0])


def _linear(w: Writer, node: Node, module: nn.Linear) -> None:
    bias = module.weight.new_zeros(module.out_features) if module.bias is None else module.bias
    tensors = {"weight": _weights(module.weight), "bias": numbers(bias)}
    sizes = {"inputs": module.in_features, "outputs": module.out_features}
    w.step(node, "linear", node.all_input_nodes[0], tensors=tensors, attributes=sizes)


def _sign(w: Writer, node: Node, module: RSign) -> None:
    """Nothing: the 1-bit convolutions behind it make the signs."""


def _relu(w: Writer, node: Node, module: nn.ReLU) -> None:
    if module.inplace and len(node.all_input_nodes[0].users) > 1:
        raise w.trace.refusal(node, "overwrites a map that other layers read")
    w.step(node, "relu", node.all_input_nodes[0])


def _flatten(w: Writer, node: Node, *_: Any, **__: Any) -> None:
    source = node.all_input_nodes[0]
    if not isinstance(w.trace.module(source), nn.AdaptiveAvgPool2d):
        raise w.trace.refusal(node, "flattens what is no global pooling's")
    w.alias(node, w.value(source))


def _add(w: Writer, node: Node, *terms: Any, **scaled: Any) -> None:
    if scaled or not all(isinstance(term, Node) for term in terms):
        raise w.trace.refusal(node, "adds something else than two maps")
    w.step(node, "add", *terms)


def _accumulate(w: Writer, node: Node, total: Any, term: Any) -> None:
    if isinstance(total, Node) and len(total.users) > 1:
        raise w.trace.refusal(node, "overwrites a map that other layers read")
    _add(w, node, total, term)


def _cat(w: Writer, node: Node, maps: Sequence[Node], dim: int = 0) -> None:
    if dim != 1:
        raise w.trace.refusal(node, f"concatenates along dimension {dim}, not channels")
    w.step(node, "concat", *maps)


def _interleave(w: Writer, node: Node, maps: Sequence[Node]) -> None:
    w.step(node, "interleave", *maps)


def _shuffle(w: Writer, node: Node, x_BCHW: Node, groups: int, edges: int = 1) -> None:
    if edges != 1:
        raise w.trace.refusal(node, f"shuffles {edges} edges apart from each other")
    w.step(node, "shuffle", x_BCHW, attributes={"groups": groups})


def _tile(w: Writer, node: Node, x_BCHW: Node, channels: int) -> None:
    w.step(node, "tile", x_BCHW, attributes={"channels": channels})


def _repeat(w: Writer, node: Node, x_BCHW: Node, *times: int) -> None:
    match times:
        case 1, int(copies), 1, 1:
            channels = copies * shape_of(x_BCHW)[0]
            w.step(node, "tile", x_BCHW, attributes={"channels": channels})
        case _:
            raise w.trace.refusal(node, f"repeats {times} times, where the engine repeats channels")


def _resized(w: Writer, node: Node, x_BCHW: Node, channels: int) -> None:
    sizes = {"parts": len(NODES), "channels": channels}
    w.step(node, "resize", x_BCHW, attributes=sizes)


def _window(w: Writer, node: Node, x_BCHW: Node, *numbers: int) -> None:
    names = ("pad_height", "pad_width", "start", "step")
    w.step(node, "window", x_BCHW, attributes=dict(zip(names, numbers, strict=True)))


def _shift(w: Writer, node: Node, x_BCHW: Node) -> None:
    _, height, width = shape_of(x_BCHW)
    _window(w, node, x_BCHW, height % 2, width % 2, 1, 1)


def _getitem(w: Writer, node: Node, x_BCHW: Node, index: Any) -> None:
    match index:
        case (slice() as b, slice() as c, slice(step=int(step)) as h, slice() as v) if (
            b == c == slice(None) and h == v == slice(None, None, step) and step > 0
        ):
            _window(w, node, x_BCHW, 0, 0, 0, step)
        case _:
            raise w.trace.refusal(node, f"takes [{index}] of a map, not every so many pixels of it")


def _zeros(w: Writer, node: Node, x_BCHW: Node, stride: int, channels: int) -> None:
    sizes = {"channels": channels, "stride": stride}
    w.step(node, "zeros", x_BCHW, attributes=sizes)


def _zeros_like(w: Writer, node: Node, x_BCHW: Node) -> None:
    _zeros(w, node, x_BCHW, 1, shape_of(x_BCHW)[0])


Write = Callable[..., None]

LAYERS: dict[type, Write] = {
    nn.Conv2d: _conv,
    QuantConv2d: _quantised,
    BinaryConv2d: _binary,
    NormalisedConv2d: _binary,
    nn.BatchNorm2d: _norm,
    nn.Hardtanh: _hardtanh,
    nn.PReLU: _prelu,
    PReLU: _prelu,
    RPReLU: _rprelu,
    RSign: _sign,
    nn.ReLU: _relu,
    nn.MaxPool2d: _pool,
    nn.AvgPool2d: _pool,
    nn.AdaptiveAvgPool2d: _global_pool,
    nn.Linear: _linear,
    nn.Flatten: _flatten,
}
"""The modules that the engine can run."""

FUNCTIONS: dict[Any, Write] = {
    operator.add: _add,
    operator.iadd: _accumulate,
    torch.add: _add,
    operator.getitem: _getitem,
    torch.cat: _cat,
    torch.zeros_like: _zeros_like,
    "flatten": _flatten,
    "repeat": _repeat,
    interleave: _interleave,
    resized: _resized,
    shift: _shift,
    shuffle: _shuffle,
    tile: _tile,
    zeros_after: _zeros,
}
"""The functions, and the methods of maps by their names, that the engine can run.

What writes their steps takes the arguments that they take.
"""

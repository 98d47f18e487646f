"""The ledger: what one image costs in each layer, by the bits of its operands.

It has no opinion on what a 1-bit operation is worth; that is `bnas_bench.cost.conventions`.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from bnas_bench.errors import BenchError
from bnas_bench.nn.binary import BinaryConv2d, RPReLU, RSign
from bnas_bench.nn.mobile import NormalisedConv2d
from bnas_bench.nn.quantised import QuantConv2d

KINDS: dict[type[nn.Module], str] = {
    nn.Conv2d: "conv",
    BinaryConv2d: "conv",
    NormalisedConv2d: "conv",
    QuantConv2d: "conv",
    nn.Linear: "linear",
    nn.BatchNorm1d: "norm",
    nn.BatchNorm2d: "norm",
    nn.ReLU: "activation",
    nn.PReLU: "activation",
    nn.Hardtanh: "activation",
    RSign: "activation",
    RPReLU: "activation",
    nn.MaxPool2d: "pool",
    nn.AvgPool2d: "pool",
    nn.AdaptiveMaxPool2d: "pool",
    nn.AdaptiveAvgPool2d: "pool",
    nn.Identity: "identity",
    nn.Dropout: "identity",
    nn.Flatten: "reshape",
}
"""The layers that the ledger knows. Exact types: a subclass may compute something else."""


@dataclass(frozen=True)
class Layer:
    """One execution of one layer, for one image.

    Attributes:
        name: the module's path in the network.
        kind: `conv`, `depthwise` (groups = input channels > 1), `pointwise` (any other 1x1
            convolution), `linear`, `norm`, `activation`, `pool`, `identity` or `reshape`.
        input, output: shapes without the batch.
        weight_bits, activation_bits: of the operands as the layer uses them.
        macs: multiply-accumulates; adding a bias is none.
        parameters: how many by their bits; those that an earlier execution listed are left out.
        constants: further 32-bit numbers that inference needs: running statistics, and XNOR scales,
            which the sign of a weight no longer tells.
        biases: additions of a bias.
    """

    name: str
    kind: str
    input: tuple[int, ...]
    output: tuple[int, ...]
    weight_bits: int
    activation_bits: int
    macs: int
    parameters: Mapping[int, int]
    constants: int
    biases: int = 0


@dataclass(frozen=True)
class Ledger:
    """The layers of one forward pass, in the order in which they ran."""

    layers: tuple[Layer, ...]

    @property
    def macs(self) -> dict[str, int]:
        """MACs by the operands' bits, keyed `W1A32`; only those that occur."""
        total: Counter[str] = Counter()
        for layer in self.layers:
            total[f"W{layer.weight_bits}A{layer.activation_bits}"] += layer.macs
        return {bits: macs for bits, macs in total.items() if macs}

    @property
    def parameters(self) -> dict[int, int]:
        """Number of parameters by their bits."""
        total: Counter[int] = Counter()
        for layer in self.layers:
            total.update(layer.parameters)
        return dict(total)

    @property
    def constants(self) -> int:
        """Number of further 32-bit numbers that inference needs."""
        return sum(layer.constants for layer in self.layers)


def ledger(network: nn.Module, shape: tuple[int, int, int]) -> Ledger:
    """The ledger of one image of `shape` (C, H, W) through `network` in evaluation mode.

    `network` is not touched and nothing is computed: a copy without data runs on the meta device.
    A layer that does not run (an auxiliary head) is not listed, nor are its parameters.

    Raises:
        BenchError: if a layer of unknown type runs, or if a convolution, a matrix product or a
            parameter is used outside the known layers: nothing is silently counted as zero.
    """
    twin = _without_data(network).eval()
    clerk = _Clerk(twin)
    first = next(chain(twin.parameters(), [torch.empty(0)]))
    image = torch.empty(1, *shape, dtype=first.dtype, device="meta")
    with torch.no_grad(), clerk:
        nn.Module.__call__(twin, image)  # twin(image) would charge a meter that happens to be open
    return Ledger(tuple(clerk.layers))


def _without_data(network: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers have a shape but no content."""
    memo: dict[int, Any] = {id(buffer): buffer.to("meta") for buffer in network.buffers()}
    for parameter in network.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    return copy.deepcopy(network, memo)


def _accountable(
    module: nn.Module, name: str = "", seen: set[nn.Module] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules that are known, or that no known module below them accounts for."""
    seen = set() if seen is None else seen
    if module in seen:
        return
    seen.add(module)
    owner = next(module.parameters(recurse=False), None) is not None
    children = list(module.named_children())
    if type(module) in KINDS or owner or not children:
        yield name, module
        return
    for child_name, child in children:
        yield from _accountable(child, f"{name}.{child_name}".removeprefix("."), seen)


class _Clerk(TorchDispatchMode):
    """Lists the executions of layers while active, and refuses what it cannot account for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.layers: list[Layer] = []
        self._names = {parameter: name for name, parameter in network.named_parameters()}
        self._listed: set[Tensor | nn.Module] = set()
        self._inside = False
        for name, module in _accountable(network):
            self._watch(name, module)

    def _watch(self, name: str, module: nn.Module) -> None:
        def enter(*_: Any) -> None:
            if type(module) not in KINDS:
                raise BenchError(
                    f"the cost of layer '{name}' of type {type(module).__qualname__} is unknown; "
                    "build it from the layers in bnas_bench.cost.ledger.KINDS, or add it there"
                )
            self._inside = True

        def leave(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.layers.append(self._entry(name, module, inputs[0], output))
            self._inside = False

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self._inside:
            operands = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
            for parameter in self._names.keys() & set(operands):
                raise BenchError(
                    f"parameter '{self._names[parameter]}' is used outside a layer, so its cost is "
                    "unknown; call the layer that owns it"
                )
            if func.overloadpacket in flop_registry:
                raise BenchError(
                    f"{func.overloadpacket} multiplies outside a layer, so its cost is unknown; "
                    "use one of the layers in bnas_bench.cost.ledger.KINDS"
                )
        return func(*args, **(kwargs or {}))

    def _entry(self, name: str, module: nn.Module, x: Tensor, y: Tensor) -> Layer:
        weight_bits, activation_bits = _operand_bits(module)
        parameters: Counter[int] = Counter()
        for parameter, bits in _stored(module):
            if parameter not in self._listed:
                parameters[bits] += parameter.numel()
        constants = 0 if module in self._listed else _constants(module)
        self._listed |= {module, *module.parameters()}
        return Layer(
            name=name,
            kind=_kind(module),
            input=tuple(x.shape[1:]),
            output=tuple(y.shape[1:]),
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            macs=_macs(module, y),
            parameters=dict(parameters),
            constants=constants,
            biases=_biases(module, y),
        )


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d | BinaryConv2d | QuantConv2d):
        if module.groups == module.in_channels > 1:
            return "depthwise"
        if module.kernel_size in (1, (1, 1)):
            return "pointwise"
    return KINDS[type(module)]


def _macs(module: nn.Module, y: Tensor) -> int:
    """MACs that make the output `y` of a batch of one."""
    if isinstance(module, nn.Conv2d | BinaryConv2d | QuantConv2d | nn.Linear):
        return y.numel() * module.weight.shape[1:].numel()
    return 0


def _biases(module: nn.Module, y: Tensor) -> int:
    """Additions of a bias that make the output `y` of a batch of one."""
    biased = isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None
    return y.numel() if biased else 0


def _operand_bits(module: nn.Module) -> tuple[int, int]:
    """Bits of the weights and of the activations that a layer multiplies."""
    if isinstance(module, BinaryConv2d):
        return module.precision.weight_bits, module.precision.activation_bits
    if isinstance(module, QuantConv2d):
        return module.weight_bits, module.activation_bits
    return 32, 32


def _stored(module: nn.Module) -> Iterator[tuple[Tensor, int]]:
    """The parameters that inference needs, with their bits."""
    weight_bits, activation_bits = _operand_bits(module)
    unused = {"theta"}  # of Bi-Transformation: the signs of the weights know it
    if weight_bits == 32:
        unused |= {"beta", "weight_step"}
    if activation_bits == 32:
        unused |= {"input_step"}
    for name, parameter in module.named_parameters():
        if name not in unused:
            yield parameter, weight_bits if name == "weight" else 32


def _constants(module: nn.Module) -> int:
    """How many 32-bit numbers beside the parameters inference needs."""
    if isinstance(module, BinaryConv2d):
        scales = {"xnor": module.out_channels, "layer": 1}
        return scales.get(module.scale, 0) if module.precision.weight_bits == 1 else 0
    return sum(b.numel() for b in module.buffers() if b.is_floating_point())

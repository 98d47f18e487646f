"""The ledger: what one image costs in each layer, by the bits of its operands.

It has no opinion on what a 1-bit operation is worth; that is `bnas_bench.cost.conventions`.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bnas_bench.core.errors import BenchError
from bnas_bench.cost.layers import (
    COPIES,
    OUTSIDE,
    biases_of,
    constants_of,
    elementwise_of,
    is_carrier,
    kind_of,
    known_kind,
    macs_of,
    operand_bits,
    packed_bytes_of,
    stored,
    threshold_bytes,
    window,
)
from bnas_bench.cost.maps import Map, Maps
from bnas_bench.cost.work import Work, name_of, tensors
from bnas_bench.nn.binary import RSign
from bnas_bench.nn.nasbnn.network import NormalisedConv2d


@dataclass(frozen=True)
class Layer:
    """One execution of one layer, or of one operation between the layers, for one image.

    Attributes:
        name: the module's path in the network; of an operation, the path where it is and its name.
        kind: `conv`, `depthwise` (groups = input channels > 1), `pointwise` (any other 1x1
            convolution), `linear`, `norm`, `attention`, `activation`, `pool`, `identity` or
            `reshape`; between the layers `add` (shortcuts, sums of edges), `multiply`, `activation`
            or `pool`, and `parameter` for one that these operations use.
        input, output: shapes without the batch.
        weight_bits, activation_bits: of the operands as the layer uses them.
        macs: multiply-accumulates, with the products of an attention; adding a bias is none.
        parameters: how many by their bits; those that an earlier execution listed are left out.
        constants: further 32-bit numbers that inference needs: running statistics, and XNOR scales,
            which the sign of a weight no longer tells.
        biases: additions of a bias.
        elementwise: real operations beside those: 2 per normalised value (of a layer or group norm
            5, or 4 without scale and offset: it has the mean and the variance to find), 1 per value
            of a sum or of an activation function (3 of RPReLU, which adds twice), 1 per comparison
            with a threshold in `NormalisedConv2d`, 1 per value of whatever an attention computes
            beside its products, and per pooled value as many as its window has pixels (the values
            that come in, where the window is the map). The plain sign and the scale of a 1-bit
            convolution are none.
        packed_bytes: of its tensors in a packed file; 0 if its output does not matter to the logits.
        folded: whether it is a batch norm that the packed file keeps as the thresholds of signs.
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
    elementwise: int = 0
    packed_bytes: int = 0
    folded: bool = False

    @property
    def output_bytes(self) -> int:
        """Bytes of the output as the float simulation holds it: 4 for each value."""
        return 4 * prod(self.output)


@dataclass(frozen=True)
class Ledger:
    """The layers of one forward pass, in the order in which they ran.

    Attributes:
        peak_activation_bytes: the most that maps take at once in the float simulation of one image:
            4 for each value of the maps that Python holds after a layer, its input, its output and
            the image among them. What a layer makes within itself is left out.
        peak_packed_activation_bytes: the same if a map that 1-bit convolutions alone read
            (directly, or through Hardtanh or RSign) takes one bit for each value.
    """

    layers: tuple[Layer, ...]
    peak_activation_bytes: int = 0
    peak_packed_activation_bytes: int = 0

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
        BenchError: if a layer of unknown type runs, or if anything but sums, products, rectifiers
            and pools of maps is computed outside the known layers, or a layer's parameter is used
            there: nothing is silently counted as zero.
    """
    twin = _without_data(network).eval()
    clerk = _Clerk(twin)
    first = next(chain(twin.parameters(), [torch.empty(0)]))
    image = torch.empty(1, *shape, dtype=first.dtype, device="meta")
    clerk.maps.make(image, ())
    with torch.no_grad(), clerk:
        # twin(image) would charge a meter that happens to be open
        return clerk.close(nn.Module.__call__(twin, image))


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
    if known_kind(module) or not children or (owner and not is_carrier(module)):
        yield name, module
        return
    for child_name, child in children:
        yield from _accountable(child, f"{name}.{child_name}".removeprefix("."), seen)


@dataclass(frozen=True)
class _Entry:
    """A layer before it is known who reads its output."""

    layer: Layer
    module: nn.Module | None
    made: Map

    def closed(self) -> Layer:
        """The layer with its packed bytes: a folded norm has become the threshold of each sign."""
        channels, size, folded = self.layer.input[:1], self.layer.packed_bytes, False
        if not self.made.live:
            size = 0
        elif self.made.folded and self.made.maker is self.module:
            size = len(self.made.thresholds or ()) * threshold_bytes(*channels)
            folded = True
        elif isinstance(self.module, RSign | NormalisedConv2d) and self.made.sources[0].folded:
            size -= 4 * channels[0]  # the norm's threshold is the layer's
        return replace(self.layer, packed_bytes=size, folded=folded)


def _shapes(func: Any, args: Any) -> Any:
    """What a frequent operator gives on the meta device, where torch takes milliseconds to say it."""
    aten = torch.ops.aten
    match func:
        case aten.native_batch_norm.default:
            return _like(args[0]), *(torch.empty(0, device="meta") for _ in range(2))
        case aten._prelu_kernel.default:
            return _like(args[0])
        case aten.add.Tensor | aten.mul.Tensor | aten.copysign.Tensor:
            maps = [x for x in args if isinstance(x, Tensor) and x.dim()]
            if (
                maps
                and len({(x.shape, x.dtype) for x in maps}) == 1
                and maps[0].is_floating_point()
            ):
                return _like(maps[0])
    return None


def _like(x: Tensor) -> Tensor:
    """torch.empty_like asks Python for the strides."""
    return torch.empty(x.shape, dtype=x.dtype, device="meta")


class _Clerk(TorchDispatchMode):
    """Lists the executions of layers while active, and refuses what it cannot account for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.maps = Maps(network.parameters())
        self._entries: list[_Entry] = []
        self._names = {parameter: name for name, parameter in network.named_parameters()}
        self._listed: set[Tensor | nn.Module] = set()
        self._inside: Work | None = None
        self._where = [""]
        accountable = {module: name for name, module in _accountable(network)}
        for name, module in network.named_modules():
            if module in accountable:
                self._watch(accountable[module], module)
            else:
                self._follow(name, module)

    def close(self, outputs: Any) -> Ledger:
        """The ledger, once the network has run and made its outputs."""
        self.maps.finish(tensors(outputs))
        return Ledger(
            tuple(entry.closed() for entry in self._entries),
            self.maps.peak(packed=False),
            self.maps.peak(packed=True),
        )

    def _watch(self, name: str, module: nn.Module) -> None:
        def enter(*_: Any) -> None:
            if known_kind(module) is None:
                raise BenchError(
                    f"the cost of layer '{name}' of type {type(module).__qualname__} is unknown; "
                    "build it from the layers in bnas_bench.cost.layers.KINDS, or add it there"
                )
            self._inside = Work()

        def leave(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            inputs, y = tensors((args, kwargs)), tensors(output)[0]
            work, self._inside = self._inside or Work(), None
            made = self.maps.make(y, inputs, module)
            layer = self._layer(name, module, inputs[0], y, work)
            self._entries.append(_Entry(layer, module, made))

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave, with_kwargs=True)

    def _follow(self, name: str, module: nn.Module) -> None:
        """Know where an operation between the layers is, and which parameters it may use."""
        own = dict(module.named_parameters(recurse=False)) if is_carrier(module) else {}
        for parameter in own.values():
            self._names.pop(parameter, None)

        def enter(*_: Any) -> None:
            self._where.append(name)
            for key, parameter in own.items():
                self._carried(f"{name}.{key}".removeprefix("."), parameter)

        def leave(*_: Any) -> None:
            self._where.pop()

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = _shapes(func, args)
        if result is None:
            result = func(*args, **kwargs)
        if self._inside is None:
            self._between(func, args, tensors((args, kwargs)), result)
        else:
            self._inside.add(func, args, kwargs, result)
        return result

    def _between(self, func: Any, args: Any, operands: list[Tensor], result: Any) -> None:
        """Enter an operation between the layers."""
        for parameter in self._names.keys() & set(operands):
            raise BenchError(
                f"parameter '{self._names[parameter]}' is used outside a layer, so its cost is "
                "unknown; call the layer that owns it"
            )
        if func.overloadpacket in flop_registry:
            raise BenchError(
                f"{func.overloadpacket} multiplies outside a layer, so its cost is unknown; "
                "use one of the layers in bnas_bench.cost.layers.KINDS"
            )
        made_of = tensors(result)
        if not made_of or not operands:
            return
        operation, y = name_of(func), made_of[0]
        made = self.maps.make(y, operands)
        if operation in OUTSIDE:
            x = next((x for x in operands if x not in self._listed), y)
            self._entries.append(_Entry(self._operation(operation, args, x, y), None, made))
        elif not func.is_view and operation not in COPIES:
            raise BenchError(
                f"{func.overloadpacket} computes outside a layer, so its cost is unknown; "
                "use one of the layers in bnas_bench.cost.layers.KINDS, or add it to OUTSIDE there"
            )

    def _carried(self, name: str, parameter: Tensor) -> None:
        """Enter a parameter that operations between the layers use, once."""
        if parameter not in self._listed:
            self._listed.add(parameter)
            shape, size = tuple(parameter.shape), parameter.numel()
            layer = Layer(name, "parameter", shape, shape, 32, 32, 0, {32: size}, 0)
            layer = replace(layer, packed_bytes=4 * size)
            self._entries.append(_Entry(layer, None, Map(None, (), live=True)))

    def _operation(self, operation: str, args: Any, x: Tensor, y: Tensor) -> Layer:
        kind, per_value = OUTSIDE[operation], 1
        if kind == "pool":
            per_value = x.numel() // y.numel() if operation == "mean" else window(args[1])
        return Layer(
            name=f"{self._where[-1]}.{kind}".removeprefix("."),
            kind=kind,
            input=tuple(x.shape[1:]),
            output=tuple(y.shape[1:]),
            weight_bits=32,
            activation_bits=32,
            macs=0,
            parameters={},
            constants=0,
            elementwise=per_value * y.numel(),
        )

    def _layer(self, name: str, module: nn.Module, x: Tensor, y: Tensor, work: Work) -> Layer:
        weight_bits, activation_bits = operand_bits(module)
        parameters: Counter[int] = Counter()
        for parameter, bits in stored(module):
            if parameter not in self._listed:
                parameters[bits] += parameter.numel()
        constants = 0 if module in self._listed else constants_of(module)
        self._listed |= {module, *module.parameters()}
        if kind_of(module) != "attention":
            work = Work(macs_of(module, y), biases_of(module, y), elementwise_of(module, x, y))
        return Layer(
            name=name,
            kind=kind_of(module),
            input=tuple(x.shape[1:]),
            output=tuple(y.shape[1:]),
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            macs=work.macs,
            parameters=dict(parameters),
            constants=constants,
            biases=work.biases,
            elementwise=work.elementwise,
            packed_bytes=packed_bytes_of(module, x),
        )

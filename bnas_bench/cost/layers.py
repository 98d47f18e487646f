"""What the ledger knows of a layer: its kind, its arithmetic, the numbers it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from torch import Tensor, nn

from bnas_bench.nn.binary import BinaryConv2d, Precision, PReLU, RPReLU, RSign
from bnas_bench.nn.nasbnn.network import NormalisedConv2d
from bnas_bench.nn.quantised import QuantConv2d

KINDS: dict[type[nn.Module], str] = {
    nn.Conv2d: "conv",
    BinaryConv2d: "conv",
    NormalisedConv2d: "conv",
    QuantConv2d: "conv",
    nn.Linear: "linear",
    nn.BatchNorm1d: "norm",
    nn.BatchNorm2d: "norm",
    nn.LayerNorm: "norm",
    nn.GroupNorm: "norm",
    nn.MultiheadAttention: "attention",
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU), "activation"),
    **dict.fromkeys((nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh), "activation"),
    **dict.fromkeys((nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.Softplus), "activation"),
    RSign: "activation",
    PReLU: "activation",
    RPReLU: "activation",
    nn.MaxPool2d: "pool",
    nn.AvgPool2d: "pool",
    nn.AdaptiveMaxPool2d: "pool",
    nn.AdaptiveAvgPool2d: "pool",
    nn.Identity: "identity",
    nn.Dropout: "identity",
    nn.Dropout2d: "identity",
    nn.Flatten: "reshape",
}
"""The layers that the ledger knows. Exact types: a subclass may compute something else."""

TORCHVISION: dict[str, str] = {
    "ops.misc.Permute": "reshape",
    "ops.stochastic_depth.StochasticDepth": "identity",
    "models.convnext.LayerNorm2d": "norm",
    "models.maxvit.RelativePositionalMultiHeadAttention": "attention",
    "models.maxvit.SwapAxes": "reshape",
    "models.maxvit.WindowDepartition": "reshape",
    "models.maxvit.WindowPartition": "reshape",
    "models.swin_transformer.ShiftedWindowAttention": "attention",
    "models.swin_transformer.ShiftedWindowAttentionV2": "attention",
}
"""The layers of torchvision that it knows, by name: who counts no such network need not import it."""

CARRIERS = frozenset(
    {
        "models.convnext.CNBlock",
        "models.vision_transformer.Encoder",
        "models.vision_transformer.VisionTransformer",
    }
)
"""Containers of torchvision with parameters of their own (the scale of a branch, a class token, an
embedding of places), which are added to, multiplied with or set beside the maps between the layers."""

OUTSIDE: dict[str, str] = {
    "add": "add",
    "sub": "add",
    "mul": "multiply",
    **dict.fromkeys(("relu", "leaky_relu", "elu", "gelu", "silu", "mish"), "activation"),
    **dict.fromkeys(("hardtanh", "hardswish", "sigmoid", "hardsigmoid", "tanh"), "activation"),
    "avg_pool2d": "pool",
    "max_pool2d_with_indices": "pool",
    "mean": "pool",
}
"""What a network may compute between its layers, by torch's name and without the `_` of in-place."""

COPIES = frozenset(
    {"clone", "cat", "stack", "repeat", "roll", "index", "copy", "constant_pad_nd"}
    | {"upsample_nearest2d"}
    | {"empty", "scalar_tensor", "zero", "zeros_like", "new_zeros", "_unsafe_view", "_to_copy"}
)
"""What moves values about or makes zeros, and computes nothing; views do not either."""


def known_kind(module: nn.Module) -> str | None:
    """The kind of a layer by its exact type; None if the ledger does not know it."""
    return KINDS.get(type(module)) or TORCHVISION.get(_torchvision_name(module))


def is_carrier(module: nn.Module) -> bool:
    """Whether a module's own parameters meet the maps between its layers."""
    return _torchvision_name(module) in CARRIERS


def _torchvision_name(module: nn.Module) -> str:
    """Where a class of torchvision stands in it; empty for any other."""
    package, _, place = type(module).__module__.partition(".")
    return f"{place}.{type(module).__qualname__}" if package == "torchvision" else ""


def kind_of(module: nn.Module) -> str:
    """The kind of a known layer, one of those of `Layer.kind`."""
    if isinstance(module, nn.Conv2d | BinaryConv2d | QuantConv2d):
        if module.groups == module.in_channels > 1:
            return "depthwise"
        if module.kernel_size in (1, (1, 1)):
            return "pointwise"
    kind = known_kind(module)
    assert kind is not None, "what is unknown is refused before it runs"
    return kind


def macs_of(module: nn.Module, y: Tensor) -> int:
    """MACs that make the output `y` of a batch of one."""
    if isinstance(module, nn.Conv2d | BinaryConv2d | QuantConv2d | nn.Linear):
        return y.numel() * module.weight.shape[1:].numel()
    return 0


def biases_of(module: nn.Module, y: Tensor) -> int:
    """Additions of a bias that make the output `y` of a batch of one."""
    biased = isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None
    return y.numel() if biased else 0


def elementwise_of(module: nn.Module, x: Tensor, y: Tensor) -> int:
    """Real operations beside MACs and biases; see `Layer.elementwise`."""
    match module:
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return 2 * y.numel()
        case nn.LayerNorm() | nn.GroupNorm():
            return (4 if module.weight is None else 5) * y.numel()
        case RPReLU():
            return 3 * y.numel()
        case NormalisedConv2d():
            return x.numel()
        case nn.MaxPool2d() | nn.AvgPool2d():
            return y.numel() * window(module.kernel_size)
        case nn.AdaptiveMaxPool2d() | nn.AdaptiveAvgPool2d():
            return max(x.numel(), y.numel())
    return y.numel() if kind_of(module) == "activation" else 0


def window(kernel_size: int | tuple[int, ...]) -> int:
    """Pixels under a kernel."""
    return kernel_size**2 if isinstance(kernel_size, int) else prod(kernel_size)


def operand_bits(module: nn.Module) -> tuple[int, int]:
    """Bits of the weights and of the activations that a layer multiplies."""
    if isinstance(module, BinaryConv2d):
        return module.precision.weight_bits, module.precision.activation_bits
    if isinstance(module, QuantConv2d):
        return module.weight_bits, module.activation_bits
    return 32, 32


def stored(module: nn.Module) -> Iterator[tuple[Tensor, int]]:
    """The parameters that inference needs, with their bits."""
    weight_bits, activation_bits = operand_bits(module)
    unused = {"theta"}  # of Bi-Transformation: the signs of the weights know it
    if weight_bits == 32:
        unused |= {"beta", "weight_step"}
    if activation_bits == 32:
        unused |= {"input_step"}
    for name, parameter in module.named_parameters():
        if name not in unused:
            yield parameter, weight_bits if name == "weight" else 32


def constants_of(module: nn.Module) -> int:
    """How many 32-bit numbers beside the parameters inference needs."""
    if isinstance(module, BinaryConv2d):
        scales = {"xnor": module.out_channels, "layer": 1}
        return scales.get(module.scale, 0) if module.precision.weight_bits == 1 else 0
    return sum(b.numel() for b in module.buffers() if b.is_floating_point())


def words_of(bits: int) -> int:
    """Bytes of so many bits in 64-bit words."""
    return 8 * -(-bits // 64)


def threshold_bytes(channels: int) -> int:
    """Bytes of the thresholds that a batch norm before a sign becomes, and of where they turn it."""
    return 4 * channels + words_of(channels)


def packed_bytes_of(module: nn.Module, x: Tensor) -> int:
    """Bytes of a layer's tensors in a packed file, if nothing is folded (`bnas_bench.packed`)."""
    match module:
        case BinaryConv2d():
            shift = 4 if module.precision == Precision.W1A1 else 8  # a threshold, or an affine map
            size = shift * x.shape[1] if isinstance(module, NormalisedConv2d) else 0
            if module.precision.weight_bits == 32:
                return size + 4 * module.weight.numel()
            scales = module.out_channels if module.scale in ("learned", "xnor") else 1
            return size + words_of(module.weight.numel()) + 4 * scales
        case QuantConv2d() if operand_bits(module) == (8, 8):
            return module.weight.numel() + 8
        case nn.Conv2d():
            return 4 * (module.weight.numel() + (0 if module.bias is None else len(module.bias)))
        case QuantConv2d():
            return 4 * module.weight.numel()
        case nn.Linear():
            return 4 * (module.weight.numel() + module.out_features)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return 8 * x.shape[1]
        case RSign() | nn.PReLU():
            return 4 * x.shape[1]
        case RPReLU():
            return 12 * x.shape[1]
        case _ if kind_of(module) in ("norm", "attention"):
            return 4 * sum(parameter.numel() for parameter in module.parameters())
    return 0

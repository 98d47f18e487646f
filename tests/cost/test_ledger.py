"""The ledger against counts by hand and against fvcore."""

import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torchvision.models import resnet18

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.errors import BenchError
from bnas_bench.cost import Layer, costs, ledger
from bnas_bench.nn.binary import BinaryConv2d, Precision, RPReLU, RSign
from bnas_bench.nn.nasbnn.network import NormalisedConv2d
from bnas_bench.nn.network import Network
from bnas_bench.nn.quantised import QuantConv2d
from bnas_bench.plugins.registry import find
from bnas_bench.search.meter import Meter


def only(module: nn.Module, shape: tuple[int, int, int]) -> Layer:
    (layer,) = ledger(nn.Sequential(module), shape).layers
    return layer


def fvcore_macs(network: nn.Module, shape: tuple[int, int, int]) -> dict[str, float]:
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    return FlopCountAnalysis(network.eval(), torch.zeros(1, *shape)).by_operator()


class Small(Network):
    """Every kind of layer, a layer that runs twice, and a head that evaluation leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.twice = BinaryConv2d(4, 4, 3, padding=1)
        self.depthwise = BinaryConv2d(4, 4, 3, groups=4, padding=1, precision=Precision.W1A32)
        self.norm = nn.BatchNorm2d(4)
        self.sign = RSign(4)
        self.slope = RPReLU(4)
        self.pointwise = BinaryConv2d(4, 6, 1, scale="xnor")
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 5)
        self.auxiliary = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.depthwise(self.twice(self.twice(self.stem(x)))))
        x = self.pool(self.pointwise(self.slope(self.sign(x)))).flatten(1)
        return self.head(x) + self.auxiliary(x) if self.training else self.head(x)


@pytest.mark.parametrize(
    ("conv", "shape", "output", "macs", "kind"),
    [
        # output values x weights per output channel
        (BinaryConv2d(4, 8, 3, stride=2, padding=1), (4, 9, 9), (8, 5, 5), 200 * 36, "conv"),
        (BinaryConv2d(4, 8, 3, groups=2), (4, 8, 8), (8, 6, 6), 288 * 18, "conv"),
        (BinaryConv2d(4, 8, 3, dilation=2), (4, 8, 9), (8, 4, 5), 160 * 36, "conv"),
        (
            BinaryConv2d(6, 6, 5, dilation=2, padding=4, groups=6, stride=2),
            (6, 7, 7),
            (6, 4, 4),
            96 * 25,
            "depthwise",
        ),
        (BinaryConv2d(6, 12, 3, padding=1, groups=6), (6, 7, 7), (12, 7, 7), 588 * 9, "depthwise"),
        (BinaryConv2d(6, 9, 1, stride=2), (6, 7, 7), (9, 4, 4), 144 * 6, "pointwise"),
        (BinaryConv2d(1, 3, 3), (1, 3, 3), (3, 1, 1), 27, "conv"),
        (nn.Conv2d(4, 4, 1, groups=4), (4, 2, 2), (4, 2, 2), 16, "depthwise"),
        (nn.Conv2d(4, 4, (1, 3)), (4, 2, 3), (4, 2, 1), 8 * 12, "conv"),
    ],
)
def test_convolutions_by_hand(
    conv: nn.Module, shape: tuple[int, int, int], output: tuple[int, ...], macs: int, kind: str
) -> None:
    layer = only(conv, shape)
    assert (layer.input, layer.output, layer.macs, layer.kind) == (shape, output, macs, kind)


def test_linear_counts_no_macs_for_its_bias() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    layer = ledger(network, (3, 2, 2)).layers[1]
    assert (layer.kind, layer.macs, layer.parameters) == ("linear", 60, {32: 65})


@pytest.mark.parametrize("running", list(Precision))
@pytest.mark.parametrize("own", list(Precision))
def test_bits_follow_the_layer_and_the_network(own: Precision, running: Precision) -> None:
    network = Small()
    network.twice.own = own
    network.precision = running
    layer = ledger(network, (3, 8, 8)).layers[1]
    assert layer.weight_bits == max(own.weight_bits, running.weight_bits)
    assert layer.activation_bits == max(own.activation_bits, running.activation_bits)
    scaled = {1: 144, 32: 4} if layer.weight_bits == 1 else {32: 144}
    assert layer.parameters == scaled


def test_the_layers_of_a_network_in_order() -> None:
    network = Small()
    result = ledger(network, (3, 8, 8))
    assert [(layer.name, layer.kind, layer.macs) for layer in result.layers] == [
        ("stem", "conv", 4 * 64 * 27),
        ("twice", "conv", 4 * 64 * 36),
        ("twice", "conv", 4 * 64 * 36),
        ("depthwise", "depthwise", 4 * 64 * 9),
        ("norm", "norm", 0),
        ("sign", "activation", 0),
        ("slope", "activation", 0),
        ("pointwise", "pointwise", 6 * 64 * 4),
        ("pool", "pool", 0),
        ("head", "linear", 30),
    ]
    assert result.macs == {
        "W32A32": 4 * 64 * 27 + 30,
        "W1A1": 2 * 4 * 64 * 36 + 6 * 64 * 4,
        "W1A32": 4 * 64 * 9,
    }
    # stem 108 + 4, the scales of two convolutions, norm, RSign, RPReLU, head; no auxiliary head
    assert result.parameters == {1: 144 + 36 + 24, 32: 112 + 4 + 4 + 8 + 4 + 12 + 35}
    # running mean and variance, and the six XNOR scales of the pointwise convolution
    assert result.constants == 4 + 4 + 6


def test_tied_weights_are_stored_once() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    result = ledger(nn.Sequential(nn.Flatten(), first, second), (1, 2, 2))
    assert result.parameters == {32: 16 + 4 + 4}
    assert result.macs == {"W32A32": 32}


def hooks(network: nn.Module) -> list[int]:
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]


def test_the_network_is_left_as_it_was() -> None:
    network = Small()
    network.norm.eval()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    hooks_before = hooks(network)
    ledger(network, (3, 8, 8))
    assert network.training
    assert not network.norm.training
    assert hooks(network) == hooks_before
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_an_open_meter_is_not_charged() -> None:
    with Meter(10) as meter:
        ledger(Small(), (3, 8, 8))
    assert meter.spent == 0


class Owner(nn.Module):
    """A container with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, 3, 1)
        self.gain = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * self.inner(x)


class Bypass(nn.Module):
    """Uses a layer's weights without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.norm.weight.view(3, 1, 1)


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(torch.einsum("bchw,bkhw->bck", x, x))


class Exponential(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.exp())


class Subclass(nn.Conv2d):
    """A convolution that may compute something else."""


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Softmax(1), "the cost of layer '0' of type Softmax is unknown"),
        (nn.Bilinear(4, 4, 4), "the cost of layer '0' of type Bilinear is unknown"),
        (Owner(), "the cost of layer '0' of type Owner is unknown"),
        (Subclass(3, 3, 1), "the cost of layer '0' of type Subclass is unknown"),
        (Bypass(), "parameter '0.norm.weight' is used outside a layer"),
        (Product(), r"aten\.\w+ multiplies outside a layer"),
        (Exponential(nn.ReLU()), r"aten\.exp computes outside a layer"),
    ],
)
def test_nothing_unknown_counts_as_zero(module: nn.Module, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        ledger(nn.Sequential(module), (3, 4, 4))


def test_an_unknown_layer_that_does_not_run_does_no_harm() -> None:
    network = Small()
    network.add_module("auxiliary", nn.Softmax(1))
    assert "auxiliary" not in {layer.name for layer in ledger(network, (3, 8, 8)).layers}


def test_resnet18_and_where_1819_comes_from() -> None:
    """Profilers say 1,819 M: 1,814 M of MACs, and batch normalisation at 2 per value."""
    network = resnet18()
    result = ledger(network, (3, 224, 224))
    by_operator = fvcore_macs(network, (3, 224, 224))
    assert result.macs == {"W32A32": 1_814_073_344}
    assert result.macs["W32A32"] == by_operator["conv"] + by_operator["linear"]
    assert result.parameters == {32: 11_689_512}
    assert by_operator["batch_norm"] == 4_967_424
    flops = costs(result)["ops"]["flops"]
    assert flops == sum(by_operator[kind] for kind in ("conv", "linear", "batch_norm"))
    assert round(flops / 1e6) == 1819
    # while the first norm runs: the image, the first convolution's map and its own
    assert result.peak_activation_bytes == 4 * (3 * 224**2 + 2 * 64 * 112**2)


def test_fvcore_agrees_on_binary_convolutions_run_with_real_numbers() -> None:
    network = Small()
    network.precision = Precision.W32A32
    by_operator = fvcore_macs(network, (3, 11, 8))
    macs = ledger(network, (3, 11, 8)).macs
    assert macs == {"W32A32": by_operator["conv"] + by_operator["linear"]}


def test_fvcore_agrees_on_a_network_of_the_space_run_with_real_numbers() -> None:
    rng = np.random.default_rng(0)
    space = find("space", "darts-binary").make({})
    spec = NetworkSpec((3, 64, 64), 10, cells=4, channels=6)
    network = space.network(space.sample(rng), spec, rng)
    network.precision = Precision.W32A32
    by_operator = fvcore_macs(network, spec.shape)
    assert ledger(network, spec.shape).macs == {
        "W32A32": by_operator["conv"] + by_operator["linear"]
    }


def test_double_networks_and_buffers() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2, affine=False)).double()
    result = ledger(network, (3, 4, 4))
    assert result.parameters == {32: 56}
    assert result.constants == 4
    assert np.prod(result.layers[1].output) == 8


class Between(nn.Module):
    """Everything that may be computed between layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.ReLU(), Doubled(nn.Identity()))

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x) + x
        x = torch.cat([x, x], dim=1)[:, :, ::2].clone()
        x = F.max_pool2d(F.avg_pool2d(x * x, 1), (2, 3), 1)
        x += 1
        return F.relu(x).mean((2, 3))


class Doubled(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return x + x


def test_what_is_computed_between_layers_is_listed_where_it_happens() -> None:
    layers = ledger(Between(), (2, 8, 6)).layers
    assert [(x.name, x.kind, x.input, x.output, x.elementwise) for x in layers] == [
        ("inner.0", "activation", (2, 8, 6), (2, 8, 6), 96),
        ("inner.1.0", "identity", (2, 8, 6), (2, 8, 6), 0),
        ("inner.1.add", "add", (2, 8, 6), (2, 8, 6), 96),
        ("add", "add", (2, 8, 6), (2, 8, 6), 96),
        ("multiply", "multiply", (4, 4, 6), (4, 4, 6), 96),
        ("pool", "pool", (4, 4, 6), (4, 4, 6), 96),
        ("pool", "pool", (4, 4, 6), (4, 3, 4), 4 * 12 * 6),
        ("add", "add", (4, 3, 4), (4, 3, 4), 48),
        ("activation", "activation", (4, 3, 4), (4, 3, 4), 48),
        ("pool", "pool", (4, 3, 4), (4,), 48),
    ]
    assert {(x.macs, x.packed_bytes, *x.parameters) for x in layers} == {(0, 0)}


@pytest.mark.parametrize(
    ("module", "elementwise"),
    [  # on a map of 4 x 6 x 6
        (nn.BatchNorm2d(4), 2 * 144),
        (nn.ReLU(), 144),
        (nn.ReLU6(), 144),
        (nn.SiLU(inplace=True), 144),
        (nn.GELU(), 144),
        (nn.Hardswish(), 144),
        (nn.Sigmoid(), 144),
        (nn.LayerNorm(6), 5 * 144),
        (nn.LayerNorm((6, 6), elementwise_affine=False), 4 * 144),
        (nn.GroupNorm(2, 4), 5 * 144),
        (nn.Dropout2d(), 0),
        (nn.Hardtanh(), 144),
        (nn.PReLU(4), 144),
        (RSign(4), 144),
        (RPReLU(4), 3 * 144),
        (nn.MaxPool2d(3, 2, padding=1), 4 * 9 * 9),
        (nn.AvgPool2d((2, 3)), 4 * 3 * 2 * 6),
        (nn.AdaptiveAvgPool2d(1), 144),
        (nn.AdaptiveAvgPool2d(7), 4 * 49),
        (nn.Identity(), 0),
        (nn.Conv2d(4, 3, 1), 0),
        (BinaryConv2d(4, 3, 1), 0),
        (NormalisedConv2d(4, 3, 3, stride=2), 144),
    ],
)
def test_operations_beside_macs(module: nn.Module, elementwise: int) -> None:
    assert only(module, (4, 6, 6)).elementwise == elementwise


def test_bytes_of_an_output() -> None:
    assert only(nn.Conv2d(3, 5, 3), (3, 8, 7)).output_bytes == 4 * 5 * 6 * 5


@pytest.mark.parametrize(
    ("modules", "simulated", "packed"),
    [
        # values of the image, and of what a layer reads and makes while it runs
        ([nn.Conv2d(2, 5, 1)], 32 + 80, None),
        ([nn.Conv2d(2, 5, 1), nn.BatchNorm2d(5)], 32 + 2 * 80, None),
        ([nn.ReLU(inplace=True), nn.Conv2d(2, 5, 1)], 32 + 80, None),
        ([nn.Flatten(), nn.Linear(32, 3)], 32 + 3, None),
        # the most is alive in the middle: 5 channels in, 7 out
        ([nn.Conv2d(2, 5, 1), nn.Conv2d(5, 7, 1), nn.Conv2d(7, 1, 1)], 32 + 80 + 112, None),
        # the input of a 1-bit convolution has 80 bits, so has that of the clip before it
        ([nn.Conv2d(2, 5, 1), BinaryConv2d(5, 7, 1)], 32 + 80 + 112, 4 * (32 + 112) + 10),
        (
            [nn.Conv2d(2, 5, 1), nn.Hardtanh(), BinaryConv2d(5, 1, 1)],
            32 + 2 * 80,
            4 * (32 + 16) + 10,
        ),
        ([BinaryConv2d(2, 5, 1, precision=Precision.W1A32)], 32 + 80, None),
    ],
)
def test_peak_of_the_maps(modules: list[nn.Module], simulated: int, packed: int | None) -> None:
    result = ledger(nn.Sequential(*modules), (2, 4, 4))
    assert result.peak_activation_bytes == 4 * simulated
    assert result.peak_packed_activation_bytes == (4 * simulated if packed is None else packed)


class Held(nn.Module):
    """A shortcut: the map that it starts from stays until it is added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide = nn.Conv2d(1, 2, 1), BinaryConv2d(2, 8, 1)
        self.narrow = BinaryConv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.narrow(self.wide(x)) + x


def test_peak_with_a_shortcut() -> None:
    """Image 1, stem 2, wide 8 and narrow 2 times 16 values; only the wide map is nothing but signs.

    As bits it is so small that the sum, beside what it adds, is the peak.
    """
    result = ledger(Held(), (1, 4, 4))
    assert result.peak_activation_bytes == 4 * 16 * (1 + 2 + 8 + 2)
    assert result.peak_packed_activation_bytes == 4 * 16 * (1 + 2 + 2 + 2)


class Signs(nn.Module):
    """A norm, and what reads it."""

    def __init__(self, *readers: nn.Module) -> None:
        super().__init__()
        self.norm, self.readers = nn.BatchNorm2d(70), nn.ModuleList(readers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return torch.cat([reader(x) for reader in self.readers], dim=1)


def conv() -> BinaryConv2d:
    return BinaryConv2d(70, 3, 1)


CONV = 8 * 4 + 4 * 3
"""Bytes of 210 signs in words, and of three scales."""

FOLDED = 4 * 70 + 8 * 2
"""Bytes of 70 thresholds, and of 70 bits in words."""


@pytest.mark.parametrize(
    ("readers", "norm", "rest"),
    [
        ([conv()], FOLDED, CONV),
        ([conv(), conv()], FOLDED, 2 * CONV),
        ([conv(), nn.Sequential(nn.Hardtanh(), conv())], FOLDED, 2 * CONV),
        ([nn.Sequential(RSign(70), conv())], FOLDED, CONV),
        ([conv(), nn.Sequential(RSign(70), conv())], 2 * FOLDED, 2 * CONV),
        ([NormalisedConv2d(70, 3, 1), NormalisedConv2d(70, 3, 1)], 2 * FOLDED, 2 * CONV),
        ([nn.Sequential(nn.Identity(), conv())], FOLDED, CONV),
        # read as numbers as well, or by nothing but numbers: a scale and an offset per channel
        ([conv(), nn.Identity()], 8 * 70, CONV),
        ([nn.Sequential(RSign(70), conv()), nn.ReLU()], 8 * 70, CONV + 4 * 70),
        ([NormalisedConv2d(70, 3, 1), nn.ReLU()], 8 * 70, CONV + 4 * 70),
        ([nn.Sequential(nn.PReLU(), conv())], 8 * 70, CONV + 4 * 70),
        ([BinaryConv2d(70, 3, 1, precision=Precision.W1A32)], 8 * 70, CONV),
    ],
)
def test_packed_bytes_of_a_norm(readers: list[nn.Module], norm: int, rest: int) -> None:
    first, *layers = ledger(Signs(*readers), (70, 4, 4)).layers
    assert (first.packed_bytes, first.folded) == (norm, norm != 8 * 70)
    assert sum(layer.packed_bytes for layer in layers) == rest


@pytest.mark.parametrize(
    ("module", "size"),
    [
        (nn.Conv2d(4, 6, 3, groups=2, bias=False), 4 * 6 * 2 * 9),
        (nn.Conv2d(4, 6, 1), 4 * (24 + 6)),
        (QuantConv2d(4, 6, 3), 6 * 36 + 8),
        (BinaryConv2d(4, 6, 3), 8 * 4 + 4 * 6),
        (BinaryConv2d(4, 6, 3, scale="xnor", precision=Precision.W1A32), 8 * 4 + 4 * 6),
        (BinaryConv2d(4, 6, 3, scale="layer"), 8 * 4 + 4),
        (BinaryConv2d(4, 6, 3, scale="none"), 8 * 4 + 4),
        (BinaryConv2d(4, 6, 3, precision=Precision.W32A32), 4 * 216),
        (NormalisedConv2d(4, 6, 3), 8 * 4 + 4 * 6 + 4 * 4),
        (nn.BatchNorm2d(4), 32),
        (nn.LayerNorm(6), 48),
        (RPReLU(4), 48),
        (nn.PReLU(), 16),
        (nn.MaxPool2d(2), 0),
    ],
)
def test_packed_bytes_of_a_layer(module: nn.Module, size: int) -> None:
    assert only(module, (4, 6, 6)).packed_bytes == size


class Dead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.unused = nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)
        self.used = BinaryConv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        self.unused(x)
        return self.used(x)


def test_what_does_not_matter_to_the_logits_is_counted_but_not_packed() -> None:
    result = ledger(Dead(), (2, 4, 4))
    assert [(x.name, x.packed_bytes, x.folded) for x in result.layers] == [
        ("norm", 4 * 2 + 8, True),
        ("unused", 0, False),
        ("used", 8 + 12, False),
    ]
    assert result.macs == {"W32A32": 64, "W1A1": 96}

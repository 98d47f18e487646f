"""The conventions against counts by hand and against the papers' tables."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.cost import OPS, Layer, Ledger, costs, ledger, memory, ops
from bnas_bench.cost.conventions import BEYOND_PRODUCTS
from bnas_bench.cost.formula import check_convention, convolution_ops, linear_ops
from bnas_bench.plugins.registry import find
from bnas_bench.search.space import SearchSpace

PUBLISHED = """DDPNAS_MCN_2 = Genotype(normal=[('sep_conv_5x5', 1), ('max_pool_3x3', 0),
    ('dil_conv_3x3', 2), ('skip_connect', 0), ('sep_conv_3x3', 3), ('avg_pool_3x3', 1),
    ('dil_conv_3x3', 4), ('avg_pool_3x3', 3)], normal_concat=range(2, 6),
    reduce=[('max_pool_3x3', 0), ('sep_conv_3x3', 1), ('dil_conv_3x3', 1), ('sep_conv_3x3', 0),
    ('max_pool_3x3', 1), ('dil_conv_5x5', 2), ('dil_conv_5x5', 2), ('sep_conv_5x5', 1)],
    reduce_concat=range(2, 6))"""
IMAGENET, CIFAR = (3, 224, 224), (3, 32, 32)

LAYER = Layer("conv", "conv", (1, 1, 1), (1, 1, 1), 1, 1, 65, {1: 10, 32: 3}, 2)


def published(channels: int, **options: tuple[str, ...]) -> Ledger:
    """The ledger of the network that DCP-NAS' authors published, for ImageNet."""
    space = find("space", "darts-binary").make(options)
    spec = NetworkSpec(IMAGENET, 1000, cells=10, channels=channels)
    network = space.network(space.parse(PUBLISHED), spec, np.random.default_rng(0))
    return ledger(network, IMAGENET)


@cache
def handmade(model: str, shape: tuple[int, int, int]) -> Ledger:
    """The ledger of a hand-made network at its paper's width."""
    space = find("space", "handcrafted").make({})
    spec = NetworkSpec(shape, 1000 if shape == IMAGENET else 10, 1, 64)
    arch = Architecture("handcrafted", {"model": model})
    return ledger(space.network(arch, spec, np.random.default_rng(0)), shape)


@pytest.mark.parametrize(
    ("bits", "kind", "dcp_nas", "nas_bnn", "bireal", "honest"),
    [
        ((32, 32), "conv", 1, 1, 1, 1),
        ((32, 1), "conv", 1, 1, 1, 1),
        ((1, 32), "pointwise", 1 / 64, 1, 1, 1),
        ((1, 32), "depthwise", 1, 1, 1, 1),
        ((1, 1), "depthwise", 1 / 64, 1 / 64, 1 / 64, 1 / 64),
        ((1, 1), "conv", 1 / 64, 1 / 64, 1 / 64, 1 / 64),
        ((8, 8), "conv", 1, 1 / 8, 1, 1 / 8),
        ((1, 8), "pointwise", 1 / 64, 1 / 8, 1, 1),
    ],
)
def test_price_of_a_mac(
    bits: tuple[int, int], kind: str, dcp_nas: float, nas_bnn: float, bireal: float, honest: float
) -> None:
    layer = replace(LAYER, kind=kind, weight_bits=bits[0], activation_bits=bits[1], elementwise=7)
    binary = bits == (1, 1)
    assert {name: ops(Ledger((layer,)), name) for name in OPS} == {
        "dcp-nas": 65 / 58 if dcp_nas == 1 / 64 else 65,
        "dcp-nas-64": 65 * dcp_nas,
        "nas-bnn": 65 * nas_bnn,
        "bireal": 65 * bireal,
        "reactnet": 65 * bireal,
        "cp-nas": 65 / 58 if binary else 65,
        "bars-64": 130 / 64 if binary else 130,
        "bars-32": 130 / 32 if binary else 130,
        "flops": 65,
        "honest": 65 * honest,
        "all": 65 * honest + 7,
    }


def test_biases_and_norms() -> None:
    """A bias costs what `nas-bnn` and those that go beyond it count, a norm what `flops` does."""
    linear = replace(LAYER, kind="linear", weight_bits=32, activation_bits=32, biases=3)
    norm = replace(LAYER, kind="norm", output=(2, 3, 3), macs=0, elementwise=36)
    found = {name: ops(Ledger((linear, norm)), name) for name in OPS}
    others = dict.fromkeys(("dcp-nas", "dcp-nas-64", "bireal", "reactnet", "cp-nas"), 65)
    assert found == others | {
        "nas-bnn": 68,
        "bars-64": 130,
        "bars-32": 130,
        "flops": 65 + 36,
        "honest": 68,
        "all": 68 + 36,
    }


def test_operations_are_rounded_once() -> None:
    """Sixty-four layers of one binary MAC each are one operation beside a number beyond 2^53."""
    real = replace(LAYER, weight_bits=32, activation_bits=32, macs=2**53 + 1)
    binary = replace(LAYER, macs=1)
    assert ops(Ledger((real, *[binary] * 64)), "nas-bnn") == 2**53 + 2


def test_memory_of_a_layer() -> None:
    result = Ledger((LAYER, replace(LAYER, parameters={32: 5}, constants=0)))
    assert memory(result, "dcp-nas") == 18
    assert memory(result, "nas-bnn") == 10 + 32 * 8
    assert memory(result, "true") == 10 + 32 * 8 + 32 * 2


def test_dcp_nas_gives_the_parameters_of_a_real_network_32_bits() -> None:
    assert memory(Ledger((replace(LAYER, parameters={32: 7}),)), "dcp-nas") == 224
    assert memory(Ledger(()), "dcp-nas") == 0


def test_memory_of_weights_alone() -> None:
    """CP-NAS: 65 MACs on one output pixel are 65 weights; a norm has none, nor a second execution."""
    norm = replace(LAYER, kind="norm", macs=0, weight_bits=32)
    again = replace(LAYER, parameters={})
    real = replace(LAYER, output=(1, 5, 13), weight_bits=32, parameters={32: 2})
    assert memory(Ledger((LAYER, norm, again, real)), "cp-nas") == 65 + 32


def test_memory_of_a_packed_file_and_of_floats() -> None:
    result = Ledger((replace(LAYER, packed_bytes=24), LAYER, replace(LAYER, packed_bytes=3)))
    assert memory(result, "packed") == 8 * 27
    assert memory(result, "float32") == 3 * 32 * (10 + 3 + 2)


def test_costs_are_plain_values() -> None:
    result = costs(Ledger((replace(LAYER, packed_bytes=24),), 400, 130))
    assert json.loads(json.dumps(result)) == {
        "macs": {"W1A1": 65},
        "ops": {
            "dcp-nas": 65 / 58,
            "dcp-nas-64": 1.015625,
            "nas-bnn": 1.015625,
            "bireal": 1.015625,
            "reactnet": 1.015625,
            "cp-nas": 65 / 58,
            "bars-64": 2.03125,
            "bars-32": 4.0625,
            "flops": 65.0,
            "honest": 1.015625,
            "all": 1.015625,
        },
        "parameters": 13,
        "memory_bits": 10 + 96 + 64,
        "memory": {
            "dcp-nas": 13,
            "cp-nas": 65,
            "nas-bnn": 106,
            "float32": 480,
            "true": 170,
            "packed": 192,
        },
        "peak_activation_bytes": 400,
        "peak_packed_activation_bytes": 130,
    }


@pytest.mark.parametrize(
    ("model", "shape", "convention", "low", "high"),
    [  # the paper prints a number within the bounds
        ("birealnet18", IMAGENET, "bireal", 163e6, 164e6),  # 163 M
        ("reactnet-a", IMAGENET, "reactnet", 86.5e6, 87.5e6),  # 87 M
        ("resnet18", IMAGENET, "flops", 1818.5e6, 1819.5e6),  # 1,819 M
        ("wrn22", CIFAR, "cp-nas", 17.025e6, 17.035e6),  # 17.03 M
        ("wrn22-real", CIFAR, "cp-nas", 647.69e6, 647.71e6),  # 647.70 M
        ("xnor-resnet18", CIFAR, "bars-32", 50.1e6, 50.4e6),  # 50.2 M
    ],
)
def test_numbers_of_the_papers(
    model: str, shape: tuple[int, int, int], convention: str, low: float, high: float
) -> None:
    assert low <= ops(handmade(model, shape), convention) < high


def test_cp_nas_memory() -> None:
    """Table 3's 138.27 and 5.71 Mbit, to 0.3 %; with normalisation it would be 5.90."""
    for model, printed in (("wrn22-real", 138.27e6), ("wrn22", 5.71e6)):
        assert memory(handmade(model, CIFAR), "cp-nas") == pytest.approx(printed, rel=3e-3)
    assert memory(handmade("wrn22", CIFAR), "nas-bnn") / 1e6 == pytest.approx(5.90, abs=0.005)


def test_a_formula_refuses_what_it_cannot_know() -> None:
    assert set(BEYOND_PRODUCTS) == {"flops", "all"}
    for convention, charged in BEYOND_PRODUCTS.items():
        with pytest.raises(BadValue, match=f"'{convention}' charges {charged} too"):
            convolution_ops(2, 2, 3, 9, convention=convention)
        with pytest.raises(BadValue, match=f"'{convention}' charges {charged} too"):
            linear_ops(2, 2, convention=convention)
        check_convention(convention, known={convention})
    with pytest.raises(UnknownName, match="'flop'; did you mean flops"):
        check_convention("flop", known={"flop"})


@pytest.mark.sample(3)
@pytest.mark.parametrize("convention", sorted(set(OPS) - set(BEYOND_PRODUCTS)))
@pytest.mark.parametrize("name", ["darts-binary", "bats", "bars", "bnas-201", "nas-bnn"])
def test_formulas_follow_every_other_convention(name: str, convention: str) -> None:
    space, spec, arch, book = sampled(name)
    counted = ops(book, convention)
    assert space.ops(spec, convention).of(space.path(arch)) == pytest.approx(counted, rel=1e-12)


@cache
def sampled(name: str) -> tuple[SearchSpace, NetworkSpec, Architecture, Ledger]:
    space, rng = find("space", name).make({}), np.random.default_rng(0)
    spec = space.spec(Scale(None, None if name == "nas-bnn" else 12), CIFAR, 10, final=True)
    arch = space.sample(rng)
    return space, spec, arch, ledger(space.network(arch, spec, rng), CIFAR)


def test_unknown_conventions_are_named() -> None:
    with pytest.raises(UnknownName, match="'dcpnas'; did you mean dcp-nas"):
        ops(Ledger(()), "dcpnas")
    with pytest.raises(UnknownName, match="'tru'; did you mean true"):
        memory(Ledger(()), "tru")


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("channels", "millions", "parameters", "expected_ops"),
    [
        (54, (70.9, 0.9, 21.9, 189.7, 150.9), 4_190_185, (99.51, 98.96)),
        (72, (121.9, 1.2, 29.2, 337.3, 268.2), 6_948_028, (162.72, 161.74)),
        (108, (265.2, 1.7, 43.8, 759.0, 603.5), 14_505_886, (334.21, 332.01)),
    ],
)
def test_the_published_networks_of_dcp_nas(
    channels: int, millions: tuple[float, ...], parameters: int, expected_ops: tuple[float, float]
) -> None:
    """The authors' own networks, layer group by layer group; the paper's OPs: 100, 163, 334."""
    result = published(channels)
    groups = dict.fromkeys(("stem", "linear", "depthwise", "preprocessing", "pointwise"), 0)
    for layer in result.layers:
        match (layer.kind, layer.weight_bits, layer.activation_bits):
            case ("pointwise", 1, 32):
                groups["preprocessing"] += layer.macs
            case ("conv", 32, 32):
                groups["stem"] += layer.macs
            case _ if layer.macs:
                groups[layer.kind] += layer.macs
    assert tuple(round(macs / 1e6, 1) for macs in groups.values()) == millions
    assert costs(result)["parameters"] == memory(result, "dcp-nas") == parameters
    counted = (ops(result, convention) / 1e6 for convention in ("dcp-nas", "dcp-nas-64"))
    assert tuple(round(millions, 2) for millions in counted) == expected_ops
    real = groups["stem"] + groups["linear"] + groups["depthwise"] + groups["preprocessing"]
    assert ops(result, "nas-bnn") == real + groups["pointwise"] / 64 + 1000  # the classifier's bias
    assert result.macs == {
        "W32A32": groups["stem"] + groups["linear"],
        "W1A32": groups["depthwise"] + groups["preprocessing"],
        "W1A1": groups["pointwise"],
    }

"""The conventions against counts by hand and against the papers' tables."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bnas_bench.core import NetworkSpec
from bnas_bench.cost import Layer, Ledger, costs, ledger, memory, ops
from bnas_bench.errors import UnknownName
from bnas_bench.registry import find

PUBLISHED = """DDPNAS_MCN_2 = Genotype(normal=[('sep_conv_5x5', 1), ('max_pool_3x3', 0),
    ('dil_conv_3x3', 2), ('skip_connect', 0), ('sep_conv_3x3', 3), ('avg_pool_3x3', 1),
    ('dil_conv_3x3', 4), ('avg_pool_3x3', 3)], normal_concat=range(2, 6),
    reduce=[('max_pool_3x3', 0), ('sep_conv_3x3', 1), ('dil_conv_3x3', 1), ('sep_conv_3x3', 0),
    ('max_pool_3x3', 1), ('dil_conv_5x5', 2), ('dil_conv_5x5', 2), ('sep_conv_5x5', 1)],
    reduce_concat=range(2, 6))"""
IMAGENET = (3, 224, 224)

LAYER = Layer("conv", "conv", (1, 1, 1), (1, 1, 1), 1, 1, 65, {1: 10, 32: 3}, 2)


def published(channels: int, **options: tuple[str, ...]) -> Ledger:
    """The ledger of the network that DCP-NAS' authors published, for ImageNet."""
    space = find("space", "darts-binary").make(options)
    spec = NetworkSpec(IMAGENET, 1000, cells=10, channels=channels)
    network = space.network(space.parse(PUBLISHED), spec, np.random.default_rng(0))
    return ledger(network, IMAGENET)


@pytest.mark.parametrize(
    ("bits", "kind", "dcp_nas", "nas_bnn"),
    [
        ((32, 32), "conv", 65, 65),
        ((32, 1), "conv", 65, 65),
        ((1, 32), "pointwise", 65 / 64, 65),
        ((1, 32), "depthwise", 65, 65),
        ((1, 1), "depthwise", 65 / 64, 65 / 64),
        ((1, 1), "conv", 65 / 64, 65 / 64),
        ((8, 8), "conv", 65, 65 / 8),
        ((1, 8), "pointwise", 65 / 64, 65 / 8),
    ],
)
def test_price_of_a_layer(bits: tuple[int, int], kind: str, dcp_nas: float, nas_bnn: float) -> None:
    layer = replace(LAYER, kind=kind, weight_bits=bits[0], activation_bits=bits[1])
    assert ops(Ledger((layer,)), "dcp-nas") == dcp_nas
    assert ops(Ledger((layer,)), "nas-bnn") == nas_bnn


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


def test_costs_are_plain_values() -> None:
    result = costs(Ledger((LAYER,)))
    assert json.loads(json.dumps(result)) == {
        "macs": {"W1A1": 65},
        "ops": {"dcp-nas": 1.015625, "nas-bnn": 1.015625, "flops": 65.0},
        "parameters": 13,
        "memory_bits": 10 + 96 + 64,
        "memory": {"dcp-nas": 13, "nas-bnn": 106, "true": 170},
    }


def test_unknown_conventions_are_named() -> None:
    with pytest.raises(UnknownName, match="'dcpnas'; did you mean dcp-nas"):
        ops(Ledger(()), "dcpnas")
    with pytest.raises(UnknownName, match="'tru'; did you mean true"):
        memory(Ledger(()), "tru")


@pytest.mark.parametrize(
    ("channels", "millions", "parameters", "expected_ops"),
    [
        (54, (70.9, 0.9, 21.9, 189.7, 150.9), 4_190_185, 99.0),
        (72, (121.9, 1.2, 29.2, 337.3, 268.2), 6_948_028, 161.7),
        (108, (265.2, 1.7, 43.8, 759.0, 603.5), 14_505_886, 332.0),
    ],
)
def test_the_published_networks_of_dcp_nas(
    channels: int, millions: tuple[float, ...], parameters: int, expected_ops: float
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
    assert round(ops(result, "dcp-nas") / 1e6, 1) == expected_ops
    real = groups["stem"] + groups["linear"] + groups["depthwise"] + groups["preprocessing"]
    assert ops(result, "nas-bnn") == real + groups["pointwise"] / 64 + 1000  # the classifier's bias
    assert result.macs == {
        "W32A32": groups["stem"] + groups["linear"],
        "W1A32": groups["depthwise"] + groups["preprocessing"],
        "W1A1": groups["pointwise"],
    }

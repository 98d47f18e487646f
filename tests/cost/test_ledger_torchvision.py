"""The ledger against what torchvision publishes of its own networks, and an attention by hand."""

import re
import warnings
from collections.abc import Iterable

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torchvision import models
from torchvision.models.convnext import CNBlock, LayerNorm2d
from torchvision.models.swin_transformer import ShiftedWindowAttention

from bnas_bench.cost import Layer, Ledger, ledger, memory, ops
from bnas_bench.cost.maps import Maps

SMALLEST = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s"),
    *("googlenet", "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small"),
    *("regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5"),
    *("squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vgg11_bn", "vit_b_32", "wide_resnet50_2"),
)
"""Of every family that classifies images."""


def counted(name: str) -> tuple[Ledger, dict[str, float]]:
    """The ledger of a network, and what torchvision says of its first weights."""
    weights = next(iter(models.get_model_weights(name)))
    side = weights.transforms.keywords["crop_size"]
    with warnings.catch_warnings(action="ignore"), torch.device(_where(name)):
        network = models.get_model(name, weights=None)
    return ledger(network, (3, side, side)), weights.meta


def _where(name: str) -> str:
    """Without data nothing is drawn; but regnet reads its widths out of a tensor."""
    return "cpu" if name.startswith("regnet") else "meta"


@pytest.mark.parametrize(
    ("name", "gmacs"),
    [
        ("mobilenet_v2", 0.301),
        ("efficientnet_b0", 0.386),
        ("mobilenet_v3_large", 0.217),
        ("regnet_y_400mf", 0.402),
        ("convnext_tiny", 4.456),
        ("vit_b_16", 17.564),
    ],
)
def test_published_macs(name: str, gmacs: float) -> None:
    result, published = counted(name)
    assert round(result.macs["W32A32"] / 1e9, 3) == gmacs
    assert result.parameters == {32: published["num_params"]}


def test_every_family_is_there() -> None:
    def families(names: Iterable[str]) -> set[str]:
        return {re.split(r"[^a-z]", name)[0] for name in names}

    assert families(SMALLEST) == families(models.list_models(module=models))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_macs_and_parameters_of_every_family(name: str) -> None:
    result, published = counted(name)
    assert result.macs["W32A32"] / 1e9 == pytest.approx(published["_ops"], abs=5.1e-4)
    # torchvision leaves googlenet's two auxiliary heads out of the number, and counts inception's
    unused = {"inception_v3": 3_326_696}.get(name, 0)
    assert result.parameters == {32: published["num_params"] - unused}


class Tokens(nn.Module):
    """An attention over the pixels of a map."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return self.attention(query=tokens, key=tokens, value=tokens, need_weights=False)[0]


def test_an_attention_by_hand() -> None:
    """12 tokens of 6 values: four projections, and for 2 heads of 3 values QK and AV."""
    (layer,) = ledger(Tokens(), (6, 3, 4)).layers
    assert (layer.name, layer.kind, layer.input, layer.output) == (
        *("attention", "attention"),
        *((12, 6), (12, 6)),
    )
    assert layer.macs == 4 * 12 * 6 * 6 + 2 * (2 * 12 * 12 * 3)
    assert layer.biases == 4 * 12 * 6
    assert layer.parameters == {32: 4 * (36 + 6)}
    assert layer.packed_bytes == 4 * 168
    # queries and keys are scaled, the weights of each head are a softmax
    assert layer.elementwise == 2 * 12 * 6 + 2 * 12 * 12


def test_an_attention_in_windows() -> None:
    """Its weights are used without calling the layers that own them, which costs no less."""
    attention = ShiftedWindowAttention(4, [2, 2], [0, 0], 2)
    (layer,) = ledger(nn.Sequential(attention), (6, 6, 4)).layers
    windows, tokens = 9, 4
    assert layer.macs == 36 * 4 * 16 + windows * 2 * (tokens * tokens * 4)
    assert layer.parameters == {32: sum(p.numel() for p in attention.parameters())}


def test_parameters_between_the_layers_are_counted_once() -> None:
    block = CNBlock(4, 1.0, 0.0)
    first, *layers, scaled, kept, added = ledger(nn.Sequential(block), (4, 3, 3)).layers
    assert (first.name, first.kind, first.parameters) == ("0.layer_scale", "parameter", {32: 4})
    assert (first.packed_bytes, first.elementwise, first.macs) == (16, 0, 0)
    assert (scaled.kind, scaled.input, scaled.elementwise) == ("multiply", (4, 3, 3), 36)
    assert (kept.name, kept.kind) == ("0.stochastic_depth", "identity")
    assert added.kind == "add"
    assert [layer.kind for layer in layers] == [
        *("depthwise", "reshape", "norm", "linear", "activation", "linear", "reshape")
    ]
    twice = ledger(nn.Sequential(block, block), (4, 3, 3)).parameters
    assert twice == {32: sum(p.numel() for p in block.parameters())}


def test_weights_are_no_maps() -> None:
    """A class token that is set before each image's tokens takes its memory among the weights."""
    token, maps = nn.Parameter(torch.empty(1, 4)), Maps()
    expanded = token.expand(1, 4)
    maps.make(expanded, [token])
    assert maps.peak(packed=False) == 16
    maps = Maps([token])
    maps.make(expanded, [token])
    assert maps.peak(packed=False) == 0


def test_fvcore_agrees_on_norms_that_find_their_own_mean() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), LayerNorm2d(4), nn.GroupNorm(2, 4)).eval()
    found = FlopCountAnalysis(network, torch.zeros(1, 3, 5, 6)).by_operator()
    result = ledger(network, (3, 5, 6))
    assert found["layer_norm"] == found["group_norm"] == 5 * 4 * 30
    assert ops(result, "flops") == sum(found.values())


def _linear(result: Ledger) -> list[Layer]:
    return [layer for layer in result.layers if layer.kind == "linear"]


def test_weights_of_linear_layers_over_many_places() -> None:
    """The convention that counts weights alone finds them out of MACs and places."""
    network = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
    result = ledger(network, (3, 4, 6))
    assert [layer.macs for layer in _linear(result)] == [12 * 30, 12 * 10]
    assert memory(result, "cp-nas") == 32 * (30 + 10)

"""The ledger's prediction of a packed file's tensors against the tensors: equal to the byte."""

import numpy as np
import pytest
import torch

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Scale
from bnas_bench.cost import ledger, memory
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Network
from bnas_bench.packed.format.file import payload
from bnas_bench.packed.lowering.lower import lower
from bnas_bench.plugins.registry import find

SPACES = [
    ("darts-binary", {}, Scale(4, 4)),
    ("darts-binary", {"binarise": ("preprocessing",)}, Scale(4, 5)),
    ("darts-binary", {"binarise": ("depthwise", "preprocessing")}, Scale(4, 4)),
    ("bats", {}, Scale(4, 12)),
    ("bars", {}, Scale(None, 8)),
    ("bnas-201", {}, Scale(5, 6)),
    ("nas-bnn", {}, Scale(None, None)),
]
SHAPES = [(3, 32, 32), (1, 19, 26)]
(HANDCRAFTED,) = find("space", "handcrafted").make({}).decisions


def check(network: Network, shape: tuple[int, int, int]) -> bool:
    """Whether any norm is folded, once the bytes agree."""
    randomise(network)
    book = ledger(network, shape)
    assert memory(book, "packed") == 8 * payload(lower(network, shape))
    return any(layer.folded for layer in book.layers)


@torch.no_grad()
def randomise(network: Network) -> None:
    """Thresholds that differ, and norms that turn signs: neither is to change a size."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if tensor.dim() == 1 and "var" not in name:
            tensor.normal_(generator=generator)


def sampled(name: str, options: dict, scale: Scale, seed: int, shape) -> Network:
    space, rng = find("space", name).make(options), np.random.default_rng(seed)
    spec = space.spec(scale, shape, 10, final=True)
    return space.network(space.sample(rng), spec, rng)


@pytest.mark.sample(1)
@pytest.mark.parametrize(("name", "options", "scale"), SPACES)
def test_random_architectures(name: str, options: dict, scale: Scale) -> None:
    folds = {
        check(sampled(name, options, scale, k, SHAPES[k % 2]), SHAPES[k % 2]) for k in range(3)
    }
    assert folds == {bool(options) or name in ("bats", "bnas-201")}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "options", "scale"), SPACES)
def test_many_random_architectures(name: str, options: dict, scale: Scale, shape) -> None:
    for seed in range(8):
        check(sampled(name, options, scale, seed, shape), shape)


@pytest.mark.sample(3)
@pytest.mark.parametrize("model", HANDCRAFTED.options)
def test_handmade_networks(model: str) -> None:
    space = find("space", "handcrafted").make({})
    arch = Architecture("handcrafted", {"model": model})
    for shape in SHAPES:
        spec = space.spec(Scale(None, 4), shape, 10, final=True)
        folded = check(space.network(arch, spec, np.random.default_rng(0)), shape)
        assert folded == (model in ("xnor-resnet18", "wrn22"))


@pytest.mark.sample(3)
@pytest.mark.parametrize("precision", [Precision.W1A32, Precision.W32A32])
@pytest.mark.parametrize(("name", "options", "scale"), SPACES[::2] + SPACES[-2:])
def test_other_precisions(name: str, options: dict, scale: Scale, precision: Precision) -> None:
    network = sampled(name, options, scale, 3, SHAPES[0])
    network.precision = precision
    assert not check(network, SHAPES[0])

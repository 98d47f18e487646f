"""The hand-made networks: the papers' sizes, torchvision's ResNet, and every block by hand."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bnas_bench.spaces.handcrafted import MODELS, SEARCHED, Handcrafted
from torch import nn
from torch.autograd import forward_ad as fwAD

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec, Recipe, Scale
from bnas_bench.core.errors import BadValue, InvalidArchitecture, UnknownName
from bnas_bench.cost import OPS, costs, ledger, memory
from bnas_bench.nn.binary import BinaryConv2d, Precision, RSign
from bnas_bench.nn.handmade.residual import BiRealBlock, Kit, Place, PreactivationBlock, ReActBlock
from bnas_bench.nn.handmade.tiled import (
    BottleneckBlock,
    MobileNetV1Block,
    MobileNetV2Block,
    PointwiseBlock,
)
from bnas_bench.packed.format.file import payload
from bnas_bench.packed.lowering.lower import lower

IMAGENET, CIFAR, DIGITS = (3, 224, 224), (3, 32, 32), (1, 8, 8)
MILLION = 1e6
TABLE_4 = {"bireal-mobilenetv1": 86.20, "bireal-mobilenetv2": 97.48, "bireal-resnet50": 174.62}
"""NAS-BNN: millions of OPs, 100 classes."""
BINARY = (
    "xnor-resnet18",
    "birealnet18",
    "reactnet-a",
    "wrn22",
    "birealnet34",
    "xnor-resnet34",
    *TABLE_4,
)
REAL = (
    "resnet18",
    "birealnet18-real",
    "reactnet-a-real",
    "wrn22-real",
    "resnet34",
    "birealnet34-real",
)


def make(**options) -> Handcrafted:
    space = Handcrafted(**options)
    space.name = "handcrafted"
    return space


def arch(name: str) -> Architecture:
    return Architecture("handcrafted", {"model": name})


def build(name: str, shape=DIGITS, classes=10, channels=4):
    spec = NetworkSpec(shape, classes, 1, channels)
    return make(models=(name,)).network(arch(name), spec, np.random.default_rng(0))


def published(name: str, shape):
    return build(name, shape, {IMAGENET: 1000, CIFAR: 10}[shape], 64)


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("name", "shape", "real", "binary", "ops", "flops", "parameters"),
    [
        ("xnor-resnet18", IMAGENET, 137.794, 1676.280, 163.986, 1817.485, 11_687_720),
        ("birealnet18", IMAGENET, 137.794, 1676.280, 163.986, 1819.041, 11_689_512),
        ("reactnet-a", IMAGENET, 11.862, 4816.896, 87.127, 4838.843, 29_343_592),
        ("resnet18", IMAGENET, 1814.073, 0, 1814.074, 1819.041, 11_689_512),
        ("birealnet18-real", IMAGENET, 1814.073, 0, 1814.074, 1819.041, 11_689_512),
        ("reactnet-a-real", IMAGENET, 4828.758, 0, 4828.759, 4838.843, 29_333_672),
        ("xnor-resnet18", CIFAR, 8.066, 547.357, 16.618, 556.537, 11_172_170),
        ("resnet18", CIFAR, 555.423, 0, 555.423, 556.652, 11_173_962),
        ("wrn22", CIFAR, 5.966, 641.729, 15.993, 649.202, 4_326_986),
        ("wrn22-real", CIFAR, 647.695, 0, 647.695, 649.202, 4_326_986),
        ("resnet34", IMAGENET, 3663.761, 0, 3663.762, 3671.238, 21_797_672),
        ("birealnet34", IMAGENET, 137.794, 3525.968, 192.888, 3671.238, 21_797_672),
        # BARS table 2 has 2,302 M BiOps of it, two for each of these 1-bit MACs.
        ("xnor-resnet34", CIFAR, 8.066, 1151.336, 26.056, 1161.336, 21_280_330),
        ("birealnet34-real", IMAGENET, 3663.761, 0, 3663.762, 3671.238, 21_797_672),
    ],
)
def test_the_published_networks_have_their_size(
    name, shape, real, binary, ops, flops, parameters
) -> None:
    network, space = published(name, shape), make(models=(name,))
    cost = costs(ledger(network, shape))
    assert cost["macs"].get("W32A32", 0) / MILLION == pytest.approx(real, abs=5e-4)
    assert cost["macs"].get("W1A1", 0) / MILLION == pytest.approx(binary, abs=5e-4)
    assert cost["ops"]["nas-bnn"] / MILLION == pytest.approx(ops, abs=6e-4)
    assert cost["ops"]["flops"] / MILLION == pytest.approx(flops, abs=6e-4)
    assert cost["parameters"] == sum(p.numel() for p in network.parameters()) == parameters
    spec = NetworkSpec(shape, {IMAGENET: 1000, CIFAR: 10}[shape], 1, 64)
    for convention in OPS.keys() - {"all"}:
        assert space.ops(spec, convention).of(space.path(arch(name))) == cost["ops"][convention]


@pytest.mark.slow
def test_the_papers_rows() -> None:
    """What the tables print, where the networks reproduce it."""
    macs = {
        (name, shape): costs(ledger(published(name, shape), shape))["macs"]
        for name, shape in (
            ("birealnet18", IMAGENET),
            ("reactnet-a", IMAGENET),
            ("xnor-resnet18", CIFAR),
            ("wrn22", CIFAR),
        )
    }
    real, binary = macs["reactnet-a", IMAGENET].values()
    assert (round(real / 1e8, 2), round(binary / 1e9, 2)) == (0.12, 4.82)  # FLOPs and BOPs
    assert round((real + binary / 64) / MILLION) == 87
    real, binary = macs["birealnet18", IMAGENET].values()
    assert math.floor((real + binary / 64) / MILLION) == 163
    classifier = 512 * 1000
    assert round((real - classifier + binary / 64) / MILLION) == 163
    real, binary = macs["xnor-resnet18", CIFAR].values()  # BARS table 2: two operations a MAC
    assert (round(2 * real / MILLION), math.floor(2 * binary / MILLION)) == (16, 1094)
    real, binary = macs["wrn22", CIFAR].values()  # CP-NAS table 3: BOPs at 1/58
    assert round((real + binary / 58) / MILLION, 2) == 17.03
    assert (real + binary) / MILLION == pytest.approx(647.70, abs=0.006)


def convolutions(network: nn.Module) -> list[tuple[str, int]]:
    """Names and MACs of a real network's convolutions at 224x224, in the order in which they run."""
    found: list[tuple[str, int]] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda m, _, y, name=name: found.append((name, m.weight[0].numel() * y.numel()))
            )
    network.to("meta").eval()(torch.empty(1, *IMAGENET, device="meta"))
    return found


def torchvisions(name: str) -> list[int]:
    """MACs of torchvision's network as NAS-BNN section 4.4.1 changes it: without the convolutions of
    ResNet's shortcuts, and with normal ones in place of MobileNet's depthwise ones."""
    from torchvision import models

    if name == "bireal-resnet50":
        network: nn.Module = models.resnet50()
        return [macs for name, macs in convolutions(network) if "downsample" not in name]
    network = models.mobilenet_v2()
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            channels = module.groups
            module.groups, module.weight = 1, nn.Parameter(torch.empty(channels, channels, 3, 3))
    return [macs for _, macs in convolutions(network)]


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", TABLE_4)
def test_nas_bnns_table_4(name) -> None:
    """Which reading of the text gives its OPs: no convolution on a shortcut, a real stem, 100 classes."""
    network = build(name, IMAGENET, 100, 64)
    book = ledger(network, IMAGENET)
    stem, *others, classifier = [layer for layer in book.layers if layer.macs]
    assert {(layer.weight_bits, layer.activation_bits) for layer in others} == {(1, 1)}
    assert (stem.weight_bits, classifier.weight_bits) == (32, 32)
    if name == "bireal-mobilenetv1":  # torchvision has none; ReActNet-A has its convolutions
        _, *theirs, _ = [x.macs for x in ledger(published("reactnet-a", IMAGENET), IMAGENET).layers]
        assert sum(layer.macs for layer in others) == sum(theirs)
    else:
        assert [stem.macs, *(layer.macs for layer in others)] == torchvisions(name)
    real, binary = costs(book)["macs"].values()
    assert round((real + binary / 64) / MILLION, 2) == TABLE_4[name]
    spec = NetworkSpec(IMAGENET, 100, 1, 64)
    for convention in OPS.keys() - {"all"}:
        space = make(models=(name,))
        assert (
            space.ops(spec, convention).of(space.path(arch(name))) == costs(book)["ops"][convention]
        )


@pytest.mark.sample(1)
@pytest.mark.parametrize("side", [64, 97])
@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_resnets_are_torchvisions(name, side) -> None:
    """Its weights, in their order, give its logits."""
    from torchvision import models

    ours = build(name, (3, side, side), 10, 64).double().eval()
    theirs = getattr(models, name)(num_classes=10).double().eval()
    state = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    ours.load_state_dict(state)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 3, side, side)))
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shape", [DIGITS, IMAGENET])
def test_all_but_stem_shortcuts_and_classifier_is_one_bit(name, shape) -> None:
    book = ledger(build(name, shape), shape)
    convolutions = [layer for layer in book.layers if layer.macs]
    assert all(
        (layer.weight_bits, layer.activation_bits) in ((1, 1), (32, 32)) for layer in convolutions
    )
    real = [layer for layer in convolutions if layer.weight_bits == 32]
    without = name == "reactnet-a" or name in TABLE_4
    downsampling = 0 if without else len(MODELS[name].stages) - 1
    assert [layer.kind for layer in real] == ["conv", *["pointwise"] * downsampling, "linear"]
    modules = [m for m in build(name, shape).modules() if isinstance(m, BinaryConv2d)]
    assert len(modules) == len(convolutions) - len(real)
    assert {m.scale for m in modules} == {"xnor"}
    polynomial = "bireal" in name  # ReActNet's is in RSign
    assert {m.estimator for m in modules} == {"polynomial" if polynomial else "clip"}


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", REAL)
def test_twins_are_real_at_every_precision(name) -> None:
    network = build(name).double()
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(4, *DIGITS)))
    logits = network(x)
    for precision in Precision:
        network.precision = precision
        assert torch.equal(network(x), logits)
        assert set(ledger(network, DIGITS).macs) == {"W32A32"}
    assert not any(isinstance(m, BinaryConv2d | RSign) for m in network.modules())
    assert network.reconstruction_error() == 0
    assert make().is_real(arch(name))
    assert not any(make().is_real(arch(other)) for other in BINARY)
    assert {*REAL, *BINARY} == MODELS.keys()


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns(name) -> None:
    network = build(name)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(16, *DIGITS))).float()
    F.cross_entropy(network(x), torch.arange(16) % 10).backward()
    assert not [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]


def sign(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, -1.0, 1.0).to(x.dtype)


def one_bit(x, conv, stride=1):
    """XNOR-Net's convolution: signs, and the mean magnitude of each filter."""
    w = conv.weight.detach()
    scale = torch.stack([f.abs().mean() for f in w])
    y = F.conv2d(sign(x), sign(w), stride=stride, padding=w.shape[-1] // 2)
    return y * scale[None, :, None, None]


def normalised(x):
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
    return (x - mean) / (variance + 1e-5).sqrt()


def averaged(x):
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


PLACES = [Place(4, 4, (6, 6), (6, 6)), Place(4, 8, (6, 6), (3, 3))]


def block(make_block, place):
    torch.manual_seed(0)
    with torch.random.fork_rng():
        built = make_block(place, Kit(real=False, tracked=True)).double()
    x = torch.from_numpy(np.random.default_rng(2).normal(size=(5, place.inputs, *place.before)))
    x[0, 0, 0, 0] = 0  # whose sign is +1
    return built, x


@pytest.mark.parametrize("place", PLACES)
def test_bireal_block_by_hand(place) -> None:
    built, x = block(BiRealBlock, place)
    y = normalised(one_bit(x, built.body[1], place.stride))
    shortcut = x
    if place.stride == 2:
        shortcut = normalised(F.conv2d(averaged(x), built.shortcut[1].weight))
    torch.testing.assert_close(built(x), y + shortcut)


@pytest.mark.parametrize("place", PLACES)
def test_preactivation_block_by_hand(place) -> None:
    built, x = block(PreactivationBlock, place)
    y = one_bit(normalised(x), built.body[2], place.stride)
    y = one_bit(normalised(y), built.body[5])
    shortcut = x
    if place.stride == 2:
        shortcut = F.conv2d(x, built.shortcut.weight, stride=2)
    torch.testing.assert_close(built(x), y + shortcut)


@pytest.mark.parametrize("place", PLACES)
def test_reactnet_block_by_hand(place) -> None:
    built, x = block(ReActBlock, place)
    rng = np.random.default_rng(3)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name.endswith(("threshold", "gamma", "zeta")):
                parameter.copy_(torch.from_numpy(rng.normal(size=parameter.shape)))

    def rsign(x, part):
        return sign(x - part.sign.threshold[None, :, None, None])

    def rprelu(x, part):
        gamma, zeta, slope = (
            p.detach()[None, :, None, None] for p in (part.gamma, part.zeta, part.prelu.weight)
        )
        shifted = x - gamma
        return torch.where(shifted > 0, shifted, slope * shifted) + zeta

    y = normalised(one_bit(rsign(x, built.spatial), built.spatial.convs[0], place.stride))
    x = rprelu(y + (averaged(x) if place.stride == 2 else x), built.activation)
    signs = rsign(x, built.pointwise)
    parts = [x + normalised(one_bit(signs, conv)) for conv in built.pointwise.convs]
    assert len(parts) == place.stride  # twice where the channels double
    torch.testing.assert_close(
        built(x_of(place)), rprelu(torch.cat(parts, 1), built.last_activation)
    )


def x_of(place):
    return block(ReActBlock, place)[1]


WIDER, NARROWER = Place(4, 10, (6, 6), (3, 3)), Place(8, 4, (6, 6), (6, 6))


@pytest.mark.parametrize("place", [WIDER, NARROWER, Place(4, 4, (6, 6), (6, 6))])
@pytest.mark.parametrize(
    ("make_block", "kernel_sizes"),
    [
        (MobileNetV1Block, (3, 1)),
        (MobileNetV2Block, (1, 3, 1)),
        (BottleneckBlock, (1, 3, 1)),
        (PointwiseBlock, (1,)),
    ],
)
def test_tiled_blocks_by_hand(make_block, kernel_sizes, place) -> None:
    """NAS-BNN figure 1: a shortcut around each convolution, tiled if it widens, cut if it narrows."""
    if make_block is PointwiseBlock:
        place = Place(place.inputs, place.outputs, place.before, place.before)
    built, x = block(make_block, place)
    widths = {
        MobileNetV1Block: (place.inputs, place.outputs),
        MobileNetV2Block: (6 * place.inputs, 6 * place.inputs, place.outputs),
        BottleneckBlock: (place.outputs // 4, place.outputs // 4, place.outputs),
        PointwiseBlock: (place.outputs,),
    }[make_block]
    expected = x
    for part, size, width in zip(built.body, kernel_sizes, widths, strict=True):
        conv, stride = part.body[1], place.stride if size == 3 else 1
        assert conv.weight.shape == (width, expected.shape[1], size, size)
        shortcut = averaged(expected) if stride == 2 else expected
        channels = [k % shortcut.shape[1] for k in range(width)]
        expected = normalised(one_bit(expected, conv, stride)) + shortcut[:, channels]
    assert expected.shape[1:] == (place.outputs, *place.after)
    torch.testing.assert_close(built(x), expected)


@pytest.mark.parametrize("make_block", [BiRealBlock, PreactivationBlock])
def test_the_clip_before_a_sign_changes_nothing(make_block) -> None:
    built, x = block(make_block, PLACES[1])
    x = (2 * x).requires_grad_()
    y = built(x)
    slopes = torch.autograd.grad(y.square().sum(), [x, *built.parameters()])
    assert any(isinstance(m, nn.Hardtanh) for m in built.body)
    built.body = nn.Sequential(*(m for m in built.body if not isinstance(m, nn.Hardtanh)))
    without = built(x)
    assert torch.equal(y, without)
    for ours, theirs in zip(
        slopes, torch.autograd.grad(without.square().sum(), [x, *built.parameters()]), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("name", "side", "maps"),
    [
        ("resnet18", 224, 7),
        ("reactnet-a", 224, 7),
        ("wrn22", 224, 14),
        ("resnet18", 32, 4),
        ("reactnet-a", 32, 4),
        ("wrn22", 32, 8),
        ("resnet18", 8, 2),
        ("reactnet-a", 8, 2),
        ("wrn22", 8, 2),
        ("birealnet18", 1, 1),
        ("bireal-mobilenetv1", 224, 7),
        ("bireal-mobilenetv2", 224, 7),
        ("bireal-resnet50", 224, 7),
        ("bireal-mobilenetv1", 32, 4),
        ("bireal-mobilenetv2", 32, 4),
        ("bireal-resnet50", 32, 4),
        ("bireal-mobilenetv2", 8, 2),
    ],
)
def test_last_maps(name, side, maps) -> None:
    network = build(name, (1, side, side), channels=2)
    features = network.features(torch.zeros(2, 1, side, side))
    assert features.shape[2:] == (maps, maps)


@pytest.mark.sample(8)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(2, 1, 1), (1, 9, 14), (3, 33, 20), (3, 65, 97)])
def test_odd_images_are_counted_as_they_run(name, shape) -> None:
    space, spec = make(models=(name,)), NetworkSpec(shape, 3, 1, 6)
    book = costs(ledger(space.network(arch(name), spec, np.random.default_rng(0)), shape))
    for convention in OPS.keys() - {"all"}:
        assert space.ops(spec, convention).of(space.path(arch(name))) == book["ops"][convention]


def supernet(**options):
    spec = NetworkSpec(DIGITS, 10, 1, 4)
    return make(**options).supernet(spec, np.random.default_rng(0))


def images(number=6):
    return torch.from_numpy(np.random.default_rng(1).normal(size=(number, *DIGITS)))


def test_a_mix_weighs_what_the_models_say() -> None:
    net = supernet().double()
    x, weights = images(), torch.from_numpy(np.random.default_rng(2).dirichlet(np.ones(8)))
    bias = net.head.linear.bias
    said = torch.stack([net(x, [k]) - bias for k in range(8)])
    torch.testing.assert_close(net(x, [weights]), torch.tensordot(weights, said, 1) + bias)
    for mix in ([3], [weights]):
        logits, features = net.logits_and_features(x, mix)
        torch.testing.assert_close(logits, net(x, mix))
        torch.testing.assert_close(features, net.features(x, mix))


def test_a_path_runs_its_model_alone() -> None:
    net, ran = supernet(), []
    for name, body in zip(net.names, net.bodies, strict=True):
        body.register_forward_hook(lambda *_, name=name: ran.append(name))
    net(images().float(), [2])
    assert ran == ["reactnet-a"]
    net.zero_grad()
    net(images().float(), [2]).sum().backward()
    assert all(p.grad is None for k in (0, 1, 3) for p in net.bodies[k].parameters())


def test_a_single_image_runs() -> None:
    """Batch norm has the pixels of the last maps to average over."""
    net = supernet()
    for k in range(8):
        assert net(images(1).float(), [k]).isfinite().all()


def test_second_and_forward_mode_derivatives_in_the_mix() -> None:
    """DCP-NAS takes both; the logits are linear in the mix, so their second derivative is zero."""
    net, x = supernet().double(), images()
    weights = torch.full((8,), 1 / 8, dtype=torch.float64)
    direction = torch.from_numpy(np.random.default_rng(5).normal(size=8))
    with fwAD.dual_level():
        tangent = fwAD.unpack_dual(net(x, [fwAD.make_dual(weights, direction)])).tangent
    torch.testing.assert_close(tangent, net(x, [weights + direction]) - net(x, [weights]))

    def loss(w):
        return net(x, [w]).square().sum()

    _, product = torch.autograd.functional.hvp(loss, weights, direction)
    columns = torch.stack([net(x, [k]) - net.head.linear.bias for k in range(8)]).flatten(1)
    torch.testing.assert_close(product, 2 * columns @ (columns.T @ direction))


ADDED = tuple(name for name in MODELS if name not in SEARCHED)


@pytest.mark.sample(1)
@torch.no_grad()
@pytest.mark.parametrize("precision", list(Precision))
def test_a_path_is_the_network_that_inherits_it(precision) -> None:
    """Of the models that the contract does not see, as a search has to ask for them."""
    net, x = supernet(models=ADDED).double(), images()
    net.precision = precision
    for k, name in enumerate(net.names):
        heir = build(name).double()
        net.bequeath(heir)
        heir.precision = precision
        torch.testing.assert_close(heir(x), net(x, [k]))
        torch.testing.assert_close(net(x, [torch.eye(len(ADDED), dtype=x.dtype)[k]]), net(x, [k]))


@pytest.mark.sample(5)
@pytest.mark.parametrize("name", ADDED)
@pytest.mark.parametrize("shape", [DIGITS, (3, 33, 20), (3, 65, 97)])
def test_packed_bytes(name, shape) -> None:
    """What the ledger says of the packed file is what its tensors take."""
    network = build(name, shape, channels=6).eval()
    assert memory(ledger(network, shape), "packed") == 8 * payload(lower(network, shape))


def test_filters_norms_and_reconstruction_error() -> None:
    net = supernet()
    for k, name in enumerate(net.names):
        network = build(name)
        expected = sum(isinstance(m, BinaryConv2d) for m in network.modules())
        filters = list(net.filters([k]))
        assert len(filters) == expected
        assert (expected == 0) == MODELS[name].real
        for weight, scale in filters:
            torch.testing.assert_close(scale[0].squeeze(), weight[0].abs().mean())
    net.precision = "W32A32"
    total = sum(p.square().sum() for n, p in net.bodies.named_parameters() if p.dim() == 4)
    torch.testing.assert_close(net.weight_norms(), total[None])
    assert net.reconstruction_error() > 0
    real = supernet(models=("resnet18", "wrn22-real"))
    assert real.reconstruction_error().shape == ()
    assert real.reconstruction_error() == 0
    assert list(real.filters([0])) == []
    assert real.weight_norms() > 0


def test_the_models_option_leaves_only_those() -> None:
    space = make(models=("wrn22", "reactnet-a"))
    assert space.decisions[0].options == ("reactnet-a", "wrn22")
    assert space.size() == 2
    assert space.smallest() == arch("wrn22")
    assert space.largest() == arch("reactnet-a")
    one = make(models=("resnet18",))
    rng = np.random.default_rng(0)
    assert one.sample(rng) == one.mutate(arch("resnet18"), rng) == arch("resnet18")
    assert make().smallest() == arch("wrn22")
    assert make().largest() == arch("reactnet-a-real")


def test_other_models_have_to_be_asked_for() -> None:
    """All models would be trained side by side; CP-NAS' samplings grow with the square of their number."""
    assert make().decisions[0].options == SEARCHED == tuple(MODELS)[:8]
    for text in ("resnet34", '{"space": "handcrafted", "choices": {"model": "resnet34"}}'):
        with pytest.raises(InvalidArchitecture, match=r"--space 'handcrafted\[models=resnet34\]'"):
            make().parse(text)
        assert make(models=("resnet34",)).parse(text) == arch("resnet34")
    with pytest.raises(InvalidArchitecture, match=r"handcrafted 'resnet-34'; .*resnet34"):
        make().parse("resnet-34")


def test_scales() -> None:
    space = make()
    assert space.spec(Scale(), CIFAR, 10, final=True) == NetworkSpec(CIFAR, 10, 1, 64)
    assert space.fit(Scale(3, 5, 8)) == Scale(None, 6, 8)
    assert space.fit(Scale(3, 1)) == Scale(None, 2)
    assert space.fit(Scale()) == Scale()
    assert space.spec(Scale(channels=12), DIGITS, 10, final=False).channels == 12
    with pytest.raises(BadValue, match=r"4 cells .* depth of their own; leave the cells open"):
        space.spec(Scale(cells=4), DIGITS, 10, final=True)
    for asked, works in ((5, 6), (1, 2), (0, 2), (-3, 2)):
        with pytest.raises(BadValue, match=f"{asked} channels .* works is {works}$"):
            space.spec(Scale(channels=asked), DIGITS, 10, final=True)


def test_recipes() -> None:
    assert make().recipe(CIFAR) == Recipe()
    assert make().recipe(IMAGENET).epochs == 512


def test_what_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"model of handcrafted 'reactnet'; .*reactnet-a"):
        make(models=("reactnet",))
    with pytest.raises(BadValue, match=r"partial=2 .* no edges; use 1"):
        make().supernet(NetworkSpec(DIGITS, 10, 1, 4), np.random.default_rng(0), partial=2)


@pytest.mark.parametrize("name", MODELS)
def test_a_drawing_is_written(name, tmp_path) -> None:
    make().draw(arch(name), tmp_path / "model.svg")
    text = (tmp_path / "model.svg").read_text()
    assert text.count("pool, linear") == 1
    bits = "real" if MODELS[name].real else "1-bit"
    for kernels, blocks in drawn(name).items():
        assert len(re.findall(f"<!-- {bits} {kernels}( /2)? -->", text)) == blocks


def drawn(name: str) -> dict[str, int]:
    """How many blocks of which kernels a model has."""
    match name.removesuffix("-real"):
        case "bireal-mobilenetv1" | "reactnet-a":
            return {"3x3, 1x1": 13}
        case "bireal-mobilenetv2":
            return {"3x3, 1x1": 1, "1x1, 3x3, 1x1": 16, "1x1": 1}
        case "bireal-resnet50":
            return {"1x1, 3x3, 1x1": 16}
        case "birealnet18" | "birealnet34":
            return {"3x3": 16 if "18" in name else 32}
        case "wrn22":
            return {"3x3, 3x3": 9}
    return {"3x3, 3x3": 8 if "18" in name else 16}

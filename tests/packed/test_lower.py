"""Networks and the programs they are lowered to: one arithmetic, to the last bit."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.nn.binary import BinaryConv2d, Precision, RPReLU, RSign, sign
from bnas_bench.nn.blocks import Head, inference_layout, shuffle
from bnas_bench.nn.nasbnn.network import NormalisedConv2d
from bnas_bench.nn.network import Counted, Network
from bnas_bench.nn.quantised import QuantConv2d
from bnas_bench.packed.format.program import INPUT, OPS, Program, unpack_bits
from bnas_bench.packed.lowering import fold
from bnas_bench.packed.lowering.lower import CannotPack, lower
from bnas_bench.plugins.registry import find
from tests.helpers.networks import LARGE, SHAPES, SPACES, agree, build, images, randomised
from tests.spaces.test_darts_binary import published


class Small(Network):
    """A network of one body, for what no space builds."""

    def __init__(self, *layers: nn.Module, channels: int = 6) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.head: nn.Module = Head(channels, 3)

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.body(inference_layout(self, x_BCHW))


@pytest.mark.sample(8)
@pytest.mark.parametrize("others", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2))])
@pytest.mark.parametrize(("name", "options"), SPACES, ids=str)
def test_a_program_gives_the_networks_logits_and_sums(name, options, others) -> None:
    """At two of the small shapes and the large one: the first of them, or another."""
    seed = SPACES.index((name, options)) + others
    shape = LARGE if others == 2 else SHAPES[seed % 4]
    check_form(agree(build(name, options, shape, seed), shape))


def check_form(program: Program) -> None:
    """Unique names, what is read is there and everything is; attributes and tensors as in `OPS`."""
    there, read = {INPUT}, set()
    for step in program.steps:
        op = OPS[step.op]
        assert op.arity in (None, len(step.inputs))
        assert set(step.inputs) <= there
        assert step.name not in there
        assert tuple(step.attributes) == op.attributes
        required = {name for name in op.tensors if not name.endswith("?")}
        kinds = {name.rstrip("?"): kind for name, kind in op.tensors.items()}
        assert required <= step.tensors.keys() <= kinds.keys()
        for name, tensor in step.tensors.items():
            assert tensor.dtype == np.dtype(f"<{kinds[name]}")
            assert tensor.flags.c_contiguous
        assert step.op != "window" or tuple(step.attributes.values()) != (0, 0, 0, 1)
        there.add(step.name)
        read |= set(step.inputs)
    assert there - read == {program.steps[-1].name}


@pytest.mark.parametrize("precision", ["W32A32", "W1A32"])
@pytest.mark.parametrize(
    "name", ["darts-binary", "bats", "bars", "bnas-201", "nas-bnn", "handcrafted"]
)
def test_other_precisions_are_lowered_as_they_run(name, precision) -> None:
    """BARS' convolutions see another layout than the engine's, where they are real."""
    options = {"models": ("birealnet18", "reactnet-a")} if name == "handcrafted" else {}
    network = build(name, options, (3, 12, 12), seed=5)
    network.precision = precision
    program = agree(network, (3, 12, 12), rtol=1e-5 if name == "bars" else 0)
    ops = Counter(step.op for step in program.steps)
    assert not {"conv_b", "sign", "conv_q8"} & ops.keys()
    assert (ops["conv_w1"] > 0) == (precision == "W1A32")


@pytest.mark.parametrize(
    "name", ["darts-binary", "bats", "bars", "bnas-201", "nas-bnn", "handcrafted"]
)
def test_real_convolutions_see_the_layout_of_the_engine(name) -> None:
    """A pixel's channels are next to each other; that of global pooling decides how it adds, too."""
    for shape in (*SHAPES, LARGE):
        network, seen = build(name, {}, shape), []
        for module in network.modules():
            real = isinstance(module, nn.Conv2d | QuantConv2d | nn.AdaptiveAvgPool2d)
            if real or (isinstance(module, BinaryConv2d) and module.own != Precision.W1A1):
                module.register_forward_pre_hook(lambda _, x, seen=seen: seen.append(x[0]))
        with torch.no_grad():
            network(torch.from_numpy(images(shape)))
        assert len(seen) > 1
        assert all(x.stride(1) == 1 for x in seen if max(x.shape[2:]) > 1)


@pytest.mark.parametrize("scale", ["learned", "xnor", "layer", "none"])
def test_in_inference_the_scale_multiplies_whole_sums(scale) -> None:
    torch.manual_seed(0)
    conv = BinaryConv2d(64, 6, 3, padding=1, scale=scale)
    x = torch.randn(2, 64, 5, 5)
    with torch.no_grad():
        sums = F.conv2d(sign(x).double(), sign(conv.weight).double(), padding=1)
        expected = sums.float() * conv.scale_factor().view(-1, 1, 1)
        torch.testing.assert_close(conv.eval()(x), expected, rtol=0, atol=0)
        conv.train()
        if scale != "layer":
            trained = F.conv2d(sign(x), sign(conv.weight) * conv.scale_factor(), padding=1)
            torch.testing.assert_close(conv(x), trained, rtol=0, atol=0)


def test_in_inference_normalised_weights_are_signs_too() -> None:
    torch.manual_seed(0)
    conv = randomised(NormalisedConv2d(64, 6, 5))
    x = torch.randn(2, 64, 2, 2)  # smaller than the kernel, whose border is cut
    with torch.no_grad():
        w, scale = conv.filters()
        signs = sign(x - conv.threshold.view(1, -1, 1, 1))
        sums = F.conv2d(signs.double(), sign(w).double(), padding=2)
        expected = sums.float() * scale.view(-1, 1, 1)
        torch.testing.assert_close(conv(x), expected, rtol=0, atol=0)


def rounded(v: Fraction) -> Fraction:
    """The nearest 32-bit float, to even between two, without end upwards."""
    if v == 0:
        return v
    exponent = max(abs(v).numerator.bit_length() - abs(v).denominator.bit_length(), -126)
    while abs(v) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(v) < Fraction(2) ** exponent and exponent > -126:
        exponent -= 1
    unit = Fraction(2) ** (exponent - 23)
    return round(v / unit) * unit


AWKWARD = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 1e-39, 1.2e-38, -3e-20, 0.1, -0.3, 7e4, 2e30, -3e38]


def test_thresholds_are_exact_around_and_far_from_themselves() -> None:
    """Against fractions: where fma(x, a, b), rounded to 32 bits, is at least t."""
    rng = np.random.default_rng(0)
    exotic = np.array(AWKWARD, dtype=np.float32)
    a = np.concatenate([np.repeat(exotic, len(exotic)), rng.normal(size=200)]).astype(np.float32)
    b = np.concatenate([np.tile(exotic, len(exotic)), rng.normal(size=200)]).astype(np.float32)
    scale, offset = torch.from_numpy(a), torch.from_numpy(b)
    still = torch.zeros_like(scale), torch.ones_like(scale)

    for least in (0.0, 0.25, -1e-40):

        def positive(x: Tensor, least: float = least) -> Tensor:
            return F.batch_norm(x, *still, scale, offset, eps=0.0) - np.float32(least) >= 0

        found, flips = fold.threshold(positive, len(a))
        assert not flips[a > 0].any()
        assert not np.isnan(found).any()
        for channel, (t, flip) in enumerate(zip(found, flips, strict=True)):
            near = np.array(t if np.isfinite(t) else 0, dtype=np.float32)
            tries = [near, -near, *exotic, np.float32(3.4e38), np.float32(-3.4e38)]
            for way in (np.float32("inf"), np.float32("-inf")):
                tries.append(np.nextafter(near, way))
                tries += [np.nextafter(tries[-1], way), near + np.float32(0.1) * np.sign(way)]
            for x in tries:
                if not np.isfinite(x):
                    continue
                exact = Fraction(float(x)) * Fraction(float(a[channel])) + Fraction(
                    float(b[channel])
                )
                expected = rounded(exact) >= Fraction(float(np.float32(least)))
                assert ((x >= t) ^ flip) == expected, (x, a[channel], b[channel], t, least)


@pytest.mark.parametrize("affine", [True, False])
def test_a_batch_norm_is_one_fma(affine) -> None:
    generator = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm2d(40, affine=affine).eval()
    norm.running_mean.normal_(generator=generator)
    norm.running_var.uniform_(0, 2, generator=generator)
    with torch.no_grad():
        if affine:
            norm.weight.normal_(generator=generator)
            norm.weight[:9] *= 1e-25  # the offset would drown it
            norm.weight[9:12] = 0
            norm.bias.normal_(generator=generator)
        x = torch.randn(3, 40, 7, 5, generator=generator) * torch.logspace(-20, 20, 5)
        expected = norm(x)
        scale, offset = fold.batch_norm(norm)
    a, b = (y.astype(np.float64).reshape(1, -1, 1, 1) for y in (scale, offset))
    fused = (x.numpy().astype(np.float64) * a + b).astype(np.float32)  # rounded twice, so nearly
    np.testing.assert_allclose(fused, expected.numpy(), rtol=2e-7, atol=1e-44)
    assert (fused == expected.numpy()).mean() > 0.999
    if affine:
        slope = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        np.testing.assert_allclose(scale, slope.detach().numpy(), rtol=1e-6, atol=0)


def folding(*between: nn.Module, last: nn.Module | None = None) -> Small:
    """A convolution, what is between, a 1-bit convolution."""
    last = BinaryConv2d(6, 6, 3, padding=1) if last is None else last
    return Small(nn.Conv2d(2, 6, 3, bias=True), *between, last)


@pytest.mark.parametrize(
    ("between", "threshold", "flips"),
    [
        ([], False, False),
        ([nn.Hardtanh()], False, False),
        ([nn.Identity(), nn.Dropout(0.5)], False, False),
        ([RSign(6)], True, False),
        ([nn.BatchNorm2d(6)], True, True),
        ([nn.BatchNorm2d(6), nn.Hardtanh()], True, True),
        ([nn.BatchNorm2d(6), nn.Identity(), RSign(6)], True, True),
        ([nn.BatchNorm2d(6), nn.Hardtanh(), RSign(6)], True, True),
        ([nn.BatchNorm2d(6), nn.BatchNorm2d(6)], True, True),
        ([RSign(6), RSign(6)], True, True),
        ([nn.Hardtanh(), RSign(6)], True, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("normalised", [False, True])
def test_what_only_signs_are_taken_of_is_a_threshold(between, threshold, flips, normalised) -> None:
    last = NormalisedConv2d(6, 6, 3) if normalised else None
    for seed in range(3):
        program = agree(randomised(folding(*between, last=last), seed), (2, 7, 7), count=4)
        ops = Counter(step.op for step in program.steps)
        norms = sum(isinstance(module, nn.BatchNorm2d) for module in between)
        assert ops["affine"] == max(norms - 1, 0)
        assert ops["hardtanh"] == 0
        assert ops["sign"] == 1
        (tensors,) = (step.tensors for step in program.steps if step.op == "sign")
        plain = all(isinstance(module, nn.Identity | nn.Dropout) for module in between)
        assert ("threshold" in tensors) == (threshold or normalised)
        assert ("flips" in tensors) == (flips or (normalised and not plain))


class Forked(Small):
    """One value, read as it is and for its signs, which two convolutions share."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__(nn.Conv2d(2, 6, 3), norm)
        self.convs = nn.ModuleList(BinaryConv2d(6, 6, 1) for _ in range(2))

    def features(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = super().features(x_BCHW)
        shuffle(x_BCHW, 2)  # read by nothing
        return self.convs[0](x_BCHW) + x_BCHW + self.convs[1](x_BCHW)


def test_what_is_read_as_it_is_stays_and_equal_signs_are_made_once() -> None:
    for norm, kept in ((nn.BatchNorm2d(6), "affine"), (nn.Hardtanh(), "hardtanh")):
        program = agree(randomised(Forked(norm)), (2, 6, 6))
        ops = [step.op for step in program.steps]
        assert ops == [
            *("conv", kept, "sign", "conv_b", "add", "conv_b", "add", "global_pool", "linear")
        ]
        (only,) = (step for step in program.steps if step.op == "sign")
        source = program.steps[0] if kept == "hardtanh" else program.steps[1]
        assert only.inputs == (source.name,)
        assert not only.tensors


def test_layers_and_weights_are_where_the_network_has_them() -> None:
    network = build("darts-binary", {}, (1, 8, 8))
    program, modules = lower(network, (1, 8, 8), {"space": "x"}), dict(network.named_modules())
    assert program.about == {"space": "x"}
    assert all(step.layer in modules for step in program.steps)
    for step in program.steps:
        if step.op in ("conv_w1", "conv_b"):
            w = modules[step.layer].weight.detach().numpy()
            shape = (w.shape[0], *w.shape[2:], w.shape[1])
            signs = unpack_bits(step.tensors["signs"], shape).transpose(0, 3, 1, 2)
            np.testing.assert_array_equal(signs, w >= 0)
            if step.op == "conv_w1":
                scale = step.tensors["scale"].reshape(-1, 1, 1, 1)
                theirs = modules[step.layer].effective_weight().detach().numpy()
                np.testing.assert_array_equal(np.where(signs, scale, -scale), theirs)


def test_levels_times_steps_are_the_quantised_weights() -> None:
    network = build("nas-bnn", {}, (3, 8, 8))
    with torch.no_grad():
        network.stem.weight[0] *= 100  # beyond the levels
        network.stem.weight_step.neg_()
    first = agree(network, (3, 8, 8)).steps[0]
    levels, (weight_step, _) = first.tensors["weight"], first.tensors["steps"]
    assert (levels.min(), levels.max()) == (-128, 127)
    np.testing.assert_array_equal(
        levels * weight_step, network.stem.effective_weight().detach().numpy()
    )


def test_other_ways_to_build_what_the_engine_has() -> None:
    """One slope for all channels, biases, poolings of both kinds, a head of other modules."""
    network = Small(
        nn.Conv2d(3, 6, 5, stride=2, padding=3, dilation=2, groups=3, bias=True),
        nn.PReLU(),
        nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
        nn.AvgPool2d(3, 1, padding=1),
        RPReLU(6),
        nn.ReLU(),
        nn.Hardtanh(),
    )
    pool = nn.AdaptiveAvgPool2d((1, 1))
    network.head = nn.Sequential(pool, nn.Flatten(), nn.Linear(6, 5, bias=False))
    program = agree(randomised(network), (3, 19, 16))
    check_form(program)
    assert [step.op for step in program.steps] == [
        *("conv", "prelu", "max_pool", "avg_pool", "rprelu", "relu", "hardtanh"),
        *("global_pool", "linear"),
    ]


def test_an_auxiliary_head_is_left_out_and_the_network_stays_as_it_was() -> None:
    plugin = find("space", "darts-binary")
    space = plugin.make(plugin.defaults)
    arch, rng = space.sample(np.random.default_rng(0)), np.random.default_rng(1)
    network = space.network(arch, NetworkSpec((1, 8, 8), 10, 3, 4, auxiliary=True), rng).double()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    hook = network.head.register_forward_hook(lambda *_: None)
    passes: list[Tensor] = []
    Counted.listeners.append(passes.append)
    try:
        program = lower(network, (1, 8, 8))
    finally:
        Counted.listeners.remove(passes.append)
    assert not passes
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert list(network.head._forward_hooks) == [hook.id]
    assert not any("auxiliary" in step.layer for step in program.steps)


class Twice(nn.Module):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        return 2 * x_BCHW


class Deciding(nn.Module):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW if x_BCHW.sum() > 0 else -x_BCHW


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.ones(1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW * self.strength


class Derived(BinaryConv2d):
    """May compute anything."""


def narrow(precision: Precision) -> BinaryConv2d:
    conv = BinaryConv2d(6, 6, 1)
    conv.running = precision
    return conv


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.GELU(), ["layer 'body.1'", "GELU"]),
        (nn.ConvTranspose2d(6, 6, 1), ["layer 'body.1'", "ConvTranspose2d"]),
        (nn.Conv2d(6, 6, (1, 3)), ["layer 'body.1'", "kernel_size=(1, 3)"]),
        (nn.Conv2d(6, 6, 3, padding="same"), ["layer 'body.1'", "padding=same"]),
        (nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect"), ["'body.1'", "'reflect'"]),
        (nn.BatchNorm2d(6, track_running_stats=False), ["layer 'body.1'", "running statistics"]),
        (nn.InstanceNorm2d(6), ["layer 'body.1'", "InstanceNorm2d"]),
        (nn.Hardtanh(0, 6), ["layer 'body.1'", "[0, 6]"]),
        (nn.MaxPool2d(3, 1, dilation=2), ["layer 'body.1'", "dilated"]),
        (nn.AvgPool2d(2, divisor_override=3), ["layer 'body.1'", "divisor"]),
        (nn.AvgPool2d((2, 1)), ["layer 'body.1'", "kernel_size=(2, 1)"]),
        (nn.AdaptiveAvgPool2d(2), ["layer 'body.1'", "2 pixels"]),
        (narrow(Precision.W32A1), ["layer 'body.1'", "W32A1"]),
        (QuantConv2d(6, 6, 1, bits=4), ["layer 'body.1'", "W4A4"]),
        (Derived(6, 6, 1), ["layer 'body.1'", "Derived"]),
        (RSign(6), ["layer 'body.1'", "signs"]),
        (Twice(), ["layer 'body.1'", "'mul'"]),
        (Own(), ["layer 'body.1'", "Own"]),
        (Deciding(), ["decides by the numbers"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_engine_cannot_run_is_named_with_its_reason(layer, words) -> None:
    with pytest.raises(CannotPack) as caught:
        lower(Small(nn.Conv2d(2, 6, 1), layer), (2, 6, 6))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_a_published_network_at_its_size() -> None:
    agree(randomised(published(12)), (3, 224, 224), count=1)

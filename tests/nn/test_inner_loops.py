"""The fast forms of the inner loops against the plain ones, and against torch."""

from contextlib import nullcontext
from functools import partial
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad, grad, gradcheck, gradgradcheck

from bnas_bench.nn import kernels
from bnas_bench.nn.kernels import plain, prelu, prelu_of_norm_sum, prelu_sign_of_norm, ste_sign
from bnas_bench.nn.kernels.activations import clip_slope, polynomial_slope


def random(*shape: int, seed: int = 0) -> Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return made.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else made


def affine(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    norm.weight.data, norm.bias.data = random(channels, seed=1), random(channels, seed=2)
    return norm


def test_the_sign_of_both_zeros_is_positive() -> None:
    x = torch.tensor([-2.0, -1e-30, -0.0, 0.0, 1e-30, 3.0])
    assert ste_sign(x).tolist() == [-1, -1, 1, 1, 1, 1]
    assert ste_sign(x.double()).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_estimators_slopes_hold_to_their_ends(dtype) -> None:
    one = torch.ones((), dtype=dtype)
    beyond = torch.nextafter(one, 2 * one)
    x = torch.stack([-beyond, -one, -one / 2, 0 * one, one, beyond]).requires_grad_()
    g = torch.arange(1, 7, dtype=dtype)
    for estimator, slope in (("clip", clip_slope), ("polynomial", polynomial_slope)):
        (found,) = grad(ste_sign(x, estimator), x, g)
        assert torch.equal(found, g * slope(x))
    assert clip_slope(x).tolist() == [0, 1, 1, 1, 1, 0]


def test_prelu_is_torchs_to_the_second_derivative() -> None:
    x = random(2, 3, 4, 4).double().requires_grad_()
    slope = random(3, seed=1).double().requires_grad_()
    assert torch.equal(prelu(x, slope), F.prelu(x, slope))
    assert gradcheck(prelu, (x, slope), check_forward_ad=True)
    assert gradgradcheck(prelu, (x, slope))
    flat, one = random(5, 7).requires_grad_(), torch.full((1,), 0.25, requires_grad=True)
    assert torch.equal(prelu(flat, one), F.prelu(flat, one))


CASES = [
    (channels, normed, residual, signs)
    for channels, normed, residual, signs in product(
        (1, 3, 16, 150), (False, True), (False, True), (False, True)
    )
    if not (residual and signs)
]


@pytest.mark.parametrize(("channels", "normed", "residual", "signs"), CASES)
def test_the_fused_passes_are_the_plain_forms(channels, normed, residual, signs) -> None:
    found = []
    for form in (nullcontext, plain):
        norm = affine(channels) if normed else None
        y = (5 + 3 * random(6, channels, 7, 5)).requires_grad_()
        r = random(6, channels, 7, 5, seed=3).requires_grad_() if residual else None
        slope = random(channels, seed=4).requires_grad_()
        with form():
            fused = partial(prelu_sign_of_norm, y) if signs else partial(prelu_of_norm_sum, y, r)
            z = fused(slope, norm)
        sources = [x for x in (y, slope, r, *(norm.parameters() if norm else ())) if x is not None]
        slopes = grad(z, sources, random(*z.shape, seed=5))
        found.append([z, *slopes, *(norm.buffers() if norm else ())])
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).double().norm() <= 1e-5 * theirs.double().norm()


def test_any_layout_and_a_lone_pixel_are_taken() -> None:
    slope = torch.full((4,), 0.25)
    for y in (torch.randn(3, 4, 5, 2), torch.randn(3, 4, 5, 4).transpose(2, 3), random(2, 4, 1, 1)):
        with plain():
            expected = prelu_of_norm_sum(y, None, slope)
        torch.testing.assert_close(prelu_of_norm_sum(y, None, slope), expected)


def test_far_from_zero_the_variance_keeps_its_digits() -> None:
    y = 1e4 + random(8, 3, 8, 8)
    exact = prelu_of_norm_sum(y.double(), None, torch.full((3,), 0.25).double())
    found = prelu_of_norm_sum(y, None, torch.full((3,), 0.25))
    assert (found - exact).abs().max() < 1e-3


def test_second_derivatives_are_the_plain_forms() -> None:
    """Also where the residual is what the map was computed from."""
    found = []
    for form in (nullcontext, plain):
        x, slope = random(4, 3, 5, 5).requires_grad_(), random(3, seed=4).requires_grad_()
        w = random(3, 1, 3, 3, seed=5).requires_grad_()
        with form():
            y = kernels.convolve(prelu_sign_of_norm(x, slope), w, None, 1, 1, 1, 3)
            z = prelu_of_norm_sum(y, x, slope)
        first = grad(z.square().sum(), [x, slope, w], create_graph=True)
        found.append([*first, *grad(sum(g.square().sum() for g in first), [x, slope, w])])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_forward_derivatives_are_the_plain_forms() -> None:
    x, slope, t = random(4, 3, 5, 5), random(3, seed=4), random(4, 3, 5, 5, seed=6)

    def product(x: Tensor, slope: Tensor) -> Tensor:
        return prelu_of_norm_sum(ste_sign(x) * prelu_of_norm_sum(x, x, slope), None, slope)

    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(product(forward_ad.make_dual(x, t), slope)).tangent
    x.requires_grad_()
    z = product(x, slope)
    cotangent = random(*z.shape, seed=7)
    (back,) = grad(z, x, cotangent)
    assert (found * cotangent).sum().item() == pytest.approx((back * t).sum().item(), rel=1e-4)


@pytest.mark.parametrize(("channels", "normed", "residual", "signs"), CASES)
def test_a_product_in_forward_mode_alone_is_fused(channels, normed, residual, signs) -> None:
    found = []
    for form in (nullcontext, plain):
        norm = affine(channels) if normed else None
        y, dy = 5 + 3 * random(6, channels, 7, 5), random(6, channels, 7, 5, seed=6)
        slope = random(channels, seed=4).requires_grad_()
        with form(), torch.no_grad(), forward_ad.dual_level():
            y = forward_ad.make_dual(y, dy)
            r = random(6, channels, 7, 5, seed=3) if residual else None
            if residual and channels > 1:
                r = forward_ad.make_dual(r, random(6, channels, 7, 5, seed=7))
            assert kernels.fast(y, slope) is (form is nullcontext)
            fused = partial(prelu_sign_of_norm, y) if signs else partial(prelu_of_norm_sum, y, r)
            found.append(forward_ad.unpack_dual(fused(slope, norm)))
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).double().norm() <= 1e-5 * theirs.double().norm()


def test_a_slope_with_a_tangent_takes_the_plain_form() -> None:
    y, slope, t = random(4, 3, 5, 5), random(3, seed=4), random(3, seed=5)
    with torch.no_grad(), forward_ad.dual_level():
        z = prelu_of_norm_sum(y, None, forward_ad.make_dual(slope, t))
        found = forward_ad.unpack_dual(z).tangent
    normal = F.batch_norm(y, None, None, training=True)
    torch.testing.assert_close(found, normal.clamp(max=0) * t.view(1, 3, 1, 1))


KERNELS = list(product((1, 2, 4, 9), (3, 5, 7), (1, 2), (1, 2)))


@pytest.mark.parametrize(("side", "kernel", "dilation", "stride"), KERNELS)
@pytest.mark.parametrize("channels", [5, 16, 36])
def test_depthwise_convolutions_are_torchs(side, kernel, dilation, stride, channels) -> None:
    x = random(5, channels, side, side + 1).requires_grad_()
    w = random(channels, 1, kernel, kernel, seed=1).squeeze(1).unsqueeze(1).requires_grad_()
    how = (None, stride, dilation * (kernel // 2), dilation, channels)
    ours, theirs = kernels.convolve(x, w, *how), F.conv2d(x, w, *how)
    torch.testing.assert_close(ours, theirs)
    cotangent = random(*theirs.shape, seed=2)
    for a, b in zip(grad(ours, [x, w], cotangent), grad(theirs, [x, w], cotangent), strict=True):
        assert (a - b).norm() <= 1e-6 * b.norm()


def test_a_gradient_that_nobody_wants_is_not_taken(monkeypatch) -> None:
    """The architecture's gradient needs none of the weights'."""
    from bnas_bench.nn.kernels import convolution

    def refused(*_: object) -> None:
        raise AssertionError("the weights' gradient was taken")

    monkeypatch.setattr(convolution, "tap_sums", refused)
    x, w = random(2, 4, 5, 5).requires_grad_(), random(4, 1, 3, 3)
    grad(kernels.convolve(x, w, None, 1, 1, 1, 4).sum(), x)
    with pytest.raises(AssertionError, match="was taken"):
        grad(kernels.convolve(x, w.requires_grad_(), None, 1, 1, 1, 4).sum(), w)


@pytest.mark.parametrize("x", [random(2, 3, 4, 4).double(), random(2, 3, 4, 4).to("meta")])
def test_other_types_and_devices_take_the_plain_form(x) -> None:
    slope = torch.full((3,), 0.25, dtype=x.dtype, device=x.device)
    assert not kernels.fast(x)
    assert prelu_sign_of_norm(x, slope).shape == x.shape
    assert kernels.fast(random(2, 3, 4, 4))


@pytest.mark.parametrize("channels", [2, 4, 5])
@pytest.mark.parametrize("side", [7, 8])
def test_strided_points_of_few_channels_are_torchs(channels, side) -> None:
    """There oneDNN's own gradient of the weights would write beyond its memory."""
    x, w = random(8, channels, side, side), random(6, channels, 1, 1).requires_grad_()
    ours = kernels.convolve(x, w, None, 2, 0, 1, 1)
    theirs = F.conv2d(x.contiguous(), w, None, 2)
    torch.testing.assert_close(ours, theirs)
    cotangent = random(*theirs.shape, seed=2)
    torch.testing.assert_close(grad(ours, w, cotangent), grad(theirs, w, cotangent.contiguous()))

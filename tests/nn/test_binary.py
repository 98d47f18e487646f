"""The 1-bit layers against independent NumPy arithmetic, x = 0 included."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad, gradcheck

from bnas_bench.nn.binary import (
    BinaryConv2d,
    Precision,
    RPReLU,
    RSign,
    mean_magnitude,
    reconstruction_error,
    sign,
    ste_sign,
)

X = [-2.0, -1.0, -0.5, -0.0, 0.0, 0.25, 1.0, 1.5]


def test_sign_of_zero_is_plus_one() -> None:
    expected = np.where(np.array(X) >= 0, 1.0, -1.0)
    np.testing.assert_array_equal(sign(torch.tensor(X)).numpy(), expected)
    assert set(sign(torch.randn(1000)).tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize(
    ("estimator", "slope"),
    [
        ("clip", lambda x: (np.abs(x) <= 1).astype(float)),
        ("polynomial", lambda x: np.where(np.abs(x) < 1, 2 - 2 * np.abs(x), 0.0)),
    ],
)
def test_estimators_in_reverse_and_forward_mode(estimator, slope) -> None:
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    weight = torch.arange(1.0, 9.0, dtype=torch.float64)
    y = ste_sign(x, estimator)
    np.testing.assert_array_equal(y.detach().numpy(), np.where(np.array(X) >= 0, 1.0, -1.0))
    (reverse,) = torch.autograd.grad((y * weight).sum(), x)
    np.testing.assert_allclose(reverse.numpy(), slope(np.array(X)) * weight.numpy())
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(
            ste_sign(forward_ad.make_dual(x, weight), estimator)
        ).tangent
    np.testing.assert_allclose(tangent.detach().numpy(), slope(np.array(X)) * weight.numpy())


def test_the_polynomial_estimator_has_a_second_derivative() -> None:
    x = torch.tensor([-0.5, 0.25, 1.5], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(ste_sign(x, "polynomial").sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    np.testing.assert_allclose(second.numpy(), [2.0, -2.0, 0.0])  # d(2 - 2|x|)/dx = -2 sign(x)


def test_scale_and_reconstruction_error() -> None:
    w = np.random.default_rng(0).normal(size=(3, 2, 3, 3))
    alpha = np.abs(w).reshape(3, -1).mean(1)
    np.testing.assert_allclose(mean_magnitude(torch.from_numpy(w)).flatten().numpy(), alpha)
    beta = np.array([0.5, 1.0, 2.0]).reshape(3, 1, 1, 1)
    expected = ((w - beta * np.where(w >= 0, 1, -1)) ** 2).sum()
    got = reconstruction_error(torch.from_numpy(w), torch.from_numpy(beta))
    np.testing.assert_allclose(got.numpy(), expected)


def test_the_mean_magnitude_minimises_the_reconstruction_error() -> None:
    w = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    best = mean_magnitude(w)
    least = reconstruction_error(w, best)
    for factor in (0.9, 1.1):
        assert reconstruction_error(w, best * factor) > least


@pytest.mark.parametrize("running", list(Precision))
@pytest.mark.parametrize("own", [Precision.W1A1, Precision.W1A32])
def test_binary_convolution_is_the_convolution_of_what_its_precision_says(own, running) -> None:
    torch.manual_seed(0)
    conv = BinaryConv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, precision=own)
    conv.running = running
    with torch.no_grad():
        conv.beta.copy_(torch.linspace(-1, 2, 6))
    x = torch.randn(2, 4, 9, 9)
    x[0, 0, 0, 0] = 0.0
    one_bit_weights = own.weight_bits == running.weight_bits == 1
    one_bit_inputs = own.activation_bits == running.activation_bits == 1
    weight = (
        sign(conv.weight) * conv.beta.abs().view(-1, 1, 1, 1) if one_bit_weights else conv.weight
    )
    expected = F.conv2d(sign(x) if one_bit_inputs else x, weight, None, 2, 2, 2, 2)
    torch.testing.assert_close(conv(x), expected)
    expected_name = f"W{1 if one_bit_weights else 32}A{1 if one_bit_inputs else 32}"
    assert conv.precision == expected_name


def test_binary_convolution_is_twice_differentiable_in_scale_and_input() -> None:
    torch.manual_seed(0)
    conv = BinaryConv2d(2, 2, 3, padding=1, estimator="polynomial").double()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64).requires_grad_()
    (first,) = torch.autograd.grad(conv(x).square().sum(), x, create_graph=True)
    second = torch.autograd.grad(first.square().sum(), [x, conv.weight, conv.beta])
    assert all(torch.isfinite(g).all() and g.abs().sum() > 0 for g in second)


def test_rprelu_and_rsign() -> None:
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    rprelu, rsign = RPReLU(3).double(), RSign(3).double()
    with torch.no_grad():
        for parameter in (*rprelu.parameters(), *rsign.parameters()):
            parameter.copy_(torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64))
    shift = np.array([0.1, -0.2, 0.3]).reshape(1, 3, 1, 1)
    moved = x.numpy() - shift
    expected = np.where(moved > 0, moved, shift * moved) + shift
    np.testing.assert_allclose(rprelu(x).detach().numpy(), expected)
    np.testing.assert_array_equal(rsign(x).detach().numpy(), np.where(moved >= 0, 1, -1))
    assert gradcheck(rprelu, x.requires_grad_())


def test_precision_switch_takes_the_finer_of_both() -> None:
    assert Precision.W1A32.finer(Precision.W32A1) == "W32A32"
    assert Precision.W1A1.finer(Precision.W32A1) == "W32A1"
    with pytest.raises(ValueError, match="W2A2"):
        Precision("W2A2")

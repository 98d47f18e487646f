"""The BATS space: grouped blocks against NumPy, the group count, the formula."""

import numpy as np
import pytest
import torch
from bnas_bench.spaces.bats import KERNELS, Bats

from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.core.errors import BadValue
from bnas_bench.cost import ledger, ops
from bnas_bench.nn.binary import BinaryConv2d
from bnas_bench.nn.blocks import GroupedBlock, shuffle


def make(**options) -> Bats:
    space = Bats(**options)
    space.name = "bats"
    return space


def test_shuffle_is_shufflenets() -> None:
    x = torch.arange(12.0).view(1, 12, 1, 1)
    expected = [g * 3 + i for i in range(3) for g in range(4)]
    assert shuffle(x, 4).flatten().tolist() == expected
    two = shuffle(torch.cat([x, x + 12], 1), 4, edges=2).flatten().tolist()
    assert two == expected + [12 + c for c in expected]


def test_a_grouped_block_against_numpy() -> None:
    torch.manual_seed(0)
    block = GroupedBlock(8, 3, stride=1, dilation=2, groups=4, shuffled=2).double().eval()
    x = torch.randn(1, 8, 5, 5, dtype=torch.double)
    sign = np.where(x[0].numpy() / np.sqrt(1 + 1e-5) < 0, -1.0, 1.0)
    w, beta = block.conv.weight.detach().numpy(), block.conv.beta.detach().numpy()
    y = np.zeros((8, 5, 5))
    for c, row, column in np.ndindex(y.shape):
        first = c // 2 * 2  # two channels a group
        for i, a, b in np.ndindex(2, 3, 3):
            r, s = row + 2 * (a - 1), column + 2 * (b - 1)
            if 0 <= r < 5 and 0 <= s < 5:
                bit = -1.0 if w[c, i, a, b] < 0 else 1.0
                y[c, row, column] += beta[c] * bit * sign[first + i, r, s]
    y = np.where(y > 0, y, 0.25 * y) + x[0].numpy()
    expected = y[[0, 4, 1, 5, 2, 6, 3, 7]]
    np.testing.assert_allclose(block(x)[0].detach().numpy(), expected, atol=1e-12)


def test_every_convolution_of_an_edge_is_one_bit_in_twelve_groups() -> None:
    space = make()
    arch = space.derive([np.eye(8)[4 + k % 4] for k in range(28)])
    network = space.network(arch, NetworkSpec((3, 32, 32), 10, 8, 24), np.random.default_rng(0))
    convs = [
        m for cell in network.cells for m in cell.edges.modules() if isinstance(m, BinaryConv2d)
    ]
    assert len(convs) == 8 * 8
    assert {conv.groups for conv in convs} == {12}
    assert {conv.precision for conv in convs} == {"W1A1"}
    assert {(conv.kernel_size, conv.dilation) for conv in convs} <= set(KERNELS.values())
    assert set(ledger(network, (3, 32, 32)).macs) == {"W1A1", "W32A32"}


@pytest.mark.parametrize("number", [15, pytest.param(60, marks=pytest.mark.slow)])
def test_architectures_cost_what_the_ledger_counts(number) -> None:
    space, rng = make(), np.random.default_rng(0)
    spec = NetworkSpec((3, 16, 16), 10, 3, 12)  # a normal cell, two reductions
    archs = [space.sample(rng) for _ in range(number)]
    said = space.ops(spec).of_paths(np.array([space.path(arch) for arch in archs]))
    for arch, value in zip(archs, said, strict=True):
        assert value == ops(ledger(space.network(arch, spec, rng), spec.shape), "nas-bnn")


@pytest.mark.parametrize(("channels", "fitting"), [(10, 12), (13, 24), (1, 12), (0, 12), (-12, 12)])
def test_channels_that_the_groups_do_not_divide_are_refused(channels, fitting) -> None:
    space = make()
    with pytest.raises(BadValue, match=f"{channels} channels .* 12 groups .* has {fitting}"):
        space.spec(Scale(channels=channels), (1, 8, 8), 10, final=True)
    assert space.fit(Scale(channels=channels)).channels == fitting


def test_a_partial_supernet_keeps_the_channels_of_a_group() -> None:
    spec = NetworkSpec((1, 8, 8), 10, 2, 24)
    whole, quarter = (make().supernet(spec, np.random.default_rng(0), partial=k) for k in (1, 4))
    for net, channels in ((whole, 48), (quarter, 12)):
        bundle = net.cells[1].bundles[1]
        assert bundle.channels == channels
        assert bundle.first.convs[0].weight.shape[1] == 4

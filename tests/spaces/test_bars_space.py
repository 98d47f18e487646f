"""The space of BARS: its equations in NumPy, its sizes, one set of weights in three forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bnas_bench.spaces.bars import WIDTHS, Bars
from torch.autograd import forward_ad

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.core.errors import BadValue, InvalidArchitecture, UnknownName
from bnas_bench.cost import ledger, ops
from bnas_bench.nn.bars.layout import CONV, EDGES, NONE, OPERATIONS, SHORTCUT
from bnas_bench.nn.bars.network import StaggeredConv, aggregate, resized, shortcut, width_mask
from bnas_bench.nn.bars.supernet import Fan, SoftWidth
from bnas_bench.nn.binary import BinaryConv2d, Precision
from bnas_bench.plugins.registry import find

MILLION = 1e6
SMALL = NetworkSpec((1, 8, 8), 10, 11, 4)


def make(**options) -> Bars:
    space = Bars(**options)
    space.name = "bars"
    return space


def one_hot(space, path):
    return [
        torch.eye(len(decision.options), dtype=torch.float64)[k]
        for decision, k in zip(space.decisions, path, strict=True)
    ]


def uniform(space):
    return [
        torch.full((len(d.options),), 1 / len(d.options), dtype=torch.float64)
        for d in space.decisions
    ]


def uniform_everywhere(space, **choices):
    """The architecture whose decisions of these endings take these options."""
    return Architecture(
        space.name,
        {d.name: choices[d.name.split(".")[1].partition("(")[0]] for d in space.decisions},
    )


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 3**50 * 4**3 * 4**3),
        ({"cells": "normal-reduce"}, 3**20 * 4**3 * 4**3),
        ({"search_width": False}, 3**50 * 4**3),
        ({"search_depth": False}, 3**50 * 4**3),
        ({"search_width": False, "search_depth": False, "cells": "normal-reduce"}, 3**20),
        ({"depth": 5}, 3**50 * 6**3 * 4**3),
        ({"cell_shortcut": False}, 3**50 * 4**3 * 4**3),
    ],
)
def test_the_size_under_every_switch(options, size) -> None:
    assert make(**options).size() == size


def test_equation_3_is_the_weighted_sum_of_the_stages_maps() -> None:
    rng = np.random.default_rng(0)
    m, y = rng.random(4), rng.normal(size=(4, 2, 3, 5, 5))
    got = aggregate(torch.from_numpy(m), list(torch.from_numpy(y)))
    np.testing.assert_allclose(got.numpy(), np.einsum("i,ibchw->bchw", m, y))


def test_equation_4_keeps_the_first_channels_of_every_width() -> None:
    m = np.array([0.1, 0.2, 0.3, 0.4])
    expected = np.zeros(8)
    for weight, channels in zip(m, (2, 4, 6, 8), strict=True):
        expected[:channels] += weight
    got = width_mask(torch.from_numpy(m), WIDTHS, 8)
    np.testing.assert_allclose(got.numpy(), expected)
    one = width_mask(torch.tensor([0.0, 1.0, 0.0, 0.0]), WIDTHS, 8)
    assert one.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


def test_a_layer_has_one_scale_the_mean_magnitude_of_its_weights() -> None:
    torch.manual_seed(0)
    conv = BinaryConv2d(3, 5, 3, padding=1, scale="layer").double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    w = conv.weight.detach().numpy()
    padded = np.pad(np.where(x.numpy() < 0, -1, 1), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    expected = np.abs(w).mean() * np.einsum("bihwkl,oikl->bohw", windows, np.where(w < 0, -1, 1))
    np.testing.assert_allclose(conv(x).detach().numpy(), expected)
    assert ledger(conv, (3, 6, 6)).constants == 1
    conv.running = Precision.W32A32
    plain = torch.nn.functional.conv2d(x, conv.weight, padding=1)
    torch.testing.assert_close(conv(x), plain)
    assert ledger(conv, (3, 6, 6)).constants == 0


@pytest.mark.parametrize("side", [4, 5])
def test_a_strided_convolution_is_two_on_staggered_maps(side) -> None:
    """Each output channel pair: the convolution at even pixels, and at the ones beside them."""
    torch.manual_seed(0)
    layer = StaggeredConv(2, 2).double()
    layer.norm = torch.nn.Identity()
    x = torch.randn(3, 2, side, side, dtype=torch.float64)
    got = layer(x).detach().numpy()
    assert got.shape == (3, 4, -(-side // 2), -(-side // 2))
    for n, conv in enumerate(layer.convs):
        w = conv.weight.detach().numpy()
        beta, w = np.abs(w).mean(), np.where(w < 0, -1, 1)
        end = (
            side + side % 2 if n else side
        )  # an odd map gets a row and a column of zeros, +1 as signs
        seen = np.ones((3, 2, end, end))
        seen[:, :, :side, :side] = np.where(x.numpy() < 0, -1, 1)
        padded = np.pad(seen[:, :, n:, n:], ((0, 0), (0, 0), (1, 1), (1, 1)))
        for row in range(got.shape[2]):
            for column in range(got.shape[3]):
                window = padded[:, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
                expected = beta * np.einsum("bikl,oikl->bo", window, w)
                np.testing.assert_allclose(got[:, n::2, row, column], expected)


def test_the_strided_shortcut_carries_every_second_pixel_of_both_maps() -> None:
    x = np.arange(2 * 4 * 4).reshape(1, 2, 4, 4)
    got = shortcut(torch.from_numpy(x), 2).numpy()
    np.testing.assert_array_equal(got[:, 0::2], x[:, :, 0::2, 0::2])
    np.testing.assert_array_equal(got[:, 1::2], x[:, :, 1::2, 1::2])
    np.testing.assert_array_equal(shortcut(torch.from_numpy(x), 1).numpy(), x)


def test_a_shortcut_across_widths_is_cut_or_filled_with_zeros() -> None:
    x = np.arange(8.0).reshape(1, 8, 1, 1)  # four nodes of two channels
    cut = resized(torch.from_numpy(x), 1).flatten()
    filled = resized(torch.from_numpy(x), 3).flatten()
    assert cut.tolist() == [0, 2, 4, 6]
    assert filled.tolist() == [0, 1, 0, 2, 3, 0, 4, 5, 0, 6, 7, 0]


@pytest.mark.sample(4)
@pytest.mark.parametrize("precision", ["W1A1", "W1A32", "W32A1", "W32A32"])
@pytest.mark.parametrize(
    "options",
    [{}, {"cells": "normal-reduce", "cell_shortcut": False}, {"search_width": False, "depth": 2}],
    ids=str,
)
def test_mix_path_and_network_are_one_function(options, precision) -> None:
    space, rng = make(**options), np.random.default_rng(3)
    spec = NetworkSpec((3, 9, 9), 5, 11, 4)  # odd maps: the staggered ones are padded
    supernet = space.supernet(spec, rng).double()
    supernet.precision = precision
    x = torch.from_numpy(rng.normal(size=(6, 3, 9, 9)))
    with torch.no_grad():
        for _ in range(4):
            arch = space.sample(rng)
            path = space.path(arch)
            single = supernet(x, path)
            mixed = supernet(x, one_hot(space, path))
            torch.testing.assert_close(mixed, single, rtol=1e-9, atol=1e-9)
            some = [path[0], *one_hot(space, path)[1:-1], path[-1]]  # an index is one-hot there
            torch.testing.assert_close(supernet(x, some), single, rtol=1e-9, atol=1e-9)
            network = space.network(arch, spec, rng).double()
            network.precision = precision
            supernet.bequeath(network)
            torch.testing.assert_close(network(x), single, rtol=1e-9, atol=1e-9)


def test_channels_that_a_width_leaves_out_are_zero_in_the_supernet() -> None:
    space, rng = make(), np.random.default_rng(4)
    supernet = space.supernet(SMALL, rng).double()
    x = torch.from_numpy(rng.normal(size=(4, 1, 8, 8)))
    choices = {**space.largest().choices, "stage3.width": 0.5, "stage3.depth": 1}
    path = space.path(Architecture("bars", choices))
    with torch.no_grad():
        wide = supernet.features(x, one_hot(space, path)).unflatten(1, (4, 16))
        narrow = supernet.features(x, path).unflatten(1, (4, 8))
    assert not wide[:, :, 8:].any()
    torch.testing.assert_close(wide[:, :, :8], narrow)


def test_a_path_runs_no_more_channels_than_its_width_and_no_more_cells_than_its_depth() -> None:
    space, rng = make(), np.random.default_rng(5)
    supernet = space.supernet(SMALL, rng)
    arch = uniform_everywhere(space, edge=CONV, depth=1, width=0.25)
    seen = []

    def record(_, inputs, __):
        seen.append(tuple(inputs[0].shape))

    supernet.head.register_forward_hook(record)
    features = supernet.features(torch.zeros(2, 1, 8, 8), space.path(arch))
    assert features.shape == (2, 16, 2, 2)
    filters = list(supernet.filters(space.path(arch)))
    assert len(filters) == 5 + 3 * 10 + 2 * 14  # 4 edges of a reduction have two convolutions
    supernet(torch.zeros(2, 1, 8, 8), space.path(arch))
    assert seen == [(2, 16, 2, 2)]


def test_filters_are_those_of_the_stand_alone_network() -> None:
    space, rng = make(), np.random.default_rng(6)
    supernet = space.supernet(SMALL, rng)
    arch = space.sample(rng)
    network = space.network(arch, SMALL, rng)
    supernet.bequeath(network)
    convs = [m for m in network.modules() if isinstance(m, BinaryConv2d)]
    filters = list(supernet.filters(space.path(arch)))
    assert len(filters) == len(convs)
    for (w, beta), conv in zip(filters, convs, strict=True):
        torch.testing.assert_close(w, conv.weight)
        torch.testing.assert_close(beta, conv.scale_factor())


@pytest.mark.slow
def test_the_formula_is_the_ledger() -> None:
    space, rng = make(), np.random.default_rng(7)
    formula = space.ops(SMALL)
    for _ in range(60):
        arch = space.sample(rng)
        counted = ops(ledger(space.network(arch, SMALL, rng), SMALL.shape), "nas-bnn")
        assert formula.of(space.path(arch)) == counted


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"cells": "normal-reduce"}, {"search_width": False}, {"search_depth": False}]
)
@pytest.mark.parametrize("shape", [(3, 9, 7), (3, 64, 64)])
def test_the_formula_is_the_ledger_under_the_switches(options, shape) -> None:
    space, rng = make(**options), np.random.default_rng(8)
    spec = space.spec(Scale(channels=4), shape, 10, final=False)
    for convention in ("nas-bnn", "dcp-nas"):
        formula = space.ops(spec, convention)
        for arch in (space.sample(rng), space.sample(rng), space.largest(), space.smallest()):
            book = ledger(space.network(arch, spec, rng), shape)
            counted = ops(book, convention)
            if convention == "dcp-nas":  # 58 is no power of two: sums differ in the last bit
                counted = pytest.approx(counted, rel=1e-12)
            assert formula.of(space.path(arch)) == counted


def test_nothing_between_the_first_and_the_last_layer_is_real() -> None:
    space, rng = make(), np.random.default_rng(9)
    book = ledger(space.network(space.largest(), SMALL, rng), SMALL.shape)
    multiplying = [layer for layer in book.layers if layer.macs]
    first, *body, last = multiplying
    assert first.weight_bits == last.weight_bits == 32
    assert {(layer.weight_bits, layer.activation_bits) for layer in body} == {(1, 1)}


def test_the_papers_networks_lie_within_the_space_at_its_scale() -> None:
    """Table 2, two operations a MAC: BARS-A, B, C have 1,027, 2,096, 3,747 M BiOps; 2, 2, 3 M FLOPs."""
    space, rng = make(), np.random.default_rng(10)
    spec = space.spec(Scale(), (3, 32, 32), 10, final=True)
    assert spec == space.spec(Scale(), (3, 32, 32), 10, final=False)
    for width, flops in ((0.5, 2), (0.75, 3)):
        arch = uniform_everywhere(space, edge=SHORTCUT, depth=1, width=width)
        macs = ledger(space.network(arch, spec, rng), spec.shape).macs
        assert round(2 * macs["W32A32"] / MILLION) == flops

    def bops(paths):
        """BiOps in millions: twice the 1-bit MACs, which are what is left without stem and head."""
        stem, head = 3 * 9 * 1024 * 72, 4 * (4 * 72) * 10
        width1, width3 = (np.array(WIDTHS)[paths[:, column]] for column in (-3, -1))
        real = stem * width1 + head * width3
        return 2 * 64 * (space.ops(spec).of_paths(paths) - real) / MILLION

    sampled = bops(np.array([space.path(space.sample(rng)) for _ in range(1000)]))
    assert np.quantile(sampled, 0.25) < 1027 < np.quantile(sampled, 0.75)
    assert np.quantile(sampled, 0.9) < 2096 < sampled.max()
    assert bops(np.array([space.path(space.largest())])) > 3747


def test_the_smallest_network_has_a_path_from_the_image_to_the_logits() -> None:
    rng = np.random.default_rng(11)
    for shortcut_across in (True, False):
        space = make(cell_shortcut=shortcut_across)
        network = space.network(space.smallest(), SMALL, rng)
        x = torch.from_numpy(rng.normal(size=(4, 1, 8, 8))).float()
        assert network(x).std(0).min() > 0
    assert space.smallest().choices["stage2.depth"] == 0
    assert set(space.largest().choices.values()) == {CONV, 3, 1.0}


def test_without_live_edges_the_shortcut_across_the_cells_is_all_there_is() -> None:
    rng = np.random.default_rng(12)
    x = torch.from_numpy(rng.normal(size=(2, 1, 8, 8))).float()
    for across in (True, False):
        space = make(cell_shortcut=across)
        arch = uniform_everywhere(space, edge=NONE, depth=2, width=1.0)
        features = space.network(arch, SMALL, rng).features(x)
        assert bool(features.any()) is across


def test_one_topology_for_all_stages_is_one_decision_an_edge() -> None:
    space = make(cells="normal-reduce")
    assert len(space.decisions) == 26
    assert [len(node) for node in space.nodes] == [1, 2, 3, 4] * 2
    assert len(make().nodes) == 20
    names = [space.decisions[k].name for k in space.nodes[-1]]
    assert names == [f"reduce.edge({i},4)" for i in range(4)]


def test_weight_norms_belong_to_their_decisions() -> None:
    space, rng = make(), np.random.default_rng(13)
    supernet = space.supernet(SMALL, rng)
    supernet.precision = "W32A32"
    before = supernet.weight_norms()
    conv = supernet.groups[1][0].fans[0].convs[1]  # the first reduction; edges from its input
    with torch.no_grad():
        conv.part(2 * 2, 2 * 2, 2)[:] *= 3
    ratio = supernet.weight_norms() / before
    changed = [space.decisions[int(k)].name for k in (ratio > 1.0001).nonzero()]
    assert changed == ["reduce1.edge(0,3)", "stage2.width"]
    total = sum(m.weight.square().sum() for m in supernet.modules() if isinstance(m, BinaryConv2d))
    torch.testing.assert_close(supernet.weight_norms()[-3:].sum(), total)


def test_the_supernet_has_exact_products_of_first_and_second_derivatives() -> None:
    """What DCP-NAS takes through it: J v in forward mode, H v by a double backward."""
    space, rng = make(depth=1), np.random.default_rng(14)
    supernet = space.supernet(SMALL, rng).double()
    x = torch.from_numpy(rng.normal(size=(4, 1, 8, 8)))
    sizes = [len(d.options) for d in space.decisions]
    flat = torch.cat(uniform(space)).requires_grad_()
    v = torch.from_numpy(rng.normal(size=len(flat)))

    def logits(alpha):
        return supernet(x, [part.softmax(0) for part in alpha.split(sizes)]).square().sum()

    (slope,) = torch.autograd.grad(logits(flat), flat, create_graph=True)
    with forward_ad.dual_level():
        product = forward_ad.unpack_dual(logits(forward_ad.make_dual(flat, v))).tangent
    torch.testing.assert_close(product, slope @ v)
    (hessian_v,) = torch.autograd.grad(slope, flat, v)
    assert hessian_v.isfinite().all()
    assert hessian_v.any()


def test_partial_channels_move_up_by_one_behind_the_one_that_ran() -> None:
    """With all weight on `none`, the channels that ran are 0 and the others pass by."""
    torch.manual_seed(0)
    width = SoftWidth(torch.tensor([0.0, 0.0, 0.0, 1.0]), WIDTHS)
    none = torch.eye(3)[[OPERATIONS.index(NONE)]]
    x = torch.rand(2, 8, 4, 4) + 1
    kept = Fan(8, 1, 1, 4)(x, none, width)[:, 0].detach()
    for place, channel in enumerate((1, 2, 3, None, 5, 6, 7, None)):
        expected = torch.zeros(2, 4, 4) if channel is None else x[:, channel]
        torch.testing.assert_close(kept[:, place], expected)
    halved = Fan(8, 1, 2, 4)(x, 0.5 * none, width)[:, 0].detach()
    pooled = torch.nn.functional.max_pool2d(x, 2)
    for place, channel in enumerate((1, 1, 2, 2, 3, 3, None, None, 5, 5, 6, 6, 7, 7, None, None)):
        expected = torch.zeros(2, 2, 2) if channel is None else pooled[:, channel] / 2
        torch.testing.assert_close(halved[:, place], expected)


def test_a_partial_supernet_takes_weights_alone() -> None:
    space, rng = make(), np.random.default_rng(15)
    supernet = space.supernet(SMALL, rng, partial=2).double()
    x = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    assert supernet(x, uniform(space)).shape == (2, 10)
    with pytest.raises(BadValue, match="runs no single path"):
        supernet(x, [0] * len(space.decisions))
    for partial in (0, 3, 8):
        with pytest.raises(BadValue, match=f"partial={partial} takes no whole number of the 4"):
            space.supernet(SMALL, rng, partial=partial)


def test_scales_are_fitted_or_refused() -> None:
    space = make()
    assert space.fit(Scale(2, 5, 8)) == Scale(None, 8, 8)
    assert space.fit(Scale(2, None, 8)) == Scale(None, None, 8)
    assert make(search_width=False).fit(Scale(2, 5, 8)) == Scale(None, 5, 8)
    assert space.spec(Scale(channels=8), (1, 8, 8), 10, final=True) == replace(SMALL, channels=8)
    with pytest.raises(BadValue, match="cells=2 cannot be kept"):
        space.spec(Scale(cells=2), (1, 8, 8), 10, final=False)
    for channels, smallest in ((6, 8), (0, 4), (-3, 4)):
        with pytest.raises(BadValue, match=f"the smallest that works is {smallest}$"):
            space.spec(Scale(channels=channels), (1, 8, 8), 10, final=False)


def test_bad_input_is_refused_with_the_options() -> None:
    space = make()
    arch = space.largest()
    misfit = replace(arch, choices={**arch.choices, "stage2.width": 0.3})
    with pytest.raises(InvalidArchitecture, match=r"'0.3' .* 'stage2.width'.*0.25, 0.5, 0.75, 1.0"):
        space.check(misfit)
    misfit = replace(arch, choices={**arch.choices, "stage1.depth": 4})
    with pytest.raises(InvalidArchitecture, match=r"'stage1.depth'; its options: 0, 1, 2, 3"):
        space.check(misfit)
    fixed = make(search_width=False)
    with pytest.raises(InvalidArchitecture, match=r"'stage2.width'; its options: 1.0"):
        fixed.check(replace(arch, choices={**arch.choices, "stage2.width": 0.5}))
    with pytest.raises(BadValue, match="'depth' is '0'"):
        find("space", "bars").make({"depth": 0})
    with pytest.raises(UnknownName, match="did you mean stage"):
        make(cells="stages")


def test_a_drawing_shows_every_topology_and_the_layout(tmp_path) -> None:
    space, rng = make(), np.random.default_rng(16)
    arch = space.sample(rng)
    space.draw(arch, tmp_path / "cells.svg")
    text = (tmp_path / "cells.svg").read_text()
    for operation in (
        CONV,
        SHORTCUT,
    ):  # matplotlib writes each label as a comment beside its outline
        there = sum(option == operation for option in arch.choices.values())
        assert text.count(f"<!-- {operation} -->") == there > 0
    for stage in (1, 2, 3):
        depth, width = (arch.choices[f"stage{stage}.{what}"] for what in ("depth", "width"))
        assert f"<!-- stage {stage}: depth {depth}, width {width} -->" in text
    assert f"<!-- reduction 1: width {arch.choices['stage2.width']} -->" in text
    assert len(EDGES) == 10

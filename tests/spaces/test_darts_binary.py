"""The darts-binary networks: the published sizes, and one set of weights in three forms."""

import numpy as np
import pytest
import torch
from bnas_bench.spaces.darts_binary import OPERATIONS, DartsBinary

from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.cost import costs, ledger, ops
from bnas_bench.nn.binary import BinaryConv2d
from bnas_bench.nn.darts.topology import plan
from tests.search.test_cell_space import PUBLISHED

MILLION = 1e6


def make(**options) -> DartsBinary:
    space = DartsBinary(**options)
    space.name = "darts-binary"
    return space


def published(channels: int, **options):
    space = make(**options)
    spec = NetworkSpec((3, 224, 224), 1000, 10, channels)
    return space.network(space.parse(PUBLISHED), spec, np.random.default_rng(0))


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("channels", "stem", "linear", "depthwise", "preprocessing", "pointwise", "parameters", "ops"),
    [
        (54, 70.9, 0.9, 21.9, 189.7, 150.9, 4_190_185, 99.51),
        (72, 121.9, 1.2, 29.2, 337.3, 268.2, 6_948_028, 162.72),
        (108, 265.2, 1.7, 43.8, 759.0, 603.5, 14_505_886, 334.21),
    ],
)
def test_the_published_network_has_the_published_size(
    channels, stem, linear, depthwise, preprocessing, pointwise, parameters, ops
) -> None:
    network = published(channels)
    book = ledger(network, (3, 224, 224))
    cost = costs(book)
    assert cost["parameters"] == sum(p.numel() for p in network.parameters()) == parameters
    macs = {key: value / MILLION for key, value in cost["macs"].items()}
    by_kind = {
        kind: sum(layer.macs for layer in book.layers if layer.kind == kind) / MILLION
        for kind in ("linear", "depthwise")
    }
    assert by_kind["linear"] == pytest.approx(linear, abs=0.06)
    assert by_kind["depthwise"] == pytest.approx(depthwise, abs=0.06)
    assert macs["W32A32"] == pytest.approx(stem + linear, abs=0.1)
    assert macs["W1A32"] == pytest.approx(depthwise + preprocessing, abs=0.1)
    assert macs["W1A1"] == pytest.approx(pointwise, abs=0.06)
    assert cost["ops"]["dcp-nas"] / MILLION == pytest.approx(ops, abs=0.005)
    assert cost["memory"]["dcp-nas"] == parameters


@pytest.mark.slow
def test_fvcore_agrees_on_the_real_valued_twin() -> None:
    from fvcore.nn import FlopCountAnalysis

    network = published(54).eval()
    network.precision = "W32A32"
    book = costs(ledger(network, (3, 224, 224)))
    flops = FlopCountAnalysis(network, torch.zeros(1, 3, 224, 224))
    flops.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = flops.by_operator()
    assert book["macs"] == {"W32A32": by_operator["conv"] + by_operator["linear"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("binarise", "moved"), [(("preprocessing",), "W1A32"), (("depthwise",), "W1A32")]
)
def test_table_8_moves_macs_to_one_bit_activations(binarise, moved) -> None:
    plain = costs(ledger(published(54), (3, 224, 224)))
    binarised = costs(ledger(published(54, binarise=binarise), (3, 224, 224)))
    assert binarised["parameters"] == plain["parameters"]
    gained = binarised["macs"]["W1A1"] - plain["macs"]["W1A1"]
    assert gained == plain["macs"][moved] - binarised["macs"].get(moved, 0) > 0
    if binarise == ("depthwise",):
        assert gained / MILLION == pytest.approx(21.9, abs=0.06)


def paths(space, rng):
    arch = space.sample(rng)
    return arch, [d.options.index(arch.choices[d.name]) for d in space.decisions]


@pytest.mark.sample(1)
@pytest.mark.parametrize("precision", ["W1A1", "W1A32", "W32A1", "W32A32"])
def test_mix_path_and_network_are_one_function(precision) -> None:
    space, rng = make(), np.random.default_rng(3)
    spec = NetworkSpec((3, 9, 9), 5, 4, 3)  # odd maps: the factorised reduction pads
    supernet = space.supernet(spec, rng).double()
    supernet.precision = precision
    x = torch.from_numpy(rng.normal(size=(6, 3, 9, 9)))
    eye = torch.eye(8, dtype=torch.float64)
    for _ in range(4):
        arch, path = paths(space, rng)
        single = supernet(x, path)
        torch.testing.assert_close(
            supernet(x, [eye[k] for k in path]), single, rtol=1e-9, atol=1e-9
        )
        network = space.network(arch, spec, rng).double()
        network.precision = precision
        supernet.bequeath(network)
        torch.testing.assert_close(network(x), single, rtol=1e-9, atol=1e-9)
        any_path = [int(k) for k in rng.integers(8, size=28)]  # `none` anywhere, 14 live edges
        torch.testing.assert_close(
            supernet(x, [eye[k] for k in any_path]), supernet(x, any_path), rtol=1e-9, atol=1e-9
        )


def test_a_mix_is_linear_in_the_weights_of_one_edge() -> None:
    """At the last node of a one-cell network the edge's operations are simply added up."""
    space, rng = make(), np.random.default_rng(4)
    spec = NetworkSpec((1, 6, 6), 3, 2, 2)
    supernet = space.supernet(spec, rng).double()
    x = torch.from_numpy(rng.normal(size=(4, 1, 6, 6)))
    mix = [torch.full((8,), 1 / 8, dtype=torch.float64) for _ in range(28)]
    edge = space.index("normal.edge(1,5)")  # of the last cell, whose output the head averages

    def at(weights):
        return supernet(x, [*mix[:edge], weights, *mix[edge + 1 :]])

    eye = torch.eye(8, dtype=torch.float64)
    weights = torch.from_numpy(rng.random(8))
    zero = at(torch.zeros(8, dtype=torch.float64))
    expected = zero + sum(w * (at(eye[k]) - zero) for k, w in enumerate(weights))
    torch.testing.assert_close(at(weights), expected)
    assert (at(eye[OPERATIONS.index("none")]) - zero).abs().max() == 0


def test_weight_norms_belong_to_their_edges() -> None:
    """Scaling the weights of one edge's path scales that edge's norm and no other's."""
    space, rng = make(), np.random.default_rng(5)
    supernet = space.supernet(NetworkSpec((1, 8, 8), 3, 4, 2), rng)
    supernet.precision = "W32A32"
    before = supernet.weight_norms()
    bundle = supernet.cells[0].bundles[1]  # leaves node 2 of the first (normal) cell
    part = bundle.first.part(0, bundle.edge(0, 1))  # its second edge, (2, 4)
    with torch.no_grad():
        bundle.first.depthwise[0].weight[part] *= 3
    ratio = supernet.weight_norms() / before
    changed = [space.decisions[int(k)].name for k in (ratio > 1.0001).nonzero()]
    assert changed == ["normal.edge(2,4)"]
    total = sum(
        conv.weight.square().sum()
        for cell in supernet.cells
        for conv in cell.bundles.modules()
        if isinstance(conv, BinaryConv2d)
    )
    torch.testing.assert_close(supernet.weight_norms().sum(), total)


def test_weights_come_from_the_generator_alone() -> None:
    space = make()
    spec = NetworkSpec((1, 8, 8), 3, 2, 2)
    state = torch.get_rng_state()
    first, second, other = (
        space.supernet(spec, np.random.default_rng(seed)).state_dict() for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not torch.equal(first["head.linear.weight"], other["head.linear.weight"])


def test_search_and_final_scale_are_the_papers() -> None:
    space = make()
    search = space.spec(Scale(), (3, 32, 32), 10, final=False)
    final = space.spec(Scale(), (3, 32, 32), 10, final=True)
    assert (search.cells, search.channels, final.cells, final.channels) == (6, 16, 10, 54)
    kinds = [place.kind for place in plan(search)]
    assert [index for index, kind in enumerate(kinds) if kind == "reduce"] == [1, 3]


@pytest.mark.parametrize(
    ("side", "cells", "sides"),
    [
        (8, 3, [8, 4, 4]),
        (8, 4, [8, 4, 4, 4]),
        (8, 2, [4, 4]),
        (8, 1, [4]),
        (15, 3, [15, 8, 8]),
        (16, 4, [16, 8, 4, 4]),
        (32, 6, [32, 16, 16, 8, 8, 8]),
    ],
)
def test_small_images_are_halved_once(side: int, cells: int, sides: list[int]) -> None:
    """So that operations differ: on maps of 2x2 pixels, 3x3 and 5x5 separable convolutions are the same."""
    network = NetworkSpec((1, side, side), 10, cells, 4)
    halved = [place.halvings + (place.kind == "reduce") for place in plan(network)]
    assert [-(-side // 2**n) for n in halved] == sides


@pytest.mark.slow
def test_the_auxiliary_head_trains_and_costs_nothing_at_inference() -> None:
    space = make()
    spec = NetworkSpec((3, 32, 32), 10, 4, 4, auxiliary=True)
    network = space.network(space.sample(np.random.default_rng(0)), spec, np.random.default_rng(0))
    x = torch.zeros(2, 3, 32, 32)
    logits, auxiliary = network.both(x)
    assert logits.shape == auxiliary.shape == (2, 10)
    assert network.eval().both(x)[1] is None
    assert space.recipe((3, 224, 224)).auxiliary == 0.4
    plain = space.network(
        space.sample(np.random.default_rng(0)),
        NetworkSpec((3, 32, 32), 10, 4, 4),
        np.random.default_rng(0),
    )
    assert costs(ledger(network, (3, 32, 32))) == costs(ledger(plain, (3, 32, 32)))


def test_options_are_checked() -> None:
    with pytest.raises(UnknownName, match="did you mean skip_connect"):
        make(without=("skip_conect",))
    with pytest.raises(BadValue, match="'none' cannot be left out"):
        make(without=("none",))
    with pytest.raises(UnknownName, match="preprocessing"):
        make(binarise=("preprocess",))
    with pytest.raises(BadValue, match="leaves no operation"):
        make(without=OPERATIONS[1:])


def test_a_drawing_is_written(tmp_path) -> None:
    space = make()
    arch = space.parse(PUBLISHED)
    space.draw(arch, tmp_path / "cell.svg")
    text = (tmp_path / "cell.svg").read_text()
    for operation in OPERATIONS[1:]:  # matplotlib writes each label as a comment beside its outline
        there = sum(option == operation for option in arch.choices.values())
        assert text.count(f"<!-- {operation} -->") == there
    assert len(text) > 10_000
    with pytest.raises(BadValue, match="png, svg, pdf"):
        space.draw(arch, tmp_path / "cell.docx")


@pytest.mark.slow
def test_architectures_cost_what_the_ledger_counts() -> None:
    space, rng = make(), np.random.default_rng(0)
    spec = NetworkSpec((3, 16, 16), 10, 3, 4)
    archs = [space.sample(rng) for _ in range(60)]
    for convention in ("nas-bnn", "dcp-nas"):
        said = space.ops(spec, convention).of_paths(np.array([space.path(a) for a in archs]))
        for arch, value in list(zip(archs, said, strict=True))[
            : 60 if convention == "nas-bnn" else 9
        ]:
            counted = ops(ledger(space.network(arch, spec, rng), spec.shape), convention)
            assert value == pytest.approx(counted, rel=1e-12)  # sums of 58ths round


def test_a_formula_refuses_to_leave_out_what_flops_counts() -> None:
    with pytest.raises(BadValue, match="'flops' charges normalisation too"):
        make().ops(NetworkSpec((3, 16, 16), 10, 3, 4), "flops")


@pytest.mark.parametrize("number", [0, -1, 1])
def test_scales_without_channels_or_cells_are_refused(number) -> None:
    for scale in (Scale(channels=number), Scale(cells=number)):
        with pytest.raises(BadValue, match="at least 2 of each"):
            make().spec(scale, (1, 8, 8), 10, final=True)

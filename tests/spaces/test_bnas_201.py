"""The space bnas-201: its members, and one set of weights in three forms."""

from itertools import product

import numpy as np
import pytest
import torch
from bnas_bench.spaces.bnas_201 import Bnas201, classes, found_classes

from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.core.errors import BadValue, InvalidArchitecture
from bnas_bench.cost import costs, ledger, ops
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.nasbench201.canonical import canonical_form
from bnas_bench.nn.nasbench201.cell import EDGES, OPERATIONS, live_edges
from bnas_bench.packed.lowering.lower import lower
from tests.helpers.networks import agree, randomised

SMALL = NetworkSpec((2, 9, 7), 5, 5, 4)
"""Odd maps, one cell a stage."""

DEAD = "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|skip_connect~1|nor_conv_1x1~2|"
"""Convolutions, and none of them sees the input."""

HALF_DEAD = "|none~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|none~0|skip_connect~1|nor_conv_3x3~2|"


@pytest.fixture
def space() -> Bnas201:
    space = Bnas201()
    space.name = "bnas-201"
    return space


def test_texts_and_members(space) -> None:
    assert space.size() == 15_625
    arch = space.parse(HALF_DEAD)
    assert arch.choices["edge(0,2)"] == "nor_conv_1x1"
    assert space.genotype(arch) == HALF_DEAD
    with pytest.raises(InvalidArchitecture, match="no cell of NAS-Bench-201"):
        space.parse("Genotype(normal=[])")
    assert space.largest() == space.parse(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
        "|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    )


@pytest.mark.slow
def test_the_papers_largest_network_has_the_macs_that_its_layers_add_up_to(space) -> None:
    """At N = 5, C = 16: per stage 30 convolutions of equal cost, as the channels double and maps halve."""
    spec = space.spec(Scale(), (3, 32, 32), 10, final=True)
    assert (spec.cells, spec.channels) == (17, 16)
    book = costs(ledger(space.network(space.largest(), spec, np.random.default_rng(0)), spec.shape))
    inside = 16 * 16 * 9 * 32 * 32
    halving = 16 * 32 * 9 * 16 * 16 + 32 * 32 * 9 * 16 * 16
    assert book["macs"] == {
        "W32A32": 3 * 16 * 9 * 32 * 32 + 64 * 10,
        "W1A32": 2 * 16 * 32 * 16 * 16,
        "W1A1": 3 * 30 * inside + 2 * halving,
    }


@pytest.mark.parametrize("precision", list(Precision))
def test_mix_path_and_network_are_one_function(space, precision) -> None:
    """Also of cells with nodes that nothing reaches, or that reach nothing."""
    rng = np.random.default_rng(3)
    supernet = space.supernet(SMALL, rng).double()
    supernet.precision = precision
    x = torch.from_numpy(rng.normal(size=(4, *SMALL.shape)))
    eye = torch.eye(len(OPERATIONS), dtype=torch.float64)
    for arch in [space.parse(DEAD), space.parse(HALF_DEAD), *(space.sample(rng) for _ in range(3))]:
        path = space.path(arch)
        single = supernet(x, path)
        mixed = supernet(x, [eye[k] for k in path])
        torch.testing.assert_close(mixed, single, rtol=1e-9, atol=1e-9)
        network = space.network(arch, SMALL, rng).double()
        network.precision = precision
        supernet.bequeath(network)
        torch.testing.assert_close(network(x), single, rtol=1e-9, atol=1e-9)


def test_a_mix_is_linear_in_the_weights_of_an_edge_into_the_output(space) -> None:
    """Of the last cell's, but for what follows: seen at the maps before the closing normalisation."""
    rng = np.random.default_rng(4)
    cell = space.supernet(SMALL, rng).double().cells[-1]
    width = SMALL.channels * 4
    x = torch.from_numpy(rng.normal(size=(4, width, 3, 3)))
    weights = torch.full((6, 5), 0.2, dtype=torch.float64)
    edge, eye = EDGES.index((1, 3)), torch.eye(5, dtype=torch.float64)

    def at(row: torch.Tensor) -> torch.Tensor:
        return cell(x, torch.cat([weights[:edge], row[None], weights[edge + 1 :]]))

    zero = at(torch.zeros(5, dtype=torch.float64))
    row = torch.from_numpy(rng.random(5))
    expected = zero + sum(w * (at(eye[k]) - zero) for k, w in enumerate(row))
    torch.testing.assert_close(at(row), expected)
    assert torch.equal(at(eye[OPERATIONS.index("none")]), zero)


def test_what_leaves_an_empty_node_weighs_nothing(space) -> None:
    """The edges from node 1 change no logit where `none` alone leads to it, whatever they weigh."""
    rng = np.random.default_rng(5)
    supernet = space.supernet(SMALL, rng)
    x = torch.from_numpy(rng.normal(size=(4, *SMALL.shape))).float()
    weights = torch.from_numpy(rng.random((len(EDGES), len(OPERATIONS)))).float()
    none = torch.eye(len(OPERATIONS))[OPERATIONS.index("none")]

    def logits(*left_out: tuple[int, int]) -> torch.Tensor:
        return supernet(
            x, [none if e in left_out else w for e, w in zip(EDGES, weights, strict=True)]
        )

    assert torch.equal(logits((0, 1)), logits((0, 1), (1, 2), (1, 3)))
    assert not torch.equal(logits(), logits((1, 2), (1, 3)))


def test_weight_norms_belong_to_their_edges(space) -> None:
    supernet = space.supernet(SMALL, np.random.default_rng(5))
    supernet.precision = "W32A32"
    before = supernet.weight_norms()
    block = supernet.cells[0].fans[1].block("nor_conv_3x3")
    with torch.no_grad():
        block.conv.weight[block.part(1)] *= 3
    changed = (supernet.weight_norms() / before > 1.0001).nonzero().flatten()
    assert [space.decisions[k].name for k in changed.tolist()] == ["edge(1,3)"]


def test_filters_are_those_of_live_convolutions_and_reductions(space) -> None:
    supernet = space.supernet(SMALL, np.random.default_rng(6))
    found = list(supernet.filters(space.path(space.parse(HALF_DEAD))))
    shapes = sorted(tuple(w.shape) for w, _ in found)
    cells = [(c, c, k, k) for c in (4, 8, 16) for k in (1, 3)]  # edges (0,2) and (2,3)
    reductions = [
        shape
        for c in (4, 8)
        for shape in ((2 * c, c, 3, 3), (2 * c, 2 * c, 3, 3), (2 * c, c, 1, 1))
    ]
    assert shapes == sorted(cells + reductions)
    assert len(list(supernet.filters(space.path(space.parse(DEAD))))) == len(reductions)


def test_a_network_has_no_edge_that_carries_nothing(space) -> None:
    network = space.network(space.parse(HALF_DEAD), SMALL, np.random.default_rng(0))
    assert set(network.cells[0].edges) == {"0_2", "2_3"}


@pytest.mark.parametrize("text", [DEAD, HALF_DEAD])
@pytest.mark.parametrize("precision", ["W1A1", "W32A32"])
def test_dead_ends_are_counted_packed_and_drawn(space, text, precision, tmp_path) -> None:
    arch = space.parse(text)
    network = randomised(space.network(arch, SMALL, np.random.default_rng(0)))
    agree(network, SMALL.shape)
    said = space.ops(SMALL).of(space.path(arch))
    assert said == ops(ledger(network, SMALL.shape), "nas-bnn")
    if text == DEAD:
        assert said == space.ops(SMALL).of(space.path(space.smallest()))
    network.precision = precision
    assert lower(network, SMALL.shape).steps
    space.draw(arch, tmp_path / "cell.svg")
    drawn = (tmp_path / "cell.svg").read_text()
    for operation in OPERATIONS[:-1]:
        assert drawn.count(f"<!-- {operation} -->") == text.count(operation)


def test_a_dead_end_learns_how_frequent_the_classes_are(space) -> None:
    network = space.network(space.parse(DEAD), SMALL, np.random.default_rng(0))
    x, y = torch.randn(8, *SMALL.shape), torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])
    optimiser = torch.optim.Adam(network.parameters(), 0.1)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimiser.step()
    shares = network(x).softmax(1)
    torch.testing.assert_close(shares[0], shares[-1])
    assert shares[0, 0].item() == pytest.approx(0.75, abs=0.05)


@pytest.mark.slow
def test_the_formula_is_the_ledger_for_every_count_of_live_convolutions(space) -> None:
    rng = np.random.default_rng(0)
    formula, seen = space.ops(SMALL, "dcp-nas"), set()
    for arch in [space.sample(rng) for _ in range(80)]:
        chosen = dict(zip(EDGES, space.operations(arch), strict=True))
        kinds = tuple(sorted(chosen[edge] for edge in live_edges(space.operations(arch))))
        if kinds not in seen:
            seen.add(kinds)
            counted = ops(ledger(space.network(arch, SMALL, rng), SMALL.shape), "dcp-nas")
            assert formula.of(space.path(arch)) == pytest.approx(counted, rel=1e-12)
    assert len(seen) > 20


@pytest.mark.slow
def test_every_class_has_one_representative_without_what_it_can_do_without(space) -> None:
    members = [space.member(operations) for operations in product(OPERATIONS, repeat=len(EDGES))]
    chosen = {member: space.canonical(member) for member in members}
    assert len(space.representatives) == len(set(chosen.values())) == 5_044
    assert set(space.representatives) == set(chosen.values())
    assert classes().tolist() == found_classes().tolist()
    for member, one in chosen.items():
        form, own = canonical_form(space.operations(one)), canonical_form(space.operations(member))
        assert form.text == own.text
        assert chosen[one] == one
        work = [
            sum(op.endswith(("1x1", "3x3")) for op in a.choices.values()) for a in (one, member)
        ]
        assert work[0] <= work[1]
    assert space.canonical(space.parse(DEAD)) == space.member(["none"] * 6)
    pooled = "|nor_conv_1x1~0|+|none~0|none~1|+|avg_pool_3x3~0|avg_pool_3x3~1|none~2|"
    assert list(space.canonical(space.parse(pooled)).choices.values()).count("avg_pool_3x3") == 1


def test_scales(space) -> None:
    wanted = {None: None, 1: 5, 2: 5, 4: 5, 5: 5, 6: 8, 10: 11, 17: 17}
    assert {n: space.fit(Scale(cells=n)).cells for n in wanted} == wanted
    with pytest.raises(BadValue, match=r"6 cells build no network of bnas-201.* has 8"):
        space.spec(Scale(cells=6), (1, 8, 8), 10, final=True)
    with pytest.raises(BadValue, match="0 channels build no network"):
        space.spec(Scale(channels=0), (1, 8, 8), 10, final=True)
    with pytest.raises(BadValue, match="partial=3 takes no whole number of the 4 channels"):
        space.supernet(SMALL, np.random.default_rng(0), partial=3)

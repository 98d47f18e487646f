"""The DARTS cell as a combinatorial object: its count, its genotypes, its derivation."""

from itertools import combinations, product
from math import comb, prod

import numpy as np
import pytest
import torch
from bnas_bench.spaces.darts_binary import DartsBinary
from scipy.stats import chisquare

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.errors import InvalidArchitecture
from bnas_bench.nn.darts.topology import CELLS, EDGES, NODES, decision_name
from bnas_bench.plugins.registry import find
from bnas_bench.search.cell_space import CellSpace

PUBLISHED = """DDPNAS_MCN_2 = Genotype(
    normal=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), ('dil_conv_3x3', 2), ('skip_connect', 0),
            ('sep_conv_3x3', 3), ('avg_pool_3x3', 1), ('dil_conv_3x3', 4), ('avg_pool_3x3', 3)],
    normal_concat=range(2, 6),
    reduce=[('max_pool_3x3', 0), ('sep_conv_3x3', 1), ('dil_conv_3x3', 1), ('sep_conv_3x3', 0),
            ('max_pool_3x3', 1), ('dil_conv_5x5', 2), ('dil_conv_5x5', 2), ('sep_conv_5x5', 1)],
    reduce_concat=range(2, 6))"""


def make(**options) -> DartsBinary:
    space = DartsBinary(**options)
    space.name = "darts-binary"
    return space


@pytest.fixture
def space() -> DartsBinary:
    return make()


def test_size_is_the_count_of_all_cells() -> None:
    space = DartsBinary(
        without=("skip_connect", "sep_conv_5x5", "sep_conv_3x3", "dil_conv_3x3", "dil_conv_5x5")
    )
    live = len(space.live)
    assert live == 2
    per_cell = 1
    for j in NODES:
        per_cell *= len(
            {
                (sources, operations)
                for sources in combinations(range(j), 2)
                for operations in product(space.live, repeat=2)
            }
        )
    assert space.size() == per_cell**2


def test_size_of_the_whole_space_is_darts(space) -> None:
    # DARTS, section 3.1: prod_{k=1}^{4} (k+1)k/2 * 7^2 = 1.04e9 per cell
    assert space.size() == (180 * 7**8) ** 2 == 1_076_746_950_455_072_400


def test_the_published_genotype_reads_and_writes(space) -> None:
    arch = space.parse(PUBLISHED)
    assert arch.choices["normal.edge(1,2)"] == "sep_conv_5x5"
    assert arch.choices["reduce.edge(2,5)"] == "dil_conv_5x5"
    assert sum(option != "none" for option in arch.choices.values()) == 16
    assert space.parse(space.genotype(arch)) == arch


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("('skip_connect', 0)", "('skip_connect', 3)"), "takes an edge from node 3; it can from 0 to 2"),
        (("('skip_connect', 0)", "('skip_connect', 2)"), "takes both its edges from node 2"),
        (("'skip_connect'", "'conv_7x7'"), "'conv_7x7' into node 3 of 'normal' is no operation"),
        (("'skip_connect'", "'none'"), "'none' into node 3 of 'normal' is no operation"),
        (("('skip_connect', 0)", "('skip_connect', 0.5)"), "entry 3 of 'normal'"),
        (("('skip_connect', 0)", "__import__('os').abort()"), "entry 3 of 'normal'"),
        (("range(2, 6)", "range(2, 5)"), "'normal_concat' is"),
        ((", reduce_concat", ", extra"), "it needs"),
        (("('max_pool_3x3', 0),", ""), "lists 7 edges"),
        (("Genotype(", "Genotypo("), "no Genotype"),
        (("normal=[", "normal=[["), "stops making sense at line"),
    ],
)  # fmt: skip
def test_a_genotype_that_does_not_fit_names_the_place(space, change, message) -> None:
    text = PUBLISHED.replace("\n    reduce_concat", " reduce_concat")
    assert change[0] in text
    with pytest.raises(InvalidArchitecture) as error:
        space.parse(text.replace(*change, 1))
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "1 + 1", "((((" * 500, '{"space": 3}', "\0"])
def test_text_that_is_no_architecture_is_refused(space, text) -> None:
    with pytest.raises(InvalidArchitecture):
        space.parse(text)


@pytest.mark.parametrize("n", [1500, pytest.param(6000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("zeroise", "ways"), [(False, 12), (True, 1 + 3 * 2 + 12)])
def test_sampling_is_uniform_over_a_node(zeroise, ways, n) -> None:
    space = CellSpace.__new__(DartsBinary)
    CellSpace.__init__(space, ("none", "a", "b"), zeroise)
    space.name = "small"
    rng = np.random.default_rng(0)
    counts: dict[object, int] = {}
    for _ in range(n):
        pairs = tuple(space.pairs(space.sample(rng), "normal", 3))
        counts[pairs] = counts.get(pairs, 0) + 1
    assert len(counts) == ways  # C(3, 2) sources, 2^2 operations; with zeroise also fewer edges
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_mutations_differ_in_one_edge_and_reach_every_neighbour(space) -> None:
    rng = np.random.default_rng(0)
    arch = space.sample(rng)
    seen = set()
    for _ in range(300):
        other = space.mutate(arch, rng)
        space.check(other)
        changed = [d for d in arch.choices if arch.choices[d] != other.choices[d]]
        # another operation changes one decision, a moved edge two of one node
        assert len(changed) == 1 or (
            len(changed) == 2 and len({d.split(",")[1] + d.split(".")[0] for d in changed}) == 1
        )
        seen.add(other.id)
    assert len(seen) > 80
    assert arch.id not in seen


def test_crossover_takes_every_node_from_one_parent(space) -> None:
    rng = np.random.default_rng(1)
    first, second = space.sample(rng), space.sample(rng)
    sides = set()
    for _ in range(20):
        child = space.crossover(first, second, rng)
        for cell, j in product(CELLS, NODES):
            pairs = space.pairs(child, cell, j)
            options = [space.pairs(parent, cell, j) for parent in (first, second)]
            assert pairs in options
            sides.add(options.index(pairs))
    assert sides == {0, 1}


def test_derivation_against_a_plain_reading_of_darts(space) -> None:
    rng = np.random.default_rng(2)
    strengths = [rng.random(8) for _ in space.decisions]
    arch = space.derive(strengths)
    table = {
        d.name: dict(zip(d.options, s, strict=True))
        for d, s in zip(space.decisions, strengths, strict=True)
    }
    for cell, j in product(CELLS, NODES):
        best = {}
        for i in range(j):
            weights = table[decision_name(cell, i, j)].copy()
            weights.pop("none")
            best[i] = max(weights.items(), key=lambda item: item[1])
        kept = sorted(best, key=lambda i: best[i][1], reverse=True)[:2]
        assert space.pairs(arch, cell, j) == [(best[i][0], i) for i in sorted(kept)]


def test_zeroise_keeps_none_where_it_wins() -> None:
    """Kim et al., section 4.2: an edge whose Zeroise is strongest is no edge, but takes a place."""
    space = make(zeroise=True)
    strengths = [np.full(8, 0.1) for _ in space.decisions]
    strengths[space.index("normal.edge(0,2)")][0] = 0.9  # none, the strongest into node 2
    strengths[space.index("normal.edge(1,2)")][4] = 0.5  # sep_conv_3x3
    arch = space.derive(strengths)
    assert space.pairs(arch, "normal", 2) == [("sep_conv_3x3", 1)]
    assert len(space.pairs(make().derive(strengths), "normal", 2)) == 2
    assert space.parse(space.genotype(arch)) == arch
    assert space.size() == prod(1 + 7 * j + 49 * comb(j, 2) for j in NODES) ** 2


def test_a_cell_with_empty_nodes_runs_and_inherits() -> None:
    space = make(zeroise=True)
    choices = {d.name: "none" for d in space.decisions}
    choices["normal.edge(0,2)"] = choices["reduce.edge(1,3)"] = "dil_conv_3x3"
    arch = Architecture(space.name, choices)
    spec = NetworkSpec((1, 9, 9), 3, 3, 4)
    network = space.network(arch, spec, np.random.default_rng(0)).double()
    supernet = space.supernet(spec, np.random.default_rng(1)).double()
    supernet.bequeath(network)
    x = torch.randn(4, 1, 9, 9, dtype=torch.double, generator=torch.manual_seed(0))
    torch.testing.assert_close(network(x), supernet(x, space.path(arch)))


def test_edges_are_in_darts_order() -> None:
    assert EDGES[:5] == ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert len(EDGES) == 14


def test_options_are_of_their_own_type() -> None:
    space = find("space", "nas-bnn").make({})
    arch = space.smallest()
    for option in (2.0, True):
        choices = {**arch.choices, "stage1.depth": option}
        with pytest.raises(InvalidArchitecture, match=r"'stage1\.depth'; its options: 2, 3"):
            space.check(Architecture("nas-bnn", choices))

"""NAS-Bench-201's cells: their text, what is live in them, and which of them are the same."""

from collections import defaultdict
from collections.abc import Callable
from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.errors import InvalidArchitecture
from bnas_bench.nn.nasbench201.canonical import canonical_form
from bnas_bench.nn.nasbench201.cell import (
    EDGES,
    KERNELS,
    NODES,
    NONE,
    OPERATIONS,
    cells_per_stage,
    live_edges,
    read,
    skeleton,
    write,
)
from bnas_bench.nn.nasbench201.network import Cell, SkeletonNetwork
from bnas_bench.nn.network import initialised_by

MEMBERS = list(product(OPERATIONS, repeat=len(EDGES)))

TEXT = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"


def test_a_text_reads_and_writes() -> None:
    operations = ["nor_conv_3x3", "none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "none"]
    assert read(TEXT) == read(f" {TEXT}\n") == operations
    assert write(operations) == TEXT
    turned = TEXT.replace("|none~0|skip_connect~1|", "|skip_connect~1|none~0|")
    assert read(turned) == operations


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nor_conv_3x3", "nor_conv_5x5", "'nor_conv_5x5' from node 0 into node 1 is no operation"),
        ("|none~2|", "|none~1|", "node 3 takes edges from 0, 1, 1; it takes one from each"),
        ("|none~2|", "|", "node 3 takes edges from 0, 1; it takes one from each node below it"),
        ("|none~2|", "|none~3|", "node 3 takes edges from 0, 1, 3"),
        ("|nor_conv_3x3~0|+", "", "is no JSON and no cell of NAS-Bench-201, which is written |OP~0|"),
        ("none~0", "none", "is no JSON and no cell"),
        ("~2|", "~2|+|", "is no JSON and no cell"),
        ("~2|", "~²|", "is no JSON and no cell"),
    ],
)  # fmt: skip
def test_a_text_that_does_not_fit_names_the_place(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(InvalidArchitecture) as error:
        read(TEXT.replace(old, new))
    assert message in str(error.value)


def test_an_edge_is_live_where_a_way_from_input_to_output_leads_over_it() -> None:
    ways = [((0, 3),), ((0, 1), (1, 3)), ((0, 2), (2, 3)), ((0, 1), (1, 2), (2, 3))]
    for there in product((False, True), repeat=len(EDGES)):
        edges = {edge for edge, is_there in zip(EDGES, there, strict=True) if is_there}
        walked = {edge for way in ways if edges.issuperset(way) for edge in way}
        operations = tuple("skip_connect" if edge in edges else NONE for edge in EDGES)
        assert set(live_edges(operations)) == walked


def test_the_skeleton_is_the_papers() -> None:
    places = list(skeleton(NetworkSpec((3, 32, 32), 10, 17, 16)))
    assert len(places) == 17
    assert cells_per_stage(17) == 5
    assert [k for k, place in enumerate(places) if place.reduces] == [5, 11]
    assert [place.outputs for place in places] == [16] * 5 + [32] * 6 + [64] * 6
    assert [place.halvings for place in places] == [0] * 5 + [1] * 6 + [2] * 6


def form(text: str) -> str:
    return canonical_form(tuple(read(text))).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXT, "a = nor_conv_3x3(x); b = nor_conv_1x1(a); P x + b"),
        ("|none~0|+|none~0|nor_conv_3x3~1|+|none~0|nor_conv_1x1~1|skip_connect~2|", "0"),
        ("|none~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|none~2|", "x"),
        # read twice, and two that see the same
        ("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|",
         "a = nor_conv_3x3(x); 2 a"),
        ("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|",
         "a = nor_conv_3x3(x); b = nor_conv_3x3(x); a + b"),
        # pooling distributes
        ("|nor_conv_1x1~0|+|skip_connect~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|",
         "a = nor_conv_1x1(x); P x + P a"),
        ("|nor_conv_1x1~0|+|none~0|none~1|+|avg_pool_3x3~0|avg_pool_3x3~1|none~2|",
         "a = nor_conv_1x1(x); P x + P a"),
        ("|avg_pool_3x3~0|+|none~0|avg_pool_3x3~1|+|none~0|none~1|avg_pool_3x3~2|", "PPP x"),
    ],
)  # fmt: skip
def test_the_form_of_a_cell_by_hand(text: str, expected: str) -> None:
    assert form(text) == expected


def their_form(operations: tuple[str, ...], *, simplified: bool) -> str:
    """NAS-Bench-201's `to_unique_str(consider_zero=True)`, whose count depends on how its texts are sorted;
    `simplified` has no zeros among other terms and no sums within sums."""
    nodes: list[tuple[str, ...]] = [("0",)]
    for j in NODES:
        terms: list[tuple[str, ...]] = []
        for i in range(j):
            operation, source = operations[EDGES.index((i, j))], nodes[i]
            if operation == "none" or source in ((), ("#",)):
                terms.append(() if simplified else ("#",))
            elif operation == "skip_connect":
                terms.append(source if simplified else ("+".join(source),))
            else:
                terms.append((f"({'+'.join(source)})@{operation}",))
        nodes.append(tuple(sorted(sum(terms, ()))))
    return "+".join(nodes[-1])


@pytest.mark.slow
def test_there_are_5044_classes_and_by_the_papers_own_form_6466() -> None:
    assert len({their_form(member, simplified=False) for member in MEMBERS}) == 6466
    assert len({their_form(member, simplified=True) for member in MEMBERS}) == 4930
    assert len({canonical_form(member).text for member in MEMBERS}) == 5044
    assert sum(canonical_form(member).text == "0" for member in MEMBERS) == 341


def classes(pool: Callable[[np.ndarray], np.ndarray]) -> list[int]:
    """The members of equal functions have equal numbers.

    Edges of scalars, all of which take six weights in every order: if a renaming makes two cells
    equal, their outputs have the same moments.
    """
    weights = np.array(list(permutations(np.random.default_rng(0).uniform(0.5, 2, len(EDGES)))))
    run = {
        "skip_connect": lambda z, _: z,
        "avg_pool_3x3": lambda z, _: pool(z),
        "nor_conv_1x1": lambda z, w: np.sin(w * z + 0.3),
        "nor_conv_3x3": lambda z, w: np.exp(-w * z) + w * z,
    }
    moments = []
    for member in MEMBERS:
        nodes: list[np.ndarray | None] = [np.full(len(weights), 0.7)]
        for j in NODES:
            terms = [
                run[member[edge]](nodes[i], weights[:, edge])
                for edge, (i, target) in enumerate(EDGES)
                if target == j and member[edge] in run and nodes[i] is not None
            ]
            nodes.append(sum(terms[1:], start=terms[0]) if terms else None)
        y = np.zeros(1) if nodes[-1] is None else nodes[-1]
        moments.append([y.mean(), np.cos(y).mean(), (y**3).mean()])
    pairs = cKDTree(moments).query_pairs(1e-9, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(MEMBERS), len(MEMBERS)))
    return list(connected_components(graph)[1])


@pytest.mark.slow
def test_two_cells_have_one_form_where_their_functions_agree_under_some_renaming() -> None:
    texts, numbers = [canonical_form(member).text for member in MEMBERS], classes(lambda z: 0.6 * z)
    assert (
        len(set(zip(texts, numbers, strict=True))) == len(set(texts)) == len(set(numbers)) == 5044
    )
    assert len(set(classes(lambda z: np.tanh(0.6 * z)))) == 5260  # if pooling did not distribute


PER_FORM = 3
"""Members of a form that are compared."""


@pytest.mark.parametrize("precision", ["W1A1", "W32A1", "W1A32", "W32A32"])
def test_networks_of_one_form_and_equal_weights_compute_the_same(precision: str) -> None:
    """In training, as the statistics of the batch are part of the function, and afterwards."""
    rng, alike = np.random.default_rng(1), defaultdict(list)
    for k in rng.permutation(len(MEMBERS))[:700]:
        alike[canonical_form(MEMBERS[k]).text].append(MEMBERS[k])
    shared = [members for text, members in alike.items() if len(members) > 1 and " = " in text]
    assert len(shared) > 20
    spec = NetworkSpec((1, 8, 8), 4, 5, 3)
    x = torch.from_numpy(rng.normal(size=(4, 1, 8, 8)))
    for members in shared[:8]:
        networks = [built(member, spec, seed) for seed, member in enumerate(members[:PER_FORM])]
        for member, network in zip(members[1:], networks[1:], strict=False):
            share(networks[0], members[0], network, member)
        logits = []
        for network in networks:
            network.precision = precision
            logits.append(torch.cat([network.train()(x), network.eval()(x)]))
        assert logits[0].std() > 1e-3
        for other in logits[1:]:
            torch.testing.assert_close(other, logits[0], rtol=1e-9, atol=1e-9)


def built(member: tuple[str, ...], spec: NetworkSpec, seed: int) -> SkeletonNetwork:
    with initialised_by(np.random.default_rng(seed)):
        return SkeletonNetwork(member, spec).double()


def share(
    giver: SkeletonNetwork, given: tuple[str, ...], taker: SkeletonNetwork, taken: tuple[str, ...]
) -> None:
    """Give a network the weights of another of the same form: edges of one letter have the same."""
    edges = zip(*(canonical_form(member).convolutions for member in (given, taken)), strict=True)
    letters = [("{}_{}".format(*mine), "{}_{}".format(*theirs)) for mine, theirs in edges]
    for cell, heir in zip(giver.cells, taker.cells, strict=True):
        pairs = [(cell, heir)]
        if isinstance(cell, Cell):
            pairs = [(cell.edges[mine], heir.edges[theirs]) for mine, theirs in letters]
        for one, other in pairs:
            other.load_state_dict(one.state_dict())
    for part in ("stem", "closing", "head"):
        getattr(taker, part).load_state_dict(getattr(giver, part).state_dict())


def test_letters_are_live_convolutions() -> None:
    for member in MEMBERS[::97]:
        chosen = dict(zip(EDGES, member, strict=True))
        live = {edge for edge in live_edges(member) if chosen[edge] in KERNELS}
        found = canonical_form(member).convolutions
        assert len(found) == len(live)
        assert set(found) == live

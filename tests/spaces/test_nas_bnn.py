"""The nas-bnn space: the paper's sizes and OPs, its equations, and one set of weights in three forms."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bnas_bench.spaces.nas_bnn import STAGES, NasBnn, scaled
from torch import Tensor, nn
from torch.autograd import forward_ad

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec, Recipe, Scale
from bnas_bench.core.errors import BadValue, InvalidArchitecture
from bnas_bench.cost import costs, ledger, memory, ops
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.nasbnn.network import (
    BRANCH,
    NormalisedConv2d,
    Treatment,
    bi_transform,
    effective,
    normalise_weight,
    tile,
    within_reach,
)
from bnas_bench.nn.nasbnn.supernet import ElasticConv2d, slices
from bnas_bench.nn.quantised import QuantConv2d, initial_step, quantise, scale_gradient
from bnas_bench.packed.format.file import payload
from tests.helpers.networks import agree, randomised

# Table 6: millions of OPs counted and as printed; then width_kernel_groups of the layers by stage.
TABLE_6 = {
    "A": (
        20.77,
        21,
        "24",
        "48_3_1 48_3_1",
        "96_3_2 96_3_2",
        "192_3_4 192_3_4",
        "384_3_8 384_3_8 384_3_8 384_3_8 384_3_8 384_3_8 384_3_8 384_3_8",
        "768_3_16 768_3_16",
    ),
    "B": (
        None,
        57,
        "24",
        "48_3_1 48_3_1",
        "96_3_2 192_3_2",
        "192_3_2 384_3_2",
        "384_5_8 768_3_8 768_3_8 768_3_8 768_3_8 768_3_4 768_3_4 768_3_8",
        "1536_5_16 1536_5_16 1536_3_16",
    ),
    "C": (
        86.97,
        87,
        "24",
        "48_3_1 64_3_1",
        "96_5_2 192_3_1",
        "384_3_2 384_3_4 384_3_4",
        "768_5_4 768_3_4 768_3_8 768_3_4 768_3_4 768_3_8 768_5_8 768_3_8 768_3_4",
        "1536_3_8 1536_5_16 1536_3_8",
    ),
    "D": (
        124.31,
        124,
        "48",
        "48_3_1 96_3_1",
        "192_5_2 192_3_2",
        "384_3_2 384_3_4 384_3_4",
        "768_3_4 768_3_4 768_3_4 768_5_8 768_5_4 768_3_4 768_5_4 768_5_8 768_3_4",
        "1536_5_8 1536_5_8 1536_3_8",
    ),
    "E": (
        124.31,
        124,  # the paper says 160, but prints D's layers in E's column too
        "48",
        "48_3_1 96_3_1",
        "192_5_2 192_3_2",
        "384_3_2 384_3_4 384_3_4",
        "768_3_4 768_3_4 768_3_4 768_5_8 768_5_4 768_3_4 768_5_4 768_5_8 768_3_4",
        "1536_5_8 1536_5_8 1536_3_8",
    ),
    "F": (
        179.83,
        180,
        "48",
        "48_3_1 96_3_1 96_3_1",
        "192_3_1 192_3_1",
        "384_5_2 384_3_2 384_3_2",
        "768_5_4 768_5_4 768_5_4 768_3_4 768_3_4 768_3_4 768_5_4 768_5_4 768_5_4",
        "1536_3_16 1536_5_8 1536_3_8",
    ),
}


def make(**options) -> NasBnn:
    space = NasBnn(**options)
    space.name = "nas-bnn"
    return space


def small(space: NasBnn, shape=(1, 8, 8)) -> NetworkSpec:
    return space.spec(Scale(channels=4), shape, 10, final=False)


def table_6(name: str) -> Architecture:
    _, _, stem, *stages = TABLE_6[name]
    choices: dict = {"stem.width": int(stem)}
    for i, layers in enumerate(stages, start=1):
        choices[f"stage{i}.depth"] = len(layers.split())
        for j, layer in enumerate(layers.split(), start=1):
            for part, option in zip(("width", "kernel", "groups"), layer.split("_"), strict=True):
                choices[f"stage{i}.layer{j}.{part}"] = int(option)
    return Architecture("nas-bnn", choices)


def stirred(module: nn.Module, seed: int = 0) -> nn.Module:
    """In double precision, no parameter at the value it starts from."""
    module.double()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.as_tensor(0.2 * rng.normal(size=tuple(parameter.shape)))
    return module


def one_hots(space: NasBnn, path) -> list[Tensor]:
    return [
        torch.eye(len(d.options), dtype=torch.float64)[k]
        for d, k in zip(space.decisions, path, strict=True)
    ]


def test_the_sizes_are_the_papers() -> None:
    assert f"{make().size():.3e}" == "3.324e+17"
    assert f"{make(non_decreasing=False).size():.2e}" == "3.96e+21"


def test_stages_are_independent_under_the_rule() -> None:
    """The reason why `size` may multiply: no stage's widths overlap with the next one's."""
    widths = [(24, 32, 48), *(stage.widths for stage in STAGES)]
    assert all(max(before) <= min(after) for before, after in pairwise(widths))


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", list(TABLE_6))
def test_table_6(name: str) -> None:
    space, arch = make(), table_6(name)
    space.check(arch)
    spec = space.spec(Scale(), (3, 224, 224), 1000, final=True)
    exact, printed, *_ = TABLE_6[name]
    millions = space.ops(spec).of(space.path(arch)) / 1e6
    assert round(millions) == printed
    if exact is not None:
        assert millions == pytest.approx(exact, abs=0.005)
    network = space.network(arch, spec, np.random.default_rng(0))
    assert ops(ledger(network, spec.shape), "nas-bnn") / 1e6 == millions


@pytest.mark.slow
@pytest.mark.parametrize("non_decreasing", [True, False])
def test_the_formula_is_the_ledger(non_decreasing: bool) -> None:
    space, rng = make(non_decreasing=non_decreasing), np.random.default_rng(1)
    spec = small(space, (3, 33, 30))  # odd maps, and not square
    paths = space.sample_paths(40, rng)
    said = space.ops(spec).of_paths(paths)
    for path, expected in zip(paths, said, strict=True):
        network = space.network(space.architecture(path), spec, rng)
        assert ops(ledger(network, spec.shape), "nas-bnn") == expected


def test_samples_are_valid_and_uniform() -> None:
    space, rng = make(), np.random.default_rng(2)
    number = 40_000
    paths = space.sample_paths(number, rng)
    for path in paths[:200]:
        arch = space.architecture(path)
        space.check(arch)
        assert space.path(arch) == path.tolist()  # absent decisions stand at 0
    # Stages 1 and 2 alone: 16 forms of one member each, 736 members of equal probability.
    for start, end, members in ((1, 11, 16), (11, 21, 736)):
        _, counts = np.unique(paths[:, start:end], axis=0, return_counts=True)
        expected = number / members
        assert len(counts) == members
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi2 - members) < 5 * np.sqrt(2 * members)


def test_a_mutant_differs_in_one_place() -> None:
    space, rng = make(), np.random.default_rng(3)
    changed = set()
    for _ in range(1500):
        arch = space.sample(rng)
        mutant = space.mutate(arch, rng)
        space.check(mutant)
        both = arch.choices.keys() & mutant.choices.keys()
        (name,) = [n for n in both if arch.choices[n] != mutant.choices[n]]
        changed.add(name)
        if not name.endswith(".depth"):
            assert arch.choices.keys() == mutant.choices.keys()
    free = {d.name for d in space.decisions if len(d.options) > 1}
    assert changed == free


def test_a_child_has_the_layers_of_its_parents() -> None:
    space, rng = make(), np.random.default_rng(4)
    from_second = 0
    for _ in range(200):
        first, second = space.sample(rng), space.sample(rng)
        child = space.crossover(first, second, rng)
        space.check(child)
        for name, option in child.choices.items():
            assert option in (first.choices.get(name), second.choices.get(name))
        from_second += child not in (first, second)
        assert space.crossover(first, first, rng) == first
    assert from_second > 190


@pytest.mark.sample(1)
@pytest.mark.parametrize("non_decreasing", [True, False])
def test_derive_finds_the_strongest_architecture(non_decreasing: bool) -> None:
    space, rng = make(non_decreasing=non_decreasing), np.random.default_rng(5)

    def strength(arch: Architecture, strengths: list) -> float:
        return sum(
            s[d.options.index(arch.choices[d.name])] - s.max()
            for d, s in zip(space.decisions, strengths, strict=True)
            if d.name in arch.choices
        )

    for _ in range(20):
        strengths = [rng.normal(size=len(d.options)) - 1 for d in space.decisions]
        derived = space.derive(strengths)
        space.check(derived)
        best = strength(derived, strengths)
        rivals = [space.mutate(derived, rng) for _ in range(100)]
        rivals += [space.sample(rng) for _ in range(50)]
        assert best >= max(strength(rival, strengths) for rival in rivals)
    for _ in range(50):
        arch = space.sample(rng)
        assert space.derive([w.numpy() for w in one_hots(space, space.path(arch))]) == arch


def test_the_extremes() -> None:
    space = make()
    largest, smallest = space.largest(), space.smallest()
    space.check(largest)
    space.check(smallest)
    assert (largest.choices["stage4.depth"], smallest.choices["stage4.depth"]) == (9, 8)
    assert largest.choices["stage5.layer3.groups"] == 8  # the fewest
    assert smallest.choices["stage5.layer2.groups"] == 16
    assert (largest.choices["stage2.layer1.kernel"], largest.choices["stem.width"]) == (5, 48)
    assert "stage5.layer3.groups" not in smallest.choices


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"stem.width": 40}, "'40' is no option of decision 'stem.width'; its options: 24, 32, 48"),
        (
            {"stage3.layer1.groups": 3},
            "'3' is no option of decision 'stage3.layer1.groups'; its options: 2, 4",
        ),
        (
            {"stage2.layer1.width": 192, "stage2.layer2.width": 128},
            "'stage2.layer2.width' is 128 behind 'stage2.layer1.width' of 192, .*"
            "its options there: 192$",
        ),
        ({"stage1.depth": 3}, "decision 'stage1.layer3.width' is missing"),
        ({"stage1.depth": 4}, "'4' is no option of decision 'stage1.depth'; its options: 2, 3"),
        ({"stage1.layer3.kernel": 3}, "'stage1.layer3.kernel' does not arise"),
        ({"stage6.depth": 2}, "'stage6.depth' is no decision of space 'nas-bnn'"),
    ],
)
def test_what_is_no_architecture(change: dict, sentence: str) -> None:
    space = make()
    smallest = space.smallest()
    with pytest.raises(InvalidArchitecture, match=sentence):
        space.check(Architecture("nas-bnn", {**smallest.choices, **change}))


def test_the_rule_can_be_lifted() -> None:
    choices = {**make().smallest().choices, "stage2.layer1.width": 192}
    make(non_decreasing=False).check(Architecture("nas-bnn", choices))


def test_scales() -> None:
    space = make()
    assert space.spec(Scale(), (3, 224, 224), 1000, final=True).channels == 32
    assert space.fit(Scale(cells=3, channels=6, image=8)) == Scale(None, 8, 8)
    assert space.fit(Scale(channels=1)).channels == 4
    assert space.fit(Scale(cells=2)) == Scale()
    spec = small(space)
    assert (spec.cells, spec.channels) == (21, 4)
    for channels, works in ((-4, 4), (0, 4), (1, 4), (3, 4), (6, 8), (54, 56)):
        with pytest.raises(BadValue, match=f"{channels} channels .* from there is {works}"):
            space.spec(Scale(channels=channels), (1, 8, 8), 10, final=False)
    with pytest.raises(BadValue, match=r"chooses its depth itself.*leave --cells out"):
        space.spec(Scale(cells=6), (1, 8, 8), 10, final=False)
    with pytest.raises(BadValue, match="partial=4"):
        space.supernet(spec, np.random.default_rng(0), partial=4)
    assert space.recipe((3, 224, 224)) == Recipe.imagenet()  # as all spaces


@pytest.mark.sample(2)
@pytest.mark.parametrize(("side", "last"), [(224, 7), (128, 4), (64, 4), (32, 4), (16, 2), (8, 1)])
def test_the_last_map(side: int, last: int) -> None:
    space = make()
    spec = small(space, (3, side, side))
    network = space.network(space.smallest(), spec, np.random.default_rng(0)).to("meta")
    assert network.features(torch.empty(2, 3, side, side, device="meta")).shape[2:] == (last, last)
    (_, stem), stages = scaled(spec)
    assert [stem, *(stage.stride for stage in stages)] == [
        1 + (side >= 128),
        1,
        1 + (side >= 64),
        2,
        2,
        2,
    ]


def test_eq_5_and_6() -> None:
    rng = np.random.default_rng(6)
    w, theta = rng.normal(size=(3, 2, 3, 3)), rng.normal(size=(9, 9))
    transformed = np.einsum("oik,kl->oil", w.reshape(3, 2, 9), theta).reshape(w.shape)
    got = bi_transform(torch.from_numpy(w), torch.from_numpy(theta)).numpy()
    np.testing.assert_allclose(got, transformed)
    flat = w.reshape(3, -1)
    normal = (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, keepdims=True) + 1e-5)
    normal = normal.reshape(w.shape)
    np.testing.assert_allclose(normalise_weight(torch.from_numpy(w)).numpy(), normal)
    scale = np.abs(normal).mean((1, 2, 3), keepdims=True)
    one_bit = np.where(normal >= 0, 1, -1) * scale
    np.testing.assert_allclose(effective(torch.from_numpy(w), 1).numpy(), one_bit)
    np.testing.assert_allclose(effective(torch.from_numpy(w), 32).numpy(), normal)


def test_the_convolution_by_hand() -> None:
    conv = stirred(NormalisedConv2d(4, 4, 3, stride=2, groups=2))
    x = torch.randn(2, 4, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x[0, :, 0, 0] = conv.threshold  # sign(0) = +1
    moved = x - conv.threshold.view(1, -1, 1, 1)
    signs = torch.where(moved >= 0, 1.0, -1.0).double()
    for precision in Precision:
        conv.running = precision
        w = bi_transform(conv.weight, conv.theta) if precision.weight_bits == 1 else conv.weight
        expected = F.conv2d(
            signs if precision.activation_bits == 1 else moved,
            effective(w, precision.weight_bits),
            stride=2,
            padding=1,
            groups=2,
        )
        torch.testing.assert_close(conv(x), expected)


ABLATIONS = [
    {"bi_transformation": transformed, "weight_normalisation": normalised}
    for transformed, normalised in product([True, False], repeat=2)
]
"""Section 4.4.3, figure 3 (b)."""


def by_hand(w: np.ndarray, theta: np.ndarray | None, bits: int, normalised: bool) -> np.ndarray:
    """What filters (out, in, k, k) are in a convolution, by figure 2."""
    out, inputs, k, _ = w.shape
    if theta is not None and bits == 1:
        w = np.einsum("oik,kl->oil", w.reshape(out, inputs, k * k), theta).reshape(w.shape)
    if normalised:
        mean = w.mean((1, 2, 3), keepdims=True)
        w = (w - mean) / np.sqrt(w.var((1, 2, 3), keepdims=True) + 1e-5)
    if bits == 32:
        return w
    return np.where(w >= 0, 1, -1) * np.abs(w).mean((1, 2, 3), keepdims=True)


@pytest.mark.parametrize("options", ABLATIONS)
@pytest.mark.parametrize("precision", list(Precision))
def test_an_ablated_convolution_by_hand(options, precision) -> None:
    """Alone, and as a path of an elastic one, which cuts its kernel from a larger one."""
    transformed, normalised = options.values()
    treatment = Treatment(transformed, normalised)
    conv = stirred(NormalisedConv2d(4, 4, 3, groups=2, treatment=treatment))
    elastic = stirred(ElasticConv2d((4, 8), kernels=(3, 5), group_counts=(1,), treatment=treatment))
    assert (conv.theta is not None) == transformed == ("3" in elastic.thetas)
    conv.running = elastic.running = precision
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cut = bi_transform(elastic.weight[:4, :4, 1:-1, 1:-1], elastic.shrink["3"])
    for weight, theta, layer, got in (
        (conv.weight, conv.theta, conv, conv(x)),
        (cut, elastic.thetas["3"] if transformed else None, elastic, elastic.path(x, 4, 3, 1)),
    ):
        moved = x - layer.threshold[:4].view(1, -1, 1, 1)
        signs = torch.where(moved >= 0, 1.0, -1.0).double()
        w = by_hand(
            weight.detach().numpy(),
            None if theta is None else theta.detach().numpy(),
            precision.weight_bits,
            normalised,
        )
        expected = F.conv2d(
            signs if precision.activation_bits == 1 else moved,
            torch.from_numpy(w),
            padding=1,
            groups=2 if layer is conv else 1,
        )
        torch.testing.assert_close(got, expected)


def test_without_normalisation_signs_are_of_uncentred_weights() -> None:
    w = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(1, 4, 1, 1)
    assert effective(w, 1, normalised=False).flatten().tolist() == [3, 3, 3, 3]
    assert effective(w, 32, normalised=False) is w
    assert effective(w, 1).flatten().sign().tolist() == [
        -1,
        -1,
        1,
        1,
    ]  # of mean 3, whose sign is +1


@pytest.mark.sample(1)
@pytest.mark.parametrize("options", ABLATIONS)
def test_an_ablation_changes_weights_alone(options) -> None:
    """Sizes, OPs, memory and the weights that are drawn; but for the matrices that it leaves out."""
    full, space, rng = make(), make(**options), np.random.default_rng(13)
    assert (space.size(), space.decisions) == (full.size(), full.decisions)
    spec, arch = small(space, (3, 16, 16)), full.sample(rng)
    assert space.ops(spec).of(space.path(arch)) == full.ops(spec).of(full.path(arch))
    networks = [s.network(arch, spec, np.random.default_rng(0)) for s in (full, space)]
    theirs, ours = (costs(ledger(network, spec.shape)) for network in networks)
    assert ours == theirs
    for theirs, ours in (
        [network.state_dict() for network in networks],
        [s.supernet(spec, np.random.default_rng(0)).state_dict() for s in (full, space)],
    ):
        left_out = theirs.keys() - ours.keys()
        assert bool(left_out) == (not options["bi_transformation"])
        assert all("theta" in name for name in left_out)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.sample(2)
@pytest.mark.parametrize("options", ABLATIONS[1:])
@pytest.mark.parametrize("precision", [Precision.W1A1, Precision.W32A1])
def test_ablated_path_mix_and_network_are_one_function(options, precision) -> None:
    space, rng = make(**options), np.random.default_rng(14)
    spec = small(space)
    supernet = stirred(space.supernet(spec, rng))
    supernet.precision = precision
    x = torch.from_numpy(rng.normal(size=(5, 1, 8, 8)))
    arch = space.sample(rng)
    path, heir = space.path(arch), space.network(arch, spec, rng).double()
    heir.precision = precision
    supernet.bequeath(heir)
    torch.testing.assert_close(heir(x), supernet(x, path))
    torch.testing.assert_close(supernet(x, one_hots(space, path)), supernet(x, path))
    theirs = [m.filters() for m in heir.modules() if isinstance(m, NormalisedConv2d)]
    for ours, filters in zip(supernet.filters(path), theirs, strict=True):
        torch.testing.assert_close(ours, filters)


@pytest.mark.parametrize("options", ABLATIONS[1:])
def test_an_ablated_network_is_packed(options) -> None:
    """Its sums of signs are exact; what torch's linear layer rounds differs from machine to machine."""
    space, rng, shape = make(**options), np.random.default_rng(15), (3, 13, 10)
    network = randomised(space.network(space.sample(rng), small(space, shape), rng))
    program = agree(network, shape, rtol=1e-6)
    assert memory(ledger(network, shape), "packed") == 8 * payload(program)


@pytest.mark.parametrize("side", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_kernels_need_no_more_than_reaches_the_map(side: int, stride: int) -> None:
    x, w = torch.randn(2, 3, side, side).double(), torch.randn(4, 3, 5, 5).double()
    middle = within_reach(w, side)
    assert middle.shape[-1] == min(5, 2 * side - 1)
    expected = F.conv2d(x, w, stride=stride, padding=2)
    got = F.conv2d(x, middle, stride=stride, padding=middle.shape[-1] // 2)
    torch.testing.assert_close(got, expected)


def test_a_shortcut_is_tiled() -> None:
    x = torch.arange(3.0).view(1, 3, 1, 1)
    assert tile(x, 8).flatten().tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert tile(x, 2).flatten().tolist() == [0, 1]


def test_lsq() -> None:
    """LSQ Eqs. (1) to (3) and (5), at, inside and outside the outer levels, of 3 bits: -4 to 3."""
    step, bits = 0.5, 3
    x = np.array([-9.0, -2.0, -1.9, -0.6, -0.0, 0.2, 0.74, 1.4, 1.5, 7.0])
    u = x / step
    inside = (u > -4) & (u < 3)
    expected = np.clip(np.round(u), -4, 3) * step
    slope = np.where(inside, np.round(u) - u, np.where(u <= -4, -4, 3))
    x_, s_ = torch.from_numpy(x).requires_grad_(), torch.tensor(step).double().requires_grad_()
    y = quantise(x_, s_, bits)
    np.testing.assert_allclose(y.detach().numpy(), expected)
    weights = torch.arange(1.0, 11.0).double()
    gx, gs = torch.autograd.grad((y * weights).sum(), [x_, s_], create_graph=True)
    np.testing.assert_allclose(gx.detach().numpy(), inside * weights.numpy())
    np.testing.assert_allclose(gs.item(), (slope * weights.numpy()).sum())
    assert torch.autograd.grad(gs, s_, retain_graph=True)[0].isfinite()
    with forward_ad.dual_level():
        dual = quantise(forward_ad.make_dual(x_, weights), s_, bits)
        tangent = forward_ad.unpack_dual(dual).tangent
    np.testing.assert_allclose(tangent.detach().numpy(), inside * weights.numpy())


def test_the_gradient_of_a_step_is_scaled() -> None:
    step = torch.tensor(0.3).double().requires_grad_()
    scaled_step = scale_gradient(step, 50, 8)
    assert scaled_step.item() == step.item()
    (slope,) = torch.autograd.grad(2 * scaled_step, step)
    assert slope.item() == pytest.approx(2 / np.sqrt(50 * 127))
    assert initial_step(1.5, 8) == pytest.approx(3 / np.sqrt(127))


def test_the_8_bit_convolution() -> None:
    conv = QuantConv2d(3, 5, 3, stride=2, padding=1).double()
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    levels = conv.effective_weight() / conv.weight_step
    assert levels.abs().max() <= 128
    torch.testing.assert_close(levels, levels.round())
    near = F.conv2d(x, conv.weight, stride=2, padding=1)
    assert 0 < (conv(x) - near).abs().max() < 0.1 * near.abs().max()
    torch.testing.assert_close(conv(x, slice(2)), conv(x)[:, :2])
    conv.running = Precision.W32A32
    torch.testing.assert_close(conv(x), near)
    conv.running = Precision.W32A1
    assert (conv.weight_bits, conv.activation_bits) == (32, 8)


def test_slices_of_shared_weights() -> None:
    """Leading rows and columns; group j of more groups takes part j mod r of the columns."""
    w = torch.arange(8 * 4.0).view(8, 4, 1, 1)  # 8 to 8 channels in at least 2 groups

    def columns(outputs: int, inputs: int, groups: int) -> list[list[int]]:
        part = slices(w, outputs, inputs, groups)
        assert part.shape == (outputs, inputs // groups, 1, 1)
        rows = torch.arange(outputs).view(-1, 1)
        return (part[:, :, 0, 0] - 4 * rows).long().tolist()

    assert columns(8, 8, 2) == [[0, 1, 2, 3]] * 8
    assert columns(8, 8, 4) == [[0, 1], [0, 1], [2, 3], [2, 3]] * 2
    assert columns(4, 4, 2) == [[0, 1], [0, 1], [2, 3], [2, 3]]
    assert columns(4, 4, 4) == [[0], [1], [2], [3]]
    assert columns(6, 6, 2) == [[0, 1, 2]] * 6


def test_a_path_of_an_elastic_convolution() -> None:
    """The 3x3 kernel is the centre of the 5x5 through a matrix."""
    conv = stirred(ElasticConv2d((4, 8), kernels=(3, 5), group_counts=(1, 2)))
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    chosen = torch.cat([conv.weight[:2, :2], conv.weight[2:4, 2:4]])
    real = bi_transform(chosen[:, :, 1:-1, 1:-1], conv.shrink["3"])
    moved = x - conv.threshold[:4].view(1, -1, 1, 1)
    signs = torch.where(moved >= 0, 1.0, -1.0).double()
    one_bit = effective(bi_transform(real, conv.thetas["3"]), 1)
    expected = F.conv2d(signs, one_bit, padding=1, groups=2)
    torch.testing.assert_close(conv.path(x, 4, 3, 2), expected)
    conv.running = Precision.W32A32
    expected = F.conv2d(moved, effective(real, 32), padding=1, groups=2)
    torch.testing.assert_close(conv.path(x, 4, 3, 2), expected)


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("outputs", [None, 6])
def test_a_relaxed_convolution_is_the_weighted_sum_of_its_paths(precision, outputs) -> None:
    rng = np.random.default_rng(7)
    widths, kernels, groups = (4, 8), (3, 5), (1, 2) if outputs is None else (1,)
    conv = stirred(ElasticConv2d(widths, outputs, kernels=kernels, group_counts=groups, stride=2))
    conv.running = precision
    x = torch.from_numpy(rng.normal(size=(2, 8, 7, 7)))
    m, o, n = (torch.from_numpy(rng.random(len(options))) for options in (widths, kernels, groups))
    total = torch.zeros(2, outputs or 8, 4, 4, dtype=torch.float64)
    for i, width in enumerate(widths):
        for k, kernel in enumerate(kernels):
            for j, count in enumerate(groups):
                y = conv.path(x[:, :width], outputs or width, kernel, count)
                total[:, : y.shape[1]] += m[i] * o[k] * n[j] * y
    torch.testing.assert_close(conv.mixed(x, m, o, n), total)


@pytest.mark.sample(2)
@pytest.mark.parametrize("precision", list(Precision))
def test_mix_path_and_network_are_one_function(precision) -> None:
    space, rng = make(), np.random.default_rng(8)
    spec = small(space, (2, 13, 10))
    supernet = stirred(space.supernet(spec, rng))
    supernet.precision = precision
    x = torch.from_numpy(rng.normal(size=(5, 2, 13, 10)))
    for arch in (space.sample(rng), space.largest(), space.smallest()):
        path = space.path(arch)
        logits, features = supernet.logits_and_features(x, path)
        torch.testing.assert_close(supernet(x, one_hots(space, path)), logits)
        mixed_types = [
            w if k % 2 else i
            for k, (i, w) in enumerate(zip(path, one_hots(space, path), strict=True))
        ]
        torch.testing.assert_close(supernet(x, mixed_types), logits)
        heir = space.network(arch, spec, rng).double()
        heir.precision = precision
        supernet.bequeath(heir)
        torch.testing.assert_close(heir.features(x), features)
        torch.testing.assert_close(heir(x), logits)
        theirs = [m.filters() for m in heir.modules() if isinstance(m, NormalisedConv2d)]
        for ours, filters in zip(supernet.filters(path), theirs, strict=True):
            torch.testing.assert_close(ours, filters)


def test_any_path_runs() -> None:
    """Also one that breaks the rule, whose shortcuts lose channels."""
    space, rng = make(), np.random.default_rng(9)
    supernet = stirred(space.supernet(small(space), rng))
    x = torch.from_numpy(rng.normal(size=(4, 1, 8, 8)))
    for _ in range(5):
        path = [int(rng.integers(len(d.options))) for d in space.decisions]
        with pytest.raises(InvalidArchitecture, match="widths never decrease"):
            space.check(space.architecture(path))
        torch.testing.assert_close(supernet(x, path), supernet(x, one_hots(space, path)))


def test_a_lone_image_passes() -> None:
    """A last batch of one, at a map of one pixel: batch norm leaves its bias."""
    space, rng = make(), np.random.default_rng(10)
    supernet = space.supernet(small(space), rng)
    assert supernet(torch.zeros(1, 1, 8, 8), space.path(space.sample(rng))).isfinite().all()


def test_gradients_reach_every_decision_in_both_modes() -> None:
    space, rng = make(), np.random.default_rng(11)
    supernet = stirred(space.supernet(small(space), rng))
    x = torch.from_numpy(rng.normal(size=(4, 1, 8, 8)))
    sizes = [len(d.options) for d in space.decisions]
    alpha = torch.from_numpy(0.1 * rng.normal(size=sum(sizes))).requires_grad_()

    def logits(alpha: Tensor) -> Tensor:
        return supernet(x, [part.softmax(0) for part in alpha.split(sizes)])

    z = logits(alpha)
    tangent, cotangent = (torch.from_numpy(rng.normal(size=s)) for s in (alpha.shape, z.shape))
    (slope,) = torch.autograd.grad(z, alpha, cotangent, create_graph=True)
    for decision, part in zip(space.decisions, slope.split(sizes), strict=True):
        assert part.abs().max() > 0 or len(decision.options) == 1, decision.name
    assert torch.autograd.grad(slope, alpha, tangent)[0].isfinite().all()
    with forward_ad.dual_level():
        dual = logits(forward_ad.make_dual(alpha.detach(), tangent))
        forward = forward_ad.unpack_dual(dual).tangent
    torch.testing.assert_close((forward * cotangent).sum(), (slope * tangent).sum())


def test_weight_norms() -> None:
    space, rng = make(), np.random.default_rng(12)
    supernet = space.supernet(small(space), rng)
    norms = dict(zip([d.name for d in space.decisions], supernet.weight_norms(), strict=True))
    block = supernet.stages[1].blocks[2]
    spatial, pointwise = (
        c.effective_weight().square().sum() for c in (block.spatial, block.pointwise)
    )
    assert norms["stage2.layer3.kernel"] == norms["stage2.layer3.groups"] == spatial
    assert norms["stage2.layer3.width"] == pointwise
    torch.testing.assert_close(norms["stage2.depth"], spatial + pointwise)
    assert norms["stem.width"] == supernet.stem.effective_weight().square().sum()


def test_a_network_starts_close_to_its_shortcuts() -> None:
    space = make()
    network = space.network(space.smallest(), small(space), np.random.default_rng(0))
    norms = [m for m in network.blocks.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(bool((norm.weight == BRANCH).all()) for norm in norms)
    assert bool((network.stem_norm.weight == 1).all())


def test_what_inference_stores() -> None:
    """Signs and a scale per output channel, no theta; 8 bits a weight of the stem, and its steps."""
    space = make()
    spec = small(space)
    network = space.network(space.smallest(), spec, np.random.default_rng(0))
    stem, _, _, spatial, *_ = ledger(network, spec.shape).layers
    assert (stem.weight_bits, stem.activation_bits, stem.parameters) == (8, 8, {8: 27, 32: 2})
    assert (spatial.weight_bits, spatial.parameters, spatial.constants) == (1, {1: 81, 32: 3}, 3)
    thetas = sum(
        m.theta.numel()
        for m in network.modules()
        if isinstance(m, NormalisedConv2d) and m.theta is not None
    )
    assert thetas == 16 * 81
    everything = sum(p.numel() for p in network.parameters())
    assert costs(ledger(network, spec.shape))["parameters"] == everything - thetas
    network.precision = Precision.W32A32
    stem, _, _, spatial, *_ = ledger(network, spec.shape).layers
    assert (stem.parameters, spatial.parameters, spatial.constants) == ({32: 27}, {32: 84}, 0)


def test_a_drawing_is_written(tmp_path) -> None:
    space = make()
    space.draw(table_6("C"), tmp_path / "c.svg")
    text = (tmp_path / "c.svg").read_text()
    for label in ("stem", "c64 k3 g1", "stage 5", "c1536 k5 g16"):
        assert f"<!-- {label} -->" in text
    with pytest.raises(BadValue, match=r"\.txt"):
        space.draw(table_6("C"), tmp_path / "c.txt")

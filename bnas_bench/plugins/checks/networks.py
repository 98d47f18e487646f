"""What the networks that a space builds have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.seeds import generator
from bnas_bench.cost import ledger, ops
from bnas_bench.cost.formula import CONVENTION
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Network, Supernet
from bnas_bench.plugins.checks.contract import TINY, globals_unused, require
from bnas_bench.plugins.checks.spaces import samples
from bnas_bench.search.space import SearchSpace

FRAMES = ((1, 8, 8), (3, 32, 32), (3, 224, 224))
"""Image shapes that a stand-alone network takes."""

BATCH, CLASSES, PATHS = 4, 10, 4
TOLERANCE = 1e-5


def frame(space: SearchSpace, shape: tuple[int, int, int] = FRAMES[0]) -> NetworkSpec:
    return space.spec(space.fit(TINY), shape, CLASSES, final=False)


def supernet(space: SearchSpace) -> Supernet:
    """In double precision: rounding must not decide a sign."""
    return space.supernet(frame(space), generator(0, "check", "supernet")).double()


def network(space: SearchSpace, arch: Architecture) -> Network:
    return space.network(arch, frame(space), generator(0, "check", "network")).double()


def images(spec: NetworkSpec) -> Tensor:
    noise = generator(0, "check", "images").standard_normal((BATCH, *spec.shape))
    return torch.from_numpy(noise)


def one_hot(space: SearchSpace, path: list[int]) -> list[Tensor]:
    """The mix of weights in which only `path` runs."""
    return [
        torch.eye(len(decision.options), dtype=torch.float64)[chosen]
        for decision, chosen in zip(space.decisions, path, strict=True)
    ]


def distance(first: Tensor, second: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((first - second).abs().max() / second.abs().max())


def check_supernet(space: SearchSpace) -> None:
    """A supernet gives logits that teach a mix, feature maps, norms and a reconstruction error."""
    net, spec = supernet(space), frame(space)
    require(isinstance(net, Supernet), f"supernet(...) returned a {type(net).__name__}")
    x_BCHW, options = images(spec), [len(decision.options) for decision in space.decisions]
    mix = [torch.full((number,), 1 / number).double().requires_grad_() for number in options]
    logits_BN = net(x_BCHW, mix)
    require(
        logits_BN.shape == (BATCH, CLASSES) and bool(logits_BN.isfinite().all()),
        f"the logits are of shape {tuple(logits_BN.shape)}, or not finite",
    )
    slopes = torch.autograd.grad(logits_BN.square().sum(), mix)
    require(
        all(bool(slope.isfinite().all()) for slope in slopes)
        and any(bool(slope.any()) for slope in slopes),
        "the logits' derivative with respect to the mix is zero, or not finite",
    )
    require(net.features(x_BCHW, mix).dim() == 4, "features(...) are no maps of shape (B, C, H, W)")
    norms = net.weight_norms()
    require(
        norms.shape == (len(options),) and bool((norms >= 0).all()),
        f"weight_norms() is of shape {tuple(norms.shape)}, or negative; "
        f"give one norm for each of the {len(options)} decisions",
    )
    require(net.reconstruction_error().shape == (), "reconstruction_error() is no scalar")


@torch.no_grad()
def check_paths(space: SearchSpace) -> None:
    """A mix that is one-hot everywhere is the single path."""
    net, x_BCHW = supernet(space), images(frame(space))
    for precision in Precision:
        net.precision = precision
        for arch in samples(space, PATHS):
            path = space.path(arch)
            far = distance(net(x_BCHW, one_hot(space, path)), net(x_BCHW, path))
            require(
                far <= TOLERANCE,
                f"at {precision} the logits of a one-hot mix and of its path differ by {far:.1e}",
            )


@torch.no_grad()
def check_inheritance(space: SearchSpace) -> None:
    """A stand-alone network that inherits its path's weights computes what the path does."""
    net, x_BCHW = supernet(space), images(frame(space))
    for arch in samples(space, PATHS):
        heir = network(space, arch)
        net.bequeath(heir)
        for precision in Precision:
            net.precision = heir.precision = precision
            path = space.path(arch)
            for what, ours, theirs in (
                ("logits", net(x_BCHW, path), heir(x_BCHW)),
                ("features", net.features(x_BCHW, path), heir.features(x_BCHW)),
            ):
                far = distance(ours, theirs)
                require(
                    far <= TOLERANCE,
                    f"at {precision} the {what} of the path and of its network differ by {far:.1e}",
                )


def check_weights(space: SearchSpace) -> None:
    """The weights of networks and supernets are drawn from the rng alone."""
    arch, spec = samples(space, 1)[0], frame(space)
    for what, build in {
        "network": lambda seed: space.network(arch, spec, generator(seed, "check")),
        "supernet": lambda seed: space.supernet(spec, generator(seed, "check")),
    }.items():
        first = build(0)
        with globals_unused():
            again = build(0)
        require(_same_weights(first, again), f"a {what}'s weights differ with the same seed")
        require(not _same_weights(first, build(1)), f"a {what}'s weights ignore the seed")


def _same_weights(first: nn.Module, second: nn.Module) -> bool:
    theirs = second.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in first.state_dict().items())


@torch.no_grad()
def check_precision(space: SearchSpace) -> None:
    """A network is 1-bit until its precision is switched, then real, and 1-bit again."""
    for arch in samples(space, PATHS):
        net, x_BCHW = network(space, arch), images(frame(space))
        binary = net(x_BCHW)
        macs = ledger(net, frame(space).shape).macs
        if space.is_real(arch):
            require(set(macs) == {"W32A32"}, f"a real network has MACs at {', '.join(macs)}")
            continue
        require("W1A1" in macs, f"a new network's MACs are {', '.join(macs)}; it has 1-bit layers")
        net.precision = Precision.W32A32
        real = net(x_BCHW)
        macs = ledger(net, frame(space).shape).macs
        require(set(macs) == {"W32A32"}, f"at W32A32 a network has MACs at {', '.join(macs)}")
        require(not torch.equal(real, binary), "a network computes the same at W1A1 and W32A32")
        net.precision = Precision.W1A1
        require(torch.equal(net(x_BCHW), binary), "a network back at W1A1 computes something else")


def check_ledger(space: SearchSpace) -> None:
    """The ledger knows every layer of a network, for small and for ImageNet's images."""
    for shape in FRAMES:
        spec = frame(space, shape)
        for arch in samples(space, PATHS):
            built = space.network(arch, spec, generator(0, "check", "network"))
            require(isinstance(built, Network), f"network(...) returned a {type(built).__name__}")
            output = ledger(built, shape).layers[-1].output
            require(
                output == (CLASSES,), f"a network's last layer gives {output}, not {CLASSES} logits"
            )


def check_ops(space: SearchSpace) -> None:
    """The formula gives the ledger's OPs to the unit, and its expectation at a one-hot mix too."""
    for shape in FRAMES:
        spec = frame(space, shape)
        formula = space.ops(spec)
        for arch in (*samples(space, PATHS), space.largest(), space.smallest()):
            built = space.network(arch, spec, generator(0, "check", "network"))
            counted, said = ops(ledger(built, shape), CONVENTION), formula.of(space.path(arch))
            require(
                said == counted,
                f"the formula gives {said} OPs for {arch.id} on images of {shape}, "
                f"its ledger {counted}",
            )
            expected = float(formula.expected(one_hot(space, space.path(arch))))
            require(expected == counted, f"the expected OPs at a one-hot mix are {expected}")


def check_extremes(space: SearchSpace) -> None:
    """No architecture that was sampled costs more than the largest or less than the smallest."""
    formula = space.ops(frame(space))
    least, most = (formula.of(space.path(arch)) for arch in (space.smallest(), space.largest()))
    for arch in (space.smallest(), space.largest()):
        space.check(arch)
    for arch in samples(space):
        there = formula.of(space.path(arch))
        require(
            least <= there <= most,
            f"{arch.id} has {there} OPs, the smallest {least} and the largest {most}",
        )


def check_partial(space: SearchSpace) -> None:
    """A space whose decisions are edges builds a supernet of partial channels (PC-DARTS)."""
    require(
        all(0 <= edge < len(space.decisions) for node in space.nodes for edge in node),
        "nodes holds the positions of decisions, and one of them is none",
    )
    if not space.nodes:
        return
    whole, spec = supernet(space), frame(space)
    net = space.supernet(spec, generator(0, "check", "supernet"), partial=2).double()
    mix = [torch.full((len(d.options),), 1 / len(d.options)).double() for d in space.decisions]
    logits_BN = net(images(spec), mix)
    require(logits_BN.shape == (BATCH, CLASSES), "a partial supernet gives no logits")
    few, many = (sum(p.numel() for p in n.parameters()) for n in (net, whole))
    require(few < many, f"with partial=2 a supernet has {few} parameters, without {many}")


NETWORK_CHECKS = (
    check_supernet,
    check_paths,
    check_inheritance,
    check_weights,
    check_precision,
    check_ledger,
    check_ops,
    check_extremes,
    check_partial,
)

"""What the networks that a space builds have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bnas_bench.checks.contract import TINY, globals_unused, require
from bnas_bench.checks.spaces import indices, samples
from bnas_bench.core import Architecture, NetworkSpec, SearchSpace
from bnas_bench.cost import ledger
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Network, Supernet
from bnas_bench.seeds import generator

FRAMES = ((1, 8, 8), (3, 32, 32), (3, 224, 224))
"""Image shapes that a stand-alone network takes."""

BATCH, CLASSES, PATHS = 4, 10, 4
TOLERANCE = 1e-5


def frame(space: SearchSpace, shape: tuple[int, int, int] = FRAMES[0]) -> NetworkSpec:
    return space.spec(TINY, shape, CLASSES, final=False)


def supernet(space: SearchSpace) -> Supernet:
    """In double precision: rounding must not decide a sign."""
    return space.supernet(frame(space), generator(0, "check", "supernet")).double()


def network(space: SearchSpace, arch: Architecture) -> Network:
    return space.network(arch, frame(space), generator(0, "check", "network")).double()


def images(spec: NetworkSpec) -> Tensor:
    noise = generator(0, "check", "images").standard_normal((BATCH, *spec.shape))
    return torch.from_numpy(noise)


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
            path = indices(space, arch)
            one_hot = [
                torch.eye(len(decision.options))[chosen].double()
                for decision, chosen in zip(space.decisions, path, strict=True)
            ]
            far = distance(net(x_BCHW, one_hot), net(x_BCHW, path))
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
            path = indices(space, arch)
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


NETWORK_CHECKS = (
    check_supernet,
    check_paths,
    check_inheritance,
    check_weights,
    check_precision,
    check_ledger,
)

"""What ranks compute together, beside what one of them computes alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad, grad

from bnas_bench.core import ranks
from bnas_bench.core.budget import Recipe
from bnas_bench.core.errors import BenchError
from bnas_bench.core.seeds import generator
from bnas_bench.data import imagefolder
from bnas_bench.data.datasets import Augment, Dataset
from bnas_bench.data.imagetree import find_files
from bnas_bench.nn import kernels
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Counted, Network, Supernet
from bnas_bench.nn.shared import shared
from bnas_bench.plugins.checks.networks import frame
from bnas_bench.plugins.checks.rehearsal import Rehearsal
from bnas_bench.plugins.registry import find
from bnas_bench.plugins.spec import parse_specs
from bnas_bench.search.learning import constant

Found = list[Tensor]


@contextmanager
def alone() -> Iterator[None]:
    """As one process computes."""
    group, ranks._here = ranks._here, None
    try:
        yield
    finally:
        ranks._here = group


def distance(ours: Found, alones: Found) -> float:
    """Largest difference, by the largest value of all."""
    assert len(ours) == len(alones)
    largest = max(float(one.abs().max()) for one in alones)
    return max(float((a - b).abs().max()) for a, b in zip(ours, alones, strict=True)) / largest


def together_and_alone(make: Callable[[], Found]) -> float:
    with alone():
        expected = make()
    return distance(make(), expected)


def derivatives() -> list[float]:
    """Of the four functions: first and second derivatives, and a product in forward mode."""
    torch.set_default_dtype(torch.float64)
    rows = 5  # of which two ranks have two and three

    def mixed(x_BC: Tensor, w_C: Tensor) -> Tensor:
        (w_C,) = ranks.enter((w_C,))
        part_BC = (ranks.share(x_BC) * w_C).sin()
        (total_C,) = ranks.add((part_BC.square().sum(0),))
        return (ranks.gather(part_BC, rows).sum(1).exp().sum() * total_C).sum()

    def plainly(x_BC: Tensor, w_C: Tensor) -> Tensor:
        y_BC = (x_BC * w_C).sin()
        return (y_BC.sum(1).exp().sum() * y_BC.square().sum(0)).sum()

    x_BC = torch.from_numpy(generator(0, "x").standard_normal((rows, 3))).requires_grad_()
    w_C = torch.from_numpy(generator(0, "w").standard_normal(3)).requires_grad_()

    def all_of(function: Callable[[Tensor, Tensor], Tensor]) -> list[Found]:
        first = grad(function(x_BC, w_C), (x_BC, w_C), create_graph=True)
        second = grad(sum(one.sin().sum() for one in first), (x_BC, w_C))
        with torch.no_grad(), forward_ad.dual_level():
            dual = function(forward_ad.make_dual(x_BC, x_BC.cos()), forward_ad.make_dual(w_C, w_C))
            tangent = forward_ad.unpack_dual(dual).tangent
        return [[*map(Tensor.detach, first)], [*second], [tangent]]

    return [distance(*pair) for pair in zip(all_of(mixed), all_of(plainly), strict=True)]


def what_rank_0_reads() -> list[Any]:
    """Bytes, an empty file, one that is not there, and one that cannot be read."""

    def refuse() -> bytes:
        raise PermissionError("no")

    found: list[Any] = [
        ranks.from_first(lambda: b"of rank %d" % ranks._group().rank),
        ranks.from_first(lambda: b""),
        ranks.from_first(lambda: None),
    ]
    try:
        found.append(ranks.from_first(refuse))
    except PermissionError:
        found.append("raised")
    return found


def silence() -> str:
    """What rank 0 hears of a rank that does not answer."""
    if ranks._group().rank:
        time.sleep(3600)
    try:
        ranks.add((torch.ones(3),))
    except ranks.LostRank as error:
        ranks._here = None
        return str(error)
    return ""


def lost_on_the_way_back() -> str:
    """What rank 0 hears where rank 1 ends between a forward and a backward."""
    weight = torch.ones(3, requires_grad=True)
    (entered,) = ranks.enter((weight,))
    if ranks._group().rank:
        os._exit(1)
    try:
        entered.sum().backward()
    except ranks.LostRank:
        ranks._here = None
        return "lost"
    return ""


class Layers(nn.Module):
    """Batch norm by every way that torch has to it, and a weight that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.fused = nn.BatchNorm2d(4)
        self.free = nn.BatchNorm2d(4, affine=False, track_running_stats=False)
        self.flat = nn.BatchNorm1d(4, momentum=None)
        self.conv = nn.Conv2d(4, 4, 3)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.again.weight = self.conv.weight
        self.unused = nn.Linear(2, 2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.free(self.again(self.norm(self.conv(x_BCHW)).tanh()))
        slope = y_BCHW.new_ones(4)
        norm = self.fused if self.training else None
        y_BCHW = kernels.prelu_of_norm_sum(y_BCHW, x_BCHW[:, :, 1:-1, 1:-1], slope, norm)
        y_BCHW = F.batch_norm(y_BCHW, None, None, self.norm.bias, training=True) + y_BCHW
        return self.flat(y_BCHW.mean((2, 3)))


def layers(dtype: torch.dtype, images: int) -> dict[str, float]:
    """How far the derivatives of `Layers` and their statistics are from those of one process."""
    torch.set_default_dtype(dtype)

    def built() -> tuple[Layers, Tensor]:
        torch.manual_seed(0)  # of this process alone
        net = Layers()
        x_BCHW = torch.from_numpy(generator(0, "x").standard_normal((images, 4, 5, 5))).to(dtype)
        return net, (3 + x_BCHW).requires_grad_()

    call = shared(nn.Module.__call__)

    def first() -> Found:
        net, x_BCHW = built()
        y_BC = call(net, x_BCHW)
        wanted = [x_BCHW, *net.parameters()]
        found = grad(y_BC.sin().sum(), wanted, allow_unused=True)
        assert found[-1] is None
        return [y_BC.detach(), *found[:-2], *map(Tensor.double, net.buffers())]

    def second() -> Found:
        net, x_BCHW = built()
        (slope,) = grad(call(net, x_BCHW).sin().sum(), x_BCHW, create_graph=True)
        return [*grad(slope.sin().sum(), [x_BCHW, net.norm.weight, net.conv.weight])]

    def forward() -> Found:
        net, x_BCHW = built()
        with torch.no_grad(), forward_ad.dual_level():
            return [
                forward_ad.unpack_dual(
                    call(net, forward_ad.make_dual(x_BCHW, x_BCHW.cos()))
                ).tangent.clone()
            ]

    def evaluated() -> Found:
        net, x_BCHW = built()
        with torch.no_grad():
            call(net, x_BCHW)
            return [call(net.eval(), x_BCHW)]

    def in_plain_form() -> Found:
        with kernels.plain():
            return first()

    made = (first, second, forward, evaluated, in_plain_form)
    return {each.__name__: together_and_alone(each) for each in made}


class Hiding(nn.Module):
    """Holds a weight where no list of parameters finds it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.hidden = [torch.ones(3, 2, requires_grad=True)]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(x_BCHW).mean((2, 3)) @ self.hidden[0].t()


def hidden_weight() -> list[str]:
    """What is said of it, with a gradient and without."""
    call, x_BCHW, said = shared(nn.Module.__call__), torch.zeros(4, 1, 2, 2), []
    for enabled in (False, True):
        try:
            with torch.set_grad_enabled(enabled):
                call(Hiding(), x_BCHW)
        except BenchError as error:
            said.append(str(error))
    return said


def own_statistics() -> list[Any]:
    """Batch norm by each rank's own: what a rank gives for its share, and the running mean and variance."""
    torch.set_default_dtype(torch.float64)
    norm = nn.BatchNorm2d(2)
    x_BCHW = torch.from_numpy(generator(0, "x").standard_normal((6, 2, 3, 3)))
    y_BCHW = shared(nn.Module.__call__)(norm, x_BCHW)
    y_BCHW.sin().sum().backward()
    parts = [nn.BatchNorm2d(2) for _ in range(2)]
    with alone():
        expected = torch.cat([one(x) for one, x in zip(parts, x_BCHW.split(3), strict=True)])
    running = [
        torch.stack([getattr(one, name) for one in parts]).mean(0)
        for name in ("running_mean", "running_var")
    ]
    return [
        distance([y_BCHW], [expected]),
        distance([norm.running_mean, norm.running_var], running),
    ]


def networks(name: str, images: int) -> dict[str, float]:
    """How far a space's supernet and network are from those of one process, in float64.

    Activations are real-valued: sums of signs may meet their mean, and rounding then decide a sign.
    """
    torch.set_default_dtype(torch.float64)
    space = find("space", name).make({})
    spec = frame(space)
    x_BCHW = torch.from_numpy(generator(0, "x").standard_normal((images, *spec.shape)))
    y_B = torch.arange(images) % spec.classes
    sizes = [len(decision.options) for decision in space.decisions]
    alpha = torch.from_numpy(generator(0, "alpha").standard_normal(sum(sizes))).requires_grad_()
    arch = space.sample(generator(0, "path"))

    def mix(alpha: Tensor) -> list[Tensor]:
        return [part.softmax(0) for part in alpha.split(sizes)]

    def supernet() -> Supernet:
        net = space.supernet(spec, generator(0, "supernet"))
        net.precision = Precision.W1A32
        return net

    def of_weights(net: Counted, logits: Tensor) -> Found:
        loss = F.cross_entropy(logits, y_B) + 0.1 * net.reconstruction_error("weight")
        found = grad(loss, [*net.parameters()], allow_unused=True)
        return [logits.detach(), *(one for one in found if one is not None)]

    def relaxed() -> Found:
        net = supernet()
        return of_weights(net, net(x_BCHW, mix(alpha.detach())))

    def of_alpha() -> Found:
        net = supernet()
        with constant(net):
            return [*grad(F.cross_entropy(net(x_BCHW, mix(alpha)), y_B), alpha)]

    def curvature() -> Found:
        net = supernet()
        with constant(net), kernels.plain():
            (u,) = grad(F.cross_entropy(net(x_BCHW, mix(alpha)), y_B), alpha, create_graph=True)
            return [*grad(u, alpha, u.detach())]

    def along() -> Found:
        net = supernet()
        with constant(net), torch.no_grad(), forward_ad.dual_level():
            dual = forward_ad.make_dual(alpha.detach(), alpha.detach().cos())
            return [forward_ad.unpack_dual(net(x_BCHW, mix(dual))).tangent.clone()]

    def path() -> Found:
        net = supernet()
        logits, maps = net.logits_and_features(x_BCHW, space.path(arch))
        return [*of_weights(net, logits), maps.detach()]

    def final() -> Found:
        net: Network = space.network(arch, spec, generator(0, "network"))
        net.precision = Precision.W1A32
        found = of_weights(net, net.both(x_BCHW)[0])
        with torch.no_grad():
            return [*found, *map(Tensor.double, net.buffers()), net.eval()(x_BCHW)]

    made = (relaxed, of_alpha, curvature, along, path, final)
    return {each.__name__: together_and_alone(each) for each in made}


def searches(method: str, space: str, dtype: torch.dtype) -> tuple[Any, Any, list[float]]:
    """A search's outcome together and alone, and how far the logits of its passes are apart."""
    torch.set_default_dtype(dtype)
    (spec,) = parse_specs(method)
    plugin = find("method", spec.name)

    class Chosen(Rehearsal):
        @property
        def method(self) -> Any:
            return plugin.make(plugin.resolve(spec.options))

    def run() -> tuple[Any, Found]:
        seen: Found = []
        watch = lambda logits: seen.append(logits.detach().clone())  # noqa: E731
        Counted.listeners.append(watch)
        try:
            outcome = Chosen(plugin, find("space", space)).whole
            return replace(outcome, result=replace(outcome.result, heir=None)), seen
        finally:
            Counted.listeners.remove(watch)

    with alone():
        expected, logits = run()
    found, ours = run()
    return found, expected, [distance([a], [b]) for a, b in zip(ours, logits, strict=False)]


def streamed(root: Path) -> list[Any]:
    """Which files of a tree a rank opens, of how many, and how far the images are from those of one."""
    opened: list[str] = []
    decode = imagefolder.decode

    def watched(path: str, *args: Any) -> Tensor:
        opened.append(path)
        return decode(path, *args)

    imagefolder.decode = watched  # type: ignore[assignment]
    files = find_files(root).train
    reshape = imagefolder.to_side(8)
    images = imagefolder.FileImages(
        files, (3, 8, 8), reshape, torch.device("cpu"), random_resized_crop=True
    )

    def read() -> Found:
        batches = images.batches(5, generator(0, "order"), Augment(crop=1))
        return [torch.cat([x_BCHW for x_BCHW, _ in batches])]

    with alone():
        expected = read()
    del opened[:]
    apart = distance(read(), expected)
    return [sorted(opened), len(files.paths), apart]


class Small(Network):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2), nn.BatchNorm2d(6), nn.PReLU(6))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 10))

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.body(x_BCHW)


def training(dataset: Dataset, recipe: Recipe, path: Any) -> list[Any]:
    """The losses of a training together and alone, and how far the networks are apart."""
    from bnas_bench.runs.train import train
    from bnas_bench.search.checkpoint import Checkpoint

    def run(name: str) -> tuple[list[float], Found]:
        network = Small()
        checkpoint = Checkpoint(path / name, share=0)
        rng = np.random.Generator(np.random.PCG64(5))
        log = train(network, dataset, recipe, rng, checkpoint).log
        return [entry["loss"] for entry in log], [t.double() for t in network.state_dict().values()]

    group = ranks._group()
    with alone():
        losses, weights = run(f"alone-{group.rank}")
    together, ours = run("together")
    return [together, losses, distance(ours, weights)]

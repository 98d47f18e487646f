"""The meter counts by itself, exactly, and stops a search at its budget."""

import gc
import weakref
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, func, nn, vmap
from torch.autograd import forward_ad, grad
from torch.func import functional_call

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BenchError, BudgetExceeded, Diverged
from bnas_bench.nn.beside import beside
from bnas_bench.nn.network import Network, last
from bnas_bench.packed.engine.engine import Engine
from bnas_bench.packed.lowering.lower import lower
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.meter import Meter, Unpaid, check_paid


class Line(Network):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.head = nn.Identity()

    def features(self, x: Tensor) -> Tensor:
        return (x * self.w).square()


def called(net: Line, w: Tensor) -> Tensor:
    """The network with other weights."""
    return functional_call(net, {"w": w.double()}, (X,))


X = torch.arange(12.0, dtype=torch.float64).view(4, 3)


def spent(work) -> float:
    with Meter(None) as meter:
        work(Line())
    return meter.spent


def test_what_a_pass_costs() -> None:
    def forward_only(net: Line) -> None:
        with torch.no_grad():
            net(X)

    def both(net: Line) -> None:
        net(X).sum().backward()

    def forward_mode(net: Line) -> None:
        with torch.no_grad(), forward_ad.dual_level():
            net(forward_ad.make_dual(X, X))

    def double_backward(net: Line) -> None:
        (g,) = torch.autograd.grad(net(X).square().sum(), net.w, create_graph=True)
        torch.autograd.grad(g.sum(), net.w)

    def hidden(net: Line) -> None:
        net.logits_and_features(X)[0].sum().backward()

    assert spent(forward_only) == pytest.approx(4 / 3)
    assert spent(both) == pytest.approx(4)
    assert spent(hidden) == pytest.approx(4)
    assert spent(forward_mode) == pytest.approx(8 / 3)
    assert spent(double_backward) == pytest.approx(4 * (1 + 4 + 2) / 3)
    assert spent(lambda net: net.head(net.features(X)).sum().backward()) == pytest.approx(4)


class Deep(Line):
    """A network whose features are no logits."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Tanh()

    def successive(self, x: Tensor) -> Iterator[Tensor]:
        yield x * self.w
        yield (x * self.w).square()

    def features(self, x: Tensor) -> Tensor:
        return last(self.successive(x))


class Convolving(Network):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 2, 1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.body(x_BCHW)


def each_of(net: Deep) -> None:
    first, *_ = net.successive(X)
    first.sum().backward()


@pytest.mark.parametrize(
    ("thirds", "work"),
    [
        # What gives maps alone costs as much, and a backward from any of them.
        (12, lambda net: net.features(X).sum().backward()),
        (12, lambda net: net.logits_and_features(X)[1].sum().backward()),
        (12, lambda net: sum(map(torch.sum, net.logits_and_features(X))).backward()),
        (12, lambda net: net.head(net.features(X)).sum().backward()),
        (12, lambda net: net.stages(X)[0].sum().backward()),
        (4, lambda net: next(net.successive(X))),
        (12, each_of),
        (12, lambda net: net.forward(X).sum().backward()),
        (12, lambda net: Network.__call__(deepcopy(net), X).sum().backward()),
        pytest.param(
            *(12, lambda net: torch.compile(net, backend="eager")(X).sum().backward()),
            marks=pytest.mark.slow,
        ),
        (16, lambda _: beside([Convolving() for _ in range(4)])(torch.zeros(4, 4, 2, 2))),
        # Several in one: rows, weights, gradients.
        (4, lambda net: vmap(net)(X[:, None])),
        (20, lambda net: vmap(lambda w: called(net, w))(torch.ones(5, 3))),
        (4 + 16, lambda net: func.grad(lambda w: called(net, w).sum())(net.w.detach())),
        (4 + 3 * 8, lambda net: grad(net(X).sum(0), net.w, torch.eye(3), is_grads_batched=True)),
    ],
)
def test_no_way_to_call_a_network_is_free(thirds: int, work: Callable[[Deep], object]) -> None:
    net = Deep()
    with Meter(None) as meter:
        work(net)
    assert 3 * meter.spent == pytest.approx(thirds)
    assert not meter.unheard


def test_bits_are_paid_for_as_well() -> None:
    engine = Engine(lower(Convolving().eval(), (1, 2, 2)))
    with Meter(None) as meter:
        engine.run(np.zeros((5, 1, 2, 2), np.float32))
    assert meter.spent == pytest.approx(5 / 3)


def test_what_a_meter_was_not_told_of_is_known() -> None:
    net = Deep()
    with Meter(None) as meter:
        net(X)
        meter.__exit__()
        net(X)
        net(X[:1])
        meter.__enter__()
        net(X)
        assert meter.unheard == 5
        check_paid(meter, 5)
        with pytest.raises(Unpaid, match=r"^2 images went through networks"):
            check_paid(meter, 3)


def test_what_a_pass_gave_is_let_go_of() -> None:
    """At once, not when Python looks for cycles: with it go the maps that its gradient needs."""
    gc.disable()
    try:
        with Meter(None):
            logits = weakref.ref(Line()(X))
        assert logits() is None
    finally:
        gc.enable()


def test_nothing_is_counted_once_the_meter_is_closed() -> None:
    net = Line()
    with Meter(None) as meter:
        pass
    net(X)
    assert meter.spent == 0


@pytest.mark.parametrize(("passes", "epochs"), [(3, 0), (4, 1), (11, 2), (12, 3), (13, 3)])
def test_a_budget_of_n_allows_n(passes: int, epochs: int) -> None:
    net, seen = Line(), []
    with Meter(passes) as meter:

        def search() -> None:
            for epoch in meter.epochs(state={}, protocol=1):
                seen.append((epoch, meter.progress))
                net(X).sum().backward()

        if epochs:
            search()
        else:
            with pytest.raises(BudgetExceeded, match="asked for 4 passes and its budget is 3"):
                search()
            return
    assert [epoch for epoch, _ in seen] == list(range(epochs))
    assert [progress for _, progress in seen] == [4 * k / passes for k in range(epochs)]
    assert meter.spent == 4 * epochs


def test_without_a_budget_the_papers_protocol_runs() -> None:
    with Meter(None) as meter:
        progress = [meter.progress for _ in meter.epochs(state={}, protocol=4)]
    assert progress == [0, 0.25, 0.5, 0.75]


def test_spend_charges_what_the_meter_cannot_see() -> None:
    with Meter(2) as meter:
        meter.spend(2)
        with pytest.raises(BudgetExceeded):
            meter.spend(1 / 3)


def test_the_log_says_what_when_and_at_which_cost() -> None:
    arch = Architecture("s", {"d": 1})
    with Meter(10) as meter:
        meter.spend(4 / 3)
        meter.incumbent(arch, valid=0.5)
    (line,) = meter.log
    assert line.pop("seconds") >= 0
    assert line == {"passes": 1.33, "incumbent": arch.id, "choices": {"d": 1}, "valid": 0.5}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_search(value: float) -> None:
    with pytest.raises(Diverged, match="loss is"):
        Meter(10).report(loss=value)


def test_a_search_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    def search(meter: Meter, killed_after: int | None = None) -> list[float]:
        net, rng, drawn = Line(), np.random.default_rng(0), []
        with meter:
            for epoch in meter.epochs(state={"net": net, "rng": rng, "drawn": drawn}, protocol=1):
                net(X).sum().backward()
                with torch.no_grad():
                    net.w -= 0.1 * rng.random()
                drawn.append(net.w[0].item())
                meter.report(epoch=epoch)
                if epoch == killed_after:
                    raise KeyboardInterrupt
        return drawn

    whole = Meter(20)
    expected = search(whole)
    assert len(expected) == 5
    path = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        search(Meter(20, Checkpoint(path, share=1.0)), killed_after=3)
    resumed = Meter(20, Checkpoint(path, share=1.0))
    assert search(resumed) == expected
    assert resumed.spent == whole.spent
    plain = [{k: v for k, v in line.items() if k != "seconds"} for line in resumed.log]
    assert plain == [{k: v for k, v in line.items() if k != "seconds"} for line in whole.log]


def test_epochs_that_spend_nothing_do_not_go_on_for_ever() -> None:
    with Meter(100) as meter, pytest.raises(BenchError, match=r"1000 epochs .* spent nothing"):
        for _ in meter.epochs(state={}, protocol=1):
            pass

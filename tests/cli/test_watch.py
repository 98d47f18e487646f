"""What is shown of a grid while it runs: which share is behind, how long the rest may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnas_bench.cli.durations import about, result, took
from bnas_bench.cli.watch import Running, Watch, _line
from bnas_bench.runs.estimate import Estimates, Took, names
from bnas_bench.runs.progress import Event
from bnas_bench.runs.store import Store
from tests.helpers.records import done, put, trials

PASSES = "12,800 of 30,000 passes; incumbent 0afab03824, valid 0.2171, child_loss 0.9193"


def searching(share: float) -> Event:
    return Event("x", "progress", PASSES, None, "search", share)


@pytest.mark.parametrize(
    ("seconds", "measured", "estimated"),
    [
        (9.42, "9.4 s", "about 10 s"),
        (59.6, "1 min 00 s", "about 60 s"),
        (118, "1 min 58 s", "about 2 min"),
        (3599, "59 min 59 s", "about 60 min"),
        (11_100, "3 h 05 min", "about 3 h 05 min"),
        (200_000, "55 h 33 min", "about 2 days"),
    ],
)
def test_times_are_said_as_a_person_says_them(
    seconds: float, measured: str, estimated: str
) -> None:
    assert (took(seconds), about(seconds)) == (measured, estimated)


def test_a_trials_time_left_is_known_from_others_and_then_from_itself() -> None:
    # Such trials took 100 s, 80 of them the search; this one is half as fast.
    one = Running("dcpnas, seed 0", Took(100.0, 0.8))
    assert one.left(0.0) == 100
    one.advance(searching(0.0), 0.0)
    one.advance(searching(0.5), 80.0)
    assert one.share == pytest.approx(0.4)
    assert one.left(80.0) == pytest.approx(0.6 * 60 + 0.4 * 120)
    one.advance(Event("x", "progress", "", None, "train", 0.5), 180.0)
    assert one.share == pytest.approx(0.9)
    assert Running("x", None).left(0.0) is None
    assert Running("x", None).left(0.0, usual=90.0) == 90


def test_one_that_goes_on_is_as_fast_as_it_is_now() -> None:
    one = Running("dcpnas, seed 0", Took(1000.0, 1.0))
    one.advance(searching(0.5), 0.0)
    one.advance(searching(0.75), 10.0)
    assert one.left(10.0) == pytest.approx(0.25 * 250 + 0.75 * 10)


def test_a_small_network_has_operations_too() -> None:
    (trial,) = trials("random")
    for ops, text in ((0.45e6, "0.45 M OPs"), (4.5e3, "0.0045 M OPs")):
        record = done(trial, 95.8, ops={"nas-bnn": ops}, seconds=118.0)
        assert result(record) == f"95.8 %, {text}, 1 min 58 s"


def test_a_stage_that_nobody_counts_has_no_share() -> None:
    one = Running("dcpnas, seed 0", None)
    one.advance(Event("x", "progress", "", None, "measure", 0.0), 0.0)
    assert _line(one, None, 80) == "dcpnas, seed 0: measure"


@pytest.mark.parametrize("width", [50, 80, 140])
def test_a_line_ends_with_a_whole_fact(width: int) -> None:
    one = Running("dcpnas, seed 0", Took(100.0, 0.8))
    one.advance(searching(0.5), 0.0)
    line = _line(one, one.left(0.0), width)
    assert len(line) <= width
    assert line.startswith("dcpnas, seed 0: search 50%")
    facts = PASSES.replace(";", ",").split(", ")
    assert line.split("; ")[1:] == facts[: len(line.split("; ")) - 1]
    assert (line.count(";") == 4) == (width == 140)


def test_a_grid_is_as_long_as_its_trials_side_by_side(tmp_path: Path) -> None:
    store = Store(tmp_path / "before")
    for trial in trials("random", seeds=3):
        put(store, done(trial, 90.0, seconds=40.0 + trial.repetition))
    wanted = trials("random,dcpnas", seeds=2)
    watch = Watch(wanted, 2, tmp_path)
    assert watch.left(0.0) == pytest.approx(4 * 41 / 2)  # dcpnas as others took there
    watch.show(Event(wanted[0].id, "started"))
    watch.show(Event(wanted[0].id, "finished", "", done(wanted[0], 90.0, seconds=41.0)))
    assert watch._place() == "1 of 4, about 60 s left"


def test_estimates_prefer_the_same_configuration(tmp_path: Path) -> None:
    store = Store(tmp_path / "before")
    for method, seconds in (("dcpnas[lam=0]", 10.0), ("dcpnas", 30.0), ("random", 5.0)):
        put(store, done(trials(method)[0], 90.0, seconds=seconds))
    estimates = Estimates(tmp_path)

    def takes(method: str, **where: str) -> float | None:
        known = estimates.of(trials(method, **where)[0])  # type: ignore[arg-type]
        return known and known.seconds

    assert takes("dcpnas") == 30
    assert takes("dcpnas[lam=0]") == 10
    assert takes("dcpnas[lam=2]") == 20  # its method's
    assert takes("cpnas") == 10  # any method's, the middle
    assert takes("dcpnas", budget="quick") is None


def test_names_say_what_differs() -> None:
    found = names(trials("random,dcpnas[lam=0]", datasets="digits,cifar10"))
    assert [*found.values()] == [
        "random on digits, seed 0",
        "dcpnas[lam=0.0] on digits, seed 0",
        "random on cifar10, seed 0",
        "dcpnas[lam=0.0] on cifar10, seed 0",
    ]
    assert [*names(trials("random")).values()] == ["random, seed 0"]

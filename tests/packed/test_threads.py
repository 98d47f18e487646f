"""An engine's team: the same bits with any number of threads, and nothing left of them after a run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from threading import Event, Thread

import numpy as np
import pytest
import torch

from bnas_bench.packed.engine.engine import Engine
from bnas_bench.packed.engine.layers import TorchKernel
from bnas_bench.packed.engine.threads import Team, torch_threads
from bnas_bench.packed.lowering.lower import lower
from tests.helpers.networks import LARGE, build, images


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", ["darts-binary", "nas-bnn", "handcrafted", "bats", "bars"])
def test_kernels_compute_the_same_with_any_number_of_threads(name: str) -> None:
    """Also with more than there are cores. What torch computes with one and two: `test_engine.py`."""
    program, x = lower(build(name, {}, LARGE, seed=3), LARGE), images(LARGE, 2)
    expected = Engine(program).run(x)
    for threads in (2, 3, 5):
        engine = Engine(program)  # which sums as torch does with one thread
        engine._team = Team(threads)
        for _ in range(3):
            assert np.array_equal(engine.run(x), expected), threads
        engine.close()


def test_work_is_done_though_the_others_never_begin() -> None:
    """As where the machine has other things to do: who calls does all that is left."""
    network = build("nas-bnn", {}, LARGE)
    program, x = lower(network, LARGE), images(LARGE)
    engine, expected = Engine(program, threads=3), Engine(program, threads=3).run(x)
    gate = Event()
    assert engine._team._others is not None
    busy = [engine._team._others.submit(gate.wait) for _ in range(2)]
    try:
        assert np.array_equal(engine.run(x), expected)
    finally:
        gate.set()
    assert all(future.result() for future in busy)


def test_what_a_thread_raises_is_raised_here_once_all_are_done() -> None:
    team, ran = Team(3), []

    def part(thread: int) -> None:
        if thread == 2:
            raise ZeroDivisionError("the second helper")
        time.sleep(0.05)  # so that the others have begun
        ran.append(thread)

    with pytest.raises(ZeroDivisionError, match="second helper"):
        team.work(part)
    assert 0 in ran
    team.work(lambda thread: ran.append(10 + thread))
    assert 10 in ran
    team.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_an_engine_runs_in_a_fork_of_a_process_that_ran_it() -> None:
    """Also where another thread was at work in it at that moment, whose lock nobody will open."""
    shape = (3, 16, 16)
    program, x = lower(build("nas-bnn", {}, shape), shape), images(shape)
    engine = Engine(program, threads=2)
    expected = engine.run(x)
    with engine._team.alone():
        child = os.fork()
        if not child:
            os._exit(0 if np.array_equal(engine.run(x), expected) else 1)
    assert waited(lambda: os.waitpid(child, os.WNOHANG)[0] == child, seconds=60)
    assert np.array_equal(engine.run(x), expected)


def waited(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition comes true within so many seconds."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return true


def test_no_thread_goes_on_once_a_run_is_over() -> None:
    """The process takes next to no processor time while the engine has nothing to do."""
    shape = (3, 32, 32)
    engine = Engine(lower(build("darts-binary", {}, shape), shape), threads=4)
    for _ in range(5):
        engine.run(images(shape))
    began = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - began < 0.1
    engine.close()


def test_callers_in_two_threads_share_a_team() -> None:
    shape = (3, 16, 16)
    engine = Engine(lower(build("bats", {}, shape), shape), threads=2)
    x, found = images(shape), []
    expected = engine.run(x)
    callers = [Thread(target=lambda: found.append(engine.run(x))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 4
    assert all(np.array_equal(logits, expected) for logits in found)


def test_torch_has_its_own_number_of_threads_again_also_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = (3, 16, 16)
    engine = Engine(lower(build("bats", {}, shape), shape), threads=2)
    engine.run(images(shape))
    with torch_threads(3):
        monkeypatch.setattr(TorchKernel, "__call__", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.run(images(shape))
        assert torch.get_num_threads() == 3

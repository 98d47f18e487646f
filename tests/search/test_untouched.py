"""What a search may not change is named, in one sentence, and put back: the process and the space."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnas_bench.core.budget import Recipe
from bnas_bench.nn.network import Counted
from bnas_bench.runs import train as training
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.lent import Lent
from bnas_bench.search.surroundings import Surroundings
from bnas_bench.search.untouched import Altered, Watched, generators_put_back, untouched

HELD: list[Any] = []
"""Guards of modes that a careless method keeps: one that is collected ends its mode."""


def begin(mode: Any) -> None:
    HELD.append(mode)
    mode.__enter__()


SHARED: list[tuple[str, Callable[[], Any]]] = [
    ("torch's number of threads from 1 to 2", lambda: torch.set_num_threads(2)),
    (
        "torch's default dtype from float32 to float64",
        lambda: torch.set_default_dtype(torch.float64),
    ),
    ("torch's default device from cpu to meta", lambda: torch.set_default_device("meta")),
    ("torch's gradient mode from True to False", lambda: torch.set_grad_enabled(False)),
    (
        "torch's inference mode from False to True",
        lambda: begin(torch.inference_mode()),
    ),
    (
        "torch's deterministic algorithms (0 off, 1 warn, 2 on) from 0 to 2",
        lambda: torch.use_deterministic_algorithms(True),
    ),
    (
        "torch's deterministic algorithms (0 off, 1 warn, 2 on) from 0 to 1",
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    ),
    (
        "torch's anomaly detection (and of NaN) from (False, True) to (True, True)",
        lambda: torch.autograd.set_detect_anomaly(True),
    ),
    (
        "torch's autocast on cpu from False to True",
        lambda: begin(torch.autocast("cpu", dtype=torch.bfloat16)),
    ),
    ("the flushing of denormal numbers from False", lambda: torch.set_flush_denormal(True)),
    (
        "torch's float32 matmul precision from 'highest' to 'medium'",
        lambda: torch.set_float32_matmul_precision("medium"),
    ),
    ("torch.backends.fp32_precision", lambda: setattr(torch.backends, "fp32_precision", "tf32")),
    (
        "torch.backends.cudnn.benchmark from False to True",
        lambda: setattr(torch.backends.cudnn, "benchmark", True),
    ),
    (
        "torch.backends.cudnn.deterministic from False to True",
        lambda: setattr(torch.backends.cudnn, "deterministic", True),
    ),
    (
        "torch.backends.cudnn.enabled from True to False",
        lambda: setattr(torch.backends.cudnn, "enabled", False),
    ),
    (
        "torch.backends.cudnn.allow_tf32 from True to False",
        lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    ),
    (
        "torch.backends.cuda.matmul.allow_tf32 from False to True",
        lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    ),
    (
        "torch.backends.cuda.matmul.fp32_precision from",  # none, or ieee once TF32 was put back
        lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    ),
    (
        "torch.backends.cuda.flash_sdp_enabled from True to False",
        lambda: torch.backends.cuda.enable_flash_sdp(False),
    ),
    (
        "torch.backends.mkldnn.enabled from True to False",
        lambda: setattr(torch.backends.mkldnn, "enabled", False),
    ),
    (
        "torch.backends.nnpack from True to False",
        lambda: torch.backends.nnpack.set_flags(False),
    ),
    ("torch's function modes from []", lambda: begin(torch.device("meta"))),
    (
        "torch's global_forward_hooks",
        lambda: torch.nn.modules.module.register_module_forward_hook(lambda *_: None),
    ),
    ("the listeners of networks from [] to", lambda: Counted.listeners.append(lambda _: None)),
    (
        "numpy's treatment of errors: divide from 'warn' to 'raise'",
        lambda: np.seterr(divide="raise"),
    ),
    (
        "the environment: BNAS_TEST from nothing to '1'",
        lambda: os.environ.update(BNAS_TEST="1"),
    ),
    ("the environment: HOME from", lambda: os.environ.pop("HOME")),
    ("the working directory from", lambda: os.chdir("/")),
    ("the umask from", lambda: os.umask(0o777)),
    (
        "the process' limits: RLIMIT_NOFILE",
        lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        ),
    ),
    ("the handlers of signals: SIGTERM", lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN)),
    ("Python's recursion limit from", lambda: sys.setrecursionlimit(5000)),
    ("Python's garbage collector from True to False", gc.disable),
    ("stdout and stderr from", lambda: setattr(sys, "stdout", None)),
    ("Recipe.lr from 0.0025 to 0.1", lambda: setattr(Recipe, "lr", 0.1)),
    (
        "Recipe.__init__.__defaults__ from",
        lambda: setattr(Recipe.__init__, "__defaults__", (1,) * 10),
    ),
    ("bnas_bench.runs.train.train from train", lambda: setattr(training, "train", None)),
    (
        "torch.nn.functional.cross_entropy from cross_entropy",
        lambda: setattr(torch.nn.functional, "cross_entropy", torch.nn.functional.nll_loss),
    ),
    (
        "SGD.zero_grad from nothing to",
        lambda: setattr(torch.optim.SGD, "zero_grad", lambda _: None),
    ),
    ("the process' CPUs from", lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})),
]


@pytest.mark.parametrize(("what", "change"), SHARED, ids=[what for what, _ in SHARED])
def test_what_all_share_is_named_and_put_back(what: str, change: Callable[[], Any]) -> None:
    if "CPUs" in what and len(os.sched_getaffinity(0)) == 1:
        pytest.skip("this machine has one CPU")
    before = Surroundings()
    with pytest.raises(Altered) as error, untouched("the search"):
        change()
    HELD.clear()
    sentence = str(error.value)
    assert sentence.startswith("the search changed ")
    assert sentence.endswith("; put it back")
    assert what in sentence
    assert before.changes() == []


def test_a_thread_that_is_left_running_is_named() -> None:
    over = threading.Event()
    try:
        with pytest.raises(Altered, match="the threads that run from"), untouched("the search"):
            threading.Thread(target=lambda: over.wait(60), daemon=True).start()
    finally:
        over.set()


def test_a_thread_that_ends_is_no_change() -> None:
    over = threading.Event()
    thread = threading.Thread(target=lambda: over.wait(60))
    thread.start()
    with untouched("the search"):
        over.set()
        thread.join()


def test_the_first_optimiser_of_its_class_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch wraps its `step` then."""

    class Plain(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> None: ...  # type: ignore[override]

    Plain.__module__ = "torch.optim.sgd"
    monkeypatch.setattr(sys.modules[Plain.__module__], "Plain", Plain, raising=False)
    with untouched("the search"):
        Plain([torch.ones(1, requires_grad=True)], {})
    assert getattr(Plain.step, "hooked", False)


def test_an_error_inside_goes_first_and_all_is_put_back() -> None:
    before = Surroundings()

    def fail() -> None:
        torch.set_default_dtype(torch.float64)
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"), untouched("the search"):
        fail()
    assert before.changes() == []


def test_what_is_put_back_by_itself_is_no_change() -> None:
    with untouched("the search"), torch.no_grad(), torch.device("meta"):
        torch.set_default_dtype(torch.float64)
        torch.set_default_dtype(torch.float32)


def test_variables_of_libraries_are_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn sets it as it is imported, wherever that is."""
    monkeypatch.delenv("KMP_INIT_AT_FORK", raising=False)
    with untouched("the search"):
        os.environ["KMP_INIT_AT_FORK"] = "FALSE"
    assert os.environ["KMP_INIT_AT_FORK"] == "FALSE"
    del os.environ["KMP_INIT_AT_FORK"]


def test_global_generators_are_put_back() -> None:
    before = torch.get_rng_state()
    with generators_put_back():
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)


@dataclass(frozen=True)
class Layer:
    width: int
    kernels: list[int]


class Base:
    factor = 2
    table: dict[str, Any] = {"depth": [1, 2]}  # noqa: RUF012

    def recipe(self) -> float:
        return 0.1


class Space(Base):
    __slots__ = ("slot",)

    def __init__(self) -> None:
        self.zeroise = False
        self.layers = (Layer(8, [1, 3]), Layer(16, [5]))
        self.weights = np.arange(3.0)
        self.signs = torch.ones(2)
        self.names = {"a"}
        self.me = self
        self.slot = 1

    @cached_property
    def sizes(self) -> list[int]:
        return [layer.width for layer in self.layers]


def frozen(space: Space) -> None:
    object.__setattr__(space.layers[1], "width", 3)


ALTERED: list[tuple[str, Callable[[Space], Any]]] = [
    ("space.zeroise from False to True", lambda s: setattr(s, "zeroise", True)),
    ("space.zeroise from False to 0", lambda s: setattr(s, "zeroise", 0)),
    ("space.recipe from nothing to", lambda s: setattr(s, "recipe", lambda: 1.0)),
    ("space.zeroise from False to nothing", lambda s: delattr(s, "zeroise")),
    ("space.slot from 1 to 2", lambda s: setattr(s, "slot", 2)),
    ("space.layers[1].width from 16 to 3", frozen),
    ("space.layers[0].kernels[2] from nothing to 5", lambda s: s.layers[0].kernels.append(5)),
    ("space.weights from", lambda s: s.weights.fill(7)),
    ("space.signs from", lambda s: s.signs.zero_()),
    ("space.names from", lambda s: s.names.add("b")),
    ("Base.factor from 2 to 3", lambda _: setattr(Base, "factor", 3)),
    ("Space.factor from nothing to 3", lambda _: setattr(Space, "factor", 3)),
    ("Base.table['depth'][0] from 1 to 9", lambda s: s.table["depth"].__setitem__(0, 9)),
    ("Base.recipe from Base.recipe to", lambda _: setattr(Base, "recipe", lambda _: 1.0)),
    ("Space.sizes from", lambda _: setattr(Space, "sizes", [1])),
]


@pytest.mark.parametrize(("what", "alter"), ALTERED, ids=[what for what, _ in ALTERED])
def test_an_altered_space_is_named_and_put_back(what: str, alter: Callable[[Space], Any]) -> None:
    space = Space()
    lent, before = Lent(space), Lent(space)
    with (
        pytest.raises(Altered, match="the search changed ") as error,
        untouched("the search", lent),
    ):
        alter(space)
    assert what in str(error.value)
    assert before.changes() == []


def test_what_a_space_remembers_of_itself_is_no_change() -> None:
    space = Space()
    with untouched("the search", Lent(space)):
        assert space.sizes == [8, 16]
        space.layers = (*space.layers,)
    assert space.__dict__["sizes"] == [8, 16]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Watched, Space]]:
    space, before = Space(), Surroundings()
    yield Watched(Checkpoint(tmp_path / "search.ckpt"), Lent(space)), space
    before.restore()


def test_an_altered_search_is_never_saved(watched: tuple[Watched, Space]) -> None:
    """It would be resumed without what it altered."""
    checkpoint, space = watched
    assert checkpoint.load({}) is None
    checkpoint.save({}, {"epoch": 1}, force=True)
    torch.set_default_dtype(torch.float64)
    with pytest.raises(Altered, match="an epoch of the search changed torch's default dtype"):
        checkpoint.save({}, {"epoch": 2}, force=True)
    torch.set_default_dtype(torch.float32)
    space.zeroise = True
    with pytest.raises(Altered, match=r"an epoch of the search changed space\.zeroise"):
        checkpoint.save({}, {"epoch": 2}, force=True)
    assert checkpoint.load({}) == {"epoch": 1}


def test_what_is_set_around_all_epochs_is_set_when_they_resume(
    watched: tuple[Watched, Space],
) -> None:
    checkpoint, _ = watched
    with torch.no_grad():
        checkpoint.load({})
        checkpoint.save({}, {"epoch": 1}, force=True)

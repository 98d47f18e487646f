"""Checkpoints: everything comes back bit for bit, or not at all."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bnas_bench.core.errors import Damaged
from bnas_bench.core.files import Unwritable
from bnas_bench.search import checkpoint as module
from bnas_bench.search.checkpoint import Checkpoint


def always(path: Path, **keywords: Any) -> Checkpoint:
    return Checkpoint(path, share=math.inf, **keywords)


class Search:
    """Something with every kind of state, which changes with every step."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten())
        self.alpha = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.optimiser = torch.optim.Adam([*self.network.parameters(), self.alpha], lr=0.1)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, 10)
        self.rng = np.random.Generator(np.random.PCG64(3))
        self.scores = np.zeros((2, 2))
        self.average = torch.zeros(2)
        self.memory: dict[Any, Any] = {"best": None, 1: "one", "1": True}
        self.history: list[Any] = []

    @property
    def state(self) -> dict[str, Any]:
        return vars(self)

    def step(self) -> None:
        x = torch.from_numpy(self.rng.normal(size=(4, 1, 3, 3))).float()
        self.optimiser.zero_grad()
        (self.network(x).square().mean() + (self.alpha - 1).square().sum()).backward()
        self.optimiser.step()
        self.schedule.step()
        self.scores += self.rng.random((2, 2))
        self.average.mul_(0.9).add_(self.network.state_dict()["1.running_mean"])
        self.memory["best"] = (float(self.scores.max()), [self.average.clone()])
        self.history.append({"mix": (1, 2), "score": self.scores.max(), "nan": math.nan})

    def values(self) -> list[Any]:
        state = self.optimiser.state_dict()
        moments = [v for slot in state["state"].values() for v in slot.values()]
        tensors = [*self.network.state_dict().values(), self.alpha.detach(), self.average, *moments]
        return [
            [t.tolist() for t in tensors],
            [t.dtype for t in tensors],
            repr(state["param_groups"]),
            repr(self.schedule.state_dict()),
            self.rng.bit_generator.state,
            self.scores.tolist(),
            repr(self.memory),
            repr(self.history),
        ]


def test_a_resumed_search_ends_as_one_that_was_never_killed(tmp_path: Path) -> None:
    whole = Search()
    for _ in range(3):
        whole.step()
    always(tmp_path / "a.ckpt").save(whole.state, {"epoch": 3, "log": [{"loss": 0.1 + 0.2}]})
    for _ in range(3):
        whole.step()

    resumed = Search()
    objects = {name: id(value) for name, value in resumed.state.items()}
    header = always(tmp_path / "a.ckpt").load(resumed.state)
    assert header == {"epoch": 3, "log": [{"loss": 0.30000000000000004}]}
    for _ in range(3):
        resumed.step()

    assert resumed.values() == whole.values()
    assert {name: id(value) for name, value in resumed.state.items()} == objects
    assert type(resumed.history[0]["score"]) is np.float64


def test_what_has_an_identity_is_restored_in_place_wherever_it_stands(tmp_path: Path) -> None:
    def make(value: float) -> dict[str, Any]:
        return {
            "nested": {"w": [nn.Parameter(torch.full((2,), value))], "rng": np_rng(int(value))},
            "nets": [nn.Linear(1, 1)],
        }

    def np_rng(seed: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(seed))

    old, new = make(1.0), make(2.0)
    always(tmp_path / "a").save(old, {})
    w, rng, net = new["nested"]["w"][0], new["nested"]["rng"], new["nets"][0]
    assert always(tmp_path / "a").load(new) == {}
    assert new["nested"]["w"][0] is w
    assert w.tolist() == [1, 1]
    assert new["nested"]["rng"] is rng
    assert rng.random() == np_rng(1).random()
    assert new["nets"][0] is net
    assert net.weight.item() == old["nets"][0].weight.item()


def test_nested_values_do_not_write_through_to_what_they_once_were(tmp_path: Path) -> None:
    shared = torch.zeros(2)
    always(tmp_path / "a").save({"d": {"now": shared + 2, "best": shared + 1}}, {})
    fresh = {"now": shared, "best": shared}
    always(tmp_path / "a").load({"d": fresh})
    assert (fresh["now"].tolist(), fresh["best"].tolist()) == ([2, 2], [1, 1])
    assert shared.tolist() == [0, 0]


def test_tensors_that_share_memory_and_odd_ones_are_kept(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    tensors = [
        base,
        base[2:],
        base.view(2, 3).T,
        torch.tensor(True),
        torch.zeros(0, 3, dtype=torch.int64),
        torch.tensor([math.nan, -0.0, math.inf], dtype=torch.float64),
        torch.ones(3, dtype=torch.bfloat16),
    ]
    always(tmp_path / "a").save({"list": tensors}, {})
    restored: list[torch.Tensor] = []
    always(tmp_path / "a").load({"list": restored})
    assert repr(restored) == repr(tensors)
    assert math.copysign(1, restored[5][1].item()) == -1


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"best": 1.5}, "'best' is a float, which nothing can restore in place"),
        ({"pair": ({}, {})}, "'pair' is a tuple, which nothing can restore in place"),
        ({"memory": {"seen": {1, 2}}}, r"'memory\['seen'\]' is a set, which a checkpoint cannot"),
        ({"hooks": [print]}, r"'hooks\[0\]' is a builtin_function_or_method"),
        ({"a": [torch.zeros(1, requires_grad=True) * 2]}, r"'a\[0\]' is a tensor within a graph"),
        ({"names": np.array(["a", None])}, "'names' is a ndarray"),
    ],
)
def test_what_cannot_be_kept_is_named(tmp_path: Path, state: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        always(tmp_path / "a").save(state, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["empty", "half", "last byte", "tensor", "json", "other file"])
def test_a_damaged_checkpoint_is_set_aside_and_touches_nothing(tmp_path: Path, damage: str) -> None:
    path, weight = tmp_path / "search.ckpt", torch.arange(100.0)
    always(path).save({"weight": weight}, {"epoch": 7})
    data = bytearray(path.read_bytes())
    match damage:
        case "empty":
            data.clear()
        case "half":
            del data[len(data) // 2 :]
        case "last byte":
            del data[-1]
        case "tensor":
            data[-5] ^= 1
        case "json":
            data[data.index(b"epoch") + 9] ^= 1
        case "other file":
            data[:] = b"\x89PNG and so on"
    path.write_bytes(data)

    said: list[str] = []
    weight.fill_(-1)
    assert always(path, say=said.append).load({"weight": weight}) is None
    assert (weight == -1).all()
    assert [file.name for file in tmp_path.iterdir()] == ["search.ckpt.damaged-1"]
    assert (tmp_path / "search.ckpt.damaged-1").read_bytes() == data
    assert len(said) == 1
    assert said[0].startswith(f"the checkpoint {path} is damaged (")
    assert said[0].endswith("renamed to search.ckpt.damaged-1, starting over")


def test_without_a_listener_a_damaged_checkpoint_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged"):
        assert always(tmp_path / "a").load({}) is None


@pytest.mark.parametrize(("identity", "name"), [("other", "w"), ("trial", "v")])
def test_anothers_checkpoint_is_not_used(tmp_path: Path, identity: str, name: str) -> None:
    always(tmp_path / "a", identity="trial").save({"w": torch.ones(1)}, {})
    said: list[str] = []
    w = torch.zeros(1)
    assert always(tmp_path / "a", identity=identity, say=said.append).load({name: w}) is None
    assert w.item() == 0
    assert [file.name for file in tmp_path.iterdir()] == ["a.old-1"]
    assert "was written with other code or data" in said[0]


@pytest.mark.parametrize(
    "now", [torch.zeros(3), torch.zeros(2, dtype=torch.float64), np.zeros(2), [], nn.Linear(1, 1)]
)
def test_a_whole_checkpoint_that_does_not_fit_is_an_error(tmp_path: Path, now: Any) -> None:
    always(tmp_path / "a").save({"w": torch.ones(2)}, {})
    with pytest.raises(Damaged, match=r"does not fit 'w' .* renamed to a\.old-1"):
        always(tmp_path / "a").load({"w": now})


def test_no_checkpoint_is_no_header(tmp_path: Path) -> None:
    checkpoint = always(tmp_path / "a")
    assert checkpoint.load({}) is None
    checkpoint.remove()


def test_a_full_disk_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, w = always(tmp_path / "a"), torch.ones(1)
    checkpoint.save({"w": w}, {"epoch": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unwritable, match="No space left on device; make room there"):
        checkpoint.save({"w": w}, {"epoch": 2})
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert checkpoint.load({"w": w}) == {"epoch": 1}


@pytest.mark.parametrize("cost", [0.001, 0.1, 2.0])
def test_saving_takes_no_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: float
) -> None:
    now, saves = 0.0, []

    def write(path: Path, data: bytes, *, make: bool) -> None:  # noqa: ARG001  # noqa: ARG001
        nonlocal now
        saves.append(now)
        now += cost

    monkeypatch.setattr(module.time, "perf_counter", lambda: now)
    monkeypatch.setattr(module, "write_atomically", write)
    checkpoint = Checkpoint(tmp_path / "a", share=0.02)
    for _ in range(2000):
        now += 0.5
        checkpoint.save({}, {})
    assert saves[0] == pytest.approx(0.5)
    spent, wanted = cost * len(saves), 0.02 * now
    assert min(2000 * cost, wanted - 0.02 * 0.5 - cost) <= spent + 1e-9
    assert spent <= wanted + 1e-9
    checkpoint.save({}, {}, force=True)
    assert saves[-1] == now - cost

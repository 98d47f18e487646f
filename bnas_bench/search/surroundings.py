"""The state that all code of a process shares: torch's switches, the interpreter's, the code itself.

A search that leaves one of them changed would have its network trained, tested and timed otherwise
than every other method's, and, killed in between and resumed, otherwise than itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from operator import attrgetter, setitem
from typing import Any

import torch
from torch.nn.modules import module as nn_module
from torch.overrides import _get_current_function_mode_stack as function_modes
from torch.utils import _python_dispatch as dispatch
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack as dispatch_modes

from bnas_bench.nn.passes import Passes
from bnas_bench.search.code import Code
from bnas_bench.search.interpreter import INTERPRETER, Setting, set_mapping
from bnas_bench.search.lent import MISSING, Change

PASSES = 2
"""A switch of torch's may move another that was put back before it."""


def _switch(path: str) -> Setting:
    """An attribute of torch's, such as `backends.cudnn.benchmark`."""
    owner, _, name = path.rpartition(".")

    def put(value: Any) -> None:
        setattr(attrgetter(owner)(torch), name, value)

    return Setting(f"torch.{path}", lambda: attrgetter(path)(torch), put)


def _switches(owner: str, names: str) -> Iterator[Setting]:
    return (_switch(f"{owner}.{name}") for name in names.split())


def _attention(kind: str) -> Setting:
    cuda = torch.backends.cuda
    name = f"{kind}_sdp_enabled"
    return Setting(
        f"torch.backends.cuda.{name}", getattr(cuda, name), getattr(cuda, f"enable_{kind}_sdp")
    )


def _autocast(device: str) -> Iterator[Setting]:
    yield Setting(
        f"torch's autocast on {device}",
        partial(torch.is_autocast_enabled, device),
        partial(torch.set_autocast_enabled, device),
    )
    yield Setting(
        f"torch's autocast dtype on {device}",
        partial(torch.get_autocast_dtype, device),
        partial(torch.set_autocast_dtype, device),
    )


def _set_default_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)


GUARDS: list[torch.inference_mode] = []
"""An inference mode ends when the guard that began it is collected: these never are."""


def _set_inference_mode(mode: bool) -> None:
    GUARDS.append(torch.inference_mode(mode))
    GUARDS[-1].__enter__()


def _denormals_vanish() -> bool:
    smallest = float("5e-324")
    return smallest * 1.0 == 0.0


def _set_modes(now: Callable[[], list[Any]], pop: Any, push: Any, wanted: list[Any]) -> None:
    while now():
        pop()
    for mode in wanted:
        push(mode)


def _hooks(name: str) -> Setting:
    """Hooks that torch calls for every module."""
    hooks = getattr(nn_module, name)
    return Setting(f"torch's {name.strip('_')}", lambda: dict(hooks), partial(set_mapping, hooks))


def _gpu() -> int:
    return torch.cuda.current_device() if torch.cuda.is_initialized() else 0


SETTINGS = (
    Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting(
        "torch's number of interop threads",
        torch.get_num_interop_threads,
        torch.set_num_interop_threads,
    ),
    Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("torch's default device", torch.get_default_device, _set_default_device),
    Setting("torch's inference mode", torch.is_inference_mode_enabled, _set_inference_mode),
    Setting("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    Setting(
        "torch's multithreading of backwards",
        torch._C._is_multithreading_enabled,
        torch._C._set_multithreading_enabled,
    ),
    Setting(
        "torch's deterministic algorithms (0 off, 1 warn, 2 on)",
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    *_switches("utils.deterministic", "fill_uninitialized_memory"),
    Setting(
        "torch's anomaly detection (and of NaN)",
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda both: torch.set_anomaly_enabled(*both),
    ),
    *_autocast("cpu"),
    *_autocast("cuda"),
    Setting(
        "torch's cache of autocast",
        torch.is_autocast_cache_enabled,
        torch.set_autocast_cache_enabled,
    ),
    Setting("the flushing of denormal numbers", _denormals_vanish, torch.set_flush_denormal),
    Setting(
        "torch's float32 matmul precision",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    *_switches("backends", "fp32_precision"),
    *_switches("backends.cudnn", "enabled deterministic benchmark benchmark_limit allow_tf32"),
    *_switches("backends.cudnn", "fp32_precision conv.fp32_precision rnn.fp32_precision"),
    *_switches("backends.cudnn", "depthwise_kernel"),
    *_switches("backends.mkldnn", "enabled deterministic fp32_precision"),
    *_switches("backends.mkldnn", "matmul.fp32_precision conv.fp32_precision rnn.fp32_precision"),
    *_switches("backends.cuda.matmul", "allow_tf32 fp32_precision allow_fp16_accumulation"),
    *_switches("backends.cuda.matmul", "allow_fp16_reduced_precision_reduction"),
    *_switches("backends.cuda.matmul", "allow_bf16_reduced_precision_reduction"),
    *map(_attention, ("flash", "mem_efficient", "math", "cudnn")),
    Setting(
        "torch.backends.cuda.preferred_linalg_library",
        torch.backends.cuda.preferred_linalg_library,
        torch.backends.cuda.preferred_linalg_library,
    ),
    Setting(
        "torch.backends.cuda.preferred_blas_library",
        torch.backends.cuda.preferred_blas_library,
        torch.backends.cuda.preferred_blas_library,
    ),
    *_switches("backends.opt_einsum", "enabled strategy"),
    *_switches("backends.quantized", "engine"),
    Setting("torch.backends.nnpack", torch._C._get_nnpack_enabled, torch.backends.nnpack.set_flags),
    Setting(
        "torch.backends.mha's fast path",
        torch.backends.mha.get_fastpath_enabled,
        torch.backends.mha.set_fastpath_enabled,
    ),
    Setting("torch's GPU", _gpu, torch.cuda.set_device),
    Setting(
        "torch's function modes",
        function_modes,
        partial(_set_modes, function_modes, torch.overrides._pop_mode, torch.overrides._push_mode),
    ),
    Setting(
        "torch's dispatch modes",
        dispatch_modes,
        partial(_set_modes, dispatch_modes, dispatch._pop_mode, dispatch._push_mode),
    ),
    *map(
        _hooks,
        sorted(
            name
            for name in vars(nn_module)
            if name.startswith("_global_") and isinstance(getattr(nn_module, name), dict)
        ),
    ),
    Setting(
        "the listeners of networks",
        Passes.listeners.copy,
        partial(setitem, Passes.listeners, slice(None)),
    ),
    *INTERPRETER,
)


class Surroundings:
    """The shared state as it is now, to be compared with what it is after someone's code."""

    def __init__(self) -> None:
        self._before = [setting.read() for setting in SETTINGS]
        self._code = Code()

    def changes(self) -> list[Change]:
        pairs = zip(SETTINGS, self._before, strict=True)
        found = [change for setting, before in pairs for change in _changes(setting, before)]
        return found + self._code.changes()

    def restore(self) -> None:
        self._code.restore()
        for _ in range(PASSES):
            for setting, before in zip(SETTINGS, self._before, strict=True):
                if before is not MISSING and setting.differs(setting.read(), before):
                    with suppress(Exception):  # of what can be set but once
                        setting.set(before)


def _changes(setting: Setting, before: Any) -> Iterator[Change]:
    now = setting.read()
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            old, new = before.get(key, MISSING), now.get(key, MISSING)
            if old != new:
                yield Change(f"{setting.name}: {key}", old, new)
    elif before is not MISSING and setting.differs(now, before):
        yield Change(setting.name, before, now)

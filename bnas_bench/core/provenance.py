"""Where a number comes from: the code's commit, the versions, the machine."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bnas_bench
from bnas_bench.core.numerics import told

CODE = ("bnas_bench", "methods", "spaces")


def commit() -> dict[str, Any]:
    """`commit`, and whether the code is `dirty`: differs from it.

    Both are None where this package is not in a git checkout, or is there but untracked.
    """
    root = Path(bnas_bench.__file__).parent.parent
    tracked = _git(root, "ls-files", "bnas_bench/search/space.py")
    head = _git(root, "rev-parse", "HEAD") if tracked else None
    if head is None:
        return {"commit": None, "dirty": None}
    return {"commit": head, "dirty": bool(_git(root, "status", "--porcelain", "--", *CODE))}


def code() -> str:
    """The commit's first ten digits, with `+` where the code differs from it; `unknown` where it has none."""
    found = commit()
    return f"{(found['commit'] or 'unknown')[:10]}{'+' * bool(found['dirty'])}"


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {
        "bnas_bench_version": bnas_bench.__version__,
        "python_version": platform.python_version(),
        "torch_version": torch.__version__,
        "numpy_version": np.__version__,
    }


def hardware(device: torch.device) -> dict[str, Any]:
    """The machine and how it computes; `load` is its average over the last minute."""
    on_gpu = device.type == "cuda"
    return {
        "cpu": cpu(),
        "governor": governor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if on_gpu else None,
        "numerics": told(device),
        "load": round(os.getloadavg()[0], 2),
    }


def peaks(device: torch.device) -> dict[str, float | None]:
    """Peak memory of this process, and of its tensors on the GPU, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    on_gpu = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {
        "peak_memory_mib": round(peak / 2**20, 1),
        "peak_device_memory_mib": None if on_gpu is None else round(on_gpu / 2**20, 1),
    }


def cpu() -> str:
    """The model of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def governor() -> str | None:
    """How the kernel sets the CPU's frequency (`performance`, `powersave`); None if it does not tell."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()

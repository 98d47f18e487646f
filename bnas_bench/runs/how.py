"""Where and how trials run: device, threads, how many at a time; shared by Python and the command line."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from bnas_bench.core.errors import BadValue, UnknownName, brief

BATCH_NORMS = ("synchronised", "own")


@dataclass(frozen=True, kw_only=True)
class How:
    """Where and how trials run.

    Attributes:
        device: `auto`, `cpu`, `cuda` (each trial on one GPU, all of them in use) or `cuda:N`.
        threads: CPU threads of a trial; the record depends on it.
        devices: that compute one trial together, a share of every batch each: GPUs, or else processes.
        batch_norm: of several devices, `synchronised`, by the statistics of the whole batch as one device
            has them, or `own`, each by those of its share.
        jobs: trials at a time; None is one per CPU core and `threads`, or one per GPU, by `devices`.
        data: the folder where datasets lie.
        retry_failed: run failed trials again, from their last checkpoint.
        rerun: run all trials again, from the start; old ones are kept aside.
    """

    device: str = "auto"
    threads: int = 1  # the same on every machine, and fastest on small ones
    devices: int = 1
    batch_norm: str = BATCH_NORMS[0]
    jobs: int | None = None
    data: Path = Path("data")
    retry_failed: bool = False
    rerun: bool = False

    def __post_init__(self) -> None:
        """Raises BadValue unless `device` is the name of one, and the devices can be several."""
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", self.device):
            raise BadValue(
                f"'{brief(self.device)}' is no device that trials run on: write auto, cpu, cuda or cuda:N"
            )
        if self.batch_norm not in BATCH_NORMS:
            raise UnknownName("batch norm of several devices", self.batch_norm, BATCH_NORMS)
        if self.devices > 1 and ":" in self.device:
            raise BadValue(
                f"{self.devices} devices and '{self.device}', which is one: write --device cuda, and "
                "CUDA_VISIBLE_DEVICES to choose among the GPUs"
            )

    def settled(self) -> How:
        """The same with the device and the number of jobs that it comes to on this machine.

        Raises:
            BadValue: if this machine has no such device.
        """
        device = _device(self.device)
        if device == "cpu":
            slots = max(1, cpus() // (self.threads * self.devices))
        else:
            slots = max(1, len(gpus(device)) // self.devices)
        jobs = self.jobs or slots
        return replace(self, device=device, jobs=jobs)

    def places(self) -> list[str] | list[None]:
        """Where trials run side by side: the GPUs that each sees, for `CUDA_VISIBLE_DEVICES`; None is all.

        Raises:
            BadValue: if there are fewer GPUs than a trial takes.
        """
        if not (names := gpus(self.device)):
            return [None]
        if len(names) < self.devices:
            raise BadValue(
                f"{self.devices} devices of {len(names)} that are here ({', '.join(names)}): give fewer"
            )
        ends = range(self.devices, len(names) + 1, self.devices)
        return [",".join(names[end - self.devices : end]) for end in ends]


def _device(name: str) -> str:
    """`auto` is a GPU where torch finds one; torch is not asked where none is plugged in."""
    if name == "cpu":
        return name
    if name == "auto" and not [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("dxg")]:
        return "cpu"
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if gpus else "cpu"
    if int(name.partition(":")[2] or 0) >= gpus:
        raise BadValue(f"there is no device '{name}' here, where torch finds {gpus} GPUs: try cpu")
    return name


def gpus(device: str) -> list[str]:
    """The GPUs that trials on `cuda` are spread over, by their names in `CUDA_VISIBLE_DEVICES`."""
    if device != "cuda":
        return []
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return [name.strip() for name in visible.split(",")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def cpus() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

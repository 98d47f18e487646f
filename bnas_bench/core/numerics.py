"""How floating-point numbers are computed: one policy for all GPUs, set here and told in every record.

- TF32 is off: a real-valued layer means float32, on a GPU as on a CPU. (Products of signs gain nothing
  in truth: their sums are whole numbers and exact in either.)
- cuDNN takes its deterministic algorithms, and by its rules of thumb, not by a stopwatch: two runs take the
  same ones.
- torch's deterministic algorithms stay off: for sums by index torch has none that are fast. So two runs
  on a GPU may differ in their last digits, and by what follows from those; on a CPU they may not.
"""

from __future__ import annotations

import torch


def settle(device: torch.device) -> None:
    """Set the policy for this process, if it computes on a GPU."""
    if device.type == "cuda":
        cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        cuda.allow_tf32 = cudnn.allow_tf32 = cudnn.benchmark = False
        cudnn.deterministic = True


def told(device: torch.device) -> dict[str, bool | str]:
    """How numbers are computed there as the switches are now, whoever set them."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    on_gpu = device.type == "cuda"
    return {
        "float32_matmul": torch.get_float32_matmul_precision(),
        "tf32": on_gpu and (cuda.allow_tf32 or cudnn.allow_tf32),
        "cudnn_benchmark": on_gpu and cudnn.benchmark,
        "cudnn_deterministic": on_gpu and cudnn.deterministic,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }

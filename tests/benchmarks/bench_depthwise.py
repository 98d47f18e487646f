"""The gradient of depthwise weights beside what bounds it: operations, and bytes.

By operations: its products at the rate of a large float32 product of matrices. By bytes: the map and the
gradient read once, as their scalar product does. One thread, processor time, the fastest of several: other
work makes all of them slower.

    make bench ONLY=bench_depthwise
"""

from collections.abc import Callable
from time import thread_time

import pytest
import torch
from torch import Tensor

from bnas_bench.nn.kernels.convolution import _weight_gradient

SHAPES = {
    "quick, 32 images": (32, 8, 16),
    "6 cells, C 16, 32x32": (64, 32, 16),
    "its second kind of cell": (64, 16, 32),
    "its third": (64, 8, 64),
    "10 cells, C 36, 32x32": (32, 32, 36),
}


def fastest(work: Callable[[], object], repeats: int = 15) -> float:
    """Milliseconds."""
    work()
    times = []
    for _ in range(repeats):
        began = thread_time()
        work()
        times.append(1e3 * (thread_time() - began))
    return min(times)


@pytest.mark.parametrize(("side", "dilation"), [(3, 1), (5, 1), (5, 2)])
@pytest.mark.parametrize("where", SHAPES)
def test_the_gradient_of_the_weights(where: str, side: int, dilation: int) -> None:
    torch.set_num_threads(1)
    images, width, channels = SHAPES[where]
    x, grad = torch.randn(2, images, width, width, channels).permute(0, 1, 4, 2, 3)
    how = side, 1, dilation * (side // 2), dilation

    def ours() -> Tensor:
        return _weight_gradient(x, grad, *how)

    def torchs() -> Tensor:
        size = (channels, 1, side, side)
        return torch.nn.grad.conv2d_weight(x, size, grad, 1, how[2], dilation, channels)

    torch.testing.assert_close(ours(), torchs(), rtol=1e-3, atol=1e-2)
    a, b = torch.randn(2, 1024, 1024)
    rate = 1024**3 / fastest(lambda: a @ b)
    macs = x.numel() * side**2
    flat = [u.permute(0, 2, 3, 1).flatten() for u in (x, grad)]
    operations, read = macs / rate, fastest(lambda: torch.dot(*flat))
    ms = fastest(ours)
    print(
        f"\n{where}, {side}x{side}, dilation {dilation}: {macs / 1e6:.1f} M MACs, "
        f"{8 * x.numel() / 2**20:.1f} MiB; "
        f"{ms:.2f} ms ({macs / ms / 1e6:.0f} G MACs/s), torch's {fastest(torchs, 3):.2f} ms; floors: "
        f"{operations:.2f} ms by operations (at {rate / 1e6:.0f} G), {read:.2f} ms by bytes; "
        f"{ms / max(operations, read):.1f} times the longer one"
    )

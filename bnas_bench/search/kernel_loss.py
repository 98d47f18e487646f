"""The kernel-level loss of CP-NAS (Zhuo et al., IJCAI 2020), https://arxiv.org/abs/2005.00057, Eqs. (3), (4).

The Child while searching, and on demand a network in its final training, is kept near its real-valued
filters and near the feature maps of its Parent.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from bnas_bench.nn.binary import Filters, reconstruction_of

LAM = 0.1
"""lambda of Eq. (3) in a final training, as `cpnas` has it; the paper gives no value."""


def filter_error(filters: Iterable[Filters], per: str) -> Tensor:
    """First term of Eq. (3): over layers l and filters c, MSE(H_c, beta_c sign(H_c)).

    Args:
        per: `filter` is the sum that the paper prints; one of `RECONSTRUCTIONS`.
    """
    return reconstruction_of(filters, per)  # 0 of a real-valued twin


def compactness(child: Tensor, parent: Tensor, labels: Tensor) -> Tensor:
    """Second term of Eq. (3) without lam: 1/2 ||f_s(child) - mean f(parent) of s's class||^2.

    The mean over the images s and the maps' elements, where the paper has the sum.

    Args:
        child, parent: feature maps of the last layer, shape (B, C, H, W), of the same images.
        labels: their classes, shape (B,).
    """
    same = (labels[:, None] == labels[None, :]).to(parent.dtype)
    means = (same / same.sum(1, keepdim=True)) @ parent.detach().flatten(1)
    return 0.5 * (child.flatten(1) - means).square().mean()

"""Zero-cost proxies: what an untrained network shows on one batch, or costs, stands for its accuracy.

Mohamed S. Abdelfattah, Abhinav Mehrotra, Lukasz Dudziak, Nicholas D. Lane. "Zero-Cost Proxies for Lightweight
NAS", ICLR 2021, https://arxiv.org/abs/2101.08134, section 3; code:
https://github.com/SamsungLabs/zero-cost-nas. Joe Mellor, Jack Turner, Amos Storkey, Elliot J. Crowley.
"Neural Architecture Search without Training", ICML 2021, https://arxiv.org/abs/2006.04647.

`grad_norm`: the norm of the gradient. `snip`: the sum of |w dL/dw|. `synflow`: the sum of w dR/dw, R the
sum of the logits of an image of ones through a network whose weights are all their magnitudes. `jacov`: the
eigenvalues of the correlations between the logits' gradients by the images. `nwot`: the log determinant
of how many signs two images share. `ops` and `parameters`: more is better, the yardstick of the others.

Deviations
    The networks are 1-bit, and gradients pass the signs by the straight-through estimator; for `synflow`
    they run as their real-valued twins, in evaluation mode, as a sign would hide the magnitudes.
    Weights are all that learn, those of batch norm and PReLU and biases among them; the published code has
    convolutions and linear layers alone, and for `grad_norm` adds up the norms of the layers' gradients.
    `synflow` is shown as its logarithm.
    `nwot` compares the signs that leave batch norm, as 1-bit convolutions see them, in place of ReLU's.
    The papers rank a space, or warm up another search; here the best of the random architectures that the
    budget holds is taken.

Open in the paper
    A score that is no finite number, of a cell that computes nothing, is the lowest of all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import UnknownName
from bnas_bench.core.options import Count
from bnas_bench.nn.binary import Precision
from bnas_bench.search.strategy import SearchResult, SearchStrategy

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Task
    from bnas_bench.nn.network import Network
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

LOWEST = -1e30
"""Of a score that is no finite number."""

JITTER = 1e-5
"""k of Mellor et al.'s score by correlations."""


def eigenvalue_score(correlations_BB: Tensor) -> float:
    """Mellor et al.: -sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of the correlations."""
    v_B = torch.linalg.eigvalsh(correlations_BB).clamp(min=0) + JITTER
    return -float((v_B.log() + 1 / v_B).sum())


def shared_signs(codes_BU: Tensor) -> Tensor:
    """Mellor et al., Eq. (2): in how many of U units two images have the same code, shape (B, B)."""
    codes_BU = codes_BU.double()
    return codes_BU @ codes_BU.T + (1 - codes_BU) @ (1 - codes_BU).T


def gradients(network: Network, loss: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Every weight that the loss depends on, with its gradient."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [(w.detach(), g) for w, g in zip(weights, found, strict=True) if g is not None]


def grad_norm(network: Network, x: Tensor, y: Tensor) -> float:
    found = gradients(network, cross_entropy(network(x), y))
    return float(torch.stack([g.square().sum() for _, g in found]).sum().sqrt())


def snip(network: Network, x: Tensor, y: Tensor) -> float:
    found = gradients(network, cross_entropy(network(x), y))
    return float(torch.stack([(w * g).abs().sum() for w, g in found]).sum())


def synflow(network: Network, x: Tensor, _: Tensor) -> float:
    """Its logarithm, of numbers in float64: they grow with the depth."""
    network.double().eval()
    network.precision = Precision.W32A32
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()
    ones = torch.ones_like(x[:1], dtype=torch.float64)
    found = gradients(network, network(ones).sum())
    return float(torch.stack([(w * g).sum() for w, g in found]).sum().log())


def jacov(network: Network, x: Tensor, _: Tensor) -> float:
    x = x.clone().requires_grad_()
    (jacobian,) = torch.autograd.grad(network(x).sum(), x, allow_unused=True)
    if jacobian is None:  # of a cell that sees nothing
        return LOWEST
    return eigenvalue_score(torch.corrcoef(jacobian.flatten(1).double()).nan_to_num())


@torch.no_grad()
def nwot(network: Network, x: Tensor, _: Tensor) -> float:
    codes: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, __, seen: codes.append((seen > 0).flatten(1)))
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    network(x)
    for hook in hooks:
        hook.remove()
    return float(torch.linalg.slogdet(shared_signs(torch.cat(codes, 1))).logabsdet)


ON_A_BATCH: Mapping[str, Callable[[Network, Tensor, Tensor], float]] = {
    "synflow": synflow,
    "jacov": jacov,
    "nwot": nwot,
    "grad_norm": grad_norm,
    "snip": snip,
}

SCORES = (*ON_A_BATCH, "ops", "parameters")


@dataclass(kw_only=True)
class Proxy(SearchStrategy):
    """The random architecture of the highest score is taken.

    Args:
        score: one of `SCORES`.
        images: of the batch that a score looks at: 128 in the published code of `nwot`, 64 in that of the
            others; of all training images where there are fewer.
        candidates: at most; the rest of a larger budget is left.
    """

    score: str = "nwot"
    images: Count = 128
    candidates: Count = 1_000

    def validate(self) -> None:
        if self.score not in SCORES:
            raise UnknownName("score of proxy", self.score, SCORES)

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        best: dict[str, Any] = {"seen": 0, "score": None, "arch": None}
        formula = space.ops(task.spec) if self.score == "ops" else None

        def look() -> None:
            arch = space.sample(rng)
            if formula:
                score = formula.of(space.path(arch))
            else:
                score = self.of(space.network(arch, task.spec, rng).to(task.device), task, rng)
            best["seen"] += 1
            if best["score"] is None or score > best["score"]:
                best.update(score=score, arch=arch.to_json())
                meter.incumbent(arch, proxy=score)

        state = {"rng": rng, "best": best}
        for _ in meter.epochs(state=state, protocol=self.candidates):
            look()
            while self.score in ("ops", "parameters") and best["seen"] < self.candidates:
                look()
            if best["seen"] == self.candidates:
                break
        notes: dict[str, Any] = {"candidates": best["seen"], "proxy": best["score"]}
        if best["seen"] == self.candidates:
            notes["unspent"] = f"{self.candidates} candidates were looked at"
        return SearchResult(Architecture.from_json(best["arch"]), notes=notes)

    def of(self, network: Network, task: Task, rng: np.random.Generator) -> float:
        """The score of a network as it is initialised."""
        if self.score == "parameters":
            return float(sum(weight.numel() for weight in network.parameters()))
        x, y = next(task.train.batches(self.images, rng))
        score = ON_A_BATCH[self.score](network.train(), x, y)
        return score if isfinite(score) else LOWEST

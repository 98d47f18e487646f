"""Hand-made 1-bit networks and their real-valued twins, as a space of one decision: the model.

XNOR-Net (Rastegari et al., ECCV 2016), https://arxiv.org/abs/1603.05279.
Bi-Real Net (Liu et al., ECCV 2018), https://arxiv.org/abs/1808.00278; code: liuzechun/Bi-Real-net.
ReActNet (Liu et al., ECCV 2020), https://arxiv.org/abs/2003.03488; code: liuzechun/ReActNet.
Wide ResNet (Zagoruyko and Komodakis, BMVC 2016), https://arxiv.org/abs/1605.07146; WRN-22 as in
CP-NAS tables 1 and 3 and DCP-NAS table 10.
NAS-BNN (Lin et al., 2024), https://arxiv.org/abs/2408.15484, section 4.4.1: MobileNetV1 (Howard et
al., 2017, https://arxiv.org/abs/1704.04861), MobileNetV2 (Sandler et al., CVPR 2018,
https://arxiv.org/abs/1801.04381) and ResNet-50 (He et al., CVPR 2016) of Bi-Real modules, as in its
table 4.

With it the manual rows of the papers' tables come out of the same harness: the search is a
`random[form=draw]` among the `models`, the training is every other network's.

Deviations
    One recipe trains all models from scratch: no real-valued pretraining (Bi-Real Net), no two
    steps and no distributional loss of a teacher (ReActNet).
    XNOR-Net's map K of input scales is left out, as in the 1-bit layers of all other spaces.
    The scale's gradient reaches the weights; Bi-Real Net's and ReActNet's code detach it.
    At real activations ReActNet's RSign is passed by, its twin has none.
    Images below 64 pixels take a 3x3 convolution of stride 1 as their stem and are spared the first
    two halvings of ImageNet's; maps of 2 pixels a side are halved no more.
    A search chooses among eight models unless others are named: all are trained side by side where
    the choice is relaxed, and CP-NAS' samplings grow with the square of their number.

Open in the paper
    The shape of WRN-22: 3 blocks in each of 3 stages of 64, 128 and 256 channels, after a stem of
    64, has CP-NAS' 4.33 M parameters and 647.695 M MACs (647.70), and with BOPs/58 its 17.03 M in
    1 bit. For large images it takes ResNet's stem.
    XNOR-Net's ResNet: two convolutions to a shortcut, a real 1x1 convolution of the block's input
    where the channels double, no activation beside the sign, BN and ReLU before the pooling. WRN-22
    in 1 bit is the same but for its stages.
    ResNet-34 in 1 bit (DCP-NAS table 1: 69.0 %): nothing is said of it; here it is Bi-Real Net's.
    BARS table 2 names another one by XNOR: it has XNOR-Net's blocks here, and the table's BiOps.
    NAS-BNN table 4: nothing is said beyond "with Bi-Real module" and normal convolutions in place of
    depthwise ones. Its OPs tell what costs: 100 classes, a real stem, the stride of ResNet-50 in the
    3x3 convolutions (as torchvision has it), MobileNetV2's last 1x1 convolution in 1 bit, and nothing
    for shortcuts: with 1-bit 1x1 convolutions on ResNet-50's it would have 180.2 M, with real ones
    534.3 M. So every convolution has the shortcut of the paper's figure 1 and of its code, tiled to
    wider maps and cut to the leading channels for narrower ones. Our choice, which no OPs tell: the
    blocks' own shortcuts are gone (with them the loss of figure 1 (c) would not be one), and RSign
    and RPReLU, which the search space has, are left out.

What the tables say, under FLOPs + BOPs/64 at 224x224
    ReActNet-A 87 M: 87.13. Bi-Real ResNet-18 163 M: 163.98; it is 163.47 without the classifier.
    XNOR ResNet-18 167 M: 163.98; what else the 3 M count is not said (scale factors are none here).
    ResNet-18 (real) 1,819 M: 1,819.04 as FLOPs with normalisation, 1,814.07 without.
    NAS-BNN table 4, of 100 classes: MobileNetV1 86.20 M: 86.20. MobileNetV2 97.48 M: 97.48.
    ResNet-50 174.62 M: 174.62.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bnas_bench.core.architecture import Architecture, Decision
from bnas_bench.core.budget import NetworkSpec, Scale, next_multiple
from bnas_bench.core.errors import BadValue, InvalidArchitecture, UnknownName
from bnas_bench.search.space import SearchSpace

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.cost.formula import OpsFormula
    from bnas_bench.cost.ledger import Layer
    from bnas_bench.nn.handmade.network import HandcraftedNetwork, HandcraftedSupernet, Plan
    from bnas_bench.nn.handmade.residual import Row


class Stage(NamedTuple):
    """Blocks of one kind and width.

    Attributes:
        block: what they are, a key of `bnas_bench.nn.handmade.network.BLOCKS`.
        depth: how many.
        width: channels of the last maps at the papers' scale.
        halves: whether the first of them halves the map.
    """

    block: str
    depth: int
    width: int
    halves: bool = True


class Model(NamedTuple):
    """A hand-made network.

    Attributes:
        stages: in order.
        real: whether it is a real-valued twin.
        side: of the images that the papers show it on.
    """

    stages: tuple[Stage, ...]
    real: bool = False
    side: int = 224


CHANNELS = 64
"""Of the first stage in most of the papers, and the scale of all other widths."""


def doubling(block: str, *depths: int, width: int = CHANNELS) -> tuple[Stage, ...]:
    """Stages of one block, each half the size of the one before it and twice as wide."""
    return tuple(Stage(block, n, width * 2**i, halves=i > 0) for i, n in enumerate(depths))


MOBILENETV2 = (
    Stage("mobilenetv1", 1, 16, halves=False),
    Stage("mobilenetv2", 2, 24),
    Stage("mobilenetv2", 3, 32),
    Stage("mobilenetv2", 4, 64),
    Stage("mobilenetv2", 3, 96, halves=False),
    Stage("mobilenetv2", 3, 160),
    Stage("mobilenetv2", 1, 320, halves=False),
    Stage("pointwise", 1, 1280, halves=False),
)
"""Its table 2: the first block has no expansion, and is MobileNetV1's."""

MODELS: dict[str, Model] = {
    "xnor-resnet18": Model(doubling("preactivation", 2, 2, 2, 2)),
    "birealnet18": Model(doubling("bireal", 4, 4, 4, 4)),
    "reactnet-a": Model(doubling("reactnet", 1, 2, 2, 6, 2)),
    "wrn22": Model(doubling("preactivation", 3, 3, 3), side=32),
    "resnet18": Model(doubling("resnet", 2, 2, 2, 2), real=True),
    "birealnet18-real": Model(doubling("bireal", 4, 4, 4, 4), real=True),
    "reactnet-a-real": Model(doubling("reactnet", 1, 2, 2, 6, 2), real=True),
    "wrn22-real": Model(doubling("preactivation", 3, 3, 3), real=True, side=32),
    "birealnet34": Model(doubling("bireal", 6, 8, 12, 6)),
    "bireal-mobilenetv1": Model(doubling("mobilenetv1", 1, 2, 2, 6, 2)),
    "bireal-mobilenetv2": Model(MOBILENETV2),
    "bireal-resnet50": Model(doubling("bottleneck", 3, 4, 6, 3, width=4 * CHANNELS)),
    "resnet34": Model(doubling("resnet", 3, 4, 6, 3), real=True),
    "birealnet34-real": Model(doubling("bireal", 6, 8, 12, 6), real=True),
    "xnor-resnet34": Model(doubling("preactivation", 3, 4, 6, 3)),
}

SEARCHED = (
    "xnor-resnet18",
    "birealnet18",
    "reactnet-a",
    "wrn22",
    "resnet18",
    "birealnet18-real",
    "reactnet-a-real",
    "wrn22-real",
)
"""What is chosen among if no models are named."""


class Handcrafted(SearchSpace):
    """One decision, `model`: a hand-made network or its real-valued twin.

    Args:
        models: the only ones to choose among, of `MODELS`; those of `SEARCHED` if none is named.
    """

    def __init__(self, *, models: tuple[str, ...] = ()) -> None:
        for name in models:
            if name not in MODELS:
                raise UnknownName("model of handcrafted", name, MODELS)
        self.models = models
        self.names = tuple(name for name in MODELS if name in (models or SEARCHED))
        self.decisions = (Decision("model", self.names),)

    def size(self) -> int:
        return len(self.names)

    def sample(self, rng: np.random.Generator) -> Architecture:
        return self.architecture([int(rng.integers(len(self.names)))])

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Another model, if there is one."""
        others = [path for path in range(len(self.names)) if path != self.path(arch)[0]]
        return self.architecture([int(rng.choice(others))]) if others else arch

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        """One of the two: there is nothing to mix."""
        return (first, second)[int(rng.integers(2))]

    def derive(self, strengths: Sequence[np.ndarray]) -> Architecture:
        """The model of the largest strength, the first of equals."""
        return self.architecture([int(strengths[0].argmax())])

    def check(self, arch: Architecture) -> None:
        name = arch.choices.get("model")
        if arch.space == self.name and name in MODELS and name not in self.names:
            raise InvalidArchitecture(
                f"'{name}' is none of the models that this space was made with; "
                f"ask for it by --space 'handcrafted[models={name}]'"
            )
        self.check_choices(arch)

    def parse(self, text: str) -> Architecture:
        """Read JSON, or the model's name."""
        text = text.strip("\ufeff \t\r\n")
        if text.startswith("{"):
            return super().parse(text)
        if text not in MODELS:
            raise InvalidArchitecture(str(UnknownName("model of handcrafted", text, MODELS)))
        arch = Architecture(self.name, {"model": text})
        self.check(arch)
        return arch

    def is_real(self, arch: Architecture) -> bool:
        return MODELS[str(arch.choices["model"])].real

    def fit(self, scale: Scale) -> Scale:
        """An even number of channels, as some stems have half of them; the depth is the model's."""
        return replace(scale, cells=None, channels=next_multiple(scale.channels, 2))

    def spec(
        self,
        scale: Scale,
        shape: tuple[int, int, int],
        classes: int,
        *,
        final: bool,  # noqa: ARG002
    ) -> NetworkSpec:
        """The papers' 64 channels in the first stage, for searches and final networks alike."""
        if scale.cells is not None:
            raise BadValue(
                f"{scale.cells} cells build no network of handcrafted, whose models have a depth "
                "of their own; leave the cells open"
            )
        if scale.channels is not None and self.fit(scale) != scale:
            raise BadValue(
                f"{scale.channels} channels build no network of handcrafted, as ReActNet's stem has "
                f"half of them; the next number that works is {self.fit(scale).channels}"
            )
        return NetworkSpec(shape, classes, 1, scale.channels or CHANNELS)

    def network(
        self, arch: Architecture, spec: NetworkSpec, rng: np.random.Generator
    ) -> HandcraftedNetwork:
        from bnas_bench.nn.handmade.network import HandcraftedNetwork
        from bnas_bench.nn.network import initialised_by

        self.check(arch)
        with initialised_by(rng):
            return HandcraftedNetwork(self.plan(str(arch.choices["model"]), spec))

    def supernet(
        self, spec: NetworkSpec, rng: np.random.Generator, *, partial: int = 1
    ) -> HandcraftedSupernet:
        from bnas_bench.nn.handmade.network import HandcraftedSupernet
        from bnas_bench.nn.network import initialised_by

        if partial != 1:
            raise BadValue(
                f"partial={partial} makes no supernet of handcrafted, which has no edges; use 1"
            )
        with initialised_by(rng):
            return HandcraftedSupernet([self.plan(name, spec) for name in self.names])

    def plan(self, name: str, spec: NetworkSpec) -> Plan:
        """What one model's network is built and its cost is counted from."""
        from bnas_bench.nn.handmade.network import BLOCKS, Plan, StagePlan

        model, stages = MODELS[name], []
        for block, depth, width, halves in model.stages:
            outputs = -(-width * spec.channels // CHANNELS)  # MobileNetV2 has 16
            stages.append(StagePlan(BLOCKS[block], depth, outputs, halves))
        return Plan(name, tuple(stages), model.real, spec)

    def ops(self, spec: NetworkSpec, convention: str = "nas-bnn") -> OpsFormula:
        import numpy as np

        from bnas_bench.cost import Ledger, ops
        from bnas_bench.cost.formula import OpsFormula, Term, check_convention

        check_convention(convention, known={"flops"})
        books = [Ledger(tuple(map(_layer, self.plan(name, spec).rows()))) for name in self.names]
        return OpsFormula([Term((0,), np.array([ops(book, convention) for book in books]))])

    def largest(self) -> Architecture:
        """Of the most OPs at the papers' width on CIFAR's images, which all models can be shown."""
        return self.architecture([int(self._cifar_ops().argmax())])

    def smallest(self) -> Architecture:
        """Of the fewest OPs at the papers' width on CIFAR's images; on ImageNet's it is ReActNet-A."""
        return self.architecture([int(self._cifar_ops().argmin())])

    def _cifar_ops(self) -> np.ndarray:
        return self.ops(NetworkSpec((3, 32, 32), 10, 1, CHANNELS)).terms[0].table

    def draw(self, arch: Architecture, path: Path | str) -> None:
        """Per stage a row of its blocks, at the papers' width and image size."""
        from bnas_bench.search.drawing import draw_rows

        name = str(arch.choices["model"])
        model = MODELS[name]
        plan = self.plan(name, NetworkSpec((3, model.side, model.side), 1000, 1, CHANNELS))

        def halves(stride: int) -> str:
            return " /2" if stride == 2 else ""

        kernel, bits = plan.stem_kernel, "real" if model.real else "1-bit"
        rows = {
            f"{plan.stem.outputs} channels": [f"real {kernel}x{kernel}{halves(plan.stem.stride)}"]
        }
        if plan.pooled:
            rows[f"{plan.stem.outputs} channels"].append("max pool /2")
        for block, place in plan.blocks():
            text = f"{bits} {block.kernels}{halves(place.stride)}"
            rows.setdefault(f"{place.outputs} channels", []).append(text)
        rows[f"{plan.outputs} channels"].append("pool, linear")
        draw_rows(rows, path)


def _layer(row: Row) -> Layer:
    """The ledger's entry of a row, as far as the conventions ask for it."""
    from bnas_bench.cost.ledger import Layer

    kind = {0: "norm", 1: "pointwise"}.get(row.kernel_size, "conv")
    macs = row.inputs * row.outputs * row.kernel_size**2 * row.pixels
    output, biases = (row.outputs, row.pixels), row.outputs if row.biased else 0
    norm = 2 * row.outputs * row.pixels if kind == "norm" else 0
    return Layer("", kind, (row.inputs,), output, row.bits, row.bits, macs, {}, 0, biases, norm)

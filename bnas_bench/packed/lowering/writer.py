"""Steps as they are added for the nodes of a traced network, the signs of its values among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.fx import Node

from bnas_bench.nn.binary import BinaryConv2d, Precision, RSign
from bnas_bench.nn.nasbnn.network import NormalisedConv2d
from bnas_bench.packed.format.program import Attribute, Step, pack_bits
from bnas_bench.packed.lowering.fold import numbers, threshold
from bnas_bench.packed.lowering.trace import Trace, shape_of


class Writer:
    """The steps so far, and the names of the nodes' values."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.steps: list[Step] = []
        self._names: dict[Node, str] = {}
        self._made: dict[Any, str] = {}
        self._signs: dict[Any, str] = {}

    def step(
        self,
        node: Node,
        op: str,
        *inputs: Node | str,
        attributes: Mapping[str, Attribute] | None = None,
        tensors: Mapping[str, np.ndarray] | None = None,
    ) -> str:
        """Add a step, or find one without tensors that does the same; its value is the node's so far.

        Returns:
            the name of the value.
        """
        names = tuple(x if isinstance(x, str) else self.value(x) for x in inputs)
        name = f"{op}_{len(self.steps)}"
        same = name if tensors else (op, names, *(attributes or {}).items())
        if same not in self._made:
            self._made[same] = name
            layer = self.trace.layer(node)
            self.steps.append(Step(op, names, name, layer, attributes or {}, tensors or {}))
        self._names[node] = self._made[same]
        return self._names[node]

    def alias(self, node: Node, name: str) -> None:
        """Say that a node's value is one that is there."""
        self._names[node] = name

    def value(self, node: Node) -> str:
        """The name of a node's value, which is a real one."""
        if node not in self._names:
            raise self.trace.refusal(
                node, "makes signs that something else than a 1-bit layer reads"
            )
        return self._names[node]

    def only_signs(self, node: Node) -> bool:
        """Whether nothing but the signs of a node's value matter."""
        for user in node.users:
            module = self.trace.module(user)
            binary = isinstance(module, BinaryConv2d) and module.precision == Precision.W1A1
            through = isinstance(module, nn.Hardtanh) and self.only_signs(user)
            if not (binary or through or isinstance(module, RSign)):
                return False
        return True

    def signs(self, node: Node, conv: BinaryConv2d) -> str:
        """What a 1-bit convolution reads: signs of the last value that is real.

        Between the two stands what each channel's sign is a monotone function through.
        """
        chain: list[nn.Module] = [conv] if isinstance(conv, NormalisedConv2d) else []
        source = node.all_input_nodes[0]
        while isinstance(module := self.trace.module(source), RSign | nn.Hardtanh) or (
            isinstance(module, nn.BatchNorm2d) and self.only_signs(source)
        ):
            chain.insert(0, module)
            source = source.all_input_nodes[0]

        def positive(x: Tensor) -> Tensor:
            for module in chain:
                if module is not conv:
                    x = module(x)
            return conv.effective_input(x) > 0

        if (source, *chain) not in self._signs:
            tensors: dict[str, np.ndarray] = {}
            match chain:
                case [RSign() | NormalisedConv2d() as only]:
                    tensors["threshold"] = numbers(only.threshold)
                case _ if not all(isinstance(module, nn.Hardtanh) for module in chain):
                    tensors["threshold"], flips = threshold(positive, shape_of(source)[0])
                    tensors["flips"] = pack_bits(flips)
            self._signs[source, *chain] = self.step(node, "sign", source, tensors=tensors)
        return self._signs[source, *chain]

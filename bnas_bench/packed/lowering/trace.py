"""The graph of what a network does in inference, freed of what changes nothing.

Its nodes are calls of layers, of the functions here that rearrange maps, and of torch's own.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Container
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Interpreter, Node, Tracer
from torch.fx.proxy import TraceError

from bnas_bench.core.errors import BenchError
from bnas_bench.nn.bars.network import interleave, resized
from bnas_bench.nn.blocks import channels_last, shift, shuffle, zeros_after
from bnas_bench.nn.nasbnn.network import tile

Shape = tuple[int, int, int]

REARRANGING: tuple[Callable[..., Any], ...] = (
    channels_last,
    interleave,
    resized,
    shift,
    shuffle,
    tile,
    zeros_after,
)
"""Functions that are one node each; what others do is traced."""

ABSENT = (nn.Identity, nn.Dropout, nn.Dropout2d)
"""Layers that do nothing in inference."""


class CannotPack(BenchError):
    """A network with something in it that the packed engine cannot run."""


class Trace:
    """A network, as it runs in evaluation mode, and its graph.

    Args:
        network: is copied, and stays as it is.
        shape: of an image, (C, H, W).
        layers: types of modules that are one node each.

    Attributes:
        nodes: of the graph, in order; each feeds another one or is the graph's output.

    Raises:
        CannotPack: if what the network does depends on the numbers in its maps.
    """

    def __init__(self, network: nn.Module, shape: Shape, layers: Container[type]) -> None:
        root = nn.Sequential(copy.deepcopy(network).cpu().float().eval().requires_grad_(False))
        for module in root.modules():
            module._forward_hooks.clear()  # they may ask for numbers, and a trace has none
            module._forward_pre_hooks.clear()
        try:
            graph = _Tracer(layers).trace(root)
        except TraceError as error:
            raise CannotPack(
                f"the network cannot be packed, as it decides by the numbers in its maps: {error}"
            ) from None
        with torch.inference_mode():
            _Shapes(root, graph=graph).run(torch.zeros(1, *shape))
        self._root = root
        self._simplify(graph)
        self.nodes = list(graph.nodes)

    def module(self, node: Node) -> nn.Module | None:
        """The layer that a node calls, if it does."""
        return self._root.get_submodule(str(node.target)) if node.op == "call_module" else None

    def layer(self, node: Node) -> str:
        """The path of the module that a node is, or that it belongs to."""
        if node.op == "call_module":
            return _inner(str(node.target))
        *_, (path, _) = node.meta.get("nn_module_stack", {"": ("", None)}).values()
        return _inner(path)

    def refusal(self, node: Node, why: str) -> CannotPack:
        """The error that a node cannot be packed; `why` goes on from the layer's name."""
        layer = self.layer(node)
        where = f"layer '{layer}'" if layer else "the network"
        return CannotPack(
            f"{where} {why}; build the network of what bnas_bench.packed.lowering.lower lists"
        )

    def _simplify(self, graph: Graph) -> None:
        for node in graph.nodes:
            if self._changes_nothing(node):
                node.replace_all_uses_with(node.all_input_nodes[0])
        for node in reversed(list(graph.nodes)):
            if not node.users and node.op not in ("placeholder", "output"):
                graph.erase_node(node)

    def _changes_nothing(self, node: Node) -> bool:
        if isinstance(self.module(node), ABSENT):
            return True
        index = node.args[1] if node.target is operator.getitem else None
        slices = isinstance(index, tuple) and all(isinstance(part, slice) for part in index)
        if node.target in (tile, resized) or slices:
            return shape_of(node) == shape_of(node.all_input_nodes[0])
        if node.target in (interleave, torch.cat):
            return len(node.all_input_nodes) == len(node.args[0]) == 1  # type: ignore[arg-type]
        return node.target in (channels_last, "clone", "contiguous")


def shape_of(node: Node) -> tuple[int, ...]:
    """The shape of a node's value, for one image."""
    return node.meta["shape"]


class _Tracer(Tracer):
    def __init__(self, layers: Container[type]) -> None:
        super().__init__(autowrap_functions=REARRANGING)
        self.layers = layers

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = (
            next(m.parameters(recurse=False), None) is not None
        )  # what it does with them is its own
        return type(m) in self.layers or own or super().is_leaf_module(m, module_qualified_name)


class _Shapes(Interpreter):
    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        n.meta["shape"] = tuple(value.shape[1:]) if isinstance(value, Tensor) else ()
        return value


def _inner(path: str) -> str:
    """A path below the root, whose only child is the network."""
    return path.partition(".")[2]

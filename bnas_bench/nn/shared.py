"""One network's batch over several ranks: each computes a share of the images, and all get all logits.

What calls a network gives it the whole batch and gets the whole batch's logits, with their derivatives, on
every rank alike; so neither a method nor a loss knows of ranks. The weights enter the network once a call,
and their gradients are summed over the ranks in one message as they leave it. What is computed of weights
outside of the network's call (a reconstruction error) is whole on every rank, and is not summed.

Batch norm takes the statistics of the whole batch: each rank's are gathered and merged (Chan, Golub and
LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979). On demand each
takes its share's own; the running ones are then the ranks' mean.

Legend: B batch, C channels, R ranks; `x` is a share of a map, shape (B', C, ...).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache, wraps
from typing import Any
from weakref import WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function, forward_ad
from torch.overrides import TorchFunctionMode

from bnas_bench.core import ranks
from bnas_bench.core.errors import BenchError
from bnas_bench.nn.kernels import forms

ENTRANCES = ("_EnterBackward", "_ShareBackward")
"""Nodes of autograd by which weights and images enter."""

_checked: WeakSet[nn.Module] = WeakSet()
"""The networks of which the first pass was looked at."""

_sharing = False
"""Whether this process is within a network that computes a share."""


def shared(call: Callable[..., Any]) -> Callable[..., Any]:
    """A network's method that takes images, by several ranks if there are: `call(network, x, *args)`.

    It returns a tensor with a row per image, or several of them (or None), the logits first.

    Raises:
        BenchError: by the first call, if the network computes with a weight that is none of its parameters.
    """

    @wraps(call)
    def share(network: nn.Module, *args: Any, **further: Any) -> Any:
        group = ranks.here()
        if group is None or _sharing or further or not args or args[0].is_meta:
            return call(network, *args, **further)
        if len(args[0]) < group.size:  # each computes them all
            return call(network, *args)
        return _by_all(group, call, network, *args)

    return share


def _by_all(
    group: ranks.Ranks, call: Callable[..., Any], network: nn.Module, x: Tensor, *args: Any
) -> Any:
    images = len(x)
    norms = Synchronised(group, images) if group.synchronised else nullcontext()
    with _entered(network, args) as entered, norms, _within(group.synchronised):
        found = call(network, ranks.share(x), *entered)
        _check_weights(network, found)
    if not group.synchronised:
        _average_running(network, group.size)
    if isinstance(found, Tensor):
        return ranks.gather(found, images)
    return tuple(None if one is None else ranks.gather(one, images) for one in found)


@contextmanager
def _within(synchronised: bool) -> Iterator[None]:
    global _sharing
    _sharing = True
    try:
        with forms.norms_beyond() if synchronised else nullcontext():
            yield
    finally:
        _sharing = False


@contextmanager
def _entered(network: nn.Module, args: Sequence[Any]) -> Iterator[list[Any]]:
    """The network's weights and the further arguments' tensors as `ranks.enter` gives them.

    Within the `with` they take the place of the network's parameters.
    """
    places = [
        (module._parameters, name, parameter)
        for module in network.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and _moves(parameter)
    ]
    tensors: dict[int, Tensor] = {id(tensor): tensor for _, _, tensor in places}
    tensors |= {id(tensor): tensor for tensor in _tensors(args)}
    entered = dict(zip(tensors, ranks.enter([*tensors.values()]) if tensors else (), strict=True))
    for held, name, parameter in places:
        held[name] = entered[id(parameter)]  # type: ignore[assignment]
    try:
        yield [_replaced(value, entered) for value in args]
    finally:
        for held, name, parameter in places:
            held[name] = parameter


def _check_weights(network: nn.Module, found: Any) -> None:
    """Whether all that has a gradient entered with the network's parameters, the mix or the images."""
    if network in _checked or not torch.is_grad_enabled():
        return
    _checked.add(network)
    parts = found if isinstance(found, tuple) else (found,)
    todo = [part.grad_fn for part in parts if isinstance(part, Tensor)]
    seen = set()
    while todo:
        node = todo.pop()
        if node is None or node in seen or node.name() in ENTRANCES:
            continue
        seen.add(node)
        if (weight := getattr(node, "variable", None)) is not None:
            raise BenchError(
                f"{type(network).__name__} computes with a weight of shape {tuple(weight.shape)} that is "
                "none of its parameters, whose gradient several devices would not sum: make it an "
                "nn.Parameter of its layer, or search on one device"
            )
        todo += [behind for behind, _ in node.next_functions]


def _moves(tensor: Tensor) -> bool:
    """Whether anything may be derived by it: a gradient, or a product in forward mode."""
    if torch.is_grad_enabled() and tensor.requires_grad:
        return True
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if _moves(value):
            yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _replaced(value: Any, entered: Mapping[int, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return entered.get(id(value), value)
    if isinstance(value, list | tuple):
        return type(value)(_replaced(one, entered) for one in value)
    return value


@torch.no_grad()
def _average_running(network: nn.Module, size: int) -> None:
    """Let running statistics that followed each rank's own be their mean."""
    found = [
        statistic
        for module in network.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) and module.training
        for statistic in (module.running_mean, module.running_var)
        if statistic is not None
    ]
    if found:
        for statistic, total in zip(found, ranks.add(found), strict=True):
            statistic.data.copy_(total / size)  # which no gradient of training reads


class Synchronised(TorchFunctionMode):
    """Within the `with` torch's batch norm, by whatever layer it is called, is that of the whole batch.

    Args:
        images: of the whole batch.
    """

    def __init__(self, group: ranks.Ranks, images: int) -> None:
        super().__init__()
        self.group, self.images = group, images

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if func is F.batch_norm:
            return self.functional(*args, **(kwargs or {}))
        if func is torch.batch_norm:
            x, weight, bias, mean, variance, training, momentum, eps, *_ = args
            return self.functional(x, mean, variance, weight, bias, training, momentum, eps)
        return func(*args, **(kwargs or {}))

    def functional(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """As `F.batch_norm`."""
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
        whole = self.group, self.images
        if forms.is_plain() or forward_ad._current_level >= 0:
            y, mean, variance = normalised(x, weight, bias, eps, *whole)
        else:
            y, mean, variance = _Normalised.apply(x, weight, bias, eps, *whole)
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                count = x.numel() / x.shape[1] / self.group.share_of(self.images)
                running_mean.lerp_(mean.to(running_mean), momentum)
                variance = variance * (count / max(1.0, count - 1))
                running_var.lerp_(variance.to(running_var), momentum)
        return y


@cache
def _shares(group: ranks.Ranks, images: int, dtype: torch.dtype) -> Tensor:
    """The part of the images that each rank has, shape (R,); made once, as a GPU would wait for it."""
    parts = [replace(group, rank=rank).share_of(images) for rank in range(group.size)]
    return torch.tensor(parts, dtype=dtype, device=group.device)


def merged(x: Tensor, group: ranks.Ranks, images: int) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of the whole map, shape (C,) each."""
    variance_C, mean_C = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
    known_1_2_C = torch.stack((mean_C, variance_C))[None]
    (known_R2C,) = ranks.enter((ranks.gather(known_1_2_C, group.size),))
    means_RC, variances_RC = known_R2C.unbind(1)
    parts_R = _shares(group, images, x.dtype)
    mean_C = parts_R @ means_RC
    return mean_C, parts_R @ (variances_RC + (means_RC - mean_C).square())


def normalised(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    group: ranks.Ranks,
    images: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm by the whole map's statistics, and these: the plain form, which can be derived again."""
    mean, variance = merged(x, group, images)
    y = (x - _as(x, mean)) * _as(x, torch.rsqrt(variance + eps))
    y = y if weight is None else y * _as(x, weight)
    y = y if bias is None else y + _as(x, bias)
    return y, mean.detach(), variance.detach()


class _Normalised(Function):
    """`normalised` by torch's own passes over a map, few of them."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        group: ranks.Ranks,
        images: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = merged(x, group, images)
        ctx.save_for_backward(x, weight, bias, mean, variance)
        ctx.how = eps, group, images
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps), mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, variance = ctx.saved_tensors
        eps, group, images = ctx.how
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # create_graph

            def form(*inputs: Any) -> Tensor:
                return normalised(*inputs, *ctx.how)[0]

            return *forms.derived(form, (x, weight, bias), wanted, grad), None, None, None
        gain = torch.ones_like(mean) if weight is None else weight
        rate = torch.rsqrt(variance + eps)
        # As if the statistics were constant; the sums over this share are the other two gradients.
        of_x, of_gain, of_shift = torch.ops.aten.native_batch_norm_backward(
            grad, x, gain, mean, variance, mean, rate, False, eps, [True, True, True]
        )
        if wanted[0]:
            count = x.numel() / x.shape[1] / group.share_of(images)
            (sums_2C,) = ranks.add((torch.stack((of_shift, of_gain)),))
            level, slope = (
                sums_2C * (gain * rate / count) * torch.stack((torch.ones_like(rate), rate))
            )
            of_x = of_x.sub_(_as(x, level - slope * mean)).addcmul_(x, _as(x, slope), value=-1)
        found = (of_x, of_gain, of_shift)
        return *(one if want else None for one, want in zip(found, wanted, strict=True)), *3 * (
            None,
        )


def _as(x: Tensor, value_C: Tensor) -> Tensor:
    """Shaped to meet the channels of `x`."""
    return value_C.view(1, -1, *(1 for _ in range(x.dim() - 2)))

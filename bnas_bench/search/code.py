"""The code that all trials run: a search that replaces a part of it is found, named and put back.

A network that is trained by another loop, loss or optimiser than every other method's compares with
none of them. So the functions and classes of the suite, and those of torch that train, are held
against what they were: which object each name stands for, a function's code and its defaults.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from operator import is_
from types import FunctionType, ModuleType
from typing import Any

from bnas_bench.search.lent import MISSING, Change, _same

ROOMS = ("core", "data", "nn", "packed", "cost", "search", "plugins", "runs", "spaces")
"""Of this package: what runs in a trial. A method's own module is its own business."""

TORCH = ("torch.nn", "torch.nn.functional", "torch.nn.init", "torch.autograd")
TORCH_BELOW = ("torch.nn.modules.", "torch.nn.utils.", "torch.optim.")

FUNCTION = ("__code__", "__defaults__", "__kwdefaults__")

Owner = ModuleType | type | FunctionType


class Code:
    """The code as it is now, to be compared with what it is after a search."""

    def __init__(self) -> None:
        self._owners = [(place, owner, _held(owner)) for place, owner in _owners()]

    def changes(self) -> list[Change]:
        return [
            Change(f"{place}.{name}", old, new)
            for place, owner, before in self._owners
            for name, old, new in _differences(owner, before)
        ]

    def restore(self) -> None:
        for _, owner, before in self._owners:
            for name, old, _ in _differences(owner, before):
                # A class' attributes are its metaclass' to set.
                put, drop = (
                    (type.__setattr__, type.__delattr__)
                    if isinstance(owner, type)
                    else (setattr, delattr)
                )
                if old is MISSING:
                    drop(owner, name)
                else:
                    put(owner, name, old)


def _owners() -> Iterator[tuple[str, Owner]]:
    """What holds code, and where: modules, their classes, the functions of both."""
    for where, module in list(sys.modules.items()):
        if not (isinstance(module, ModuleType) and (_is_ours(where) or _is_torchs(where))):
            continue
        yield where, module
        for value in list(vars(module).values()):
            if getattr(value, "__module__", None) != where:
                continue
            if isinstance(value, FunctionType):
                yield value.__qualname__, value
            elif isinstance(value, type):
                yield value.__qualname__, value
                for held in list(vars(value).values()):
                    bare = getattr(held, "fget", None) or getattr(held, "__func__", held)
                    if isinstance(bare, FunctionType):
                        yield bare.__qualname__, bare


def _is_ours(module: str) -> bool:
    package, _, rest = module.partition(".")
    return package == "bnas_bench" and rest.partition(".")[0] in ROOMS


def _is_torchs(module: str) -> bool:
    return module in TORCH or module.startswith(TORCH_BELOW)


def _held(owner: Owner) -> dict[str, Any]:
    if isinstance(owner, FunctionType):
        defaults = owner.__kwdefaults__
        return {
            **{name: getattr(owner, name) for name in FUNCTION},
            "__kwdefaults__": defaults and dict(defaults),
        }
    is_ours = _is_ours(owner.__module__ if isinstance(owner, type) else owner.__name__)
    return {
        name: value
        for name, value in list(vars(owner).items())
        if callable(value) or (is_ours and not name.startswith("_"))
    }


def _differences(owner: Owner, before: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(name, what it was, what it is); a module may get more names, as by an import."""
    now = _held(owner)
    if now.keys() == before.keys() and all(map(is_, now.values(), before.values())):
        return  # as nearly always
    for name in before if isinstance(owner, ModuleType) else {**before, **now}:
        old, new = before.get(name, MISSING), now.get(name, MISSING)
        if not (_same(old, new) or _is_hooked(old, new)):
            yield name, old, new


def _is_hooked(old: object, new: object) -> bool:
    """Whether torch wrapped it: an optimiser's step, as the first one of its class is made."""
    return getattr(new, "hooked", False) is True and getattr(new, "__wrapped__", None) is old

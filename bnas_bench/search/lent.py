"""A space that is lent out: what became of it is found, named and put back.

Spaces are immutable by contract, and Python holds nobody to that. What a space hangs together from is
walked once: its attributes, those of its classes, and whatever mutable these hold. Each part keeps
its own entries alone, so an alteration at any depth is found where it was made.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from reprlib import Repr
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

MISSING = type("Missing", (), {"__repr__": lambda _: "nothing"})()

SHORT = Repr()
SHORT.maxstring = SHORT.maxother = 60


@dataclass(frozen=True)
class Change:
    """An entry that is no longer what it was; `str` says so: `space.zeroise from False to True`."""

    place: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.place} from {text(self.before)} to {text(self.now)}"


class Lent:
    """A space as it is now, to be compared with what it is after someone had it.

    What `functools.cached_property` adds is no change.
    """

    def __init__(self, space: object) -> None:
        self._parts: list[_Part] = []
        seen: set[int] = set()
        roots = [("space", space)]
        roots += [(c.__name__, c) for c in type(space).__mro__ if not _standard(c)]
        for place, root in roots:
            self._parts += _walk(place, root, seen)

    def changes(self) -> list[Change]:
        return [change for part in self._parts for change in part.changes()]

    def restore(self) -> None:
        for part in self._parts:
            if any(part.changes()):
                _put_back(part.value, part.before)


@dataclass(frozen=True)
class _Part:
    """Something that can be altered, and its entries as they were."""

    place: str
    value: Any
    before: Mapping[Any, Any]

    def changes(self) -> Iterator[Change]:
        now = _entries(self.value)
        for key in {**self.before, **now}:
            old, new = self.before.get(key, MISSING), now.get(key, MISSING)
            if not _same(old, new):
                yield Change(_inside(self.place, self.value, key), old, new)


def _walk(place: str, value: Any, seen: set[int]) -> Iterator[_Part]:
    """The value and all that hangs on it, each once."""
    todo = [(place, value)]
    while todo:
        place, value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        entries = _entries(value)
        if entries:
            yield _Part(place, value, entries)
        todo += [
            (_inside(place, value, key), child)
            for key, child in entries.items()
            if key is not ... and not _closed(child)
        ]


def _closed(value: Any) -> bool:
    """Whether what is inside is none of the space's: code, and the standard library's objects."""
    if isinstance(value, type | ModuleType | FunctionType):
        return True
    return _standard(type(value)) and not isinstance(value, dict | list | tuple | set)


def _standard(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in sys.stdlib_module_names


def _entries(value: Any) -> dict[Any, Any]:
    """What a value holds, by key, index or attribute; arrays and sets hold one entry, a copy."""
    match value:
        case dict():
            return dict(value)
        case list() | tuple():
            return dict(enumerate(value))
        case set():
            return {...: frozenset(value)}
        case np.ndarray():
            return {...: value.copy()}
        case Tensor():
            return {...: value.detach().clone()}
    return {
        name: held
        for name, held in _attributes(value)
        if not isinstance(getattr(type(value), name, None), cached_property)
    }


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    for name, held in getattr(value, "__dict__", {}).items():
        if not (name.startswith("__") and name.endswith("__")) or callable(held):
            yield name, held
    if not isinstance(value, type):
        for cls in type(value).__mro__:
            slots = vars(cls).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                    yield name, getattr(value, name)


def _inside(place: str, value: Any, key: Any) -> str:
    if key is ...:
        return place
    return f"{place}[{key!r}]" if isinstance(value, dict | list | tuple) else f"{place}.{key}"


def _same(old: Any, new: Any) -> bool:
    if old is new:
        return True
    if type(old) is not type(new):
        return False
    if isinstance(old, np.ndarray):
        return old.dtype == new.dtype and np.array_equal(old, new, equal_nan=old.dtype.kind in "fc")
    if isinstance(old, Tensor):
        return old.dtype == new.dtype and torch.equal(old, new)
    with suppress(Exception):  # of a comparison that is not one: it is then another value
        return bool(old == new)
    return False


def _put_back(value: Any, before: Mapping[Any, Any]) -> None:
    match value:
        case dict():
            value.clear()
            value.update(before)
        case list():
            value[:] = before.values()
        case set():
            value.clear()
            value.update(before[...])
        case np.ndarray():
            value[...] = before[...]
        case Tensor():
            with torch.no_grad():
                value.copy_(before[...])
        case _:
            # Past a frozen dataclass' own __setattr__; a class' attributes are its metaclass'.
            put, drop = (
                (type.__setattr__, type.__delattr__)
                if isinstance(value, type)
                else (object.__setattr__, object.__delattr__)
            )
            for name in {**before, **_entries(value)}:
                if name in before:
                    put(value, name, before[name])
                else:
                    drop(value, name)


def text(value: Any) -> str:
    """A value in a sentence: short, and the same in every process."""
    if name := getattr(value, "__qualname__", ""):
        return str(name)
    if isinstance(value, torch.dtype | torch.device):
        return str(value).removeprefix("torch.")
    return re.sub(r" at 0x[0-9a-f]+", "", " ".join(SHORT.repr(value).split()))

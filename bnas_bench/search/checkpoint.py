"""Checkpoints: the state of a search or a training, so that a killed run goes on where it was.

A checkpoint is one safetensors file. Its tensors hold all that is large; its metadata holds, as
JSON, the nested skeleton they hang in, a digest of everything, and for whom it was written. Reading
one runs no code.

Of several ranks that compute together the first one writes and reads, and tells the others what it read.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from bnas_bench.core import ranks
from bnas_bench.core.errors import Damaged
from bnas_bench.core.files import read_regular, set_aside, write_atomically

SHARE = float(os.environ.get("BNAS_BENCH_CHECKPOINT_SHARE", "0.005"))
"""The part of the time that checkpoints may take: a quarter of the 2 % of the harness."""

FIRST_COST = 0.01
"""Seconds that the first save is taken to cost, before one was measured."""

SAVE_NOW = Event()
"""Set where this process is to end: the next checkpoint is saved in any case, then `Preempted` is raised."""

PLAIN = (type(None), bool, int, float, str)


class Preempted(BaseException):
    """Raised right after the checkpoint that `SAVE_NOW` asked for; no error of a search."""


class Checkpoint:
    """The state of one loop, in one file.

    A state maps names to objects that can be restored in place: modules, optimisers and all else
    with `state_dict` and `load_state_dict`, NumPy generators, tensors, arrays, dicts and lists. In
    dicts and lists may stand all of these, tuples and plain values. What is nested is replaced,
    except what has an identity: modules and their like, generators, tensors that require gradients.

    Args:
        share: the part of the time since the first look that saving may take.
        identity: for whom it is written (the trial, the code); a checkpoint of another is not used.
        say: is told, in one sentence, of a checkpoint that cannot be used.
    """

    def __init__(
        self,
        path: Path,
        share: float = SHARE,
        *,
        identity: str = "",
        say: Callable[[str], Any] = warnings.warn,
    ) -> None:
        self.path, self.share, self.identity, self.say = path, share, identity, say
        self._began = time.perf_counter()
        self._last_cost, self._cost = FIRST_COST, 0.0

    def due(self) -> bool:
        """Whether one more save keeps within the share, or the process is to end."""
        if SAVE_NOW.is_set():
            return True
        elapsed = time.perf_counter() - self._began
        return self._cost + self._last_cost <= self.share * elapsed

    def save(
        self, state: Mapping[str, Any], header: Mapping[str, Any], *, force: bool = False
    ) -> None:
        """Write the state and a header of plain values, if that is due or forced.

        Raises:
            TypeError: if an object of the state cannot be kept, naming it.
            Unwritable: if the file cannot be written; the last checkpoint is then still there.
            Preempted: after the save, if the process is to end.
        """
        if not (ranks.is_first() and (force or self.due())):
            return
        began = time.perf_counter()
        writer = _Writer()
        skeleton = {name: writer.named(name, value) for name, value in state.items()}
        content = json.dumps({"identity": self.identity, "header": header, "state": skeleton})
        metadata = {"content": content, "sha256": _digest(content, writer.tensors)}
        tensors = {str(index): tensor for index, tensor in enumerate(writer.tensors)}
        # A folder that is gone was taken over by another attempt: it is not made again.
        write_atomically(self.path, safetensors.torch.save(tensors, metadata), make=False)
        self._last_cost = time.perf_counter() - began
        self._cost += self._last_cost
        if SAVE_NOW.is_set():
            raise Preempted

    def load(self, state: Mapping[str, Any]) -> dict[str, Any] | None:
        """Restore the state in place and return the header; None if there is nothing to restore.

        A file that is truncated, altered or another's is renamed and said; the state is untouched.

        Raises:
            Damaged: if the file is whole but does not fit the state's objects.
        """
        try:
            content, tensors = _read(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Damaged as error:
            self._refuse(f"is damaged ({error})", "damaged")
            return None
        if content["identity"] != self.identity or content["state"].keys() != state.keys():
            self._refuse("was written with other code or data", "old")
            return None
        reader = _Reader(tensors)
        try:
            for name, current in state.items():
                reader.restore(current, content["state"][name])
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            aside = self._aside("old")
            raise Damaged(
                f"the checkpoint {self.path} does not fit '{name}' ({error}); it was renamed to "
                f"{aside}, so running the trial again starts over"
            ) from error
        return content["header"]

    def remove(self) -> None:
        if ranks.is_first():
            self.path.unlink(missing_ok=True)

    def _refuse(self, why: str, ending: str) -> None:
        aside = self._aside(ending)
        self.say(f"the checkpoint {self.path} {why}: renamed to {aside}, starting over")

    def _aside(self, ending: str) -> str:
        """Rename the file; its new name."""
        return set_aside(self.path, ending).name if ranks.is_first() else "another"


def _read(path: Path) -> tuple[dict[str, Any], list[Tensor]]:
    """The content and the tensors of a checkpoint; Damaged if it is not as it was written."""
    try:
        data = ranks.from_first(lambda: _bytes(path))
        if data is None:
            raise FileNotFoundError(path)
        named = safetensors.torch.load(data)
        # Copies, so that they lie in memory as torch allots it, as they would without a resume.
        tensors = [named[str(index)].clone() for index in range(len(named))]
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
        content, digest = metadata["content"], metadata["sha256"]
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise Damaged(str(error)) from error
    if digest != _digest(content, tensors):
        raise Damaged("its digest differs")
    return json.loads(content), tensors


def _bytes(path: Path) -> bytes | None:
    try:
        return read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _digest(content: str, tensors: list[Tensor]) -> str:
    sha = hashlib.sha256(content.encode())
    for tensor in tensors:
        sha.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


class _Writer:
    """Turns values into JSON; tensors and arrays go to `tensors`, their number into the JSON."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []

    def named(self, name: str, value: Any) -> Any:
        if type(value) in (*PLAIN, tuple) or isinstance(value, np.generic):
            raise TypeError(f"'{name}' is a {_kind(value)}, which nothing can restore in place")
        return self.encode(value, name)

    def encode(self, value: Any, place: str) -> Any:
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind in (list, tuple):
            return {kind.__name__: [self.encode(v, f"{place}[{i}]") for i, v in enumerate(value)]}
        if kind in (dict, OrderedDict):
            items = [
                [self.encode(k, place), self.encode(v, f"{place}[{k!r}]")] for k, v in value.items()
            ]
            return {"dict": items}
        if isinstance(value, Tensor):
            if not value.is_leaf:
                raise TypeError(f"'{place}' is a tensor within a graph; keep it detached")
            return {"tensor": [self._add(value), str(value.device), value.requires_grad]}
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
            flat = np.array(value).reshape(-1).view(np.uint8)
            scalar = isinstance(value, np.generic)
            number = self._add(torch.from_numpy(flat))
            return {"array": [number, value.dtype.str, list(value.shape), scalar]}
        if isinstance(value, np.random.Generator):
            return {"generator": self.encode(value.bit_generator.state, place)}
        if hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
            return {"object": self.encode(value.state_dict(), place)}
        raise TypeError(f"'{place}' is a {_kind(value)}, which a checkpoint cannot keep")

    def _add(self, tensor: Tensor) -> int:
        # A copy: two tensors of a state may share memory, which safetensors refuses.
        copy = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        self.tensors.append(copy)
        return len(self.tensors) - 1


class _Reader:
    """Turns the JSON back into values, or into the state of the objects that are there."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors

    def restore(self, current: Any, saved: Any) -> None:
        """Give `current`, an entry of a state, the saved value in place."""
        value = self.decode(saved, current)
        match current, value:
            case _ if value is current:
                pass
            case dict(), dict():
                current.clear()
                current.update(value)
            case list(), list():
                current[:] = value
            case (Tensor(), Tensor()) | (np.ndarray(), np.ndarray()) if _alike(current, value):
                with torch.no_grad():
                    current[...] = value
            case _:
                raise TypeError(f"a {_kind(value)} does not fit into this {_kind(current)}")

    def decode(self, saved: Any, current: Any) -> Any:
        """The saved value; `current` itself where that has an identity, then in the saved state."""
        if not isinstance(saved, dict):
            return saved
        ((tag, body),) = saved.items()
        match tag:
            case "list" | "tuple":
                there = list(current) if isinstance(current, list | tuple) else []
                there += [None] * (len(body) - len(there))
                values = map(self.decode, body, there)
                return list(values) if tag == "list" else tuple(values)
            case "dict":
                known = current if isinstance(current, dict) else {}
                keys = [self.decode(key, None) for key, _ in body]
                return {
                    k: self.decode(v, known.get(k)) for k, (_, v) in zip(keys, body, strict=True)
                }
            case "tensor":
                return self._tensor(current, *body)
            case "array":
                number, dtype, shape, scalar = body
                array = self.tensors[number].numpy().view(dtype).reshape(shape).copy()
                return array[()] if scalar else array
            case "generator":
                current.bit_generator.state = self.decode(body, None)
            case "object":
                current.load_state_dict(self.decode(body, None))
        return current

    def _tensor(self, current: Any, number: int, device: str, requires_grad: bool) -> Tensor:
        value = self.tensors[number].to(device)
        if not requires_grad:
            return value
        if not (isinstance(current, Tensor) and current.requires_grad and _alike(current, value)):
            return value.requires_grad_()
        with torch.no_grad():
            current.copy_(value)
        return current


def _alike(first: Any, second: Any) -> bool:
    return first.shape == second.shape and first.dtype == second.dtype


def _kind(value: Any) -> str:
    return type(value).__name__

"""The packed file: a program in a safetensors container, with a versioned header and a checksum.

The container's metadata has one entry, `bnas_bench.packed`: the checksum, a space and the header,
which is JSON. The checksum is the SHA-256 of the whole file with zeros in the checksum's own place,
so that no byte can change, come or go unnoticed. Reading a file executes nothing that it says, and
ends in a program that `check` has passed, or in one sentence.

safetensors: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from bnas_bench.core.errors import BenchError
from bnas_bench.core.files import canonical, write_atomically
from bnas_bench.core.strict import BadJson, read_json
from bnas_bench.packed.format.check import BadProgram, check
from bnas_bench.packed.format.program import Program, Step

FORMAT = 1
"""Version of the header; a reader takes its own alone."""

KEY = "bnas_bench.packed"
BLANK = "0" * 64
FILE_LIMIT = 2**31
HEADER_LIMIT = 2**23
"""Bytes of the container's header, ours included: far more than 10,000 steps need."""

Tensors = dict[str, np.ndarray]


class BadFile(BenchError):
    """A file that is no packed network, or one that is damaged, too new or cannot run."""


class _Fault(Exception):
    """What is wrong with a file, as the end of a sentence that begins with its name."""


class _Damage(_Fault):
    def __init__(self, why: str) -> None:
        super().__init__(f"is damaged, {why}: get it again, or pack the network again")


def save(program: Program) -> bytes:
    """The packed file of a program; equal programs give equal bytes.

    Raises:
        BadProgram: if the program cannot run.
        BadFile: if it is too large for a file of this kind.
    """
    check(program)
    tensors = {
        f"{index}.{name}": tensor
        for index, step in enumerate(program.steps)
        for name, tensor in step.tensors.items()
    }
    header = {
        "format": FORMAT,
        "shape": program.shape,
        "about": dict(program.about),
        "steps": [_described(step) for step in program.steps],
    }
    # A second entry of the metadata would stand before or behind this one, at random.
    data = safetensors.numpy.save(tensors, {KEY: f"{BLANK} {canonical(header)}"})
    if len(data) > FILE_LIMIT or _header_size(data) > HEADER_LIMIT:
        raise BadFile(
            f"the program takes {len(data)} bytes, {_header_size(data)} of them for its header; "
            f"a packed file has up to {FILE_LIMIT} and {HEADER_LIMIT}"
        )
    at = data.index(BLANK.encode())
    return data[:at] + _checksum(data, at).encode() + data[at + len(BLANK) :]


def write(program: Program, path: Path | str) -> int:
    """Write the packed file of a program, whole or not at all; its size in bytes.

    Raises:
        BadProgram, BadFile: as `save`.
        Unwritable: if the file cannot be written.
    """
    data = save(program)
    write_atomically(Path(path), data)
    return len(data)


def load(source: Path | str | bytes) -> Program:
    """Read a packed file, named by its path, or the bytes of one.

    Raises:
        BadFile: if it is missing, foreign, truncated, altered or of a newer version, or if what it
            holds cannot run.
    """
    place = "the packed network" if isinstance(source, bytes) else f"'{source}'"
    try:
        return _read(source if isinstance(source, bytes) else _bytes(Path(source)))
    except _Fault as fault:
        raise BadFile(f"{place} {fault}") from None
    except BadProgram as error:
        raise BadFile(f"{place} cannot run: {error}; pack the network again") from None


def is_packed(path: Path | str) -> bool:
    """Whether a file begins as a packed one does, be it damaged or not."""
    try:
        with Path(path).open("rb") as file:
            return KEY.encode() in file.read(64)
    except OSError:
        return False


def payload(program: Program) -> int:
    """Bytes of all tensors: what the packed file holds beside its header."""
    return sum(tensor.nbytes for step in program.steps for tensor in step.tensors.values())


def _bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise _Fault("is no file: name the file that `bnas-bench pack` wrote")
        if path.stat().st_size > FILE_LIMIT:
            raise _Fault(f"is larger than {FILE_LIMIT} bytes, which no packed network is")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise _Fault(f"cannot be read: {reason}") from None


def _read(data: bytes) -> Program:
    """The program in a file's bytes; _Fault or BadProgram if there is none that can run."""
    entry = _entry(data)
    try:
        tensors: Tensors = safetensors.numpy.load(data)
    except (SafetensorError, KeyError, ValueError, OverflowError):
        raise _Damage("its tensors do not add up") from None
    digest, header = entry[: len(BLANK)], _strict(entry[len(BLANK) + 1 :])
    match header:
        case {"format": int(version)} if version > FORMAT:
            raise _Fault(
                f"was written by a newer bnas-bench (format {version}); this one reads {FORMAT}: "
                "update it"
            )
        case {"format": version} if version != FORMAT or type(version) is not int:
            raise _Damage("there is no such format")
    at = data.find(digest.encode("ascii", "replace"))
    if at < 0 or _checksum(data, at) != digest:
        raise _Damage("its checksum differs")
    program = _program(header, tensors)
    check(program)
    return program


def _entry(data: bytes) -> str:
    """Our entry of the metadata; _Fault if there is none, before anything large is read."""
    size = _header_size(data)
    foreign = "is no packed network: `bnas-bench pack` writes them"
    if len(data) == 0:
        raise _Fault("is empty")
    if len(data) > 8 and (data[8:9] != b"{" or size > HEADER_LIMIT):
        raise _Fault(foreign)
    if len(data) < 8 + size or size < 2:
        raise _Damage("it ends too early")
    try:
        header = _strict(data[8 : 8 + size].decode())
    except UnicodeDecodeError:
        raise _Fault(foreign) from None
    match header:
        case {"__metadata__": {"bnas_bench.packed": str(entry)}}:
            return entry
    raise _Fault(foreign)


def _header_size(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def _checksum(data: bytes, at: int) -> str:
    """SHA-256 of the data with zeros where the checksum stands."""
    view = memoryview(data)
    sha = hashlib.sha256(view[:at])
    sha.update(BLANK.encode())
    sha.update(view[at + len(BLANK) :])
    return sha.hexdigest()


def _described(step: Step) -> dict[str, Any]:
    """A step as plain values; of its tensors, their types and shapes."""
    tensors = {name: _form(tensor) for name, tensor in step.tensors.items()}
    return {
        "op": step.op,
        "inputs": step.inputs,
        "name": step.name,
        "layer": step.layer,
        "attributes": dict(step.attributes),
        "tensors": tensors,
    }


def _form(tensor: np.ndarray) -> list[Any]:
    return [tensor.dtype.str[1:], list(tensor.shape)]


def _program(header: Any, tensors: Tensors) -> Program:
    """What a header and the tensors say, with the types that a program has."""
    match header:
        case {
            "format": _,
            "shape": [int(channels), int(height), int(width)],
            "about": dict(about),
            "steps": list(steps),
        } if len(header) == 4:
            read = tuple(_step(index, step, tensors) for index, step in enumerate(steps))
            if tensors:
                raise _Damage(f"no step knows its tensor {ascii(next(iter(tensors)))[:80]}")
            return Program((channels, height, width), read, about)
    raise _Damage("its header lacks a part, or has one too many")


def _step(index: int, value: Any, tensors: Tensors) -> Step:
    """A step, which takes its tensors out of those of the file."""
    match value:
        case {
            "op": str(op),
            "inputs": list(inputs),
            "name": str(name),
            "layer": str(layer),
            "attributes": dict(attributes),
            "tensors": dict(forms),
        } if len(value) == 6 and all(type(source) is str for source in inputs):
            own = dict(_taken(index, forms, tensors))
            return Step(op, tuple(inputs), name, layer, attributes, own)
    raise _Damage(f"step {index + 1} in its header lacks a part, or has one too many")


def _taken(index: int, forms: dict[str, Any], tensors: Tensors) -> Iterator[tuple[str, np.ndarray]]:
    for name, form in forms.items():
        tensor = tensors.pop(f"{index}.{name}", None)
        if tensor is None or _form(tensor) != form:
            raise _Damage(
                f"its header and its tensor {ascii(name)[:80]} of step {index + 1} disagree"
            )
        yield name, tensor


def _strict(text: str) -> Any:
    try:
        return read_json(text)
    except BadJson:
        raise _Damage("its header is no sound JSON") from None

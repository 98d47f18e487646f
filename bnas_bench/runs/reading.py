"""The architecture that an argument names: in a file, in a finished trial's folder, or as a text."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BadValue, InvalidArchitecture, UnknownName, brief
from bnas_bench.core.files import kind_of
from bnas_bench.core.strict import BadJson, read_json
from bnas_bench.plugins import making, recorded
from bnas_bench.runs.store import Record, read_record, read_whole
from bnas_bench.search.genotype import is_written, named
from bnas_bench.search.space import SearchSpace

ARCH = "arch.json"
LARGEST = 2**24
"""Bytes of a file with architectures; a search's whole log has fewer."""


@dataclass(frozen=True)
class _Source:
    """Where an architecture stands.

    Attributes:
        where: for errors.
        record: of the trial that found it, if it is a trial's.
    """

    where: str
    content: str
    record: Record | None = None


def read_architecture(
    arch: Architecture | str | Path, space: SearchSpace | str | None
) -> tuple[SearchSpace, Architecture]:
    """An architecture with its space, checked.

    Args:
        arch: itself, or a file, a finished trial's folder or a text that tells it; of many genotypes
            in a file, `FILE:NAME` is one.
        space: overrides what the architecture says of its space.

    Raises:
        InvalidArchitecture: if it does not parse, or does not fit the space; with the file's name.
        BadValue: if there is no such file.
        Damaged: if the files of a finished trial are truncated or altered.
    """
    if isinstance(arch, Architecture):
        instance = making.space(space) if isinstance(space, str) else space
        instance = instance or recorded.space(arch.space, {})
        instance.check(arch)
        return instance, arch
    if isinstance(space, SearchSpace):
        return space, space.parse(str(arch))
    source = _found(str(arch), space)
    instance = _space(source, space)
    try:
        return instance, instance.parse(source.content)
    except InvalidArchitecture as error:
        raise InvalidArchitecture(f"{source.where}: {error}") from error


def _found(text: str, space: str | None) -> _Source:
    """What is there goes before what could be meant: a file may have any name."""
    kind = kind_of(text)
    if kind is None and (_is_text(text) or _is_name(text, space)):
        return _Source("the text", text)
    if kind is None and (within := _within(text)):
        return within
    file = Path(text, ARCH) if kind == "folder" else Path(text)
    if file.name == ARCH and (record := read_record(file.parent)) is not None:
        return _Source(str(file), _verified(file, record), record)
    return _Source(str(file), _decoded(file, _bytes(file, may_be_a_pipe=kind == "other")))


def _is_text(text: str) -> bool:
    """Whether something that is not there can only be the architecture itself."""
    is_path = re.search(r"\.\w{1,5}$", text.rstrip()) is not None
    return text.lstrip("\ufeff \t\r\n").startswith(("{", "[", "|")) or (
        is_written(text) and not is_path
    )


def _is_name(text: str, space: str | None) -> bool:
    """Whether it can only be a name that the space knows."""
    return space is not None and re.fullmatch(r"[\w-]+", text) is not None


def _within(text: str) -> _Source | None:
    """The genotype of FILE:NAME."""
    path, _, name = text.rpartition(":")
    if not (name and kind_of(path) == "file"):
        return None
    file = Path(path)
    try:
        return _Source(text, named(_decoded(file, _bytes(file)), name))
    except (InvalidArchitecture, UnknownName) as error:
        raise InvalidArchitecture(f"{file}: {error}") from error


def _verified(file: Path, record: Record) -> str:
    """The architecture beside a record, which is the one that the record vouches for.

    Raises:
        Damaged: if it is not.
    """
    data = read_whole(file.parent, record, ARCH)
    return _decoded(file, _bytes(file) if data is None else data)


def _bytes(file: Path, *, may_be_a_pipe: bool = False) -> bytes:
    """What a file holds; of a pipe only if a person has named it."""
    from bnas_bench.packed.format.file import is_packed

    kind = kind_of(file)
    if kind == "other" and not may_be_a_pipe:
        raise BadValue(f"'{file}' is a pipe or a device, and no file: name the architecture's file")
    if kind == "file" and is_packed(file):
        raise BadValue(f"'{file}' is a packed network, not an architecture: `latency` reads it")
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise BadValue(f"cannot read an architecture from '{brief(file)}': {reason}") from error
    if len(data) > LARGEST:
        raise BadValue(f"'{file}' goes on beyond {LARGEST:,} bytes, and no architecture does")
    return data


def _decoded(file: Path, data: bytes) -> str:
    """The text in a file: UTF-8, or UTF-16 as Windows' shell writes it."""
    if not data.strip():
        raise InvalidArchitecture(f"{file}: this is empty")
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidArchitecture(f"{file}: this is no text") from None


def _space(source: _Source, named_space: str | None) -> SearchSpace:
    """The space that a person names; or else the record, or the JSON; or else the usual one.

    A file of one's own takes the options of the record that was made with it.
    """
    record = source.record
    if named_space is None:
        if record is not None:
            return recorded.space(record["space"], record["space_options"])
        return recorded.space(_named_in(source.content) or "darts-binary", {})
    plugin, options = making.choose("space", named_space)
    if record is not None and plugin.module is None and "[" not in named_space:
        return recorded.space(record["space"], record["space_options"], plugin)
    return plugin.make(options)


def _named_in(content: str) -> str | None:
    """The space that an architecture's JSON names, or whose text `|OP~0|+...` alone is."""
    start = content.lstrip("\ufeff \t\r\n")[:1]
    if start == "|":
        return "bnas-201"
    if start == "{":
        try:
            value = read_json(content)
        except BadJson:  # which the space's own reading will say
            return None
        match value:
            case {"space": str(name)}:
                return name
    return None

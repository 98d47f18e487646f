"""A table as one file: Parquet, the columns of `Contents.trainings`, and in its footer what it is.

Any reader of Parquet opens it. The footer's key `bnas_bench` is JSON: `version`, the table's datasheet, and a
digest of the whole file in which the digest itself stands as zeros. So every byte is vouched for, whatever
wrote the columns, and nothing else is read of a file that was cut or altered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from pandas import DataFrame

from bnas_bench.core.errors import BadValue, Damaged
from bnas_bench.core.files import kind_of, sha256, write_atomically
from bnas_bench.core.searching import shut_to_searches
from bnas_bench.tables.contents import MADE, Contents, epochs
from bnas_bench.tables.definition import Definition

VERSION = 1
KEY = "bnas_bench"
ENDING = ".parquet"
MARK = b'"bnas_bench_sha256": "'
BLANK = "0" * 64


def write(contents: Contents, path: Path) -> None:
    """Write a table, whole or not at all.

    Raises:
        BadValue: if the file has another ending.
        Unwritable: if it cannot be written.
    """
    losses = epochs("loss", contents.definition)  # all different: nothing for a dictionary
    seal(contents.trainings, {"version": VERSION, **contents.datasheet}, path, losses)


def seal(frame: DataFrame, footer: Mapping[str, Any], path: Path, scattered: Sequence[str]) -> None:
    """Write columns and a footer as one file that is vouched for; `unsealed` reads it.

    Args:
        scattered: the columns of floats of which hardly two are equal.

    Raises:
        BadValue: if the file does not end in `.parquet`.
        Unwritable: if it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_ending(path)
    columns = pa.Table.from_pandas(frame, preserve_index=False)
    columns = columns.replace_schema_metadata(None)
    blank_footer = {**footer, MARK.decode().split('"')[1]: BLANK}
    with pq.ParquetWriter(
        data := BytesIO(),
        columns.schema,
        compression="zstd",
        compression_level=9,
        use_dictionary=[name for name in columns.column_names if name not in scattered],
        use_byte_stream_split=list(scattered),
    ) as writer:
        writer.write_table(columns)
        writer.add_key_value_metadata({KEY: json.dumps(blank_footer)})
    blank = data.getvalue()
    at = _digest_at(blank)
    write_atomically(path, blank[:at] + sha256(blank).encode() + blank[at + len(BLANK) :])


def check_ending(path: Path) -> None:
    """Raise BadValue unless a file's name says what `seal` writes."""
    if path.suffix != ENDING:
        raise BadValue(f"cannot write a table to '{path}': let it end in {ENDING}")


def read(path: Path) -> Contents:
    """What `write` wrote.

    Raises:
        BadValue: if there is no such file.
        Damaged: if it is another's, or truncated, altered or of another version.
    """
    frame, footer = unsealed(path)
    try:
        contents = Contents(
            definition=Definition.from_json(footer["definition"]),
            architectures=footer["architectures"],
            date=footer["date"],
            trainings=frame,
        )
        _check(contents)
    except (ValueError, KeyError, TypeError) as error:
        raise of_another_version(path, error) from error
    return contents


def unsealed(path: Path) -> tuple[DataFrame, dict[str, Any]]:
    """The columns and the footer of a file that `seal` wrote.

    Raises:
        BadValue: if there is no such file.
        Damaged: if it is another's, or truncated, altered or of another version.
    """
    import pyarrow.parquet as pq

    if kind_of(path) != "file":
        raise BadValue(f"there is no file '{path}': bnas-bench truth writes one of a table")
    shut_to_searches(f"the table {path}")
    data = path.read_bytes()
    at = _digest_at(data)
    if at < 0:
        raise Damaged(f"{path} is no table of bnas-bench, or a part of one: fetch it again")
    digest = data[at : at + len(BLANK)].decode("latin-1")
    if sha256(data[:at] + BLANK.encode() + data[at + len(BLANK) :]) != digest:
        raise Damaged(f"{path} is truncated or altered, its digest is another: fetch it again")
    try:
        frame = pq.read_table(BytesIO(data)).to_pandas()
        footer = json.loads(pq.read_metadata(BytesIO(data)).metadata[KEY.encode()])
        if footer["version"] != VERSION:
            raise ValueError(f"version {footer['version']}, not {VERSION}")
    except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's own are ValueErrors
        raise of_another_version(path, error) from error
    return frame, footer


def of_another_version(path: Path, error: Exception) -> Damaged:
    """What to say of a file that is whole and yet not what it should be."""
    return Damaged(f"{path} is a table of another version ({error}): use the code that wrote it")


def described(path: Path) -> tuple[Definition, Mapping[str, float]]:
    """What a file is a table of, and by precision which share of its architectures it has.

    Its trainings are not read, and nothing else of it is checked.

    Raises:
        Damaged: if it says nothing of that.
    """
    import pyarrow.parquet as pq

    try:
        footer = json.loads(pq.read_metadata(path).metadata[KEY.encode()])
        how = Definition.from_json(footer["definition"])
        whole = how.seeds * footer["architectures"]
        return how, {name: n / whole for name, n in footer["trainings"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise Damaged(f"{path} is no table of bnas-bench ({error}): fetch it again") from error


def _digest_at(data: bytes) -> int:
    """Where in a file its digest stands; below 0 if it has none."""
    at = data.rfind(MARK)
    return -1 if at < 0 else at + len(MARK)


def _check(contents: Contents) -> None:
    """Raise ValueError unless the trainings have the columns, and every network all its seeds."""
    how, frame = contents.definition, contents.trainings
    if how.epochs > len(frame.columns):
        raise ValueError(f"it has not {how.epochs:,} epochs")
    numbers = {"seed", "test_hits", "ops", "parameters", "bytes", "seconds"}
    numbers |= {*epochs("valid_hits", how), *epochs("loss", how)}
    if lacks := {"arch", "precision", *MADE, *numbers} - {*frame}:
        raise ValueError(f"it has no {', '.join(sorted(lacks))}")
    if texts := [name for name in sorted(numbers) if frame[name].dtype.kind not in "iuf"]:
        raise ValueError(f"it has no numbers in {', '.join(texts)}")
    wanted = [k % how.seeds for k in range(len(frame))]
    if len(frame) % how.seeds or frame["seed"].tolist() != wanted:
        raise ValueError(f"its networks have not {how.seeds} seeds each")

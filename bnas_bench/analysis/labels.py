"""Names for what is run, short where they can be and different wherever the content differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bnas_bench.analysis.summary import Defaults, labelled
from bnas_bench.core.files import canonical
from bnas_bench.runs.store import Record

PARTS = ("method", "space", "dataset", "budget")

Key = tuple[str, ...]
"""What is run: the whole content of each of its `PARTS`, as text."""


class Labels:
    """Collects what records run, and then names it."""

    def __init__(self, defaults: Defaults) -> None:
        self.defaults = defaults
        self.found: dict[str, dict[str, tuple[str, Any]]] = {part: {} for part in PARTS}
        """Per part, by its content as text, its label and the content."""

    def key(self, record: Record) -> Key:
        """What a record runs."""
        keys = []
        for part, known in self.found.items():
            content = record["config"][part]
            if part in ("method", "space"):  # changed code makes another method of it
                content = {**content, "code": record[f"{part}_source"]}
            if (key := canonical(content)) not in known:
                known[key] = self._label(record, part), content
            keys.append(key)
        return tuple(keys)

    def names(self) -> dict[str, dict[str, str]]:
        """Per part, by its content as text, its label and what tells it from others of that label."""
        return {part: _told_apart(known) for part, known in self.found.items()}

    def _label(self, record: Record, part: str) -> str:
        match part:
            case "method" | "space":
                return labelled(record, part, self.defaults)
            case "dataset":
                return dataset_name(record["dataset"])
        return str(record[part])


def dataset_name(text: str) -> str:
    """How a dataset is shown: of `imagefolder:data/cifar10-jpeg` the last folder."""
    _, colon, path = text.partition(":")
    return Path(path).name or text if colon else text


def flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    if not isinstance(content, Mapping):
        return {prefix.rstrip("."): content}
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= flat(value, f"{prefix}{key}.")
    return found


def _told_apart(known: Mapping[str, tuple[str, Any]]) -> dict[str, str]:
    alike: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for key, (label, content) in known.items():
        alike[label][key] = flat(content)
    return {
        key: label + _apart(content, list(contents.values()))
        for label, contents in alike.items()
        for key, content in contents.items()
    }


def _apart(content: Mapping[str, Any], contents: Sequence[Mapping[str, Any]]) -> str:
    """What of a content not all of the contents share, in brackets."""
    keys = dict.fromkeys(key for other in contents for key in other)
    differ = [key for key in keys if len({repr(other.get(key)) for other in contents}) > 1]
    words = (f"{key.removeprefix('options.')} {content.get(key, '-')}" for key in differ)
    return f" ({', '.join(words).strip()})" if differ else ""

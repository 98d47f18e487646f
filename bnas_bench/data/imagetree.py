"""Which files of a tree are images, and of which class; what is left out is counted and said."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnas_bench.core.errors import BadValue, MissingData

ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
TEST_FOLDERS = ("test", "val", "valid")
KINDS_SAID = 6


@dataclass(frozen=True)
class Files:
    """The image files of one part of a tree, in the order of their paths, and their classes."""

    folder: Path
    paths: Sequence[str]
    labels: np.ndarray

    def subset(self, indices: np.ndarray) -> Files:
        return Files(self.folder, [self.paths[i] for i in indices], self.labels[indices])


@dataclass(frozen=True)
class Tree:
    """The images of a tree.

    Attributes:
        left_out: how many of which files and links are not among them.
    """

    train: Files
    test: Files
    classes: tuple[str, ...]
    left_out: Counter[str]

    def remark(self) -> str:
        """One sentence on what is left out; empty if nothing is."""
        if not self.left_out:
            return ""
        most = self.left_out.most_common(KINDS_SAID)
        kinds = [f"{count:,} {kind}" for kind, count in most]
        if rest := self.left_out.total() - sum(count for _, count in most):
            kinds.append(f"{rest:,} more")
        return (
            f"left out of {self.train.folder.parent}: {', '.join(kinds)}; "
            f"read were {len(self.train.paths) + len(self.test.paths):,} images "
            f"({', '.join(ENDINGS)})"
        )


def find_files(root: Path) -> Tree:
    """The train files, the test files and the class names of a tree.

    The test files lie in the first of test/, val/, valid/ that there is. Classes may hold folders of
    their own, and links to folders elsewhere; hidden files and folders are passed over.

    Raises:
        MissingData: if the tree, a part of it, or the images of a class are not there.
        BadValue: if the two parts do not have the same classes, or a folder cannot be read.
    """
    shape = "a tree of images holds train/ and test/ (or val/, or valid/) with one folder per class"
    if not os.path.isdir(root):  # noqa: PTH112 - Path.is_dir raises where a name is too long
        raise MissingData(f"there is no folder {root}; {shape}")
    tests = [root / name for name in TEST_FOLDERS if (root / name).is_dir()]
    if not (root / "train").is_dir() or not tests:
        missing = "test/, val/ or valid/" if (root / "train").is_dir() else "train/"
        raise MissingData(f"there is no {missing} in {root}; {shape}")
    train, test = root / "train", tests[0]
    classes = _classes(train)
    for here, there in ((train, test), (test, train)):
        if odd := sorted(set(_classes(here)) - set(_classes(there))):
            raise BadValue(
                f"class '{odd[0]}' is in {here} but not in {there}; both need the same folders"
            )
    if len(classes) < 2:
        raise MissingData(f"{train} holds {len(classes)} class folders and two are needed; {shape}")
    walk = _Walk([part / name for part in (train, test) for name in classes])
    parts = [_files(part, classes, walk) for part in (train, test)]
    return Tree(parts[0], parts[1], tuple(classes), walk.left_out)


def _classes(part: Path) -> list[str]:
    return [e.name for e in _entries(str(part)) if _is_folder(e) and not _is_hidden(e)]


def _files(part: Path, classes: Sequence[str], walk: _Walk) -> Files:
    paths: list[str] = []
    counts: list[int] = []
    for entry in _entries(str(part)):
        if not _is_folder(entry):
            walk.leave_out(entry, "outside of the class folders")
    for name in classes:
        found = sorted(walk.images(part / name))
        if not found:
            raise MissingData(
                f"class folder {part / name} holds no image ({', '.join(ENDINGS)}); "
                "fill it, or remove the class from train and test"
            )
        paths += found
        counts.append(len(found))
    return Files(part, paths, np.repeat(np.arange(len(classes)), counts))


class _Walk:
    """Goes through the class folders of a tree, and reads no folder twice.

    A link to a folder is followed unless that folder and a class folder lie one within the other,
    or it was read already: so no link leads back, up or across, and no image counts twice.
    """

    def __init__(self, class_folders: Sequence[Path]) -> None:
        self.homes = [os.path.realpath(folder) for folder in class_folders]
        self.linked: set[str] = set()
        self.left_out: Counter[str] = Counter()

    def images(self, class_folder: Path) -> Iterator[str]:
        """The paths of the images below a class folder."""
        waiting = [str(class_folder)]
        while waiting:
            for entry in _entries(waiting.pop()):
                if not _is_folder(entry):
                    if _is_image(entry):
                        yield entry.path
                    else:
                        self.leave_out(entry)
                elif not _is_hidden(entry) and self._is_new(entry):
                    waiting.append(entry.path)

    def leave_out(self, entry: os.DirEntry[str], why: str = "") -> None:
        """Count a file that is not read, unless it is one that the system hides."""
        ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
        if _is_hidden(entry) and ending not in ENDINGS:
            return
        if why or ending not in ENDINGS:
            kind = ending if ending[1:].isalnum() and len(ending) < 10 else "without a known ending"
        else:
            kind = "hidden" if _is_hidden(entry) else "that are no files (or links to none)"
        self.left_out[f"{kind} {why}".strip()] += 1

    def _is_new(self, entry: os.DirEntry[str]) -> bool:
        """Whether to read a folder; of those below a link, each only once."""
        real = os.path.realpath(entry.path)
        if entry.is_symlink() and any(_overlap(real, home) for home in self.homes):
            known = True
        else:
            known = real in self.linked
            self.linked.add(real)
        if known:
            self.left_out["links to folders that are read anyway"] += 1
        return not known


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What stands in a folder, by name; BadValue if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise BadValue(
            f"folder {folder} cannot be read ({error.strerror}); make it readable, or take it out "
            "of the tree"
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if entry.is_symlink():  # of a link to itself, DirEntry.is_dir would raise
        return os.path.isdir(entry.path)  # noqa: PTH112
    return entry.is_dir()


def _is_image(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, no pipe or device, and called as an image is."""
    if _is_hidden(entry) or not entry.name.lower().endswith(ENDINGS):
        return False
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()  # noqa: PTH113


def _is_hidden(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".") or entry.name.lower() in ("thumbs.db", "desktop.ini")


def _overlap(one: str, other: str) -> bool:
    """Whether two folders lie one within the other, or are the same."""
    return os.path.commonpath([one, other]) in (one, other)

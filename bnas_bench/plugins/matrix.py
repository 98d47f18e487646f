"""Which method runs on which space, and why one does not: a page in Markdown."""

from __future__ import annotations

from bnas_bench.plugins.registry import discover

HEAD = """# Methods and spaces

Written by `make docs`. A method knows a space through its contract alone
(`bnas_bench.search.space.SearchSpace`), so that every one runs on every space; where that makes no sense, it
says why, and a run records the refusal. At home are `bats` and `bars` on the space of their name,
`nasbnn` on `nas-bnn`, the others on DARTS' cells.
"""


def matrix() -> str:
    """The page."""
    spaces = {name: plugin.make({}) for name, plugin in discover("space").items()}
    reasons: list[str] = []
    rows = [["method", *spaces], ["---"] * (1 + len(spaces))]
    for name, plugin in discover("method").items():
        method = plugin.make({})
        row = [f"`{name}`"]
        for space in spaces.values():
            reason = method.refuses(space)
            if reason is None:
                row.append("yes")
                continue
            if reason not in reasons:
                reasons.append(reason)
            row.append(f"no ({reasons.index(reason) + 1})")
        rows.append(row)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "\n".join(f"{number}. {reason}." for number, reason in enumerate(reasons, 1))
    sizes = "\n".join(
        f"- `{name}`: {_count(space.size())} architectures, {len(space.decisions)} decisions"
        for name, space in spaces.items()
    )
    return f"{HEAD}\n{table}\n\n{notes}\n\n## Spaces\n\n{sizes}\n"


def _count(size: int) -> str:
    """Whole where it is short."""
    return f"{size:,}" if size < 10**6 else f"{size:.4g}"

"""The commands in the order in which one meets them, each with an example."""

from __future__ import annotations

from collections.abc import Mapping

import click

DCPNAS = "results/digits-quick/trials/dcpnas-darts-binary-digits-quick-s0-dd23a975"

GROUPS: Mapping[str, Mapping[str, str]] = {
    "Run": {
        "demo": "bnas-bench demo --budget smoke",
        "run": "bnas-bench run --method random,dcpnas --space darts-binary --seeds 5",
        "status": "bnas-bench status local",
        "watch": "bnas-bench watch local",
        "cancel": "bnas-bench cancel local",
        "retime": "bnas-bench retime digits-quick",
        "remove": "bnas-bench remove local --state failed",
        "tabulate": "bnas-bench tabulate --space bnas-201 --dataset digits --hours 1",
    },
    "Read": {
        "table": "bnas-bench table digits-quick --sort test_accuracy",
        "show": f"bnas-bench show {DCPNAS}",
        "compare": "bnas-bench compare before after",
        "report": "bnas-bench report digits-quick",
        "export": "bnas-bench export digits-quick -o runs.parquet",
        "power": "bnas-bench power digits-quick --difference 2",
        "truth": "bnas-bench truth bnas-201-digits",
        "agreement": "bnas-bench agreement bnas-201-digits",
        "ranking": "bnas-bench ranking bnas-201-digits -o ranking.json",
    },
    "Networks": {
        "measure": "bnas-bench measure --space handcrafted reactnet-a",
        "pack": f"bnas-bench pack {DCPNAS}/arch.json -o net.bnn",
        "export-network": "bnas-bench export-network results/local/trials/ID -o net.onnx",
        "latency": "bnas-bench latency net.bnn",
        "latency-table": "bnas-bench latency-table --space darts-binary --count 20",
        "transfer": "bnas-bench transfer results/local/trials/ID --task identities",
    },
    "Papers": {
        "papers": "bnas-bench papers dcp-nas/table-4",
        "reproduce": "bnas-bench reproduce dcp-nas/table-4 --budget smoke",
        "audit": "bnas-bench audit dcp-nas",
    },
    "Extend": {
        "list": "bnas-bench list",
        "methods": "bnas-bench methods dcpnas",
        "spaces": "bnas-bench spaces darts-binary",
        "datasets": "bnas-bench datasets",
        "budgets": "bnas-bench budgets quick",
        "new-method": "bnas-bench new-method mine",
        "check": "bnas-bench check random",
    },
}


def add(main: click.Group, *commands: click.Command) -> None:
    """Give a group its commands, in the order of `GROUPS`, each with its example."""
    examples = {name: line for group in GROUPS.values() for name, line in group.items()}
    known = {str(command.name): command for command in commands}
    for name in sorted(known, key=[*examples, *known].index):
        known[name].epilog = f"\b\nExample:\n{line}" if (line := examples.get(name)) else None
        main.add_command(known[name])


def write(main: click.Group, formatter: click.HelpFormatter) -> None:
    """Write the commands of a group under their headings, each with its whole first sentence."""
    left = dict(main.commands)
    for title, names in GROUPS.items():
        rows = [(name, left.pop(name)) for name in names if name in left]
        _section(formatter, title, rows)
    _section(formatter, "More", [*left.items()])


def _section(
    formatter: click.HelpFormatter, title: str, rows: list[tuple[str, click.Command]]
) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl([(name, c.get_short_help_str(limit=200)) for name, c in rows])

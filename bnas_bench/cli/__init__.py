"""The command line. click and rich live in this package alone.

Modules that are slow to import are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from bnas_bench import __version__
from bnas_bench.cli import groups
from bnas_bench.cli.architectures import measure, show
from bnas_bench.cli.audit import audit
from bnas_bench.cli.backends import cancel
from bnas_bench.cli.demo import demo
from bnas_bench.cli.latency import latency
from bnas_bench.cli.latency_table import latency_table
from bnas_bench.cli.live import watch
from bnas_bench.cli.packed import export_network, pack
from bnas_bench.cli.papers import papers, reproduce
from bnas_bench.cli.plugins import budgets, check, datasets, list_all, methods, new_method, spaces
from bnas_bench.cli.questions import agreement, ranking
from bnas_bench.cli.runs import compare, export, power, report, run, table
from bnas_bench.cli.status import remove, retime, status
from bnas_bench.cli.streams import outputs, sentence
from bnas_bench.cli.tables import tabulate, truth
from bnas_bench.cli.transfer import transfer
from bnas_bench.core.errors import BadValue, BenchError

COMPLETE = "_BNAS_BENCH_COMPLETE"
"""The variable by which a shell asks for completions."""


class Commands(click.Group):
    """A group that lists its commands in the order they are added, and ends errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        groups.write(self, formatter)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        if COMPLETE in os.environ:  # click answers the shell in bytes
            return super().main(*args, **kwargs)
        with outputs():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        try:
            with _limits():
                return super().invoke(ctx)
        except BenchError as error:
            click.echo(f"bnas-bench: {sentence(error)}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            again = "; the same command goes on from here" * (
                ctx.invoked_subcommand in ("run", "tabulate", "ranking", "transfer")
            )
            click.echo(f"bnas-bench: stopped{again}", err=True)
            ctx.exit(130)


@contextmanager
def _limits() -> Iterator[None]:
    """Within it, what a machine refuses is an error of the user; all else that is unforeseen is ours.

    Raises:
        BadValue: where a path cannot be used, or memory or the depth of calls ends.
    """
    try:
        yield
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        raise BadValue(
            f"cannot use{where or ' a file'} ({error.strerror or error}): name another path, or mend this one"
        ) from error
    except MemoryError as error:
        raise BadValue("there is not enough memory for this: ask for something smaller") from error
    except RecursionError as error:
        raise BadValue(
            "something that was read is nested too deeply: no architecture, record or option is"
        ) from error


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="bnas-bench")
def main() -> None:
    """Compare ways of searching for 1-bit convolutional networks, fairly."""


groups.add(
    main,
    *(demo, run, status, watch, cancel, retime, remove, tabulate),
    *(table, show, compare, report, export, power, truth, agreement, ranking),
    *(measure, pack, export_network, latency, latency_table, transfer),
    *(papers, reproduce, audit),
    *(list_all, methods, spaces, datasets, budgets, new_method, check),
)

"""stdout and stderr as they are found: closed, full, a pipe that nobody reads, poor in signs."""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

import click

GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma "
    "sigma tau upsilon phi chi psi omega"
)
SMALL = {chr(code): name for code, name in enumerate(GREEK.split(), start=ord("α"))}
OTHERS = """
    ϵ:epsilon ϕ:phi µ:u ∆:Delta ∑:sum ∏:prod ±:+/- ∓:-/+ ×:x ÷:/ ·:. −:- ∗:* √:sqrt ≤:<= ≥:>= ≠:!=
    ≈:~ ∼:~ ∞:inf ∈:in °:deg →:-> ←:<- ↔:<-> ⇒:=> ↑:^ ↓:v ‐:- ‑:- –:- —:- …:... •:* ‘:' ’:' “:" ”:"
    †:+ ‡:++ §:S. ♯:# ♮:= ♭:b ✓:yes ✗:no ß:ss æ:ae Æ:AE œ:oe Œ:OE ø:o Ø:O ł:l Ł:L
    ▁:_ ▂:. ▃:, ▄:- ▅:~ ▆:= ▇:* █:#
    ─:- ━:- ═:- ╴:- ╶:- ╸:- ╺:- │:| ┃:| ║:| ╵:| ╷:| ╹:| ╻:|
"""
SPELT = (
    SMALL
    | {small.upper(): name.capitalize() for small, name in SMALL.items()}
    | {pair[0]: pair[2:] for pair in OTHERS.split()}
)
"""Signs that we print or that papers' names hold, in ASCII; accents are taken off the others."""

LOST = 74
"""Exit code where stdout takes no more: EX_IOERR of sysexits.h."""

UNREAD = 141
"""Exit code where a pipe's reader has gone: what a shell makes of SIGPIPE."""


def spelt(text: str, encoding: str) -> str:
    """The text in the signs that an encoding has, others by those that it has: +/- for ±."""
    return text.encode(encoding, "bnas-bench.spelt").decode(encoding)


def sentence(text: object) -> str:
    """One line of a text that may quote anything: what is no sign to be read is shown as Python writes it."""
    line = " ".join(str(text).split())
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in line)


def _spelling(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    return "".join(map(_ascii, signs)), error.end


def _ascii(sign: str) -> str:
    bare = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    is_of_a_box = "\u2500" <= sign <= "\u257f"  # its corners and crossings
    return SPELT.get(sign) or bare or ("+" if is_of_a_box else "?")


codecs.register_error("bnas-bench.spelt", _spelling)


class Output(io.TextIOBase):
    """stdout or stderr, so that no text, no encoding and no failure ends in a traceback.

    Signs that the encoding lacks are spelt out. Control characters other than colours (and, on
    stderr, what moves bars) are shown, not sent: names and reasons come from files of others. It has
    no `buffer`, in which click would write UTF-8 to an ASCII terminal.

    stdout that fails ends the command; stderr that fails ends nothing, as a grid of hours must not
    depend on who watches it.
    """

    def __init__(self, stream: TextIO | None, *, is_answer: bool) -> None:
        self.stream, self.is_answer = stream, is_answer
        self.is_lost = False
        colours = "m" if is_answer else "A-Za-z"
        self.control = re.compile(
            rf"(\x1b\[[\d;?]*[{colours}])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
        )

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    def write(self, text: str) -> int:
        plain = self.control.sub(lambda found: found[1] or repr(found[0])[1:-1], text)
        with self._failing():
            if self.stream is None:
                raise OSError(errno.EBADF, "it is closed")
            self.stream.write(spelt(plain, self.encoding))
        return len(text)

    def flush(self) -> None:
        with self._failing():
            if self.stream is not None:
                self.stream.flush()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            was_lost, self.is_lost = self.is_lost, True
            self._drain()
            if was_lost or not self.is_answer:
                return
            if isinstance(error, BrokenPipeError):
                raise SystemExit(UNREAD) from None
            click.echo(
                f"bnas-bench: cannot print to stdout ({error.strerror or error}): send it elsewhere, or "
                "make room; what is in files by now is whole",
                err=True,
            )
            raise SystemExit(LOST) from None

    def _drain(self) -> None:
        """Let what could not be written go nowhere: Python tries again at its end, and complains."""
        with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), self.fileno())


@contextmanager
def outputs() -> Iterator[None]:
    """Within it stdout and stderr are `Output`s.

    Those that are closed are kept from being given to the next file that is opened: what libraries
    print would be written into a record.
    """
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(free, True)
    os.close(free)
    with (
        redirect_stdout(Output(sys.stdout, is_answer=True)),
        redirect_stderr(Output(sys.stderr, is_answer=False)),
    ):
        yield

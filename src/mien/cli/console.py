"""What the verbs share: answers on stdout, progress and remarks on stderr, flags from dataclasses."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mien.core import io
from mien.core.config import suggest
from mien.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress

    from mien.engine.task import Clock
    from mien.engine.trainer import Watcher

T = TypeVar("T")


def parse(cls: type[T], argv: Sequence[str], prog: str, default: T | None = None, description: str = "") -> T:
    """Flags from a dataclass (tyro).

    Raises:
        ConfigError: an unknown flag or a value that does not fit, in one line with a suggestion.
    """
    import tyro

    noise = StringIO()
    try:
        with contextlib.redirect_stderr(noise):
            return tyro.cli(  # type: ignore[no-any-return,call-overload]
                tyro.conf.AvoidSubcommands[cls],  # type: ignore[misc,valid-type]
                args=list(argv),
                default=default,
                prog=f"mien {prog}",
                description=description or cls.__doc__ or "",
                config=(tyro.conf.FlagConversionOff,),
            )
    except SystemExit as leaving:
        if not leaving.code:
            raise
        raise ConfigError(f"{_one_line(noise.getvalue())} (all flags: mien {prog} --help)") from None


def _one_line(box: str) -> str:
    """The flag parser's framed message as one line, with its first suggestion only."""
    words = " ".join(re.sub(r"[\u2500-\u257f]", " ", box).split())
    message, _, hint = words.partition("Perhaps you meant:")
    message = re.split(r"For full helptext", message)[0]
    # The frame's title says the same as the text or introduces it.
    message = re.sub(r"^(Unrecognized options|Parsing error|Value error) ", "", message.strip())
    flag = re.search(r"--\S+", hint)
    return f"{message}; did you mean {flag[0]}?" if flag else message


def take(argv: Sequence[str], flag: str, default: str | None = None) -> tuple[str | None, list[str]]:
    """The value of ``--flag VALUE`` or ``--flag=VALUE`` and the other words."""
    rest, value, words = [], default, iter(argv)
    for word in words:
        if word == flag:
            value = next(words, None)
            if value is None:
                raise ConfigError(f"{flag} needs a value")
        elif word.startswith(f"{flag}="):
            value = word.split("=", 1)[1]
        else:
            rest.append(word)
    return value, rest


def peek(argv: Sequence[str], flag: str, default: str | None = None) -> str | None:
    """The value of a flag, left in place."""
    return take(argv, flag, default)[0]


def take_switch(argv: Sequence[str], flag: str) -> tuple[bool, list[str]]:
    """Whether a bare switch such as ``--json`` is there, and the other words."""
    return flag in argv, [w for w in argv if w != flag]


def take_method(argv: Sequence[str], verb: str) -> tuple[str, list[str]]:
    """The first word, which must be a method."""
    from mien.core.catalogue import methods

    if argv and argv[0] in ("-h", "--help"):
        show(f"usage: mien {verb} METHOD ...; flags of a method: mien {verb} METHOD --help")
        show(f"METHOD: {', '.join(methods())}")
        raise SystemExit(0)
    if not argv or argv[0].startswith("-"):
        raise ConfigError(f"which method? mien {verb} METHOD; METHOD is one of {', '.join(methods())}")
    return argv[0], list(argv[1:])


def check_name(kind: str, name: str, known: Sequence[str]) -> str:
    """The name, or an error with the nearest known one."""
    if name not in known:
        raise ConfigError(f"no {kind} {name!r}{suggest(name, list(known))}")
    return name


def out_json(value: Any) -> None:
    """One JSON document on stdout; NaN becomes null."""
    print(json.dumps(plain(value), ensure_ascii=False))


def plain(value: Any) -> Any:
    """Dataclasses, tuples, paths and NaN as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return io.strict(value)


def say(text: str) -> None:
    """One line for people, on stderr (stdout belongs to the answer)."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)


def show(text: str) -> None:
    """The answer for people, on stdout; names that no encoding fits are escaped."""
    print(text.encode("utf-8", "backslashreplace").decode())


def show_table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """A table on stdout; numbers to the right, words to the left."""
    import sys

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in rows[0] if rows else ():
        is_number = all(re.match(r"[+-]?[\d.]|-?$", str(row[name])) for row in rows)
        table.add_column(str(name), overflow="fold", justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(str(v) for v in row.values()))
    # Into a pipe or file there is no terminal width to keep to.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    if title:
        console.print(title, style="bold")
    console.print(table)


@contextlib.contextmanager
def progress(label: str) -> Iterator[Watcher]:
    """A progress bar on stderr for a training (none on processes other than the first)."""
    bar = _bar()
    task = bar.add_task(label, total=None)

    def watch(clock: Clock, logs: dict[str, float]) -> None:
        bar.start()  # at the first step, so that an error before it stays one line
        bar.update(task, completed=clock.step, total=clock.steps)
        if logs:
            bar.update(task, description=f"{label} loss {logs['loss']:.3f}")
        if clock.step >= clock.steps:
            bar.reset(task, total=None)

    try:
        yield watch
    finally:
        if bar.live.is_started:
            bar.stop()


@contextlib.contextmanager
def counter(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr for work that is counted: call it with (done, all)."""
    bar = _bar()
    task = bar.add_task(label, total=None)

    def count(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield count
    finally:
        if bar.live.is_started:
            bar.stop()


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = os.environ.get("RANK", "0") != "0"
    return Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True)

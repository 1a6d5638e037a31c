"""What all tabs share: models held once, errors as one line, pictures within limits."""

from __future__ import annotations

import functools
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from mien.core.errors import MienError

P = ParamSpec("P")
R = TypeVar("R")
KEPT_SECONDS = 600
"""Uploads and what was made of them are deleted after so long."""
_LOADING = threading.Lock()


def model(name: str) -> Any:
    """The predictor of shipped weights; loaded once, by whoever asks first."""
    with _LOADING:
        return _loaded(name)


@functools.cache
def _loaded(name: str) -> Any:
    import mien

    return mien.load(name)


def told(function: Callable[P, R]) -> Callable[P, R]:
    """What goes wrong becomes one line on the page; a bug says that it is one, without its details."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        import gradio as gr

        try:
            return function(*args, **kwargs)
        except MienError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from None

    return guarded


def needed(value: R | None, what: str) -> R:
    """A value, or one line that asks for it.

    Raises:
        MienError: there is none.
    """
    if value is None:
        raise MienError(f"give {what} first")
    return value


def picture(path: str | None, what: str) -> Any:
    """An uploaded picture as uint8 RGB, within the limits of `mien.core.limits`.

    Raises:
        MienError: none was given, or it cannot be read.
    """
    from mien.core.images import read_image

    return read_image(Path(needed(path, what)), name=Path(str(path)).name)


@functools.cache
def _workplace() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mien-studio-")


def scratch() -> Path:
    """A new folder for what is made; those older than `KEPT_SECONDS` are deleted, all when the page ends."""
    root = Path(_workplace().name)
    for old in root.iterdir():
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=root))


def percent(value: float) -> str:
    """A share as text.

    >>> percent(0.1234)
    '12.3 %'
    """
    return f"{100 * value:.1f} %"

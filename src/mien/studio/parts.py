"""What all tabs share: models held once, errors as one line, pictures within limits."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from mien.core.errors import MienError

P = ParamSpec("P")
R = TypeVar("R")
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


def percent(value: float) -> str:
    """A share as text.

    >>> percent(0.1234)
    '12.3 %'
    """
    return f"{100 * value:.1f} %"

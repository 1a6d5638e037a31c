"""What all tabs share: models held once, errors as one line, limits, progress and an end of long work."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from mien.core.errors import ConfigError, LimitError, MienError

P = ParamSpec("P")
R = TypeVar("R")
KEPT_SECONDS = 600
"""Uploads and what was made of them are deleted after so long."""
WORK_SECONDS = 240
"""Work that takes longer is ended at its next step."""
HEAVY: dict[str, Any] = {"concurrency_id": "heavy", "concurrency_limit": 1}
"""Of events that take long or much memory: one of them at a time, whoever asks."""
_SHOWN_SECONDS = 20.0  # of an error
_MOVED_SECONDS = 5.0  # that an uploaded file may take to its place
_LOG = logging.getLogger(__name__)
_LOADING = threading.Lock()
_ENDED: set[str] = set()


def model(name: str) -> Any:
    """The predictor of shipped weights; loaded once, by whoever asks first."""
    with _LOADING:
        return _loaded(name)


@functools.cache
def _loaded(name: str) -> Any:
    import mien

    return mien.load(name)


def told(function: Callable[P, R]) -> Callable[P, R]:
    """What goes wrong becomes one line on the page; a bug says that it is one, its details go to the log."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        import gradio as gr

        try:
            return function(*args, **kwargs)
        except MienError as error:
            raise gr.Error(str(error), duration=_SHOWN_SECONDS, print_exception=False) from None
        except gr.Error:
            raise
        except Exception:
            _LOG.exception("%s", function.__qualname__)
            said = "a fault of this program, not of yours; its terminal tells more"
            raise gr.Error(said, duration=_SHOWN_SECONDS, print_exception=False) from None

    return guarded


class Watch:
    """A long piece of work as its user sees it: a bar, and an end at their wish or when its time is over.

    Call it at each step. One piece of work of a session at a time.
    """

    def __init__(self) -> None:
        import gradio as gr

        self._bar, self._session = gr.Progress(), _session()
        self._until = time.monotonic() + WORK_SECONDS
        _ENDED.discard(self._session)

    def __call__(self, done: int, of: int, what: str) -> None:
        """Shows how far it is.

        Raises:
            MienError: its user has ended it.
            LimitError: it has taken too long.
        """
        if self._session in _ENDED:
            _ENDED.discard(self._session)
            raise MienError("ended as you asked")
        if time.monotonic() > self._until:
            raise LimitError(f"this takes more than {WORK_SECONDS} s; mien predict has no such limit")
        self._bar((done, of), desc=what)


def end_work() -> None:
    """Ends what the asking session has begun, at its next step."""
    _ENDED.add(_session())


def _session() -> str:
    """Name of the browser window that asks; empty outside of a page."""
    from gradio.context import LocalContext

    request = LocalContext.request.get(None)
    return str(getattr(request, "session_hash", None) or "")


def cancel_button(*events: Any) -> None:
    """A button that ends these events' work, or takes it out of the queue."""
    import gradio as gr

    button = gr.Button("Cancel", size="sm")
    button.click(end_work, cancels=list(events), queue=False, show_progress="hidden")


def photo_slot(label: str, height: int = 300) -> Any:
    """A place for a picture: a file, or what is in the clipboard.

    The file is handed on as it came, not decoded by gradio: our limits hold, and our errors are said.
    """
    import gradio as gr

    slot: Any = gr.Image(type="filepath", label=label, height=height, sources=["upload", "clipboard"])
    slot.preprocess = _path_of
    return slot


def face_question(label: str, verb: str) -> tuple[Any, Any, Any]:
    """A photograph, where the face in it is, and a button with a verb; another fills in `astronaut`.

    Returns:
        The picture, the box, the button.
    """
    import gradio as gr

    photo = photo_slot(label)
    box = gr.Textbox(label="Face: left, top, right, bottom in pixels (empty: the middle square)")
    with gr.Row():
        run = gr.Button(verb, variant="primary")
        gr.Button("An example").click(told(astronaut), None, [photo, box])
    return photo, box, run


def astronaut() -> tuple[str, str]:
    """Eileen Collins (NASA, public domain), and where her face is."""
    from skimage.data import astronaut as portrait

    return saved_picture(portrait(), "astronaut"), "182, 82, 268, 174"


def _path_of(payload: Any) -> str | None:
    return None if payload is None else str(payload.path)


def shown_picture(label: str, height: int | None = None, *, titled: bool = False) -> Any:
    """A place for a picture of ours, whose label is hidden if it has titles of its own.

    Gradio's button that shares with another site is not there, here and below.
    """
    import gradio as gr

    return gr.Image(
        label=label, height=height, interactive=False, show_label=not titled,
        buttons=["download", "fullscreen"],
    )  # fmt: skip


def shown_pictures(label: str, columns: int, height: int) -> Any:
    """A place for several pictures of ours with their names."""
    import gradio as gr

    return gr.Gallery(
        label=label, columns=columns, height=height, object_fit="contain", interactive=False,
        buttons=["download", "fullscreen"],
    )  # fmt: skip


def shown_film(label: str, height: int) -> Any:
    """A place for a film of ours."""
    import gradio as gr

    return gr.Video(label=label, height=height, interactive=False, buttons=["download"])


def held() -> Any:
    """What a session has made, forgotten some time after its last use."""
    import gradio as gr

    return gr.State(None, time_to_live=KEPT_SECONDS)


def saved_picture(picture: Any, name: str) -> str:
    """A picture of ours as a file, as if it had been uploaded."""
    from mien.core import io
    from mien.core.images import encode_png

    return str(io.write_bytes(scratch() / f"{name}.png", encode_png(picture)))


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

    own = arrived(path, what)
    return read_image(own, name=own.name)


def arrived(path: str | None, what: str) -> Path:
    """An uploaded file, once it is in its place: the server answers an upload before that.

    Raises:
        MienError: none was given.
    """
    own = Path(needed(path, what))
    until = time.monotonic() + _MOVED_SECONDS
    while not own.exists() and time.monotonic() < until:
        time.sleep(0.02)
    return own


def read_box(text: str) -> tuple[int, ...]:
    """Four whole numbers, or none.

    >>> read_box("1, 2, 30 40")
    (1, 2, 30, 40)

    Raises:
        ConfigError: something else.
    """
    words = text.replace(",", " ").split()
    if not words:
        return ()
    if len(words) != 4 or not all(w.isascii() and w.isdecimal() for w in words):
        raise ConfigError(f"{text!r} is no box: give left, top, right, bottom in pixels, or nothing")
    return tuple(int(w) for w in words)


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


def refreshed(folder: Path) -> None:
    """Keeps a folder of `scratch` for its time from now on."""
    os.utime(folder)


def percent(value: float) -> str:
    """A share as text.

    >>> percent(0.1234)
    '12.3 %'
    """
    return f"{100 * value:.1f} %"

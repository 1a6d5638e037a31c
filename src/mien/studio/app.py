"""The page put together, and the server that shows it to this machine alone.

Nothing is asked of any other machine: gradio's look-ups are switched off before it is imported. The server
answers only requests whose Host header is one of its own names, so that no foreign page can talk to it
through a name that points here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mien.core.config import check_range
from mien.core.errors import ConfigError, MissingPackageError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from gradio import Blocks

_OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")
_QUEUED = 64
_SESSIONS = 200  # that are remembered; the oldest are forgotten first


@dataclass(frozen=True)
class StudioOptions:
    """The web page, for this machine alone: mien studio [--port 7860]."""

    port: int = 7860
    """Where it listens."""
    host: str = "127.0.0.1"
    """Address it listens on. Another than the loopback shows it to others, without a password."""
    names: tuple[str, ...] = ()
    """Other names under which it may be asked for, when ``host`` is not the loopback."""
    upload_mb: int = 32
    """Largest file that is taken."""
    contest: str | None = None
    """Folder of a challenge (mien challenge init) for the board; else each visitor gets a small one."""

    def __post_init__(self) -> None:
        check_range("studio", "port", self.port, 1, 65535)
        check_range("studio", "upload_mb", self.upload_mb, 1, 4096)
        if self.contest is not None:
            from mien.challenge.settings import read_contest

            read_contest(self.contest)

    @property
    def hosts(self) -> list[str]:
        """Values of the Host header that are answered."""
        return [*_OWN_NAMES, *(() if self.host in _OWN_NAMES else (self.host,)), *self.names]


def quiet_gradio() -> Any:
    """Gradio, told to ask nothing of the network.

    Raises:
        MissingPackageError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import gradio
    except ImportError:
        raise MissingPackageError("mien studio needs gradio: pip install 'mien[studio]'") from None
    return gradio


def page(contest: str | None = None) -> Blocks:
    """All tabs. Models are loaded when they are first asked something.

    Args:
        contest: folder of a contest that the board shows; None: each session gets a small one.
    """
    gr = quiet_gradio()
    from mien.studio import (
        board,
        body,
        capsules,
        classify,
        faces,
        liveness,
        outcomes,
        physics,
        portrait,
        shift,
        surveillance,
    )
    from mien.studio.parts import KEPT_SECONDS

    blocks: Blocks = gr.Blocks(title="mien", analytics_enabled=False, delete_cache=(60, KEPT_SECONDS))
    with blocks:
        gr.Markdown(
            "# mien\nSystems that learn from images of people. Everything runs on this machine; what you"
            " upload is deleted after ten minutes."
        )
        with gr.Tabs():
            for tab in (
                classify,
                shift,
                faces,
                liveness,
                surveillance,
                board,
                capsules,
                portrait,
                body,
                physics,
                outcomes,
            ):
                with gr.Tab(tab.TITLE, id=tab.__name__.rpartition(".")[2]):
                    tab.build(**({"contest": contest} if tab is board else {}))
    blocks.state_session_capacity = _SESSIONS
    blocks.queue(max_size=_QUEUED, default_concurrency_limit=1)
    return blocks


def web_app(options: StudioOptions | None = None) -> FastAPI:
    """The page behind a check of the Host header; for any ASGI server."""
    options = options or StudioOptions()
    gr = quiet_gradio()
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=options.hosts, www_redirect=False)
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        page(options.contest),
        path="/",
        footer_links=[],
        max_file_size=f"{options.upload_mb}mb",
        show_error=False,
        head=f"<style>{_CSS}</style>",
        theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    )
    return mounted


def serve(options: StudioOptions) -> None:
    """Listens until it is interrupted.

    Raises:
        ConfigError: the port is taken.
    """
    import socket

    app = web_app(options)
    import uvicorn

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except OSError as error:
            raise ConfigError(f"--port {options.port}: {error.strerror}; choose another") from None
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning")


_CSS = """
.gradio-container {width: 100%; max-width: 72rem !important; margin: 0 auto; box-sizing: border-box}
.gradio-container .main, .gradio-container main, .gradio-container main > .column, .gradio-container .tabs,
.gradio-container .tab-wrapper {min-width: 0 !important; max-width: 100%; box-sizing: border-box}
.grid-wrap .thumbnail-item {max-height: 16rem}
.mien-said p {font-size: 1.15rem}
.image-frame img {width: 100% !important; height: 100% !important; object-fit: contain !important}
@media (max-width: 30rem) {
  .gradio-container .main {padding: .5rem !important}
  .gradio-container main {padding: 0 !important}
}
@media (min-width: 200rem) {.gradio-container {zoom: 1.4; max-width: 112rem !important}}
"""

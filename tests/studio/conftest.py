"""The studio served to a real browser, and files for its tabs."""

from __future__ import annotations

import contextlib
import gc
import shutil
import socket
import threading
import time

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@contextlib.contextmanager
def served(**options):
    """The page on a free port of the loopback, in a thread of this process; yields its URL."""
    import uvicorn

    from mien.studio.app import StudioOptions, web_app

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = web_app(StudioOptions(port=port, **options))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not server.started and time.monotonic() < until:
        time.sleep(0.05)
    assert server.started
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(autouse=True, scope="module")
def loops_collected():
    """Event loops that gradio leaves open are told of here, where the modules look away."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Pictures for the tabs by name; ``broken`` is none."""
    from skimage.data import astronaut

    from mien.synth import portrait

    folder = tmp_path_factory.mktemp("files")
    ground = np.full((64, 64, 3), 255, np.uint8)
    ground[16:56, 18:46] = 40
    disc = np.full((96, 96, 3), 255, np.uint8)
    y, x = np.mgrid[:96, :96]
    disc[(x - 48) ** 2 + (y - 48) ** 2 < 40**2] = (250, 200, 40)
    pictures = {"shirt": ground, "disc": disc, "astronaut": astronaut()}
    pictures |= {f"face{k}": portrait(k, 0, 64).rgb for k in (3, 4)}
    paths = {}
    for name, picture in pictures.items():
        paths[name] = folder / f"{name}.png"
        Image.fromarray(picture).save(paths[name])
    for name in ("broken.png", "broken.zip", "broken.mp4"):
        paths[name] = folder / name
        paths[name].write_bytes(b"nothing of the kind")
    return {name: str(path) for name, path in paths.items()}

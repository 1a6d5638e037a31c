"""Liveness from far away: a small, blurred face of a surveillance camera, or a film of one."""

from __future__ import annotations

from typing import Any

from mien.core.errors import ConfigError
from mien.studio.parts import (
    HEAVY,
    arrived,
    cancel_button,
    model,
    needed,
    percent,
    scratch,
    shown_pictures,
    told,
)

TITLE = "Far cameras"
MODEL = "cqil/small"
FRAMES = 16
_STEP = 7  # tracks between two examples


def build() -> None:
    """The tab."""
    import gradio as gr

    gr.Markdown(
        "A cut-out face as a surveillance camera sees it, or a film of one face: live or an attack (CQIL)?"
        " The model reads the quality of each frame and trusts the better ones more. Learnt from rendered"
        " people: rates on real cameras are another matter."
    )
    number = gr.State(0)
    with gr.Row():
        with gr.Column():
            given = gr.File(label="Pictures of one face, or a film of it", file_count="multiple",
                            file_types=["image", "video"])  # fmt: skip
            least = gr.Slider(0, 1, 0, step=0.05, label="Leave out frames of lower quality")
            with gr.Row():
                run = gr.Button("Judge", variant="primary")
                example = gr.Button("A rendered track")
            cancel = gr.Row()
        with gr.Column():
            said = gr.Markdown(elem_classes="mien-said")
            frames = shown_pictures("Judged frames", 4, 300)
    making = example.click(rendered_track, number, [given, number], **HEAVY)
    judging = run.click(judge, [given, least], [said, frames], **HEAVY)
    with cancel:
        cancel_button(making, judging)


@told
def judge(paths: list[str] | None, least: float) -> tuple[str, list[tuple[Any, str]]]:
    """The verdict in words, and each judged frame with what it says."""
    import shutil

    from mien.methods.cqil.config import PredictOptions
    from mien.methods.cqil.predict import read_track

    files = [arrived(p, "a picture") for p in needed(paths or None, "a picture or a film")]
    source = files[0]
    if len(files) > 1:
        source = scratch()
        for k, path in enumerate(files):
            shutil.copyfile(path, source / f"{k:04d}{path.suffix.lower()}")
    options = PredictOptions(frames=FRAMES, least_quality=least)
    found = model(MODEL).predict(source, options=options)[0]
    if found.probability is None:
        raise ConfigError(f"not judged: {found.status.replace('_', ' ')}; a face of 16 pixels or more does")
    moments, _ = read_track(source, FRAMES)
    shown = [(moments[f.frame].pictures["rgb"], _frame(f)) for f in found.frames]
    return explained(found), shown


def _frame(frame: Any) -> str:
    return f"live {percent(frame.probability)}, quality {percent(frame.quality)}"


def explained(found: Any) -> str:
    """A result in words."""
    word = "Live" if found.live else "Attack"
    text = (
        f"**{word}**: {percent(found.probability)} live, threshold {percent(found.threshold)} ({found.rule})."
        f" {len(found.frames)} {'frame' if len(found.frames) == 1 else 'frames'}"
    )
    text += "" if found.quality is None else f" of mean quality {percent(found.quality)}"
    return f"{text}. {found.note}".strip()


@told
def rendered_track(number: int) -> tuple[list[str], int]:
    """Frames of a rendered track, and the number of the next one. The first time some seconds."""
    import numpy as np

    from mien.core import io
    from mien.core.images import encode_png
    from mien.data.surveil_sets import demo_pictures
    from mien.methods.cqil.score import track_places

    images = demo_pictures(model(MODEL).data)
    place, first = track_places(images)
    rows = np.flatnonzero(place == number * _STEP % len(first))
    folder = scratch()
    paths = [
        str(io.write_bytes(folder / f"{k}.png", encode_png(images.pictures[row])))
        for k, row in enumerate(rows)
    ]
    return paths, number + 1

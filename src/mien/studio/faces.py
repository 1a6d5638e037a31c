"""Two faces: one person or two? And who of a gallery is it?"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

from mien.core.errors import ConfigError
from mien.studio.parts import (
    HEAVY,
    arrived,
    cancel_button,
    model,
    needed,
    photo_slot,
    picture,
    saved_picture,
    shown_picture,
    told,
)

TITLE = "Faces"
MODELS = {"student by GKD": "gkd/small", "student by URFM + APT": "cakd/small"}
LARGEST_GALLERY = 200
_FIRST = "student by GKD"


def build() -> None:
    """The tab."""
    import gradio as gr

    gr.Markdown(
        "Faces that are already cropped. The models are small and learnt from rendered people: an example of"
        " the method, not a way to identify anybody."
    )
    which = gr.Radio(list(MODELS), value=_FIRST, label="Model")
    with gr.Row():
        first, second = photo_slot("First face", 260), photo_slot("Second face", 260)
    with gr.Row():
        verify = gr.Button("Compare", variant="primary")
        same = gr.Button("Example: one person")
        other = gr.Button("Example: two people")
    said = gr.Markdown(elem_classes="mien-said")
    threshold = gr.Slider(-1, 1, value=0.3, step=0.01, label="Threshold (cosine)")
    with gr.Row():
        own = gr.Button("Use the model's own threshold")
        draw = gr.Button("Draw its errors (DET curve)")
    score, is_drawn = gr.State(None), gr.State(False)
    with gr.Row():
        rates = gr.Markdown()
        curve = shown_picture("Errors at all thresholds, the point at yours", 420, titled=True)
    verify.click(compare, [first, second, which, threshold], [score, said])
    threshold.change(verdict, [score, threshold], said, show_progress="hidden", trigger_mode="always_last")
    for event in (threshold.change, which.change):
        event(
            redrawn,
            [is_drawn, which, threshold],
            [curve, rates],
            show_progress="hidden",
            trigger_mode="always_last",
        )
    own.click(own_threshold, which, threshold)
    drawing = draw.click(det, [which, threshold], [curve, rates, is_drawn], **HEAVY)
    cancel_button(drawing)
    same.click(one_person, None, [first, second])
    other.click(two_people, None, [first, second])
    with gr.Accordion("Search a gallery", open=False):
        gallery = gr.File(
            file_count="multiple",
            label=f"Known people: pictures named after them, at most {LARGEST_GALLERY}",
            file_types=["image"],
        )
        search = gr.Button("Search for the first face")
        table = gr.Dataframe(
            interactive=False, headers=["person", "cosine"], datatype=["str", "number"], label="Nearest"
        )
        search.click(find, [first, gallery, which], table)


@told
def compare(first: str | None, second: str | None, which: str, threshold: float) -> tuple[float, str]:
    """The cosine of two faces, and the verdict at a threshold."""
    a, b = picture(first, "the first face"), picture(second, "the second face")
    found = model(MODELS[which]).predict(a, b)[1]
    if found.similarity is None:
        raise ConfigError(f"the faces cannot be compared: {found.status.replace('_', ' ')}")
    return float(found.similarity), verdict(float(found.similarity), threshold, found.note)


def verdict(score: float | None, threshold: float, note: str = "") -> str:
    """What a cosine means at a threshold.

    >>> verdict(0.5, 0.3)
    '**Same person**: cosine 0.500 is at or above 0.30.'
    """
    if score is None:
        return ""
    same = score >= threshold
    text = f"cosine {score:.3f} is {'at or above' if same else 'below'} {threshold:.2f}."
    return f"**{'Same person' if same else 'Different people'}**: {text}{' ' + note if note else ''}"


@told
def own_threshold(which: str) -> float:
    """The model's own threshold."""
    from mien.engine.face_options import PredictOptions

    value, _ = model(MODELS[which]).threshold(PredictOptions())
    return float(needed(value, "a threshold: this model knows none"))


@functools.cache
def test_pairs(which: str) -> Any:
    """All pairs of 128 pictures of 16 rendered people whom no training saw. Some four seconds, once."""
    from mien.engine.face_demo import all_pairs, demo_people

    net = model(MODELS[which])
    return all_pairs(net.net, demo_people(net.data), net.data.size)


@told
def det(which: str, threshold: float) -> tuple[Any, str, bool]:
    """The DET curve of a model with the point of a threshold, its two rates, and that it is drawn."""
    from mien.core.images import read_image
    from mien.metrics import det_plot, roc_points

    pairs = test_pairs(which)
    curve = roc_points(pairs.scores, pairs.same)
    plot = det_plot({which: curve}, at=threshold)
    return read_image(plot), rates_told(curve, threshold), True


def rates_told(curve: Any, threshold: float) -> str:
    """The two rates at a threshold in words."""
    far, frr = (100 * v for v in curve.rates(threshold))
    return (
        f"At {threshold:.2f}: **{far:.2f} %** of {curve.impostors:,} pairs of two people are taken for one"
        f" (false accepts), **{frr:.2f} %** of {curve.genuine:,} pairs of one person are refused (false"
        " rejects). The people are rendered: rates on real ones are another matter."
    )


@told
def redrawn(is_drawn: bool, which: str, threshold: float) -> tuple[Any, str]:
    """The curve anew, if there is one."""
    return det(which, threshold)[:2] if is_drawn else (None, "")


@told
def one_person() -> tuple[str, str]:
    """Two pictures of a rendered person."""
    return _rendered((0, 0), (0, 1))


@told
def two_people() -> tuple[str, str]:
    """Pictures of two rendered people."""
    return _rendered((0, 0), (1, 0))


def _rendered(*shots: tuple[int, int]) -> tuple[str, str]:
    from mien.engine.face_demo import EACH, demo_people

    faces = demo_people(model(MODELS[_FIRST]).data, people=2)
    first, second = faces.pictures([person * EACH + shot for person, shot in shots])
    return saved_picture(first, "first"), saved_picture(second, "second")


@told
def find(first: str | None, files: list[str] | None, which: str) -> list[list[Any]]:
    """Nearest people of a gallery."""
    from mien.engine.face_options import PredictOptions

    known = needed(files or None, "pictures of known people")
    if len(known) > LARGEST_GALLERY:
        raise ConfigError(f"{len(known)} pictures; a gallery here has at most {LARGEST_GALLERY}")
    with tempfile.TemporaryDirectory() as folder:
        for path in (arrived(p, "a picture") for p in known):
            (Path(folder) / path.name).write_bytes(path.read_bytes())
        options = PredictOptions(gallery=Path(folder))
        found = model(MODELS[which]).predict(picture(first, "the first face"), options=options)[0]
    return [[name, round(float(cosine), 3)] for name, cosine in found.matches]

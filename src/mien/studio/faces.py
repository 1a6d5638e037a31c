"""Two faces: one person or two? And who of a gallery is it?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mien.core.errors import ConfigError
from mien.studio.parts import model, needed, picture, told

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
        first = gr.Image(type="filepath", label="First face", height=260, sources=["upload", "clipboard"])
        second = gr.Image(type="filepath", label="Second face", height=260, sources=["upload", "clipboard"])
    threshold = gr.Slider(-1, 1, value=0.3, step=0.01, label="Threshold (cosine)")
    with gr.Row():
        verify = gr.Button("Compare", variant="primary")
        own = gr.Button("Use the model's own threshold")
    said = gr.Markdown(elem_classes="mien-said")
    score = gr.State(None)
    verify.click(compare, [first, second, which, threshold], [score, said])
    threshold.change(verdict, [score, threshold], said)
    own.click(own_threshold, which, threshold)
    with gr.Accordion("Search a gallery", open=False):
        gallery = gr.File(
            file_count="multiple",
            label=f"Known people: pictures named after them, at most {LARGEST_GALLERY}",
            file_types=["image"],
        )
        search = gr.Button("Search for the first face")
        table = gr.Dataframe(headers=["person", "cosine"], datatype=["str", "number"], label="Nearest")
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


@told
def find(first: str | None, files: list[str] | None, which: str) -> list[list[Any]]:
    """Nearest people of a gallery."""
    from mien.engine.face_options import PredictOptions

    known = needed(files or None, "pictures of known people")
    if len(known) > LARGEST_GALLERY:
        raise ConfigError(f"{len(known)} pictures; a gallery here has at most {LARGEST_GALLERY}")
    with tempfile.TemporaryDirectory() as folder:
        for path in map(Path, known):
            (Path(folder) / path.name).write_bytes(path.read_bytes())
        options = PredictOptions(gallery=Path(folder))
        found = model(MODELS[which]).predict(picture(first, "the first face"), options=options)[0]
    return [[name, round(float(cosine), 3)] for name, cosine in found.matches]

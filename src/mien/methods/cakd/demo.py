"""``mien demo cakd``: a transformer, the convolutional student it taught, and where both look."""

from __future__ import annotations

from pathlib import Path

from mien.core import figures, io
from mien.engine.face_demo import compare, demo_people, verify
from mien.engine.faces import face_configs, restore
from mien.engine.show import DemoResult
from mien.engine.zoo import load_folder
from mien.methods.cakd.evaluate import restore_distiller
from mien.methods.cakd.inspection import draw_fields
from mien.methods.cakd.predict import Predictor

OURS, TEACHER = "cakd/small", "cakd/teacher"
SHOWN = "student, URFM + APT"
MODELS = {"teacher (ViT)": TEACHER, SHOWN: OURS, "student alone": "cakd/alone"}


def demo(output: Path, inputs: list[Path]) -> DemoResult:
    """Compares the shipped models on unseen people, or the user's pictures with each other."""
    if inputs:
        return verify(output / "cakd", inputs, Predictor.from_pretrained(OURS))
    folders = {label: load_folder(name) for label, name in MODELS.items()}
    ours = folders[SHOWN]
    data = face_configs(ours.recipe)[1]
    headline, html, files = compare(
        output / "cakd",
        {label: restore(folder) for label, folder in folders.items()},
        SHOWN,
        data,
        float(ours.facts["threshold"]["value"]),
    )
    trained = restore_distiller(load_folder(TEACHER), ours)
    fields = draw_fields(trained, demo_people(data, 1, 1).pictures([0])[0], data.size)
    files.append(io.write_bytes(output / "cakd" / "receptive_fields.png", fields))
    intro = (
        "<p>A small vision transformer with prompts taught a convolutional student: both gather what they see"
        " with the same local centres, and these local features are matched. Nobody below was in training."
        "</p><h3>Where the local centres look</h3>"
    )
    html = intro + figures.img(fields, "receptive fields of teacher and student") + html
    return DemoResult(headline, html, (ours.path / "weights.safetensors",), tuple(files))

"""``mien demo gkd``: the teacher, its student and the student alone, on people that none was shown."""

from __future__ import annotations

from pathlib import Path

from mien.engine.face_demo import compare, verify
from mien.engine.faces import face_configs, restore
from mien.engine.show import DemoResult
from mien.engine.zoo import load_folder
from mien.methods.gkd.predict import Predictor

OURS = "gkd/small"
MODELS = {"teacher": "gkd/teacher", "student, GKD": OURS, "student alone": "gkd/alone"}


def demo(output: Path, inputs: list[Path]) -> DemoResult:
    """Compares the shipped models on unseen people, or the user's pictures with each other."""
    if inputs:
        return verify(output / "gkd", inputs, Predictor.from_pretrained(OURS))
    folders = {label: load_folder(name) for label, name in MODELS.items()}
    ours = folders["student, GKD"]
    headline, html, files = compare(
        output / "gkd",
        {label: restore(folder) for label, folder in folders.items()},
        "student, GKD",
        face_configs(ours.recipe)[1],
        float(ours.facts["threshold"]["value"]),
    )
    intro = (
        "<p>A convolutional student with a hundredth of its teacher's parameters learned from labels and from"
        " the teacher's class logits, split into a primary group and the rest. Nobody below was in training."
        " Rendered people are drawn now; ORL are photographs.</p>"
    )
    return DemoResult(headline, intro + html, (ours.path / "weights.safetensors",), tuple(files))

"""What the demo calls the shipped nets."""

from __future__ import annotations

from mien.engine.faces import restore
from mien.engine.zoo import load_folder
from mien.methods.cakd.demo import MODELS, TEACHER
from mien.nn.face_swin import FaceSwin
from mien.nn.face_vit import FaceViT


def test_the_teacher_is_called_by_what_it_is():
    (label,) = (label for label, name in MODELS.items() if name == TEACHER)
    kind = type(restore(load_folder(TEACHER)).net)
    assert label == {FaceViT: "teacher (ViT)", FaceSwin: "teacher (Swin)"}[kind]

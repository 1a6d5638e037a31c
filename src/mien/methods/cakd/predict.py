"""The recogniser a user holds: the student alone; nothing of the teacher is left in it."""

from __future__ import annotations

from mien.engine.face_export import export_plan
from mien.engine.face_predictor import FacePredictor as Predictor
from mien.engine.face_predictor import FaceResult

__all__ = ["FaceResult", "Predictor", "export_plan"]

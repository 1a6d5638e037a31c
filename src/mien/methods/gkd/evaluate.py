"""The method's protocol: people never trained on, rendered and real, told apart by their embeddings."""

from __future__ import annotations

from mien.engine.faces import evaluate_faces as evaluate

__all__ = ["evaluate"]

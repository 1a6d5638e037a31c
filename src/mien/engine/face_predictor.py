"""The recogniser a user holds: are two faces one person, and who of a gallery is it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from mien.core import io
from mien.core.config import suggest
from mien.core.errors import ConfigError, DataError
from mien.core.images import ImageInput, read_image
from mien.data.augment import prepare
from mien.data.chosen_people import mask_pictures
from mien.data.face_check import is_grey
from mien.data.face_detector import FoundFace, aligned_face, find_faces
from mien.data.labelled import Picture
from mien.engine.face_gallery import Gallery, gallery_files, read_gallery
from mien.engine.face_options import PredictOptions
from mien.engine.faces import face_configs, restore
from mien.engine.folder import ModelFolder
from mien.engine.predictor import AbstractPredictor, default_device
from mien.nn.recognizer import Recognizer
from mien.render.alignment import TEMPLATE

CHUNK = 64
"""Pictures held at once."""
USABLE = ("ok", "several_faces", "unchecked", "too_small", "unaligned")
"""Statuses of pictures that are compared; ``blank`` and ``no_face`` are not."""
_OFF = 0.1  # of the side: how far landmarks may lie from the standard place
_FLAT = 2.0  # standard deviation of grey levels below which a picture shows nothing


@dataclass(frozen=True)
class FaceResult:
    """One picture: what it shows, and how like the first picture and the people of the gallery it is.

    Attributes:
        status: ok; several_faces (the largest was taken); unchecked (no detector looked); too_small;
            unaligned (left as it is, and not at the standard place); blank and no_face (not compared).
        similarity: cosine to the first input; None for the first, or where one of the two has no face.
        same: whether that is at or above the threshold; None without similarity or threshold.
        known: whether the nearest person of the gallery is at or above it; None without a gallery.
        matches: nearest people of the gallery with their cosines.
        threshold: in force, or None if the model knows none.
        rule: how the threshold was chosen.
        faces: how many were found; None if no detector looked.
        detector: who looked: none or mediapipe.
        aligned: whether the face was moved to the standard place.
        gallery: its size and how it was searched, or nothing.
        note: what makes the answer less sure, or nothing.
    """

    status: str
    similarity: float | None = None
    same: bool | None = None
    known: bool | None = None
    matches: tuple[tuple[str, float], ...] = ()
    threshold: float | None = None
    rule: str = ""
    faces: int | None = None
    detector: str = "none"
    aligned: bool = False
    gallery: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class _Seen:
    """A picture as the net sees it, (S, S, 3) uint8, and what is known of it."""

    face: Picture
    status: str
    faces: int | None
    aligned: bool
    note: str = ""


class FacePredictor(AbstractPredictor):
    """Compares faces with the net of a model folder.

    Args:
        folder: opened model folder.
        net: its recogniser.

    >>> mien.load("gkd").predict("a.jpg", "b.jpg")[1].same                   # doctest: +SKIP
    True
    """

    def __init__(self, folder: ModelFolder, net: Recognizer) -> None:
        self.folder, self.device = folder, default_device()
        self.net = net.to(self.device).eval()
        _, self.data = face_configs(folder.recipe)

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> Self:
        """Loads the weights."""
        return cls(folder, restore(folder))

    def predict(self, *inputs: ImageInput, options: PredictOptions | None = None) -> list[FaceResult]:
        """One result for each picture (path, bytes, PIL image, array or tensor); memory O(`CHUNK`).

        Raises:
            DataError: a picture or the gallery cannot be read.
            ConfigError: an option does not fit this model, or the detector is not there.
        """
        options = options or PredictOptions()
        threshold, rule = self.threshold(options)
        if not inputs:
            return []
        vectors, seen = self._embedded(inputs, options)
        gallery = self.gallery(options.gallery, options) if options.gallery else None
        results = [self._compared(i, seen, vectors, threshold, rule, options) for i in range(len(seen))]
        if gallery is None:
            return results
        usable = [i for i, s in enumerate(seen) if s.status in USABLE]
        found = gallery.search(vectors[usable], options.top) if usable else []
        by_place = dict(zip(usable, found, strict=True))
        text = f"{len(gallery)} pictures of {len(set(gallery.names))} people, {gallery.rule}{gallery.note}"
        return [
            replace(r, gallery=text, matches=by_place.get(i, ()), known=_known(by_place.get(i), threshold))
            for i, r in enumerate(results)
        ]

    def verify(self, a: ImageInput, b: ImageInput, *, options: PredictOptions | None = None) -> FaceResult:
        """Are these two one person? The result of the second picture."""
        return self.predict(a, b, options=options)[1]

    def embed(
        self, images: ImageInput | Sequence[ImageInput], *, options: PredictOptions | None = None
    ) -> NDArray[np.float32]:
        """(N, D) embeddings of length 1 of one picture or several; zeros for blank and faceless ones."""
        several = images if isinstance(images, (list, tuple)) else [images]
        return self._embedded(several, options or PredictOptions())[0]

    def gallery(self, folder: str | Path, options: PredictOptions | None = None) -> Gallery:
        """Embeds the known people of a folder, or reads those of a saved file.

        Pictures without a face are left out and counted.

        Raises:
            DataError: no pictures, none with a face, or a file of another model.
        """
        options = options or PredictOptions()
        path = Path(folder)
        if path.suffix == ".npz":
            return read_gallery(path, self._weights_hash())
        files = gallery_files(path)
        vectors, seen = self._embedded([file for _, file in files], options)
        kept = [i for i, s in enumerate(seen) if s.status in USABLE]
        if not kept:
            raise DataError(f"{folder}: no picture with a face among {len(files)}; check the gallery")
        left_out = len(files) - len(kept)
        note = f"; {left_out} pictures without a face left out" if left_out else ""
        found = Gallery(tuple(files[i][0] for i in kept), vectors[kept], note)
        if options.save_gallery is not None:
            found.save(options.save_gallery, self._weights_hash())
        return found

    def _weights_hash(self) -> str:
        return io.sha256(self.folder.weights)

    def threshold(self, options: PredictOptions) -> tuple[float | None, str]:
        """The threshold in force and the rule that chose it.

        Raises:
            ConfigError: the model has no threshold of that rule.
        """
        if options.threshold is not None:
            return options.threshold, "given"
        known = self.folder.facts.get("thresholds", {})
        if options.rule is not None:
            if options.rule not in known:
                hint = suggest(options.rule, list(known)) if known else "; give --threshold"
                raise ConfigError(f"this model has no threshold by the rule {options.rule!r}{hint}")
            chosen = known[options.rule]
        else:
            chosen = self.folder.facts.get("threshold")
        if chosen is None:
            return None, "none: the model was trained without validation people; give --threshold"
        return float(chosen["value"]), str(chosen["rule"])

    def _compared(
        self,
        i: int,
        seen: list[_Seen],
        vectors: NDArray[np.float32],
        threshold: float | None,
        rule: str,
        options: PredictOptions,
    ) -> FaceResult:
        """The result of input ``i``, without the gallery."""
        similarity = None
        if i and all(s.status in USABLE for s in (seen[0], seen[i])):
            similarity = float(np.clip(vectors[0] @ vectors[i], -1, 1))
        return FaceResult(
            seen[i].status,
            similarity,
            None if similarity is None or threshold is None else similarity >= threshold,
            threshold=threshold,
            rule=rule,
            faces=seen[i].faces,
            detector=options.detector,
            aligned=seen[i].aligned,
            note=seen[i].note,
        )

    def _embedded(
        self, inputs: Sequence[ImageInput], options: PredictOptions
    ) -> tuple[NDArray[np.float32], list[_Seen]]:
        """(N, D) embeddings of length 1, zero where nothing is compared, and what was seen."""
        rows, seen = [], []
        for part in self._seen(inputs, options):
            rows.append(self._forward([s.face for s in part]))
            rows[-1][[s.status not in USABLE for s in part]] = 0
            # The pixels are not needed any more.
            seen += [replace(s, face=s.face[:0]) for s in part]
        return (np.concatenate(rows) if rows else np.empty((0, 0), np.float32)), seen

    @torch.inference_mode()
    def _forward(self, faces: list[Picture]) -> NDArray[np.float32]:
        x = prepare(faces, self.data.size, 3).to(self.device)
        e = torch.nn.functional.normalize((self.net(x) + self.net(x.flip(3))).float())
        out: NDArray[np.float32] = e.cpu().numpy()
        return out

    def _seen(self, inputs: Sequence[ImageInput], options: PredictOptions) -> Iterator[list[_Seen]]:
        """Reads, looks for faces, aligns and shows as in training, some pictures at a time."""
        for first in range(0, len(inputs), CHUNK):
            pictures = [read_image(x) for x in inputs[first : first + CHUNK]]
            found: list[FoundFace | None] = [None] * len(pictures)
            if options.detector == "mediapipe":
                found = [*find_faces(pictures)]
            yield [self._look(p, f, options) for p, f in zip(pictures, found, strict=True)]

    def _look(self, picture: Picture, found: FoundFace | None, options: PredictOptions) -> _Seen:
        size = self.data.size
        status = _status(picture, found, size)
        note = ""
        if self.data.look == "colour" and status != "blank" and is_grey(picture):
            note = "a grey picture, the model was trained on colour"
        if status == "ok" and found is not None and options.align == "aligned":
            status = "unaligned" if misplaced(picture, found, size) > _OFF else status
        is_moved = found is not None and found.is_found and options.align != "aligned"
        if is_moved and found is not None:
            face = aligned_face(picture, found.points, size)
        else:
            face = (prepare([picture], size, 3)[0] * 255).round().byte().permute(1, 2, 0).numpy()
        if self.data.look == "masked":
            face = mask_pictures([face], size)[0]
        return _Seen(face, status, None if found is None else found.count, is_moved, note)


def _status(picture: Picture, found: FoundFace | None, size: int) -> str:
    """What kind of input this is; a face or picture below half the model's size is too small."""
    if picture.std() < _FLAT:
        return "blank"
    if found is None:
        return "too_small" if min(picture.shape[:2]) < size / 2 else "unchecked"
    if not found.is_found:
        return "no_face"
    if found.side < size / 2:
        return "too_small"
    return "several_faces" if found.count > 1 else "ok"


def misplaced(picture: Picture, found: FoundFace, size: int) -> float:
    """Mean distance of the landmarks from the standard place, as a part of the side, if it is only cut."""
    height, width = picture.shape[:2]
    scale = size / min(height, width)
    corner = (np.array([width, height]) * scale - size) / 2
    target = (TEMPLATE + 0.5) * (size / 112)
    return float(np.linalg.norm(found.points * scale - corner - target, axis=1).mean() / size)


def _known(matches: tuple[tuple[str, float], ...] | None, threshold: float | None) -> bool | None:
    if not matches or threshold is None:
        return None
    return matches[0][1] >= threshold

"""Finds faces and their mesh, or bodies, in pictures with MediaPipe, in an environment of its own.

MediaPipe 0.10.21 needs an older protobuf than mien, so that this file imports only numpy and mediapipe:

    python3.11 -m venv tracker
    tracker/bin/pip install --no-deps mediapipe==0.10.21
    tracker/bin/pip install "numpy<2" absl-py attrs flatbuffers "protobuf>=4.25.3,<5" \
        opencv-python-headless==4.11.0.86 matplotlib
    tracker/bin/python track_script.py IN.npz OUT.npz [--scale 4] [--pad 120]
    tracker/bin/python track_script.py IN.npz OUT.npz --body

IN holds ``images`` (N, H, W, 3) uint8 RGB. Small or tightly cut faces need --scale (each picture enlarged)
and --pad (then its border repeated that many pixels outwards); coordinates in OUT are always those of IN.

OUT, pixels with the origin at the corner of the first pixel:
    detected (N,) bool, score (N,) 0 where nothing was found, box (N, 4) x0 y0 x1 y1 of the surest face,
    faces (N,) how many were found, boxes (N, 8, 4) of the largest, larger first,
    mesh_found (N,) bool, mesh (N, 478, 3) with z in pixels too, points (N, 5, 2): the subject's right eye,
    left eye (means of the two corners), tip of the nose, right and left corner of the mouth,
    iris (N, 2, 2): centres of the right and left iris, version. NaN where nothing was found.

OUT with --body, of the most prominent person in each picture:
    pose_found (N,) bool, pose (N, 33, 3) x, y in pixels as above and visibility in [0, 1], NaN where nobody
    was found, names (33,) of these landmarks, left is the subject's, person (N, H, W) uint8 255 = person,
    version.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

CONFIDENCE = 0.5
MESH_CONFIDENCE = 0.3
FEW = ((33, 133), (362, 263), (1,), (61,), (291,))  # of the mesh: corners of the eyes, nose, mouth
IRIS = (468, 473)
MOST = 8  # boxes kept of a picture


def prepared(image: np.ndarray, scale: int, pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Enlarged bicubically, its border repeated up to a square; and where its own corner (x, y) now lies.

    A square, because the mesh is projected back as if the picture were one.
    """
    import cv2  # MediaPipe brings it

    if scale != 1:
        size = (image.shape[1] * scale, image.shape[0] * scale)
        image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    height, width = image.shape[:2]
    more = [max(height, width) - side + 2 * pad for side in (height, width)]
    before = [m // 2 for m in more]
    rows, columns = ((b, m - b) for b, m in zip(before, more, strict=True))
    square = np.pad(image, (rows, columns, (0, 0)), mode="edge")
    return np.ascontiguousarray(square), np.array(before[::-1], np.float32)


def box_of(detection: Any, size: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """x0 y0 x1 y1 of a detection, pixels of the enlarged picture without its border."""
    box = detection.location_data.relative_bounding_box
    low = np.array([box.xmin, box.ymin]) * size
    high = low + np.array([box.width, box.height]) * size
    return np.concatenate([low - corner, high - corner])


def track(images: np.ndarray, scale: int = 1, pad: int = 0) -> dict[str, np.ndarray]:
    """The arrays of OUT. About 0.06 s a picture."""
    import mediapipe as mp

    n = len(images)
    out = {
        "detected": np.zeros(n, bool),
        "score": np.zeros(n, np.float32),
        "box": np.full((n, 4), np.nan, np.float32),
        "faces": np.zeros(n, np.int64),
        "boxes": np.full((n, MOST, 4), np.nan, np.float32),
        "mesh_found": np.zeros(n, bool),
        "mesh": np.full((n, 478, 3), np.nan, np.float32),
    }
    solutions = mp.solutions
    with (
        solutions.face_detection.FaceDetection(
            model_selection=0, min_detection_confidence=CONFIDENCE
        ) as detector,
        solutions.face_mesh.FaceMesh(
            static_image_mode=True,
            refine_landmarks=True,
            max_num_faces=1,
            min_detection_confidence=MESH_CONFIDENCE,
        ) as mesh,
    ):
        for k, image in enumerate(images):
            large, corner = prepared(image, scale, pad)
            size = np.array([large.shape[1], large.shape[0]], np.float32)
            found = detector.process(large).detections
            if found:
                boxes = [box_of(d, size, corner) / scale for d in found]
                best = max(range(len(found)), key=lambda i: found[i].score[0])
                out["detected"][k] = True
                out["score"][k] = found[best].score[0]
                out["box"][k] = boxes[best]
                out["faces"][k] = len(found)
                boxes.sort(key=lambda b: (b[0] - b[2]) * (b[3] - b[1]))
                out["boxes"][k, : len(boxes)] = boxes[:MOST]
            faces = mesh.process(large).multi_face_landmarks
            if faces:
                points = np.array([[p.x, p.y, p.z] for p in faces[0].landmark], np.float32)
                points *= np.array([size[0], size[1], size[0]])
                points[:, :2] -= corner
                out["mesh_found"][k] = True
                out["mesh"][k] = points / scale
    out["points"] = np.stack([out["mesh"][:, list(i), :2].mean(1) for i in FEW], 1)
    out["iris"] = out["mesh"][:, list(IRIS), :2]
    out["version"] = np.array(mp.__version__)
    return out


def bodies(images: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of OUT with --body. About 0.2 s a picture."""
    import mediapipe as mp

    (n, height, width), pose = images.shape[:3], mp.solutions.pose
    names = [mark.name.lower() for mark in pose.PoseLandmark]
    out = {
        "pose_found": np.zeros(n, bool),
        "pose": np.full((n, len(names), 3), np.nan, np.float32),
        "person": np.zeros((n, height, width), np.uint8),
        "names": np.array(names),
        "version": np.array(mp.__version__),
    }
    with pose.Pose(
        static_image_mode=True, enable_segmentation=True, min_detection_confidence=CONFIDENCE
    ) as finder:
        for k, image in enumerate(images):
            found = finder.process(image)
            if found.pose_landmarks:
                out["pose_found"][k] = True
                out["pose"][k] = [
                    (p.x * width, p.y * height, p.visibility) for p in found.pose_landmarks.landmark
                ]
                out["person"][k] = np.rint(255 * found.segmentation_mask)
    return out


def read(path: Path) -> np.ndarray:
    """``images`` of IN, checked."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            images: np.ndarray = archive["images"]
    except KeyError:
        raise SystemExit(f"{path}: holds no array 'images'") from None
    except Exception as error:  # damaged archives raise nearly anything
        raise SystemExit(f"{path}: cannot read ({error})") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape[1:]:
        raise SystemExit(f"{path}: images are {images.dtype} {images.shape}; expected uint8 (N, H, W, 3)")
    return images


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Whole or not at all."""
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        part = Path(name)
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except OSError as error:
        raise SystemExit(f"{path}: cannot write ({error.strerror or error})") from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog=Path(sys.argv[0]).name, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path, metavar="IN.npz")
    parser.add_argument("output", type=Path, metavar="OUT.npz")
    parser.add_argument("--scale", type=int, default=1, help="whole number of times to enlarge, 1 to 16")
    parser.add_argument("--pad", type=int, default=0, help="pixels to repeat the border after it, 0 to 1024")
    parser.add_argument("--body", action="store_true", help="find bodies, not faces")
    given = parser.parse_args(arguments)
    if not 1 <= given.scale <= 16 or not 0 <= given.pad <= 1024:
        raise SystemExit(f"--scale {given.scale} --pad {given.pad}: outside 1..16 and 0..1024")
    images = read(given.input)
    try:
        arrays = bodies(images) if given.body else track(images, given.scale, given.pad)
    except ImportError as error:
        raise SystemExit(f"{error}; this needs its own environment: python {__file__} --help") from None
    write(given.output, arrays)
    found, what = ("pose_found", "bodies") if given.body else ("detected", "faces")
    sys.stderr.write(f"{len(images)} pictures, {int(arrays[found].sum())} {what}\n")


if __name__ == "__main__":
    main()

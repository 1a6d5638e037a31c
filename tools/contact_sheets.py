"""Draws the contact sheets of docs/people: what the made people look like, unpicked.

    python tools/contact_sheets.py docs/people

heads.jpg: 64 identities; one_person.jpg: one identity under 16 nuisances; attacks.jpg: live and each
instrument in colour, depth and near infrared; bodies.jpg: dressed people, front and back, with normals;
severity.jpg: what a surveillance camera leaves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.core import io
from mien.synth.attacks import SPECIES, present
from mien.synth.face import FINE
from mien.synth.full_body import make_body, photograph_body, sample_view
from mien.synth.looks import sample_shot
from mien.synth.portraits import make_face, photograph, portrait, sample_actions
from mien.synth.poses import sample_pose
from mien.synth.sensors import Sensor, depth_picture
from mien.synth.sheet import contact_sheet
from mien.synth.surveillance import surveil

LIMIT = 400_000
Picture = NDArray[np.uint8]


def save(pictures: list[Picture], columns: int, path: Path) -> None:
    """One sheet, at the best JPEG quality that keeps it below 400 kB."""
    sheet = Image.fromarray(contact_sheet(pictures, columns))
    for quality in range(92, 40, -4):
        with io.new_file(path) as part:
            sheet.save(part, format="jpeg", quality=quality, optimize=True)
        if path.stat().st_size <= LIMIT:
            break
    print(f"{path}: {sheet.size[0]} x {sheet.size[1]}, {path.stat().st_size // 1000} kB, quality {quality}")


def heads() -> list[Picture]:
    """Identities 0 .. 63."""
    return [portrait(n, 0, 144).rgb for n in range(64)]


def one_person() -> list[Picture]:
    """Identity 3 under nuisances 0 .. 15."""
    person = make_face(3, FINE)
    return [
        photograph(person, sample_shot(1000 + k, 0.35), 160, sample_actions(1000 + k), FINE).rgb
        for k in range(16)
    ]


def attacks() -> list[Picture]:
    """Live and every instrument of subject 11: colour, depth, infrared."""
    out: list[Picture] = []
    for k, species in enumerate(("live", *SPECIES)):
        scene = present(11, species, 144, 40 + k)
        seen = Sensor.device(1).capture(scene, k)
        ir = (np.clip(seen.ir, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
        out += [seen.rgb, *(np.repeat(x[..., None], 3, 2) for x in (depth_picture(seen.depth), ir))]
    return out


def bodies() -> list[Picture]:
    """Six dressed people: front, back, normals of both."""
    out: list[Picture] = []
    for n in range(6):
        body = make_body(n)
        kind: Any = ("standing", "walking", "arms")[n % 3]
        pose = sample_pose(n, kind)
        front, back = (
            photograph_body(body, pose, sample_view(n, 384, 256, y), 3) for y in (0.35, 0.35 + np.pi)
        )
        out += [front.rgb, back.rgb, *(_normals(p) for p in (front, back))]
    return out


def _normals(picture: Any) -> Picture:
    shown = (picture.normal + 1) * 127.5 * (picture.layer > 0)[..., None]
    return np.asarray(shown.astype(np.uint8))


def severity() -> list[Picture]:
    """Three people, three cameras, six severities."""
    out: list[Picture] = []
    for n, camera in enumerate(("C3", "C5", "C7")):
        picture = portrait(20 + n, 0, 160).rgb
        out += [surveil(picture, q, camera, n)[0] for q in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    return out


SHEETS = {"heads": (heads, 8), "one_person": (one_person, 8), "attacks": (attacks, 6), "bodies": (bodies, 8),
          "severity": (severity, 6)}  # fmt: skip


def main(words: Iterable[str]) -> None:
    """Draws all sheets, or those named after the folder."""
    folder, *names = words
    for name in names or SHEETS:
        draw, columns = SHEETS[name]
        save(draw(), columns, Path(folder) / f"{name}.jpg")


if __name__ == "__main__":
    main(sys.argv[1:])

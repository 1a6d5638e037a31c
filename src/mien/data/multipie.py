"""CMU Multi-PIE: ``session01/multiview/ID/EXPRESSION/CAMERA/ID_ss_ee_cam_ll.png``; needs a licence.

Gross et al., Multi-PIE, 2010: 337 people, 15 views, 19 lights.
"""

from __future__ import annotations

import re
from pathlib import Path

from mien.core.errors import DataError
from mien.data.capsule_files import FaceFile, Part, split_people

MULTIPIE_PEOPLE = 337
MULTIPIE_SIDE = 480
"""The square that is cut from the middle of a picture of 640 x 480 pixels."""
YAW = {
    "110": 90.0, "120": 75.0, "090": 60.0, "080": 45.0, "130": 30.0, "140": 15.0, "051": 0.0,
    "050": -15.0, "041": -30.0, "190": -45.0, "200": -60.0, "010": -75.0, "240": -90.0,
}  # fmt: skip
"""Degrees of the cameras at the height of the head; the two above it, 081 and 191, are left out."""
_NAME = re.compile(r"(\d{3})_(\d{2})_(\d{2})_(\d{3})_(\d{2})\.png", re.IGNORECASE)


def multipie_all(root: Path) -> list[tuple[str, float, Path]]:
    """Person, degrees of yaw and path of every picture. O(files).

    Raises:
        DataError: no pictures, or a name that says nothing.
    """
    out = []
    for path in sorted(root.glob("session0?/multiview/*/*/*/*.png")):
        found = _NAME.fullmatch(path.name)
        if found is None or found[1] != path.parents[2].name:
            raise DataError(f"{path}: not named PERSON_session_recording_camera_light.png; fetch it again")
        if found[4] in YAW:
            out.append((found[1], YAW[found[4]], path))
    if not out:
        raise DataError(f"{root}: no session01/multiview/001/01/05_1/*.png; give the folder of the sessions")
    return out


def multipie_files(root: Path, part: Part, seed: int = 0, widest: float = 60.0) -> list[FaceFile]:
    """Pictures of the people of a part with at most ``widest`` degrees of yaw. O(files).

    Raises:
        DataError: see `multipie_all`.
    """
    everything = multipie_all(root)
    people = sorted({who for who, *_ in everything})
    own = set(split_people(people, seed, part))
    return [
        FaceFile(path, people.index(who), yaw)
        for who, yaw, path in everything
        if who in own and abs(yaw) <= widest
    ]

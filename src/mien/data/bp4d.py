"""BP4D-Spontaneous: frames of 41 people in 8 tasks, ``F001/T1/0001.jpg``; needs a licence.

Zhang et al., BP4D-Spontaneous: a high-resolution spontaneous 3D dynamic facial expression database, 2014.
"""

from __future__ import annotations

import re
from pathlib import Path

from mien.core.errors import DataError
from mien.data.capsule_files import FaceFile, Part, pictures_in, split_people

BP4D_PEOPLE, BP4D_TASKS = 41, 8
BP4D_SIDE = 1040
"""The square that is cut from the middle of a frame of 1,040 x 1,392 pixels."""
_PERSON, _TASK = re.compile(r"[FM]\d{3}"), re.compile(r"T\d")


def bp4d_people(root: Path) -> list[str]:
    """Folders of people.

    Raises:
        DataError: none.
    """
    names = sorted(f.name for f in root.iterdir() if f.is_dir() and _PERSON.fullmatch(f.name))
    if not names:
        raise DataError(f"{root}: no folders F001 .. M018 of people; give the folder that holds them")
    return names


def bp4d_files(root: Path, part: Part, seed: int = 0) -> list[FaceFile]:
    """Frames of the people of a part; people are numbered over the whole set. O(files).

    Raises:
        DataError: no people, or one without frames.
    """
    names = bp4d_people(root)
    files = []
    for name in split_people(names, seed, part):
        tasks = sorted(f for f in (root / name).iterdir() if f.is_dir() and _TASK.fullmatch(f.name))
        own = [FaceFile(path, names.index(name)) for task in tasks for path in pictures_in(task)]
        if not own:
            raise DataError(f"{root / name}: no frames in T1 .. T{BP4D_TASKS}; fetch this person again")
        files += own
    return files

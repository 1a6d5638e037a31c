"""Runs `mien.data.track_script` from its file, in MediaPipe's own environment, where mien is not installed.

    tracker/bin/python tools/track.py IN.npz OUT.npz [--scale 4] [--pad 120]

How to make that environment: tools/track.py --help.
"""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "src" / "mien" / "data" / "track_script.py"

if __name__ == "__main__":
    runpy.run_path(str(SCRIPT), run_name="__main__")

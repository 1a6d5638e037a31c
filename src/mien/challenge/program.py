"""The scoring program of a Codabench bundle, ``python3 score.py INPUT OUTPUT``, with numpy only.

``INPUT/ref`` holds dev.csv, perhaps test.csv, and rules.json; ``INPUT/res`` the unpacked submission. Written
are ``OUTPUT/scores.json``, ``scores.txt`` and ``detailed_results.html``; a submission that is not valid
leaves nothing there, one line on stderr, and exit code 2.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mien.challenge.references import Reference
from mien.challenge.reports import flat_json, report_page, scores_text
from mien.challenge.scoring import Rules, score_files
from mien.challenge.submissions import from_folder
from mien.core import io
from mien.core.errors import MienError


def main(argv: Sequence[str]) -> int:
    """Scores what lies in the first folder and writes into the second.

    Args:
        argv: INPUT and OUTPUT.
    """
    source, target = Path(argv[0]), Path(argv[1])
    try:
        rules = Rules(**io.read_json(source / "ref" / "rules.json"))
        found = score_files(Reference.read(source / "ref"), from_folder(source / "res", rules.files), rules)
    except MienError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    io.write_text(target / "scores.json", flat_json(found))
    io.write_text(target / "scores.txt", scores_text(found))
    io.write_text(target / "detailed_results.html", report_page(found, "Result"))
    io.write_text(target / "detailed.json", json.dumps(found.to_dict(), indent=1) + "\n")
    return 0

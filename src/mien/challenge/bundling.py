"""A challenge as a Codabench competition: one zip to upload.

The platform unpacks a submission into ``/app/input/res``, puts ``reference_N/`` beside it and calls
``score.py``; that is `mien.challenge.program` with a copy of the files of mien it needs, so the numbers are
those of `score`, with numpy and without mien.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path

from mien.challenge.competition import IMAGE, check_competition, competition, yaml_text
from mien.challenge.references import Reference
from mien.challenge.scoring import lists_of
from mien.challenge.settings import Contest, Phase, read_contest
from mien.challenge.vendoring import copy_needed
from mien.core import io
from mien.core.errors import ConfigError

_SCORE = '''"""Scores one submission: python3 score.py INPUT OUTPUT."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

from mien.challenge.program import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
'''
_METADATA = "command: python3 /app/program/score.py /app/input /app/output\n"
_OVERVIEW = """# {title}

Tell live faces from presentation attacks: masks, prints, screens. Protocol {protocol}.

{phases}
"""
_EVALUATION = """# Evaluation

A submission is a zip with {files} and no folder. Each line is `path score`; the score, in [0, 1], is the
probability of a live face. Phase 1: the lines of `dev.txt` in their order. Phase 2: all lines of `dev.txt`,
then all lines of `test.txt`.

* threshold: rule `{threshold}` on the submitted dev scores; a face is accepted as live iff score >= threshold
* APCER = attacks accepted / attacks (all labels pooled), BPCER = live faces rejected / live faces
* ACER = (APCER + BPCER) / 2 on the test lines; phase 1 judges the dev lines themselves
* ACER max takes the APCER of the worst label; `{metric}` ranks, lower is better

Scores with hardly any distinct dev values, or whose dev and test values differ grossly, are flagged. The
organisers run the winners' code again.
"""
_FORMS = {"one": "one `.txt` file", "two": "`phase1.txt` (dev lines) and `phase2.txt` (test lines)"}
_DATA = """# Data

`phase1/`: `train/` with `train_label.txt` ("path label", 1 = live), `dev/` with `dev.txt`. `phase2/`: `test/`
with `test.txt`, and `dev_label.txt`. The organisers hand out the pictures and, with phase 2, the dev labels;
the lists are in the starting kit.
"""
_TERMS = """# Terms

No data and no weights beside those the organisers allow; nobody labels dev or test pictures by hand.
Code is handed in on demand and must give the submitted scores.
"""


_LISTS = (("phase1", "train_label.txt"), ("phase1", "dev.txt"), ("phase2", "test.txt"))
"""Of the starting kits. Not the dev labels: a kit may be seen before its phase begins."""


def _pages(place: Path, contest: Contest) -> None:
    phases = "\n".join(f"* {p.name}: {p.start} to {p.end}" for p in contest.phases)
    texts = {
        "overview": _OVERVIEW.format(title=contest.title, protocol=contest.protocol, phases=phases),
        "evaluation": _EVALUATION.format(
            threshold=contest.threshold, metric=contest.metric, files=_FORMS[contest.files]
        ),
        "data": _DATA,
        "terms": _TERMS,
    }
    for name, text in texts.items():
        io.write_text(place / "pages" / f"{name}.md", text)


def _logo(contest: Contest) -> bytes:
    from mien.core.figures import COLOURS, new_figure, png

    figure, (ax,) = new_figure(1, 1, 3, 3)
    ax.set_axis_off()
    ax.scatter([0.5], [0.58], s=9000, color=COLOURS[0])
    ax.scatter([0.42, 0.58], [0.63, 0.63], s=160, color="white")
    ax.plot([0.41, 0.5, 0.59], [0.5, 0.465, 0.5], color="white", lw=4)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.text(0.5, 0.08, contest.protocol, ha="center", fontsize=18)
    return png(figure)


def _reference(place: Path, source: Path, contest: Contest, phase: Phase) -> None:
    folder = place / f"reference_{phase.number}"
    for name in ("dev.csv", "test.csv")[: phase.number]:
        io.write_bytes(folder / name, (source / "reference" / name).read_bytes())
    io.write_text(folder / "rules.json", json.dumps(asdict(contest.rules(phase.number))) + "\n")


def _kit(place: Path, source: Path, phase: Phase) -> None:
    folder = place / f"starting_kit_{phase.number}"
    shutil.copytree(source / "template", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for inner, name in _LISTS[: phase.number + 1]:
        io.write_bytes(folder / inner / name, (source / inner / name).read_bytes())


def bundle(dir: str | Path, out: str | Path, *, image: str = IMAGE) -> Path:
    """Writes a Codabench competition; everything its reader would refuse is looked for first.

    Args:
        dir: the challenge.
        out: the zip, or a folder for ``competition.zip``.
        image: container with Python 3.11 or newer and numpy.

    Raises:
        ConfigError: a setting the platform would refuse.
        DataError: no challenge in ``dir``, or a damaged reference.
    """
    source, contest = Path(dir), read_contest(dir)
    if not contest.phases:
        raise ConfigError(f"{dir}: a competition needs phases; add them to challenge.toml")
    reference = Reference.read(source)
    for phase in contest.phases:
        lists_of(reference, phase.number)
    target = Path(out) if str(out).endswith(".zip") else Path(out) / "competition.zip"
    with tempfile.TemporaryDirectory(prefix="mien-bundle-") as name:
        place = Path(name)
        _pages(place, contest)
        io.write_bytes(place / "logo.png", _logo(contest))
        io.write_text(place / "scoring_program" / "score.py", _SCORE)
        io.write_text(place / "scoring_program" / "metadata.yaml", _METADATA)
        copy_needed("mien.challenge.program", place / "scoring_program")
        for phase in contest.phases:
            _reference(place, source, contest, phase)
            _kit(place, source, phase)
        spec = competition(contest, image)
        check_competition(spec, place)
        io.write_text(place / "competition.yaml", yaml_text(spec))
        with io.new_file(target) as part:
            _zip(place, part)
    return target


def _zip(folder: Path, target: Path) -> None:
    """All files below a folder, in order, without dates: the same challenge gives the same bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())

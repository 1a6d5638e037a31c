"""``mien demo``."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.cli import console
from mien.core.errors import ConfigError, MienError

PEOPLE = "people"


@dataclass(frozen=True)
class Options:
    """Shipped models on bundled input, or on yours: mien demo [METHOD ...] [--input FILE, repeatable].

    Without names also `people`: rendered faces and a dressed body.
    """

    output: Path = Path("out/demo")
    """Folder for index.html, summary.json and the rest."""


def run(argv: Sequence[str]) -> int:
    """Runs the demo of every method, or of those named."""
    from mien.core.catalogue import method as entry_of
    from mien.core.catalogue import ready

    inputs, rest = _inputs(list(argv))
    names = []
    while rest and not rest[0].startswith("-"):
        names.append(rest.pop(0))
    options = console.parse(Options, rest, "demo")
    everything = not names
    with_people = everything or PEOPLE in names
    names = [n for n in names if n != PEOPLE]
    for name in names:
        entry_of(name).load("config")
    names = ready() if everything else names
    missing = [str(p) for p in inputs if not p.is_file()]
    if missing:
        raise ConfigError(f"--input {missing[0]}: no such file")
    began, sections, summary = time.perf_counter(), [], {}
    for name in names:
        summary[name], section = _one(name, options.output, inputs)
        sections.append(section)
    more: dict[str, Any] = {}
    if with_people:
        more[PEOPLE], section = _people(options.output)
        sections.append(section)
    from mien.core import figures, io

    links = "".join(f'<a href="#{name}">{name}</a>' for name in (*summary, *more))
    page = figures.page("mien demo", f"<nav>{links}</nav>{''.join(sections)}")
    index = io.write_text(options.output / "index.html", page)
    seconds = round(time.perf_counter() - began, 2)
    io.write_json(options.output / "summary.json", {"seconds": seconds, "methods": summary, **more})
    console.show(f"{seconds} s; open {index}")
    failed = [n for n, s in summary.items() if not s["ok"]]
    if failed:
        raise MienError(f"{', '.join(failed)} failed: {summary[failed[0]]['headline']['error']}")
    return 0


def _people(output: Path) -> tuple[dict[str, Any], str]:
    """Sixteen made faces, and one dressed person from both sides."""
    import numpy as np

    from mien.core import io
    from mien.synth.full_body import make_body, photograph_body, sample_view
    from mien.synth.maker import png
    from mien.synth.portraits import portrait
    from mien.synth.poses import sample_pose
    from mien.synth.sheet import contact_sheet

    began = time.perf_counter()
    faces = contact_sheet([portrait(n, 0, 128).rgb for n in range(16)], 8)
    body, pose = make_body(3), sample_pose(3, "standing")
    views = [photograph_body(body, pose, sample_view(3, 320, 192, yaw)) for yaw in (0.35, 0.35 + np.pi)]
    shown = [((v.normal + 1) * 127.5 * (v.layer > 0)[..., None]).astype(np.uint8) for v in views]
    sides = contact_sheet([*(v.rgb for v in views), *shown], 4)
    files = [
        io.write_bytes(output / "people" / name, png(sheet))
        for name, sheet in (("faces.png", faces), ("body.png", sides))
    ]
    seconds = round(time.perf_counter() - began, 2)
    console.show(f"people: 16 rendered faces, one dressed body ({seconds} s)")
    pictures = "".join(f'<p><img alt="{f.stem}" src="people/{f.name}"></p>' for f in files)
    names = [str(f.relative_to(output)) for f in files]
    title = f"<h2 id={PEOPLE}>people: rendered, with exact ground truth</h2>"
    text = f"{title}<p>No real person; see mien data make.</p>"
    return {"ok": True, "seconds": seconds, "files": names}, text + pictures


def _inputs(words: list[str]) -> tuple[list[Path], list[str]]:
    """Every ``--input FILE``, in order, and the other words."""
    found: list[Path] = []
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word == "--input" or word.startswith("--input="):
            value = word.partition("=")[2] or next(waiting, "")
            if not value:
                raise ConfigError("--input needs a file")
            found.append(Path(value))
        else:
            rest.append(word)
    return found, rest


def _one(name: str, output: Path, inputs: list[Path]) -> tuple[dict[str, Any], str]:
    from mien.core import io
    from mien.core.catalogue import method as entry_of

    entry, began = entry_of(name), time.perf_counter()
    title = f"<h2 id={name}>{name}: {html.escape(entry.title)}</h2>"
    try:
        result = entry.load("demo").demo(output, inputs)
    except MienError as error:
        console.show(f"{name}: failed: {error}")
        failed = {"ok": False, "seconds": 0.0, "inputs": {}, "headline": {"error": str(error)}, "files": []}
        return failed, f"{title}<p class=bad>{html.escape(str(error))}</p>"
    seconds = round(time.perf_counter() - began, 2)
    record = {
        "ok": True,
        "seconds": seconds,
        "inputs": {p.name: io.sha256(p) for p in result.inputs},
        "headline": dict(result.headline),
        "files": [str(p.relative_to(output)) for p in result.files],
    }
    text = ", ".join(f"{k} {v}" for k, v in result.headline.items())
    console.show(f"{name}: {text} ({seconds} s)")
    return record, title + result.html

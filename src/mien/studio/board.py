"""A contest of face anti-spoofing: hand in a submission, see its score, see the board."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from mien.core.errors import ConfigError
from mien.studio.parts import HEAVY, Watch, arrived, cancel_button, held, needed, refreshed, scratch, told

TITLE = "Challenge"
MODEL = "fm_vit/small"
_BOARD = ("rank", "95 % of the rank", "team", "ranks by %", "95 %", "APCER %", "BPCER %", "AUC %", "flags")
_SCORE = ["", "%", "95 % over tracks"]
PEOPLE = (1, 4, 7)
"""Rendered people of the small contest: to train, to choose a threshold, to test."""
_MAKING = threading.Lock()


def build(contest: str | None = None) -> None:
    """The tab.

    Args:
        contest: folder of a contest; None: each session gets a small one of its own.
    """
    import gradio as gr

    if contest is None:
        gr.Markdown(
            "A contest as `mien challenge` runs it: lists of pictures in, a zip of scores back, a board with"
            " intervals. This one is small, made of rendered people, and yours alone; `mien studio --contest"
            " DIR` shows a real one."
        )
    place = held() if contest is None else gr.State(contest)
    with gr.Row():
        with gr.Column():
            with gr.Row(visible=contest is None):
                kit = gr.Button("Get the kit")
                example = gr.Button("An example submission")
            archive = gr.File(label="Kit: pictures, lists, a script (zip)", visible=contest is None)
            team = gr.Textbox("my team", label="Team", max_length=64)
            sent = gr.File(label="Submission (zip of one text: path score)", file_types=[".zip"])
            run = gr.Button("Submit", variant="primary")
            cancel = gr.Row()
        with gr.Column():
            said = gr.Markdown(elem_classes="mien-said")
            score = gr.Dataframe(
                interactive=False,
                headers=_SCORE,
                column_widths=["52%", "16%", "32%"],
                label="Score",
                wrap=True,
            )
    show = gr.Button("Show the board")
    board = gr.Dataframe(interactive=False, headers=list(_BOARD), label="Board")
    getting = kit.click(kit_of, place, [place, archive], **HEAVY)
    trying = example.click(example_submission, place, [place, sent], **HEAVY)
    sending = run.click(submitted, [place, sent, team], [place, said, score, board], **HEAVY)
    show.click(standings, place, board)
    with cancel:
        cancel_button(getting, trying, sending)


@functools.cache
def _pictures() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mien-contest-")


_ITEMS: dict[str, Any] = {}


def contest_of(place: str | None) -> str:
    """The folder of a session's contest; made the first time. Some twenty seconds, once.

    The pictures are drawn once for all sessions; each has its own lists, labels and store.
    """
    from mien.challenge import Contest, Limits, Phase, init, made_items

    if place is not None and Path(place).exists():
        refreshed(Path(place).parent)
        return place
    watch = Watch()
    with _MAKING:
        if not _ITEMS:
            folder = Path(_pictures().name)
            drawing = made_items(folder, PEOPLE, watch=lambda done, of: watch(done, of, "drawing pictures"))
            _ITEMS.update(drawing)
    contest = Contest(
        title="A small contest of rendered people",
        phases=(Phase("final", 2, "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"),),
        limits=Limits(per_day=50, zip_mb=4, text_mb=4),
        draws=300,
    )
    return str(init(_ITEMS, "made", scratch() / "contest", contest=contest, media="hardlink").folder)


@told
def kit_of(place: str | None) -> tuple[str, str]:
    """What is handed out: pictures, lists and a script that writes a valid submission, as a zip."""
    own = contest_of(place)
    kit = scratch() / "kit"
    for part in ("phase1", "phase2", "template"):
        shutil.copytree(Path(own) / part, kit / part)
    return own, shutil.make_archive(str(kit), "zip", kit)


@told
def example_submission(place: str | None) -> tuple[str, str]:
    """What FM-ViT says of the pictures, as a submission."""
    from mien.challenge import predict

    own = contest_of(place)
    watch = Watch()
    done = predict(
        own, MODEL, scratch() / "fm_vit.zip", watch=lambda done, of: watch(done, of, "judging pictures")
    )
    return own, str(done.output)


@told
def submitted(place: str | None, path: str | None, team: str) -> tuple[str, str, Any, Any]:
    """Takes a submission in and scores it; what is not valid is said, and counts for nothing."""
    from mien.challenge import submit, work
    from mien.challenge.settings import read_contest
    from mien.challenge.store import FAILED, open_store
    from mien.challenge.submissions import read_zip

    zipped = arrived(path, "a submission")
    read_zip(zipped)
    own = contest_of(place)
    receipt = submit(own, zipped, team)
    work(own)
    with open_store(Path(own), read_contest(own)) as store:
        row = store.submission(receipt.id)
    if row.state == FAILED:
        raise ConfigError(f"submission {receipt.id}: {row.message}")
    if not row.scores:
        said = f"Submission {receipt.id} of {receipt.team} is queued; it is being scored by somebody else."
        return own, said, [], _board(own)
    found = json.loads(row.scores)
    return own, told_of(receipt, found), score_rows(found), _board(own)


def told_of(receipt: Any, found: dict[str, Any]) -> str:
    """A scored submission in words."""
    flags = "".join(f" Flag: {flag}." for flag in found["flags"])
    tau = found["threshold"]
    return (
        f"**Submission {receipt.id} of {receipt.team}: ACER {100 * found['acer']:.2f} %** on"
        f" {found['live']} live pictures and {found['attacks']} attacks. Threshold {tau['value']:.4g}"
        f" ({tau['rule']}). {receipt.left_today} left today.{flags}"
    )


def score_rows(found: dict[str, Any]) -> list[list[str]]:
    """The rates of a score, as the report has them."""
    from mien.challenge.reports import rate_rows

    return [list(row.values()) for row in rate_rows(found, found["intervals"])]


@told
def standings(place: str | None) -> Any:
    """The board as it is."""
    return _board(needed(place, "a submission"))


def _board(own: str) -> dict[str, Any]:
    from mien.challenge import board
    from mien.challenge.boards import html_row

    rows = [html_row(line) for line in board(own)]
    return {"headers": list(_BOARD), "data": [[row[name] for name in _BOARD] for row in rows]}

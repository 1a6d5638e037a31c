"""Pages and figures: whole, escaped, and nothing from outside."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from mien.challenge import Rules
from mien.challenge.plots import bars, histogram, ranges
from mien.challenge.reports import head_rows, report_page, scores_text
from mien.challenge.scoring import score_scores
from mien.challenge.submissions import Scores
from tests.challenge.made import worked, worked_scores


def parsed(svg):
    """An SVG is XML; its elements by name."""
    root = ElementTree.fromstring(svg)
    return lambda name: list(root.iter(name))


def test_bars_say_what_is_absent():
    found = parsed(bars([0.5, None, 0.25], ["a", "b", "c"], "t & <t>", "x"))
    assert [float(r.get("height")) for r in found("rect")] == [126, 0, 63]
    texts = [t.text for t in found("text")]
    assert texts[:2] == ["t & <t>", "50.0"]
    assert "n/a" in texts


@pytest.mark.parametrize("threshold", [0.25, float("inf")])
def test_histogram_shows_a_threshold_where_it_lies_inside(threshold):
    kinds = {"live": [0, 3, 1], "attack": [2, 0, 0]}
    found = parsed(histogram(kinds, threshold, "scores"))
    assert len(found("path")) == (4 if threshold < 1 else 3)
    assert "live (4)" in [t.text for t in found("text")]


def test_nothing_at_all_can_be_drawn():
    assert parsed(bars([None], ["a"], "t", "x"))("rect")
    assert parsed(histogram({"live": [0], "attack": [0]}, 0.5, "t"))("path")
    assert parsed(ranges([("a team", 0.0, (0.0, 0.0))], "t", "x"))("circle")


def test_ranges_lie_in_order_and_long_names_are_cut():
    found = parsed(ranges([("a" * 40, 0.2, (0.1, 0.3)), ("b", 0.4, (0.2, 0.5))], "t", "x"))
    first, second = (float(c.get("cx")) for c in found("circle"))
    assert first < second
    assert "a" * 17 + "…" in [t.text for t in found("text")]


def test_a_page_escapes_and_shows_flags():
    found = score_scores(worked(), worked_scores(), Rules(draws=10))
    page = report_page(replace(found, flags=("odd: <b>",)), "<script>")
    assert "<script>" not in page
    assert "flag: odd: &lt;b&gt;" in page
    assert "9 attacks (pictures), phase 2" in page


def test_rows_without_draws_have_no_interval():
    found = score_scores(worked(), worked_scores(), Rules(draws=0))
    assert {row["95 % over tracks"] for row in head_rows(found)} == {""}
    assert scores_text(found).splitlines()[0] == "APCER: 0.33333333"


def test_phase_one_has_a_page_too():
    found = score_scores(worked(), Scores(np.array(worked_scores().dev), None), Rules(phase=1, level="track"))
    assert "4 attacks (tracks), phase 1" in report_page(found, "one")

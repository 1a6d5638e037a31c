from __future__ import annotations

import base64
import io
import re
import sys

from PIL import Image

from mien.core import figures


def test_png_is_a_picture_and_the_same_each_time():
    def draw():
        figure, (left, right) = figures.new_figure(columns=2)
        left.plot([0, 1], [1, 0], color=figures.COLOURS[0])
        right.bar([0, 1], [2, 3])
        return figures.png(figure)

    first, second = draw(), draw()
    assert first == second
    picture = Image.open(io.BytesIO(first))
    assert picture.format == "PNG"
    assert picture.size == (1320, 396)
    assert b"matplotlib" not in first


def test_figures_leave_no_global_plotting_state():
    plots = sys.modules.get("matplotlib.pyplot")
    before = list(plots.get_fignums()) if plots else []
    figure, axes = figures.new_figure(columns=3, rows=2)
    assert len(axes) == 6
    assert len(figure.axes) == 6
    plots = sys.modules.get("matplotlib.pyplot")
    assert (list(plots.get_fignums()) if plots else []) == before


def test_colours_are_told_apart():
    assert len(set(figures.COLOURS)) == len(figures.COLOURS) >= 6
    assert all(re.fullmatch("#[0-9A-F]{6}", c) for c in figures.COLOURS)


def test_table_escapes_and_keeps_order():
    html = figures.table([{"<a>": 1, "b": "x & y"}, {"<a>": "<script>", "b": None}])
    assert html.startswith("<table><tr><th>&lt;a&gt;</th><th>b</th></tr>")
    assert "<td>x &amp; y</td>" in html
    assert "<script>" not in html
    assert html.count("<tr>") == 3
    assert figures.table([]) == ""


def test_img_holds_its_bytes_and_escapes_its_text():
    html = figures.img(b"abc", 'a "b" <c>')
    assert html == '<img alt="a &quot;b&quot; &lt;c&gt;" src="data:image/png;base64,YWJj">'


def test_video_holds_its_bytes_and_escapes_its_text():
    text = figures.video(b"\x00\x01mp4", 'a "b" <c>')
    assert base64.b64decode(text.partition("base64,")[2].partition('"')[0]) == b"\x00\x01mp4"
    assert 'aria-label="a &quot;b&quot; &lt;c&gt;"' in text
    assert "muted" in text  # browsers start no others by themselves


def test_page_is_whole_escapes_its_title_and_asks_for_nothing():
    html = figures.page("A <b>", "<p>body</p>")
    assert html.startswith("<!doctype html>")
    assert "<title>A &lt;b&gt;</title>" in html
    assert "<h1>A &lt;b&gt;</h1><p>body</p>" in html
    assert not re.search(r"https?://|src=|href=|@import|url\(", html)

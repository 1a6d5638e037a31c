from __future__ import annotations

import base64
import io
import re
import sys

import numpy as np
import pytest
from PIL import Image

from mien.core import figures
from mien.core.errors import ShapeError


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


def test_rows_of_pictures_with_names():
    grey = np.full((8, 8, 3), 128, np.uint8)
    data = figures.picture_rows([("a", [grey, grey, grey]), ("b", [grey, grey, grey])], ["x", "y", "z"])
    picture = Image.open(io.BytesIO(data))
    assert picture.size == (round(3 * 1.3 * 110), round(2 * 1.3 * 110))
    assert (np.asarray(picture.convert("RGB")) == 128).all(-1).mean() > 0.5


CORNERS = np.array([[-1.0, 0, 0], [1, 0, 0], [0, 3, 0], [0, 0, 0.5]])
FACES = np.array([[0, 1, 2], [1, 0, 3], [2, 1, 3], [0, 2, 3]])


def held_arrays(text, index):
    """Positions, colours and faces inside a viewer."""
    found = [base64.b64decode(part) for part in re.findall(r'bytes\("([^"]*)"\)', text)]
    kinds = (np.uint16, np.uint8, index)
    return [np.frombuffer(data, kind).reshape(-1, 3) for data, kind in zip(found, kinds, strict=True)]


def test_a_viewer_holds_its_mesh_and_asks_for_nothing():
    colors = np.array([[0, 0, 0], [1, 1, 1], [0.5, 0, 1], [2, -1, 0]])
    text = figures.mesh_viewer(CORNERS, FACES, colors, 'me <b> & "you"')
    positions, rgb, faces = held_arrays(text, np.uint16)
    assert np.array_equal(faces, FACES)
    assert rgb.tolist() == [[0, 0, 0], [255, 255, 255], [128, 0, 255], [255, 0, 0]]
    unit = positions / 32767.5 - 1
    middle = np.array([0, 1.5, 0.25])
    reach = np.linalg.norm(CORNERS - middle, axis=1).max()
    np.testing.assert_allclose(unit * reach + middle, CORNERS, atol=reach / 32767)
    assert np.linalg.norm(unit, axis=1).max() <= 1 + 1e-4  # whole from any side
    assert text.count("me &lt;b&gt; &amp; &quot;you&quot;") == 2
    assert "$" not in text
    assert not re.search(r"https?://|src=|href=|@import|url\(|<b>", text)


def test_large_meshes_have_wider_indices_and_pages_stay_small():
    v = np.random.default_rng(0).normal(size=(65_536, 3))
    f = np.array([[0, 1, 65_535]])
    text = figures.mesh_viewer(v, f, np.zeros_like(v), "large")
    assert "new Uint32Array(" in text
    assert np.array_equal(held_arrays(text, np.uint32)[2], f)
    v, f = v[:20_000], np.arange(120_000).reshape(40_000, 3) % 20_000
    assert len(figures.mesh_viewer(v, f, np.zeros_like(v), "usual")) < 600_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colors": np.zeros((3, 3))}, r"\(4, 3\), \(4, 3\) and \(3, 3\)"),
        ({"faces": FACES + 1}, r"outside 0 \.\. 3"),
        ({"vertices": np.zeros((0, 3)), "colors": np.zeros((0, 3))}, "needs vertices"),
    ],
)
def test_a_viewer_refuses_arrays_that_do_not_fit(change, said):
    given = {"vertices": CORNERS, "faces": FACES, "colors": np.zeros((4, 3)), "title": ""}
    with pytest.raises(ShapeError, match=said):
        figures.mesh_viewer(**{**given, **change})


def test_videos_play_on_the_screen_only_and_cards_fit_a_narrow_one():
    assert "IntersectionObserver" not in figures.page("t", "<p>no film</p>")
    shown = figures.page("t", figures.cards(f"<div class=card>{figures.video(b'x', 'a film')}</div>", 420))
    assert shown.count("IntersectionObserver") == 1
    assert "minmax(min(100%,420px),1fr)" in shown
    assert shown.endswith("</body></html>\n")

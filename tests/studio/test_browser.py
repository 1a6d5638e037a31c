"""Every tab in a real browser: its job from upload to result, a bad file, widths, dark, the keyboard.

$MIEN_STUDIO_SHOTS names a folder for the pictures of all tabs; else they are thrown away.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.studio.conftest import CHROMIUM, served

from mien.cli.main import main
from mien.core.errors import MienError
from mien.studio import board, parts

pytest.importorskip("gradio", reason="gradio is not installed (extra studio)")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)"),
    pytest.mark.xdist_group("browser"),
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning",
        "ignore::pytest.PytestUnhandledThreadExceptionWarning",
        "ignore::DeprecationWarning",
    ),  # of gradio's own event loops
]
TABS = ("Classify", "Other styles", "Faces", "Liveness", "Far cameras", "Challenge", "Parts of a face",
        "Talking head", "Body", "Physics", "Results")  # fmt: skip
SOON, LATE = 90_000, 240_000


class Visitor:
    """Somebody before a page of the studio."""

    def __init__(self, page, url):
        self.page = page
        page.goto(url)
        page.wait_for_selector("button[role=tab]")

    def reload(self, title):
        self.page.reload()
        self.page.wait_for_selector("button[role=tab]:visible")
        self.page.wait_for_timeout(1000)
        self.open(title)

    @property
    def panel(self):
        return self.page.locator("[role=tabpanel]:visible")

    def open(self, title):
        tab = self.page.get_by_role("tab", name=title, exact=True).and_(self.page.locator(":visible"))
        if tab.count() and tab.first.bounding_box()["x"] < self.page.viewport_size["width"] - 60:
            tab.first.click()
        else:
            self.page.locator(".overflow-menu > button").click()
            self.page.locator(".overflow-dropdown button", has_text=title).click()
        self.page.wait_for_timeout(300)

    def upload(self, slot, *paths):
        self.panel.locator("input[type=file]").nth(slot).set_input_files(list(paths))
        self.page.wait_for_timeout(700)

    def press(self, name):
        self.panel.get_by_role("button", name=name, exact=True).click()

    def said(self, pattern, timeout=SOON):
        words = self.panel.locator(".mien-said", has_text=re.compile(pattern))
        words.first.wait_for(timeout=timeout)
        return words.first.inner_text()

    def told(self, pattern, timeout=SOON):
        words = self.page.get_by_test_id("toast-text").filter(has_text=re.compile(pattern))
        words.first.wait_for(timeout=timeout)
        text = words.first.inner_text()
        self.page.get_by_test_id("toast-close").first.click()
        return text

    def has(self, selector, timeout=SOON):
        found = self.panel.locator(selector)
        found.first.wait_for(timeout=timeout)
        return found


@pytest.fixture(scope="module")
def url():
    with pytest.MonkeyPatch.context() as patch, served() as address:
        patch.setattr(board, "PEOPLE", (1, 2, 2))  # drawing people takes long
        yield address


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium, url):
    """A new visitor; that nothing is asked of another machine is looked at in the end."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page, foreign = context.new_page(), []
    page.on("request", lambda r: foreign.append(r.url) if is_foreign(r.url) else None)
    yield Visitor(page, url)
    context.close()
    assert foreign == []


def is_foreign(url):
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    named = os.environ.get("MIEN_STUDIO_SHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def taken(visitor, shots, name):
    working = "[...document.querySelectorAll('.progress-text')].some(e => e.offsetParent !== null)"
    visitor.page.wait_for_function(f"() => !({working})", timeout=SOON)
    visitor.page.wait_for_timeout(400)
    visitor.page.screenshot(path=shots / f"{name}.png", full_page=True)


def test_classify(visitor, files, shots):
    visitor.upload(0, files["shirt"])
    visitor.press("Classify")
    assert "experts" in visitor.said("disagreement")
    assert visitor.has("[data-testid=label-output-value]").count() == 1
    taken(visitor, shots, "job-classify")
    visitor.reload("Classify")
    visitor.upload(0, files["broken.png"])
    visitor.press("Classify")
    assert "not a picture" in visitor.told("broken.png")


def test_other_styles(visitor, files, shots):
    visitor.open("Other styles")
    visitor.upload(0, files["broken.png"])
    visitor.press("Classify")
    visitor.told("not a picture of a known format")
    visitor.press("Example of the new style")
    visitor.has("img[src*='noto.png']")
    visitor.press("Classify")
    assert "fluent and twemoji" in visitor.said("Learnt from the styles")
    visitor.press("Draw both surfaces")
    assert visitor.has(".virtual-body:has-text('ERM')", LATE).count() >= 1
    taken(visitor, shots, "job-other-styles")


def test_faces(visitor, files, shots):
    visitor.open("Faces")
    visitor.upload(0, files["face3"])
    visitor.upload(0, files["broken.png"])
    visitor.press("Compare")
    visitor.told("not a picture of a known format")
    visitor.press("Example: two people")
    visitor.has("img[src*='second.png']")
    visitor.press("Compare")
    visitor.said("Different people|Same person")
    visitor.press("Draw its errors (DET curve)")
    rates = visitor.panel.get_by_text("false accepts")
    rates.first.wait_for(timeout=LATE)
    before = rates.first.inner_text()
    visitor.panel.get_by_label("number input for Threshold (cosine)").fill("0.9")
    visitor.panel.get_by_label("number input for Threshold (cosine)").press("Enter")
    visitor.said("below 0.90")
    visitor.panel.get_by_text("At 0.90").first.wait_for(timeout=SOON)
    assert rates.first.inner_text() != before
    taken(visitor, shots, "job-faces")


def test_liveness(visitor, files, shots):
    visitor.open("Liveness")
    visitor.upload(0, files["broken.png"])
    visitor.press("Judge")
    visitor.told("not a picture of a known format")
    visitor.press("A rendered person")
    visitor.has("img[src*='ir.png']")
    visitor.press("Judge")
    visitor.said("Each camera alone")
    assert visitor.has(".thumbnail-item").count() == 3
    taken(visitor, shots, "job-liveness")


def test_far_cameras(visitor, files, shots):
    visitor.open("Far cameras")
    visitor.upload(0, files["broken.png"])
    visitor.press("Judge")
    visitor.told("not a picture of a known format")
    visitor.reload("Far cameras")
    visitor.upload(0, files["face3"])
    visitor.press("Judge")
    assert "1 frame" in visitor.said("of mean quality")
    taken(visitor, shots, "job-far-cameras")


def test_challenge(visitor, files, shots):
    visitor.open("Challenge")
    visitor.upload(0, files["broken.zip"])
    visitor.press("Submit")
    visitor.told("not a zip", LATE)
    visitor.reload("Challenge")
    visitor.press("An example submission")
    visitor.has("a[href*='fm_vit.zip']", LATE)
    visitor.press("Submit")
    assert "my team: ACER" in visitor.said("Submission 1", LATE)
    visitor.has(".virtual-body:has-text('my team')")
    taken(visitor, shots, "job-challenge")


def test_parts_of_a_face(visitor, files, shots):
    visitor.open("Parts of a face")
    visitor.upload(0, files["broken.png"])
    visitor.press("Take apart")
    visitor.told("not a picture of a known format")
    visitor.reload("Parts of a face")
    visitor.upload(0, files["astronaut"])
    visitor.panel.get_by_label("Face: left, top, right, bottom").fill("182, 82, 268, 174")
    visitor.press("Take apart")
    visitor.said("part 6")
    assert visitor.has(".thumbnail-item").count() == 12
    visitor.press("Mesh")
    visitor.has("a[href*='face.glb']")
    taken(visitor, shots, "job-parts")


def test_talking_head(visitor, files, shots):
    visitor.open("Talking head")
    visitor.press("Let it move")
    visitor.told("give the avatar its portrait first")
    visitor.upload(0, files["broken.png"])
    visitor.press("Make the avatar")
    visitor.told("not a picture of a known format", LATE)
    visitor.press("An example")
    visitor.has("img[src*='astronaut.png']")
    visitor.press("Make the avatar")
    visitor.has("[data-testid=detailed-image], .image-frame img >> nth=1", LATE)
    visitor.press("Let it move")
    assert visitor.has("video", LATE).count() >= 1
    taken(visitor, shots, "job-talking-head")


def test_body(visitor, files, shots):
    visitor.open("Body")
    visitor.upload(0, files["broken.png"])
    visitor.press("Make the avatar")
    visitor.told("not a picture of a known format")
    visitor.press("A made person")
    visitor.has("img[src*='person.png']")
    visitor.press("Make the avatar")
    assert "closed" in visitor.said("vertices", LATE)
    visitor.has("a[href*='avatar.glb']")
    taken(visitor, shots, "job-body")


def test_physics(visitor, files, shots):
    visitor.open("Physics")
    visitor.upload(0, files["broken.mp4"])
    visitor.press("Explain")
    visitor.told("give a clip first|Video not playable|broken", LATE)
    visitor.reload("Physics")
    visitor.press("A simulated example")
    visitor.has("video", LATE)
    visitor.press("Explain")
    assert "3 objects" in visitor.said("objects", LATE)
    visitor.has(".virtual-body:has-text('How many charged objects are there?')")
    visitor.press("Predict")
    visitor.page.wait_for_timeout(3000)
    taken(visitor, shots, "job-physics")


def test_results(visitor, shots):
    visitor.open("Results")
    visitor.press("Show")
    assert visitor.has("table", LATE).count()
    taken(visitor, shots, "job-results")


def test_work_can_be_ended(visitor, monkeypatch):
    ended, own = [], parts.Watch.__call__

    def noted(self, *step):
        try:
            own(self, *step)
        except MienError as error:
            ended.append(str(error))
            raise

    monkeypatch.setattr(parts.Watch, "__call__", noted)
    visitor.open("Talking head")
    visitor.press("An example")
    visitor.has("img[src*='astronaut.png']")
    visitor.press("Make the avatar")
    visitor.page.wait_for_timeout(1500)
    visitor.press("Cancel")
    for _ in range(100):
        if ended:
            break
        visitor.page.wait_for_timeout(200)
    assert ended == ["ended as you asked"]
    assert visitor.panel.locator(".progress-text:visible, .eta-bar:visible").count() == 0


@pytest.mark.parametrize(("name", "width", "scheme"), [
    ("360", 360, "light"), ("1280", 1280, "light"), ("dark", 1280, "dark"), ("3840", 3840, "light"),
])  # fmt: skip
def test_every_tab_fits_its_window(chromium, url, shots, name, width, scheme):
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    visitor = Visitor(context.new_page(), url)
    wide = {}
    for title in TABS:
        visitor.open(title)
        taken(visitor, shots, f"{name}-{title.replace(' ', '-').lower()}")
        page = "document.documentElement"
        wide[title] = visitor.page.evaluate(f"{page}.scrollWidth - {page}.clientWidth")
        assert visitor.panel.count() == 1
    context.close()
    assert {k: v for k, v in wide.items() if v > 0} == {}


def test_the_keyboard_reaches_what_is_there(visitor, files):
    visitor.upload(0, files["shirt"])
    seen = []
    for _ in range(30):
        visitor.page.keyboard.press("Tab")
        seen.append(visitor.page.evaluate("document.activeElement.innerText || ''"))
        if seen[-1] == "Classify" and len(seen) > 3 and "Results" in seen:
            break
    assert "Results" in seen
    assert seen[-1] == "Classify"
    visitor.page.keyboard.press("Enter")
    visitor.said("disagreement")


def test_the_page_of_the_demo(chromium, shots, tmp_path):
    assert main(["demo", "ncl", "people", "--output", str(tmp_path)]) == 0
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page, told, foreign = context.new_page(), [], []
    page.on("console", lambda m: told.append(m.text))
    page.on("request", lambda r: foreign.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
    page.goto((tmp_path / "index.html").as_uri())
    page.wait_for_load_state("networkidle")
    assert [h.inner_text().split(":")[0] for h in page.locator("h2").all()] == ["ncl", "people"]
    pictures = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.alt])")
    assert pictures
    assert all(width > 0 and alt for width, alt in pictures)
    page.screenshot(path=shots / "demo.png", full_page=True)
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.screenshot(path=shots / "demo-360.png", full_page=True)
    context.close()
    assert (told, foreign) == ([], [])

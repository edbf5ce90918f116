"""The page in headless Chromium: by mouse, by keyboard, on a phone, in the dark."""

import os
import pathlib
import re
import shutil

import pytest

from anw_jax import audit
from anw_jax.marks.named import STRENGTHS

pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.slow,
]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 240_000  # milliseconds, where other work keeps the machine busy


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser is installed: looked for {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else []
        with playwright.chromium.launch(
            executable_path=found, args=flags, timeout=PATIENCE
        ) as one:
            yield one


@pytest.fixture
def page(browser, client):
    """The page, which may neither fail in its script nor ask another address."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    context.set_default_timeout(PATIENCE)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: is_wrong(line) and wrong.append(line.text))
    page.on(
        "request",
        lambda sent: (
            re.match(r"data:|http://127\.0\.0\.1:", sent.url) or wrong.append(sent.url)
        ),
    )
    page.goto(client.server.address)
    yield page
    context.close()
    assert wrong == []


def is_wrong(line):
    """Refused steps are logged too, and are no error of the page."""
    return line.type == "error" and not line.text.startswith("Failed to load resource")


def text_of(page, name):
    return page.locator(f"#{name}").inner_text()


def wait_for(page, name, text):
    page.locator(f"#{name}", has_text=text).wait_for()


def test_from_a_folder_to_marked_photos_on_a_phone(page, photos, tmp_path):
    page.fill("#folder", str(photos))
    page.press("#folder", "Enter")
    wait_for(page, "open-lines", "3 photos in")
    wait_for(page, "name", "a.jpg (1 of 3)")
    assert page.input_value("#out") == f"{photos}-marked"
    assert float(page.input_value("#strength")) == STRENGTHS["light"][0]
    page.select_option("#mark", "tone")
    assert float(page.input_value("#strength")) == STRENGTHS["tone"][0]
    page.press("#strength", "End")
    assert text_of(page, "strength-value") == "0.35"
    page.click("#next")
    wait_for(page, "name", "b.png (2 of 3)")
    page.click("#preview button")
    page.locator("#job-link:not([hidden])").wait_for()
    assert "3 photos with the mark tone, strength 0.35" in text_of(page, "job-lines")
    with page.expect_popup() as popup:
        page.click("#job-link a")
    assert popup.value.title().startswith("What the mark does to your photos")
    assert popup.value.locator("figure").count() == 3
    popup.value.close()
    page.click("#close")
    page.click("#new-key")
    wait_for(page, "job-lines", "Keep it secret")
    page.click("#close")
    page.check("[name=beacon][value=none]")
    page.click("#commit > button")
    wait_for(page, "job-lines", "nothing is marked yet")
    page.click("#close")
    page.click("#mark-form > button")
    wait_for(page, "job-lines", "publish these, never the originals")
    out = pathlib.Path(f"{photos}-marked")
    assert audit.read_published(out).mark.strength == 0.35 == STRENGTHS["tone"][1]
    assert len(list((out / "published").rglob("*.*"))) == 3


def test_errors_are_shown(page, tmp_path):
    page.fill("#folder", str(tmp_path / "none"))
    page.press("#folder", "Enter")
    wait_for(page, "job-error", "is not there: give an existing folder")
    page.fill("#key", "ann.key")
    page.fill("#out", "out")
    page.click("#close")
    page.click("#commit > button")
    wait_for(page, "job-error", "choose a folder of photos first")


def test_photos_can_be_chosen_as_files(page, photos):
    page.set_input_files("#files", [photos / "a.jpg", photos / "b.png"])
    wait_for(page, "open-lines", "these are copies in a temporary folder")
    wait_for(page, "name", "a.jpg (1 of 2)")
    assert page.input_value("#out") == ""


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [320, 390, 1200])
def test_nothing_is_wider_than_the_screen_and_texts_have_contrast(page, photos, scheme, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    page.fill("#folder", str(photos))
    page.press("#folder", "Enter")
    wait_for(page, "name", "a.jpg (1 of 3)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    pairs = page.evaluate(
        """() => [...document.querySelectorAll("h1,h2,p,label,button,legend,output,pre")]
          .filter((e) => e.offsetParent && e.innerText.trim()).map((e) => {
            let under = e;
            while (getComputedStyle(under).backgroundColor === "rgba(0, 0, 0, 0)")
              under = under.parentElement;
            return [getComputedStyle(e).color, getComputedStyle(under).backgroundColor,
                    e.innerText];
          })"""
    )
    assert len(pairs) > 20
    for ink, paper, text in pairs:
        assert contrast(ink, paper) >= 4.5, (text, ink, paper)


def contrast(ink: str, paper: str) -> float:
    """The ratio of WCAG 2.2: (L1 + .05) / (L2 + .05) of relative luminances."""

    def luminance(colour: str) -> float:
        levels = [int(level) / 255 for level in re.findall(r"\d+", colour)[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(ink), luminance(paper)))
    return (high + 0.05) / (low + 0.05)


def test_everything_is_reached_by_the_keyboard(page, photos):
    page.fill("#folder", str(photos))
    page.press("#folder", "Enter")
    wait_for(page, "name", "a.jpg (1 of 3)")
    page.focus("#folder")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
        assert page.evaluate(
            """() => { const e = document.activeElement, s = getComputedStyle(e);
              const around = getComputedStyle(e.parentElement);
              return e === document.body || s.outlineStyle !== "none"
                || around.outlineStyle !== "none"; }"""
        ), "what has the focus is outlined"
    assert {
        *("tree", "files", "mark", "strength", "compare", "previous", "next", "key", "new-key"),
        *("out", "beacon", "labels", "again", "beacon-value", "strip_gps", "path"),
    } <= reached
    page.focus("#compare")
    moved = page.evaluate("getComputedStyle(document.getElementById('before')).transform")
    assert moved != "none", "the original covers the marked photo"

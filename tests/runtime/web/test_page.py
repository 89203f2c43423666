"""The page as a person meets it, in a real Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecrack.images.ignored import IgnoredPixels
from edgecrack.machine_sensors.evidence import Evidence
from edgecrack.machine_sensors.throttling import ThrottleLook
from edgecrack.runtime.web.server import LiveServer
from edgecrack.runtime.web.status import LatestResult
from tests.runtime.web.rig import Feed, Rig, live_result
from tests.waiting import PATIENCE_S, wait_until

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    pytest.mark.usefixtures("frequent_states"),
]

LAPTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
TIMEOUT_MS = PATIENCE_S * 1000
# What the page may not say in the console, but for connections that the test itself cuts.
EXPECTED = (
    "Canvas2D: Multiple readback",
    "ERR_CONNECTION_REFUSED",
    "ERR_FAILED",
    "WebSocket connection to",
    "401",
    "409",
    "400",
)

# Sum of the canvas's colours, and how many pixels are painted at all.
PIXELS = """id => {
  const canvas = document.getElementById(id);
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let sum = 0, painted = 0;
  for (let place = 0; place < data.length; place += 4) {
    sum += data[place] + 256 * data[place + 1] + 65536 * data[place + 2];
    painted += data[place + 3] > 0;
  }
  return [sum, painted];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Page:
    """A tab with the page, that fails the test on any error of its script."""

    def __init__(self, browser: Any, size: dict[str, int] = LAPTOP, **settings: Any) -> None:
        self.context = browser.new_context(viewport=size, **settings)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(TIMEOUT_MS)
        self.errors: list[str] = []
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(
            text in message.text for text in EXPECTED
        ):
            self.errors.append(message.text)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.context.close()
        if error is None:
            assert not self.errors

    def open(self, server: LiveServer, query: str = "") -> None:
        self.tab.goto(server.url + query)

    def says(self, selector: str, text: str) -> None:
        playwright.expect(self.tab.locator(selector)).to_contain_text(text, timeout=TIMEOUT_MS)

    def pixels(self, canvas: str) -> tuple[int, int]:
        total, painted = self.tab.evaluate(PIXELS, canvas)
        return int(total), int(painted)

    def slide(self, selector: str, value: float, release: bool = True) -> None:
        """Move a slider as a person does: many steps, then one release."""
        self.tab.eval_on_selector(
            selector,
            """(slider, [value, release]) => {
                slider.value = value;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
                if (release) slider.dispatchEvent(new Event("change", { bubbles: true }));
            }""",
            [value, release],
        )


def wait(page: Page, check: Any) -> None:
    """Poll; the page's own events go on meanwhile."""
    for _ in range(int(PATIENCE_S / 0.05)):
        if check():
            return
        page.tab.wait_for_timeout(50)
    raise AssertionError("it did not happen")


@pytest.fixture(autouse=True)
def patient_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single picture stays live, however slow the machine is that tests run on."""
    monkeypatch.setattr(LatestResult, "stale_after_ms", 60_000.0)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    with Page(browser) as page:
        yield page


def test_the_picture_moves(rig: Rig, page: Page) -> None:
    with rig.server() as server:
        page.open(server)
        page.says("#state", "CONNECTING")
        page.says("#veil", "Waiting for the first picture")
        rig.show_bar(0)
        page.says("#state", "LIVE")
        page.says("#caption", "crack 48 px in 1 region")
        first = page.pixels("frame")
        rig.show_bar(9)
        page.says("#crack-now", "156")
        assert page.pixels("frame") != first
        assert page.tab.evaluate("[frame.width, frame.height]") == [320, 240]
        page.says("#source", "test camera")


def test_looks_opacity_and_threshold_act_at_once(rig: Rig, page: Page) -> None:
    with rig.server() as server:
        rig.show_bar(15)
        page.open(server)
        page.says("#state", "LIVE")
        heat = page.pixels("overlay")
        page.tab.check("input[value=contour]", force=True)
        contour = page.pixels("overlay")
        assert contour[1] > 228  # the bar and a line around it
        assert contour != heat
        page.tab.check("input[value=off]", force=True)
        assert page.pixels("overlay")[1] == 0
        page.tab.check("input[value=contour]", force=True)
        page.slide("#opacity", 30)
        assert page.tab.evaluate("overlay.style.opacity") == "0.3"
        # Bright pixels are 250 of 255: above 0.95, below 0.99. The background is 40.
        page.slide("#threshold", 0.1, release=False)
        page.says("#threshold-note", "Preview. The robot still uses 0.50")
        assert page.pixels("overlay")[1] == 320 * 240
        assert rig.controls.threshold == 0.5


def test_what_is_ignored_is_hatched_in_every_look_and_told(rig: Rig, page: Page) -> None:
    with rig.server() as server:
        page.open(server)
        rig.show_bar(0)
        page.says("#state", "LIVE")
        chip = page.tab.locator("#ignored-share")
        playwright.expect(chip).to_be_hidden()
        assert page.pixels("ignored")[1] == 0
        mask = np.zeros((240, 320), np.bool_)
        mask[120:, 160:] = True
        ignored = IgnoredPixels(mask)
        rig.show(replace(live_result(1), ignored=ignored, inspected_ratio=0.75))
        playwright.expect(chip).to_have_text("25 % ignored", timeout=TIMEOUT_MS)
        for look in ("heat", "contour", "off"):
            page.tab.check(f"input[value={look}]", force=True)
            assert page.pixels("ignored")[1] == 120 * 160
        assert "inspected" not in (page.tab.text_content("#caption") or "")
        # The robot is overloaded, and the camera gives a smaller picture.
        smaller = IgnoredPixels(mask[::2, ::2].copy())
        shown = live_result(2, (120, 160))
        rig.show(replace(shown, ignored=smaller, inspected_ratio=0.4))
        page.says("#caption", "40 % inspected")
        assert page.pixels("ignored")[1] == 60 * 80
        rig.show_bar(3)  # it fits no more
        playwright.expect(chip).to_be_hidden(timeout=TIMEOUT_MS)
        assert page.pixels("ignored")[1] == 0


def test_the_threshold_reaches_the_robot_on_release(rig: Rig, page: Page, browser: Any) -> None:
    with rig.server() as server, Page(browser) as other:
        rig.show_bar(0)
        page.open(server)
        other.open(server)
        for each in (page, other):
            each.says("#threshold-value", "0.50")
        for value in (0.45, 0.4, 0.35):
            page.slide("#threshold", value, release=False)
        page.slide("#threshold", 0.3)
        wait(page, lambda: rig.controls.threshold == 0.3)
        page.says("#threshold-note", "On release it becomes the robot's")
        other.says("#threshold-value", "0.30")
        assert rig.events.counts()["threshold.changed"] == 1
        page.says("#events", "the live page changed the threshold from 0.5 to 0.3")


def test_the_threshold_by_keyboard(rig: Rig, page: Page) -> None:
    with rig.server() as server:
        rig.show_bar(0)
        page.open(server)
        page.says("#state", "LIVE")
        page.tab.focus("#threshold")
        for _ in range(3):
            page.tab.keyboard.press("ArrowRight")
        wait(page, lambda: rig.controls.threshold == 0.53)
        assert rig.events.counts()["threshold.changed"] == 1


def test_pause_and_record(rig: Rig, page: Page) -> None:
    with rig.server() as server:
        rig.show_bar(0)
        page.open(server)
        page.says("#state", "LIVE")
        page.tab.click("#pause")
        page.says("#state", "PAUSED")
        page.says("#pause", "Resume")
        assert rig.controls.paused
        page.tab.click("#pause")
        page.says("#pause", "Pause")
        assert not rig.controls.paused
        rig.recorder.bytes_written = 12_400_000
        page.tab.click("#record")
        page.says("#recording", "REC 12 MB")
        assert rig.recorder.active
        page.tab.click("#record")
        playwright.expect(page.tab.locator("#recording")).to_be_hidden()
        assert not rig.recorder.active
        rig.recorder.problem = "the disk is full; free some space"
        page.says("#alert", "Recording stopped: the disk is full; free some space")


def test_a_snapshot_is_shown_and_kept(rig: Rig, page: Page, tmp_path: Path) -> None:
    with rig.server() as server:
        page.open(server)
        page.says("#veil", "Waiting")
        page.tab.click("#snapshot")
        page.says("#toast", "there is no picture yet")
        rig.show_bar(4)
        page.says("#state", "LIVE")
        page.tab.click("#snapshot")
        page.says("#viewer-facts", "snapshot_1.jpg")
        wait(
            page,
            lambda: page.tab.evaluate(
                'document.getElementById("viewer-image").naturalWidth == 320'
            ),
        )
        assert len(list(tmp_path.glob("*.jpg"))) == 1
        page.tab.keyboard.press("Escape")
        playwright.expect(page.tab.locator("#viewer")).to_be_hidden()


def test_findings_come_and_open(rig: Rig, page: Page) -> None:
    with rig.server() as server:
        page.open(server)
        page.says("#findings", "No crack has been found yet.")
        for index in range(3):
            rig.show_crack(index)
        page.says("#finding-count", "3")
        buttons = page.tab.locator(".finding")
        playwright.expect(buttons).to_have_count(3)
        loaded = (
            'Array.from(document.querySelectorAll(".finding img")).every(i => i.naturalWidth > 0)'
        )
        wait(page, lambda: page.tab.evaluate(loaded))
        buttons.first.focus()
        page.tab.keyboard.press("Enter")
        page.says("#viewer-title", "Crack 3")
        page.says("#viewer-facts", "not confirmed")
        page.says("#viewer-facts", "195 px")
        page.tab.keyboard.press("ArrowRight")
        page.says("#viewer-title", "Crack 2")
        page.tab.click("#viewer-close")
        playwright.expect(page.tab.locator("#viewer")).to_be_hidden()


def test_events_that_could_not_be_fetched_are_fetched_again(rig: Rig, page: Page) -> None:
    failures = iter([True, True])
    page.tab.route(
        "**/api/events",
        lambda route: route.abort() if next(failures, False) else route.continue_(),
    )
    with rig.server() as server:
        rig.show_bar(0)
        page.open(server)
        rig.events.emit("source.lost", "the camera is gone")
        page.says("#events", "the camera is gone")
    assert next(failures, None) is None


def test_an_old_picture_is_not_shown_as_live(
    rig: Rig, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LatestResult, "stale_after_ms", 1500.0)
    with rig.server() as server:
        page.open(server)
        with Feed(rig):
            page.says("#state", "LIVE")
        page.says("#state", "NO PICTURE")
        page.says("#veil-title", "No picture for ")
        before = page.tab.text_content("#veil-title")
        wait(page, lambda: page.tab.text_content("#veil-title") != before)
        assert page.tab.evaluate("getComputedStyle(overlay).visibility") == "hidden"
        style = 'getComputedStyle(document.getElementById("frame")).filter'
        wait(page, lambda: page.tab.evaluate(style) == "grayscale(1) brightness(0.45)")
        rig.health("lost")
        page.says("#state", "RECONNECTING")
        rig.health("live", "every second frame")
        with Feed(rig):
            page.says("#state", "LIVE")
            page.says("#shedding", "OVERLOADED: skipping every second frame")
        rig.latest.close()
        page.says("#state", "ENDED")


def test_a_machine_that_throttles_is_seen_and_cleared(rig: Rig, page: Page) -> None:
    hot = ThrottleLook(
        "throttled",
        (Evidence("cooling", "the kernel cools by cpu-throttle-alert"),),
        ("cooling", "clocks"),
        1200.0,
        2400.0,
        71.2,
    )
    with rig.server() as server, Feed(rig):
        page.open(server)
        page.says("#throttling", "throttling unknown")
        rig.machine(hot, 4)
        page.says("#throttled", "THROTTLED: 71 °C, 1.2 of 2.4 GHz, ")
        page.says("#throttled", "frames/s")
        page.says("#throttling", "throttled now")
        page.says("#events", "the machine throttles: 71 °C, 1.2 of 2.4 GHz")
        assert page.tab.get_attribute("#throttled", "title") == (
            "The kernel cools by cpu-throttle-alert."
        )
        chip, stage = (page.tab.locator(each).bounding_box() for each in ("#throttled", "#stage"))
        assert stage["x"] < chip["x"]
        assert chip["x"] + chip["width"] < stage["x"] + stage["width"]
        rig.machine(ThrottleLook("not throttled", (), ("cooling",), 2400.0, 2400.0, 58.0), 12)
        page.says("#throttling", "throttled 1 time")
        assert page.tab.is_hidden("#throttled")
        page.says("#events", "the machine no longer throttles")


def test_the_page_comes_back_when_the_robot_does(rig: Rig, page: Page) -> None:
    with Feed(rig):
        with rig.server() as server:
            port = server.port
            page.open(server)
            page.says("#state", "LIVE")
        page.says("#state", "OFFLINE")
        page.says("#veil-title", "No connection to the robot")
        assert page.tab.is_disabled("#pause")
        with rig.server(port=port):
            page.says("#state", "LIVE")
            assert page.tab.is_enabled("#pause")


def test_nobody_watches_a_hidden_page(rig: Rig, page: Page) -> None:
    with rig.server() as server:
        page.tab.add_init_script(
            """let hidden = false;
            Object.defineProperty(document, "hidden", { get: () => hidden });
            window.hide = (value) => {
                hidden = value;
                document.dispatchEvent(new Event("visibilitychange"));
            };
            const later = window.setTimeout;
            window.setTimeout = (what, wait) => later(what, wait === 10000 ? 10 : wait);"""
        )
        page.open(server)
        wait(page, lambda: server.viewers == 1)
        page.tab.evaluate("hide(true)")
        wait(page, lambda: server.viewers == 0)
        page.tab.evaluate("hide(false)")
        wait(page, lambda: server.viewers == 1)


def test_the_viewer_too_many_sees_why(rig: Rig, page: Page, browser: Any) -> None:
    with rig.server(max_viewers=1) as server, Page(browser) as first:
        first.open(server)
        wait_until(lambda: server.viewers == 1)
        page.open(server)
        page.says("#state", "FULL")
        page.says("#veil-text", "One viewer watches already")
        first.tab.goto("about:blank")
        wait_until(lambda: server.viewers == 0)
        page.tab.click("#retry")
        page.says("#veil", "Waiting for the first picture")


def test_signing_in(rig: Rig, page: Page) -> None:
    rig.show_bar(0)
    with Feed(rig), rig.server(token="correct-horse") as server:
        page.open(server)
        page.tab.fill("#token", "wrong-token")
        page.tab.keyboard.press("Enter")
        page.says("[role=status]", "That token is not right.")
        page.tab.fill("#token", "correct-horse")
        page.tab.keyboard.press("Enter")
        page.says("#state", "LIVE")
        page.tab.click("#pause")
        page.says("#pause", "Resume")
        assert "correct" not in page.tab.url
        assert page.tab.evaluate("document.cookie") == ""


def test_a_link_with_the_token_signs_in(rig: Rig, page: Page) -> None:
    with Feed(rig), rig.server(token="correct-horse") as server:
        page.tab.set_content(f'<a href="{server.url}?token=correct-horse">the robot</a>')
        page.tab.click("a")  # from another site
        page.says("#state", "LIVE")
        assert page.tab.url == server.url


def test_a_phone_shows_all_without_scrolling_sideways(rig: Rig, browser: Any) -> None:
    with rig.server() as server, Page(browser, PHONE, is_mobile=True, has_touch=True) as page:
        for index in range(12):
            rig.show_crack(index)
        page.open(server)
        page.says("#state", "LIVE")
        playwright.expect(page.tab.locator(".finding")).to_have_count(12)
        assert page.tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        for target in ("#pause", "#record", "#snapshot", "#threshold", ".finding"):
            box = page.tab.locator(target).first.bounding_box()
            assert box is not None
            assert box["height"] >= 36
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE["width"]


def test_everything_has_a_name_for_those_who_do_not_see_it(rig: Rig, page: Page) -> None:
    with rig.server() as server:
        rig.show_bar(0)
        page.open(server)
        page.says("#state", "LIVE")
        nameless = page.tab.evaluate(
            """() => Array.from(document.querySelectorAll("button, input, a, img, canvas"))
                .filter(e => !e.hidden && !e.closest("[aria-hidden=true]"))
                .filter(e => !(e.tagName === "IMG" && e.alt === ""))  // decoration
                .filter(e => !(e.getAttribute("aria-label") ?? e.getAttribute("aria-labelledby")
                    ?? e.getAttribute("alt") ?? e.textContent.trim()) && !e.labels?.length)
                .map(e => e.outerHTML)"""
        )
        assert nameless == []
        assert page.tab.get_attribute("#state", "aria-live") == "polite"
        page.tab.keyboard.press("Tab")
        page.tab.keyboard.press("Tab")
        focused = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.tab.evaluate(focused) != "none"


def brief(**changes: Any) -> dict[str, Any]:
    """What a stream that measures says of its newest frame."""
    cracks = [
        {"length": "99 mm", "width": "0.38 mm [0.31, 0.45]"},
        {"length": "1.02 m", "width": "0.21 mm [0.12, 0.30]"},
        {"length": "34 mm", "width": "not measurable"},
        {"length": "12 mm", "width": "0.30 mm [0.10, 0.52]"},
    ]
    said = {
        "frame": 1, "verdict": "measure", "reason": "", "no_scale": "", "too_fast": False,
        "too_far": False, "count": 9, "cracks": cracks, "age_ms": 300,
    }  # fmt: skip
    return {**said, **changes}


def test_widths_are_shown_where_a_stream_measures(tmp_path: Path, browser: Any) -> None:
    rig = Rig(tmp_path, measures=True)
    with Page(browser) as page, rig.server() as server:
        rig.show_bar(0)
        page.open(server)
        page.says("#measured-fit", "nothing measured yet")
        rig.widths = brief()
        page.says("#measured-title", "Widths, 9 cracks")
        page.says("#measured-fit", "fit to measure")
        page.says("#measured-cracks", "0.38 mm [0.31, 0.45]")
        page.says("#measured-cracks", "1.02 m long")
        page.says("#measured-cracks", "and 6 shorter")
        playwright.expect(page.tab.locator("#measured-note")).to_be_hidden()
        playwright.expect(page.tab.locator("#too")).to_be_hidden()
        rig.widths = brief(
            verdict="detect", reason="it is blurred 2.1 times as much in one direction, by motion",
            no_scale="no range was measured near the frame", too_fast=True, too_far=True, count=0,
            cracks=[], age_ms=4200,
        )  # fmt: skip
        page.says("#measured-fit", "not fit to measure")
        page.says("#measured-note", "It is blurred 2.1 times as much in one direction, by motion; ")
        page.says("#measured-note", "no millimetres: no range was measured near the frame.")
        page.says("#measured-cracks", "no crack in view")
        page.says("#measured-title", "Widths, 0 cracks, 4.2 s ago")
        page.says("#too", "TOO FAST · TOO FAR")
        assert "0.3 mm is narrower than a pixel" in str(page.tab.get_attribute("#too", "title"))


def test_without_measuring_nothing_is_said_of_widths(rig: Rig, page: Page) -> None:
    with rig.server() as server:
        rig.show_bar(0)
        page.open(server)
        page.says("#fps", "")
        page.says("#state", "LIVE")
        playwright.expect(page.tab.locator("#measured")).to_be_hidden()
        playwright.expect(page.tab.locator("#too")).to_be_hidden()


@pytest.mark.parametrize("size", [{"width": 1366, "height": 640}, PHONE])
def test_widths_leave_room_for_all_else(tmp_path: Path, browser: Any, size: dict[str, int]) -> None:
    rig = Rig(tmp_path, measures=True)
    rig.widths = brief(reason="it is dark", verdict="detect", no_scale="the autofocus is on")
    with Page(browser, size) as page, rig.server() as server:
        rig.show_bar(0)
        page.open(server)
        page.says("#measured-cracks", "and 6 shorter")
        overlap = page.tab.evaluate(
            """() => {
              const boxes = [...document.querySelectorAll(".side > section, .findings")]
                .map((each) => each.getBoundingClientRect());
              return boxes.some((one, index) => boxes.slice(index + 1).some((other) =>
                one.left < other.right - 1 && other.left < one.right - 1 &&
                one.top < other.bottom - 1 && other.top < one.bottom - 1));
            }"""
        )
        assert not overlap
        assert page.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


REPORT = (
    "<!doctype html><title>Report</title><style>p { color: rgb(1, 2, 3) }</style><p>Crack 1</p>"
    '<img src="data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22 width=%227%22 '
    'height=%225%22/%3E"><script>document.title = "ran"</script>'
)


@pytest.mark.parametrize("size", [LAPTOP, PHONE])
def test_the_last_report_is_a_link_and_runs_no_script(
    tmp_path: Path, browser: Any, size: dict[str, int]
) -> None:
    rig = Rig(tmp_path)
    with rig.server() as server, Page(browser, size) as page:
        page.open(server)
        page.says("#source", "test camera")
        playwright.expect(page.tab.locator("#report")).to_be_hidden()
        path = tmp_path / "report" / "report.html"
        path.parent.mkdir()
        path.write_text(REPORT)
        link = page.tab.locator("#report")
        playwright.expect(link).to_be_visible(timeout=TIMEOUT_MS)
        with page.context.expect_page() as opened:
            link.click()
        report = opened.value
        report.wait_for_load_state()
        assert report.title() == "Report"
        assert (
            report.eval_on_selector("p", "each => getComputedStyle(each).color") == "rgb(1, 2, 3)"
        )
        assert report.eval_on_selector("img", "each => each.naturalWidth") == 7

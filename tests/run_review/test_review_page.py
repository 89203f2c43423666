"""The review page as an inspector meets it, in a real Chromium with the real server."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.run_review.served_review import Served, served
from tests.waiting import PATIENCE_S

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

LAPTOP = {"width": 1440, "height": 900}
SMALL_LAPTOP = {"width": 1024, "height": 700}
PHONE = {"width": 390, "height": 844}
# The page has what it shows; waiting longer would hide what never comes.
TIMEOUT_MS = PATIENCE_S * 1000 / 5
# What the console may say: of connections that the test itself cuts, and of what was refused.
EXPECTED = (
    "Canvas2D: Multiple readback",
    "ERR_CONNECTION_REFUSED",
    "ERR_FAILED",
    "400",
    "404",
    "ERR_CONNECTION_RESET",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def run(wall: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(wall, tmp_path / "run"))


@pytest.fixture
def review(run: Path) -> Iterator[Served]:
    with served(run) as review:
        yield review


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    """A browser that never answers fails its test and holds up no others."""

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError("the browser does not answer")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(int(PATIENCE_S / 2))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Page:
    """A tab with the page, that fails the test on any error of its script."""

    def __init__(
        self,
        browser: Any,
        url: str,
        name: str | None = "Ann",
        size: dict[str, int] = LAPTOP,
        **settings: Any,
    ) -> None:
        self.context = browser.new_context(viewport=size, **settings)
        if name is not None:
            stored = f"localStorage.setItem('edgecrack reviewer', {json.dumps(name)})"
            self.context.add_init_script(f"if (!localStorage.length) {stored}")
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(TIMEOUT_MS)
        self.errors: list[str] = []
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("console", self._hear)
        self.open(url)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(
            text in message.text for text in EXPECTED
        ):
            self.errors.append(message.text)

    def open(self, url: str) -> None:
        self.tab.goto(url)
        self.tab.wait_for_selector("body[data-ready=yes]")

    def __enter__(self) -> Page:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.context.close()
        if error is None:
            assert not self.errors

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    def write(self, text: str) -> None:
        self.tab.keyboard.type(text)

    def click(self, selector: str) -> None:
        self.tab.click(selector)

    def says(self, selector: str, text: str) -> None:
        playwright.expect(self.tab.locator(selector)).to_contain_text(text, timeout=TIMEOUT_MS)

    def shows(self, selector: str, *, hidden: bool = False) -> None:
        expected = playwright.expect(self.tab.locator(selector))
        (expected.to_be_hidden if hidden else expected.to_be_visible)(timeout=TIMEOUT_MS)

    def stage(self, name: str, value: object) -> None:
        """Wait until the stage shows a crack, a frame or a mode."""
        selector = f'#stage[data-{name}="{value}"]'
        self.tab.wait_for_selector(selector)

    def text(self, selector: str) -> str:
        found: str = self.tab.text_content(selector)
        return found

    def point(self, place: tuple[float, float]) -> tuple[float, float]:
        """Where a place of the picture is in the window."""
        self.settle()
        scale, x, y = json.loads(self.tab.get_attribute("#stage", "data-view"))
        box = self.tab.locator("#canvas").bounding_box()
        return box["x"] + scale * place[0] + x, box["y"] + scale * place[1] + y

    def put(self, place: tuple[float, float]) -> None:
        self.tab.mouse.click(*self.point(place))

    def settle(self) -> None:
        """Wait until the canvas has been painted twice."""
        self.tab.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    @property
    def scale(self) -> float:
        self.settle()
        scale: float = json.loads(self.tab.get_attribute("#stage", "data-view"))[0]
        return scale

    def colours(self, colour: tuple[int, int, int]) -> int:
        """How many pixels of the canvas have nearly a colour."""
        self.settle()
        found: int = self.tab.evaluate(
            """([red, green, blue]) => {
                const canvas = document.getElementById("canvas");
                const context = canvas.getContext("2d", { willReadFrequently: true });
                const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
                let found = 0;
                for (let at = 0; at < data.length; at += 4) {
                    const away = Math.abs(data[at] - red) + Math.abs(data[at + 1] - green)
                        + Math.abs(data[at + 2] - blue);
                    found += away < 24;
                }
                return found;
            }""",
            list(colour),
        )
        return found


CHOSEN = (255, 178, 36)
OTHER = (127, 212, 255)


@pytest.fixture
def page(browser: Any, review: Served) -> Iterator[Page]:
    with Page(browser, review.server.url) as page:
        yield page


def near(points: list[list[float]], wanted: list[tuple[float, float]], px: float = 1.5) -> bool:
    return len(points) == len(wanted) and all(
        abs(x - right) < px and abs(y - down) < px
        for (x, y), (right, down) in zip(points, wanted, strict=True)
    )


def ann(**action: Any) -> dict[str, Any]:
    return {"reviewer": "Ann", **action}


def test_a_whole_review_by_keyboard_alone(review: Served, page: Page) -> None:
    page.says("#progress", "0 of 3 reviewed")
    page.says("#stamp", "DRAFT")
    page.stage("crack", 1)
    page.press("t", "1")
    page.says("#kept", "Saved: crack 1 tagged: sealed")
    page.press("3")
    page.says("#kept", "Saved: crack 1 tagged: sealed, rust")
    page.press("1")
    page.says("#kept", "Saved: crack 1 tagged: rust")
    page.press("Escape", "g")
    page.write("0,35")
    page.press("Enter")
    page.says("#kept", "Saved: 0.35 mm read on crack 1")
    page.press("n")
    page.write("below the bearing")
    page.press("Shift+Enter")
    page.write("wet in winter")
    page.press("Enter")
    page.says("#kept", "Saved: note on crack 1")
    page.says(".details", "wet in winter")
    page.press("c")
    page.says("#kept", "Saved: crack 1 confirmed")
    page.stage("crack", 2)  # the next open one, by itself
    page.press("r", "2")
    page.says("#kept", "Saved: crack 2 rejected as stain")
    page.stage("crack", 3)
    page.press("j", "j", "o")
    page.says("#kept", "Saved: crack 2 is open again")
    page.says("#progress", "1 of 3 reviewed")
    page.press("r", "Enter")
    page.says("#kept", "Saved: crack 2 rejected")
    page.press("u")
    page.says("#kept", "Saved: undone: crack 2 rejected")
    page.stage("crack", 2)
    page.press("m")
    page.write("3 4")
    page.press("Enter")
    page.says("#kept", "Saved: cracks 2 and 3 and 4 merged")
    page.stage("crack", "2+3+4")
    page.press("Control+z")
    page.says("#kept", "Saved: undone: cracks 2 and 3 and 4 merged")
    page.says("#progress", "1 of 3 reviewed")
    assert review.lines == [
        ann(action="tags", crack=1, tags=["sealed"]),
        ann(action="tags", crack=1, tags=["sealed", "rust"]),
        ann(action="tags", crack=1, tags=["rust"]),
        ann(action="gauge", crack=1, mm=0.35),
        ann(action="note", crack=1, text="below the bearing\nwet in winter"),
        ann(action="confirm", crack=1),
        ann(action="reject", crack=2, reason="stain"),
        ann(action="reopen", crack=2),
        ann(action="reject", crack=2, reason=""),
        ann(action="undo"),
        ann(action="merge", cracks=[2, 3, 4]),
        ann(action="undo"),
    ]


def test_the_same_by_mouse(review: Served, page: Page) -> None:
    page.click("[data-do=tags]")
    page.click("#prompt >> text=wet")
    page.says("#kept", "Saved: crack 1 tagged: wet")
    page.click("#prompt >> text=Done")
    page.click("[data-do=gauge]")
    page.tab.fill("#gauge", ".4")
    page.click("text=Save reading")
    page.says("#kept", "Saved: 0.4 mm")
    page.click("[data-do=note]")
    page.tab.fill("#note", "look again")
    page.click("text=Save note")
    page.says("#kept", "Saved: note")
    page.click("[data-do=confirm]")
    page.stage("crack", 2)
    page.press(" ")  # after a click on Confirm that is no second one
    page.click("[data-do=reject]")
    page.click("#prompt >> text=joint")
    page.says("#kept", "Saved: crack 2 rejected as joint")
    page.stage("crack", 3)
    page.click("[data-do=reject]")
    page.click("#prompt >> text=No reason")
    page.says("#kept", "Saved: crack 3 rejected")
    page.click(".crack[data-crack='3']")
    page.click("[data-do=reopen]")
    page.says("#kept", "Saved: crack 3 is open again")
    page.click("[data-do=merge]")
    page.click(".crack[data-crack='4']")
    page.says("#prompt-title", "Merge cracks 3 + 4")
    page.click("#prompt-buttons .primary")
    page.says("#kept", "Saved: cracks 3 and 4 merged")
    page.click("[data-do=undo]")
    page.says("#kept", "Saved: undone")
    assert review.lines == [
        ann(action="tags", crack=1, tags=["wet"]),
        ann(action="gauge", crack=1, mm=0.4),
        ann(action="note", crack=1, text="look again"),
        ann(action="confirm", crack=1),
        ann(action="reject", crack=2, reason="joint"),
        ann(action="reject", crack=3, reason=""),
        ann(action="reopen", crack=3),
        ann(action="merge", cracks=[3, 4]),
        ann(action="undo"),
    ]


PLACES = [(110.0, 85.0), (140.5, 101.25), (190.0, 120.0)]


@pytest.mark.parametrize("zoom", [(), ("+", "+", "+"), ("-",)])
def test_a_crack_is_drawn_where_the_mouse_was(
    review: Served, page: Page, zoom: tuple[str, ...]
) -> None:
    page.stage("frame", 4)
    page.press("0", "d", *zoom)
    page.stage("mode", "Pen")
    for place in PLACES:
        page.put(place)
        page.tab.wait_for_timeout(20)
    page.says("#prompt-hint", "3 points")
    page.put((160.0, 70.0))
    page.press("Backspace")
    page.says("#prompt-hint", "3 points")
    page.press("Enter")
    page.says("#kept", "Saved: crack D1 drawn")
    page.stage("crack", "D1")
    (line,) = review.lines
    assert (line["action"], line["frame"], line["crack_id"]) == ("draw", 4, "D1")
    assert near(line["points"], PLACES, 1.0)
    page.says(".details", "Drawn by a reviewer")
    page.says(".details .machine", "not measured")
    page.says(".details", "confirmed")


def test_a_double_click_ends_the_drawing(review: Served, page: Page) -> None:
    page.click("[data-do=draw]")
    page.put(PLACES[0])
    page.tab.mouse.dblclick(*page.point(PLACES[1]))
    page.says("#kept", "Saved: crack D1 drawn")
    assert near(review.lines[0]["points"], PLACES[:2], 1.0)


def test_a_drag_moves_the_picture_and_sets_no_point(review: Served, page: Page) -> None:
    page.press("0", "d", "+", "+")
    before = page.point(PLACES[0])
    page.tab.mouse.move(*before)
    page.tab.mouse.down()
    page.tab.mouse.move(before[0] + 40, before[1] + 25, steps=4)
    page.tab.mouse.up()
    after = page.point(PLACES[0])
    assert (round(after[0] - before[0]), round(after[1] - before[1])) == (40, 25)
    page.says("#prompt-hint", "0 points")
    page.tab.mouse.wheel(0, -300)
    page.settle()
    # What is under the pointer stays there.
    again = page.point(PLACES[0])
    assert abs(again[0] - after[0]) < 1.5
    assert abs(again[1] - after[1]) < 1.5
    page.put(PLACES[0])
    page.put(PLACES[1])
    page.press("Enter")
    page.says("#kept", "Saved: crack D1 drawn")
    assert near(review.lines[0]["points"], PLACES[:2], 1.0)


def test_a_crack_is_drawn_by_keyboard(review: Served, page: Page) -> None:
    page.press("0", "d", " ")
    scale = page.scale
    page.press(*(["Shift+ArrowRight"] * 3), *(["ArrowDown"] * 5), " ", "Enter")
    page.says("#kept", "Saved: crack D1 drawn")
    first = (150.0, 100.0)  # the middle of the picture
    second = (150 + 3 * 24 / scale, 100 + 5 * 2 / scale)
    assert near(review.lines[0]["points"], [first, second], 1.0)


def test_a_drawing_is_left_by_escape_only(review: Served, page: Page) -> None:
    page.press("d")
    page.put(PLACES[0])
    page.press("c", "j")
    page.click("[data-crack='2']")
    page.click("#frame-after")
    page.says("#kept", "cancel it with Esc")
    page.stage("mode", "Pen")
    page.press("Enter")
    page.says("#kept", "Set at least two points")
    page.press("Escape")
    page.stage("mode", "")
    assert review.lines == []


def test_split_where_the_pointer_was(review: Served, page: Page) -> None:
    page.press("s")
    page.stage("mode", "Splitting")
    page.settle()
    crack = review.session.review()["cracks"][0]
    # Frame 4 is the sheet's own; the crack's place (-2.5, 51.5) is at its left border.
    page.put((59.5, 70.0))
    page.says("#prompt-hint", "mm along this line")
    page.press("ArrowRight", "Shift+ArrowLeft", "Shift+ArrowRight", "ArrowLeft", "Enter")
    page.says("#kept", "Saved: crack 1 split")
    page.stage("crack", "1a")
    (line,) = review.lines
    assert (line["action"], line["crack"]) == ("split", 1)
    x, y = line["at"]
    to_sheet = next(
        each["to_sheet"] for each in review.session.survey()["frames"] if each["number"] == 4
    )
    wanted_x = to_sheet[0][0] * 59.5 + to_sheet[0][1] * 55.5 + to_sheet[0][2]
    assert abs(x - wanted_x) < 3
    assert abs(y - 55.5) < 3
    lengths = [each["length_px"] for each in review.session.review()["cracks"][-2:]]
    assert sum(lengths) == pytest.approx(crack["length_px"], abs=1)
    page.says("#progress", "0 of 4 reviewed")
    page.press("u")
    page.says("#kept", "Saved: undone: crack 1 split")
    page.stage("crack", 1)


def test_merge_by_clicks_in_the_picture(review: Served, page: Page) -> None:
    page.press("m")
    page.stage("mode", "Merging")
    third = review.session.review()["cracks"][2]
    page.put(tuple(third["lines"][0][1]))  # frame 4 is the sheet's own
    page.says("#prompt-title", "Merge cracks 1 + 3")
    page.write("9")
    page.press("Enter")
    page.says("#kept", "There is no crack 9")
    page.tab.fill("#merge", "")
    page.press("Enter")
    page.says("#kept", "Saved: cracks 1 and 3 merged")
    assert review.lines == [ann(action="merge", cracks=[1, 3])]


def test_lines_are_hidden_while_space_is_held(page: Page) -> None:
    page.stage("frame", 4)
    drawn = page.colours(CHOSEN)
    assert drawn > 300
    assert page.colours(OTHER) > 20
    page.tab.keyboard.down(" ")
    assert page.colours(CHOSEN) == 0
    page.tab.keyboard.up(" ")
    assert page.colours(CHOSEN) == drawn
    page.press("h")
    assert page.colours(CHOSEN) == 0
    playwright.expect(page.tab.locator("#lines")).to_have_attribute("aria-pressed", "false")
    page.click("#lines")
    assert page.colours(CHOSEN) == drawn


def test_the_course_lies_on_the_crack(review: Served, page: Page) -> None:
    """In the best picture, and projected into another one."""
    for frame in (4, 0):
        if frame == 0:
            page.press(",")
        page.stage("frame", frame)
        page.press("0")
        page.says("#caption", "% of crack 1")
        page.settle()
        dark = page.tab.evaluate(
            """async (url) => {
                const image = new Image();
                image.src = url;
                await image.decode();
                const canvas = new OffscreenCanvas(image.width, image.height);
                const context = canvas.getContext("2d");
                context.drawImage(image, 0, 0);
                const { data } = context.getImageData(0, 0, image.width, image.height);
                const [scale, x, y] = JSON.parse(document.getElementById("stage").dataset.view);
                const shown = document.getElementById("canvas");
                const lines = shown.getContext("2d").getImageData(0, 0, shown.width, shown.height);
                let on = 0, all = 0;
                for (let column = 5; column < image.width - 5; column += 3) {
                    for (let row = 0; row < image.height; row += 1) {
                        const at = 4 * (Math.round(scale * (row + 0.5) + y) * shown.width
                            + Math.round(scale * (column + 0.5) + x));
                        const [red, green, blue] = lines.data.slice(at, at + 3);
                        const away = [red - 255, green - 178, blue - 36].map(Math.abs);
                        if (away[0] + away[1] + away[2] > 24) continue;
                        all += 1;
                        let darkest = 255;
                        for (let dy = -2; dy <= 2; dy += 1) {
                            const below = 4 * ((row + dy) * image.width + column);
                            darkest = Math.min(darkest, data[below]);
                        }
                        on += darkest < 90;
                    }
                }
                return [on, all];
            }""",
            f"/frames/{frame}.jpg",
        )
        assert dark[1] > 30
        assert dark[0] / dark[1] > 0.8  # the number in its box counts as well


def test_other_pictures_of_the_crack_and_of_the_sheet(page: Page) -> None:
    page.stage("frame", 4)
    page.says("#seen-at", "2 of 3")
    page.press("]")
    page.stage("frame", 8)
    page.press("PageUp")
    page.stage("frame", 4)
    page.press("PageDown")
    page.stage("frame", 8)
    playwright.expect(page.tab.locator("#frame-after")).to_be_disabled()
    page.press(".")
    page.stage("frame", 0)
    page.click("#seen-after")
    page.stage("frame", 4)
    page.press("j", "j")
    page.stage("crack", 3)
    page.press("0")
    whole = page.scale
    page.press("+")
    assert page.scale == pytest.approx(1.3 * whole)
    before = page.point((0, 0))
    page.press("ArrowRight", "Shift+ArrowDown")
    after = page.point((0, 0))
    assert (round(after[0] - before[0]), round(after[1] - before[1])) == (-60, -60)


def test_the_map_leads_to_cracks_and_pictures(review: Served, page: Page) -> None:
    survey = review.session.survey()["sheets"][0]["map"]["from_sheet"]
    scale, right, down = survey[0][0], survey[0][2], survey[1][2]

    def on_map(place: tuple[float, float]) -> tuple[float, float]:
        return scale * place[0] + right, scale * place[1] + down

    page.press("v")
    page.stage("show", "map")
    page.stage("picture", "there")
    page.put(on_map((-2.5, 151.0)))
    page.stage("crack", 2)
    page.stage("show", "map")
    page.put(on_map((-60.0, 20.0)))  # at the left end, where only the first frame was
    page.stage("show", "picture")
    page.stage("frame", 0)
    page.press("0", "d")
    page.put(PLACES[0])
    page.put(PLACES[1])
    page.press("Enter")
    page.says("#kept", "Saved: crack D1 drawn")
    assert review.lines[0]["frame"] == 0
    assert near(review.lines[0]["points"], PLACES[:2], 1.0)


def test_a_server_that_is_gone_is_said_and_nothing_is_shown_as_kept(
    browser: Any, run: Path
) -> None:
    with served(run) as first:
        port = first.server.port
        page = Page(browser, first.server.url)
    with page:
        page.press("n")
        page.write("it drips")
        page.press("Enter")
        page.says(
            "#problem-text", "Not saved: note on crack 1. The review's server does not answer"
        )
        assert page.text("#kept") == "Not saved"
        assert page.tab.input_value("#note") == "it drips"
        assert "it drips" not in page.text(".details")
        page.click("#problem-again")
        page.says("#problem-text", "does not answer")
        with served(run, port=port) as again:
            page.click("#problem-again")
            page.says("#kept", "Saved: note on crack 1")
            page.shows("#problem", hidden=True)
            assert again.lines == [ann(action="note", crack=1, text="it drips")]
        page.press("c")
        page.says("#problem-text", "Not saved: confirm crack 1")
        page.says("#progress", "0 of 3 reviewed")
        page.press("]")
        page.says("#veil", "The picture was not loaded: the review server does not respond")
        page.stage("crack", 1)
        page.says(".crack[data-crack='1']", "open")
        # It is still offered when something else was begun.
        page.press("g")
        page.write("0.3")
        with served(run, port=port) as again:
            page.click("#problem-again")
            page.says("#kept", "Saved: crack 1 confirmed")
            page.shows("#problem", hidden=True)
            page.tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            page.stage("picture", "there")
            page.shows("#veil", hidden=True)
            assert page.tab.input_value("#gauge") == "0.3"
            assert again.lines[1:] == [ann(action="confirm", crack=1)]


def test_what_is_refused_is_said_and_what_was_entered_stays(review: Served, page: Page) -> None:
    page.press("g")
    page.write("wide")
    page.press("Enter")
    page.says("#kept", "Enter a number of millimetres")
    page.tab.fill("#gauge", "5000")
    page.press("Enter")
    page.says("#problem-text", "Not saved: enter 5000 mm for crack 1. The reading is '5000'")
    assert page.tab.input_value("#gauge") == "5000"
    page.tab.fill("#gauge", "0.5")
    page.click("#problem-again")
    page.says("#kept", "Saved: 0.5 mm")
    assert review.lines == [ann(action="gauge", crack=1, mm=0.5)]


def test_an_answer_that_is_lost_does_nothing_twice(review: Served, page: Page) -> None:
    def lose(route: Any) -> None:
        route.fetch()
        route.abort()

    page.tab.route("**/api/actions", lose)
    page.press("g")
    page.write("0.2")
    page.press("Enter")
    page.says("#problem-text", "Not saved: enter 0.2 mm for crack 1")
    page.tab.unroute("**/api/actions")
    page.click("#problem-again")
    page.says("#kept", "Saved: 0.2 mm read on crack 1")
    page.says(".details", "0.2 mm")
    assert review.lines == [ann(action="gauge", crack=1, mm=0.2)]


def test_nothing_is_sent_while_an_action_is_being_kept(review: Served, page: Page) -> None:
    waiting: list[Any] = []
    page.tab.route("**/api/actions", lambda route: waiting.append(route))
    page.press("c", "c")
    page.says("#kept", "still being saved")
    page.says("#progress", "0 of 3 reviewed")
    page.stage("crack", 1)
    waiting[0].continue_()
    page.says("#kept", "Saved: crack 1 confirmed")
    page.stage("crack", 2)
    assert len(waiting) == len(review.lines) == 1


def test_two_tabs_agree(browser: Any, review: Served, page: Page) -> None:
    with Page(browser, review.server.url, "Bob") as other:
        page.press("c")
        page.says("#kept", "Saved")
        other.says("#progress", "0 of 3 reviewed")
        # His own action brings what was done elsewhere along.
        other.press("j", "c")
        other.says("#kept", "Saved: crack 2 confirmed")
        other.says("#progress", "2 of 3 reviewed")
        other.says(".crack[data-crack='1']", "confirmed")
        page.says("#progress", "1 of 3 reviewed")
        page.tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.says("#progress", "2 of 3 reviewed")
        # Another's action is taken back only when that was asked.
        page.press("u")
        page.says("#prompt-title", "The last action is Bob's: crack 2 confirmed")
        page.press("Escape")
        assert len(review.lines) == 2
        page.press("u", "Enter")
        page.says("#kept", "Saved: undone: crack 2 confirmed")
        # What Bob has not seen he does not take back.
        other.press("u")
        other.says("#problem-text", "The review has changed in the meantime")
        other.says("#progress", "1 of 3 reviewed")
    assert [each["action"] for each in review.lines] == ["confirm", "confirm", "undo"]


def test_a_crack_that_is_gone_elsewhere(browser: Any, review: Served, page: Page) -> None:
    with Page(browser, review.server.url, "Bob") as other:
        other.press("m")
        other.write("2")
        other.press("Enter")
        other.says("#kept", "Saved: cracks 1 and 2 merged")
    page.press("c")
    page.says("#problem-text", "became 1+2")
    page.says("#queue", "Crack 1+2")
    playwright.expect(page.tab.locator(".crack[data-crack='1']")).to_have_count(0)


def test_the_name_is_asked_for_once(browser: Any, review: Served) -> None:
    with Page(browser, review.server.url, None) as page:
        page.shows("#naming")
        page.click("#naming-leave")
        page.says("#reviewer", "no name")
        page.press("c")
        page.shows("#naming")
        assert review.lines == []
        page.press("Escape")
        page.shows("#naming", hidden=True)
        page.press("c")
        page.tab.fill("#naming-name", "   ")
        page.press("Enter")
        page.says("#naming-wrong", "Give a name")
        page.tab.fill("#naming-name", 'O\'Brien <b>"x"</b>')
        page.press("Enter")
        page.says("#kept", "Saved: crack 1 confirmed")
        page.says("#reviewer", 'O\'Brien <b>"x"</b>')
        page.open(review.server.url)
        page.shows("#naming", hidden=True)
        page.press("k")
        page.click(".crack[data-crack='1']")
        page.says(".details", 'O\'Brien <b>"x"</b>')
        page.press("n")
        page.write("<img src=x onerror=alert(1)> & \"quotes\" 'single'")
        page.press("Enter")
        page.says(".details .note", "<img src=x onerror=alert(1)> & \"quotes\" 'single'")
        assert page.tab.locator(".details img, .details b").count() == 0
        page.click("#reviewer")
        page.tab.fill("#naming-name", "Cleo")
        page.press("Enter")
        page.shows("#naming", hidden=True)
        page.press("t", "2")
        page.says("#kept", "Saved: crack 1 tagged: wet")
    assert [each["reviewer"] for each in review.lines] == ['O\'Brien <b>"x"</b>'] * 2 + ["Cleo"]


def test_when_all_is_reviewed_the_next_step_is_told(review: Served, page: Page) -> None:
    page.shows("#finished", hidden=True)
    page.press("c")
    page.stage("crack", 2)
    page.press("r", "3")
    page.stage("crack", 3)
    page.press("c")
    page.says("#stamp", "REVIEWED")
    page.says("#progress", "3 of 3 reviewed")
    page.says(
        "#finished-text",
        "2 confirmed; 1 rejected (1 shadow); 1 unconfirmed mark left aside; by Ann.",
    )
    page.says("#finished-command", f"edgecrack report {review.run}")
    page.press("u")
    page.says("#stamp", "DRAFT")
    page.shows("#finished", hidden=True)


def test_the_facts_stand_side_by_side(page: Page) -> None:
    machine = page.text(".details .machine")
    for words in (
        "a crack",
        "95 %:",
        "mm",
        "95th percentile",
        "Widest",
        "en-1992:xc3",
        "Seen in",
        "of 9 frames",
    ):
        assert words in machine, words
    assert "nothing yet" in page.text(".details .reviewer")


def test_filters_and_orders(page: Page) -> None:
    rows = "Array.from(document.querySelectorAll('.crack'), (row) => row.dataset.crack)"
    assert page.tab.evaluate(rows) == ["1", "2", "3", "4"]
    assert page.tab.locator(".rows .group").all_text_contents() == [
        "To be decided (3)",
        "Unconfirmed marks (1)",
    ]
    page.tab.select_option("#filter", "unconfirmed")
    assert page.tab.evaluate(rows) == ["4"]
    page.tab.select_option("#filter", "rejected")
    page.says("#queue", "No crack matches this filter")
    page.tab.select_option("#filter", "all")
    page.tab.select_option("#order", "longest")
    assert page.tab.evaluate(rows) == ["1", "2", "3", "4"]


def test_without_a_picture_one_decides_all_the_same(browser: Any, run: Path) -> None:
    (run / "survey" / "key_frames" / "00000004.jpg").unlink()
    with served(run) as review, Page(browser, review.server.url) as page:
        page.says("#veil", "The picture is lost")
        page.press("c")
        page.says("#kept", "Saved: crack 1 confirmed")
        page.shows("#veil", hidden=True)
        assert len(review.lines) == 1


def patched(run: Path, **changes: Any) -> None:
    path = run / "survey" / "cracks.json"
    document = json.loads(path.read_text())
    document.update(changes)
    path.write_text(json.dumps(document))


def test_no_pictures_at_all(browser: Any, run: Path) -> None:
    document = json.loads((run / "survey" / "cracks.json").read_text())
    for crack in document["cracks"]:
        crack["best"]["view"] = None
    frames = [{**each, "picture": None} for each in document["key_frames"]]
    patched(run, key_frames=frames, cracks=document["cracks"])
    with served(run) as review, Page(browser, review.server.url) as page:
        page.says("#veil", "No pictures were kept of this run")
        playwright.expect(page.tab.locator("[data-do=draw]")).to_be_disabled()
        page.press("d", "s", "[", "]", ",", ".", "0", "+", "v", "v", "c")
        page.says("#kept", "Saved: crack 1 confirmed")


def test_a_cut_out_stands_in_for_a_frame_that_was_not_kept(browser: Any, run: Path) -> None:
    document = json.loads((run / "survey" / "cracks.json").read_text())
    for each in document["key_frames"]:
        if each["frame"] != 8:
            each["picture"] = None
    patched(run, key_frames=document["key_frames"])
    with served(run) as review, Page(browser, review.server.url) as page:
        page.says("#caption", "Crack 1 cut out of frame 000004, its best picture")
        page.says("#seen-at", "1 of 2")
        page.stage("picture", "there")
        page.put((5, 5))
        page.press("s")  # nothing is known of how the cut-out lies on the sheet
        page.stage("frame", 8)
        page.stage("mode", "Splitting")
        page.press("Escape", ",")
        page.says("#caption", "cut out of")
        page.press("d")
        page.stage("frame", 8)
        page.press("Escape", ",", "]")
        page.stage("frame", 8)
        page.press(",", "h", "+", "0", "v", "v", "c")
        page.says("#kept", "Saved: crack 1 confirmed")


def test_where_nothing_was_found_a_missed_crack_is_drawn(browser: Any, run: Path) -> None:
    patched(run, cracks=[])
    with served(run) as review, Page(browser, review.server.url) as page:
        page.says("#queue", "The machine found no crack")
        page.stage("frame", 0)
        page.press("c", "r", "s", "j", "k", "m", "0", "d")
        page.stage("mode", "Pen")
        page.put(PLACES[0])
        page.put(PLACES[1])
        page.press("Enter")
        page.says("#kept", "Saved: crack D1 drawn")
        assert [each["action"] for each in review.lines] == ["draw"]


def test_each_sheet_has_its_own_map_and_pictures(browser: Any, run: Path) -> None:
    document = json.loads((run / "survey" / "cracks.json").read_text())
    sheet, frames = document["sheets"][0], document["key_frames"]
    second = [{**each, "sheet": 1, "frame": each["frame"] + 100} for each in frames]
    document["cracks"][2]["sheet"] = 1
    document["cracks"][2]["best"]["frame"] += 100
    patched(
        run,
        sheets=[sheet, {**sheet, "number": 1}],
        notes=["the sheets are <b>not</b> linked"],
        key_frames=[*frames, *second],
        cracks=document["cracks"],
    )
    with served(run) as review, Page(browser, review.server.url) as page:
        playwright.expect(page.tab.locator("#sheet")).to_have_value("0")
        page.press("j", "j")
        page.stage("crack", 3)
        page.stage("frame", 100)
        playwright.expect(page.tab.locator("#sheet")).to_have_value("1")
        page.says(".details", "It is on sheet 1")
        page.says(".details", "The sheets are <b>not</b> linked.")
        page.press("Home", "End")
        page.stage("crack", 4)
        page.press("k")
        page.press("]")
        page.stage("frame", 104)
        page.press("v")
        page.says("#caption", "Map of sheet 1")
        page.tab.select_option("#sheet", "0")
        page.says("#caption", "Map of sheet 0")
        page.click("input[value=picture]")
        page.stage("frame", 0)
        page.press("m")
        page.click("input[value=map]")
        page.tab.select_option("#sheet", "1")
        page.says("#caption", "Map of sheet 1")
        page.click(".crack[data-crack='1']")
        page.says("#prompt-title", "Merge cracks 3 + 1")
        page.click("#prompt-buttons .primary")
        page.says("#kept", "Saved: cracks 1 and 3 merged")
        assert review.lines == [ann(action="merge", cracks=[1, 3])]


def test_thousands_of_cracks_stay_fast(browser: Any, run: Path) -> None:
    document = json.loads((run / "survey" / "cracks.json").read_text())
    cracks = [{**document["cracks"][each % 4], "id": each + 1} for each in range(2000)]
    patched(run, cracks=cracks)
    with served(run) as review, Page(browser, review.server.url) as page:
        page.says("#progress", "0 of 1500 reviewed")
        assert page.tab.locator(".crack").count() < 60
        page.press("c")
        page.says("#kept", "Saved: crack 1 confirmed")
        page.stage("crack", 2)
        took_ms = page.tab.evaluate(
            """() => {
                const began = performance.now();
                for (let at = 0; at < 10; at += 1) {
                    const press = new KeyboardEvent("keydown", { key: "j", bubbles: true });
                    document.body.dispatchEvent(press);
                }
                return (performance.now() - began) / 10;
            }"""
        )
        assert took_ms < 1000  # a tenth of it on a laptop
        page.stage("crack", 15)
        assert page.tab.locator(".crack").count() < 60
        assert len(review.lines) == 1


def test_a_phone_is_enough_to_decide(browser: Any, review: Served) -> None:
    touch: dict[str, Any] = {"has_touch": True, "is_mobile": True}
    with Page(browser, review.server.url, size=PHONE, **touch) as page:
        page.tab.tap("[data-do=confirm]")
        page.says("#kept", "Saved: crack 1 confirmed")
        page.stage("crack", 2)
        page.tab.tap("[data-do=reject]")
        page.tab.tap("#prompt >> text=edge")
        page.says("#kept", "Saved: crack 2 rejected as edge")
        page.tab.tap("[data-do=draw]")
        page.tab.tap("#zoom-whole")
        for place in PLACES[:2]:
            page.tab.touchscreen.tap(*page.point(place))
            page.tab.wait_for_timeout(20)
        page.says("#prompt-hint", "2 points")
        page.tab.tap("#prompt >> text=Done")
        page.says("#kept", "Saved: crack D1 drawn")
        assert near(review.lines[-1]["points"], PLACES[:2], 2.0)


def test_two_fingers_zoom(browser: Any, review: Served) -> None:
    touch: dict[str, Any] = {"has_touch": True, "is_mobile": True}
    with Page(browser, review.server.url, size=PHONE, **touch) as page:
        before = page.scale
        middle = page.point((150, 60))
        fingers = page.context.new_cdp_session(page.tab)

        def touches(kind: str, away: float) -> None:
            points = [
                {"x": middle[0] + side * away, "y": middle[1], "id": side} for side in (-1, 1)
            ]
            if kind == "touchEnd":
                points = []
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touches("touchStart", 30)
        for away in range(32, 62, 2):
            touches("touchMove", away)
        touches("touchEnd", 0)
        assert page.scale == pytest.approx(2 * before, rel=0.1)
        after = page.point((150, 60))
        assert abs(after[0] - middle[0]) < 12
        assert abs(after[1] - middle[1]) < 12
        page.stage("mode", "")


SMALL_TARGETS = """() => Array.from(
    document.querySelectorAll("button, select, .crack, .segments label"),
    (each) => [each.id || each.textContent, each.getBoundingClientRect()],
).filter(([, box]) => box.width > 0 && Math.min(box.height, box.width) < 43.5)
    .map(([name]) => name)"""


@pytest.mark.parametrize("size", [LAPTOP, SMALL_LAPTOP, PHONE], ids=["1440", "1024", "390"])
def test_nothing_overflows_and_targets_fit_gloves(
    browser: Any, review: Served, size: dict[str, int]
) -> None:
    with Page(browser, review.server.url, "A very long name of a reviewer " * 2, size) as page:
        review.session.act("Ann", {"action": "note", "crack": 1, "text": "n" * 300})
        page.tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.says(".details", "nnn")
        for key in ("", "r", "t", "n", "g", "m", "s", "d", "v", "?"):
            if key:
                page.press("Escape", key)
            wide = page.tab.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], key
            assert page.tab.evaluate(SMALL_TARGETS) == [], key


def test_everything_has_a_name_for_screen_readers(page: Page) -> None:
    page.press("v", "v")
    nameless = page.tab.evaluate(
        """() => Array.from(document.querySelectorAll("button, input, select, canvas, #queue"))
            .filter((each) => !(each.getAttribute("aria-label") || each.textContent.trim()
                || each.labels?.length)).map((each) => each.outerHTML)"""
    )
    assert nameless == []
    queue = page.tab.locator("#queue")
    row = page.tab.locator(f"#{queue.get_attribute('aria-activedescendant')}")
    assert row.get_attribute("aria-selected") == "true"
    assert row.get_attribute("data-crack") == "1"
    label = page.tab.get_attribute("#canvas", "aria-label")
    assert "Crack 1, open" in label


def test_the_keys_are_listed(page: Page) -> None:
    page.press("?")
    page.shows("#help")
    page.press("c")  # is no decision while the list is open
    page.press("Escape")
    page.shows("#help", hidden=True)
    page.says("#progress", "0 of 3 reviewed")

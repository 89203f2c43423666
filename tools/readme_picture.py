"""The animation at the top of the README: a live stream, its map, its report.

    edgecrack stream --source wall.mp4 --out stream --max-frames 300
    edgecrack inspect wall.mp4 --out wall --max-frames 300
    python tools/readme_picture.py stream wall -o docs/images/inspection.webp

Needs Chromium, for the report.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import av
from PIL import Image
from playwright.sync_api import sync_playwright

HEIGHT_PX, GAP_PX = 620, 14
REPORT_WINDOW = {"width": 920, "height": 1150}
EVERY, FRAME_MS, QUALITY = 5, 167, 55


def to_height(image: Image.Image) -> Image.Image:
    """The picture at the height of the panels."""
    width = round(image.width * HEIGHT_PX / image.height)
    return image.convert("RGB").resize((width, HEIGHT_PX), Image.Resampling.LANCZOS)


def overlay_frames(video: Path) -> list[Image.Image]:
    """Every fifth frame of the overlay video."""
    with av.open(video) as container:
        frames = list(container.decode(video=0))[::EVERY]
        return [to_height(frame.to_image()) for frame in frames]  # type: ignore[no-untyped-call]


def report_page(report: Path, chromium: str) -> Image.Image:
    """The part of the report that lists the cracks one by one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=REPORT_WINDOW)  # type: ignore[arg-type]
        page.goto(report.resolve().as_uri())
        page.get_by_role("heading", name="The cracks one by one").scroll_into_view_if_needed()
        page.evaluate(
            "document.querySelectorAll('h2').forEach(h => h.textContent.startsWith("
            "'The cracks one') && h.scrollIntoView())"
        )
        shot = page.screenshot()
        browser.close()
    return to_height(Image.open(io.BytesIO(shot)))


def side_by_side(panels: list[Image.Image]) -> Image.Image:
    """Panels in a row on white."""
    width = sum(panel.width for panel in panels) + GAP_PX * (len(panels) - 1)
    row = Image.new("RGB", (width, HEIGHT_PX), "white")
    left = 0
    for panel in panels:
        row.paste(panel, (left, 0))
        left += panel.width + GAP_PX
    return row


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stream", type=Path, help="results of `edgecrack stream`")
    parser.add_argument("inspection", type=Path, help="results of `edgecrack inspect`")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    wall = to_height(Image.open(options.inspection / "survey" / "map.png"))
    report = report_page(options.inspection / "report" / "report.html", options.chromium)
    first, *rest = [
        side_by_side([frame, wall, report])
        for frame in overlay_frames(options.stream / "overlay.mp4")
    ]
    first.save(
        options.out,
        save_all=True,
        append_images=rest,
        duration=FRAME_MS,
        loop=0,
        quality=QUALITY,
        method=6,
    )


if __name__ == "__main__":
    main()

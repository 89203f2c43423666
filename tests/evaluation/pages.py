"""Reads a report's page as a browser would, and checks what holds for all of them."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

_VOID = ("meta", "img", "br")


class Page(HTMLParser):
    """What a page holds; fails where tags do not close each other."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.cells: list[str] = []
        self.addresses: list[str] = []
        self.title = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.addresses += [unquote(value or "") for key, value in attrs if key in ("src", "href")]
        if tag in ("td", "th"):
            self.cells.append("")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self._open or "th" in self._open:
            self.cells[-1] += data
        if self._open[-1:] == ["title"]:
            self.title += data

    def close(self) -> None:
        super().close()
        assert not self._open


def read_page(path: Path) -> Page:
    """Parse a page, and see that it needs nothing but files below its own folder."""
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    page.close()
    assert "http" not in text
    assert "@import" not in text
    for address in page.addresses:
        assert not Path(address).is_absolute()
        assert (path.parent / address).is_file(), address
    return page

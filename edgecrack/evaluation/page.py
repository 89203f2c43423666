"""Elements of report pages: page frame, tables, pictures, made by macros of a template.

A page is one file beside its pictures and loads nothing from a network. All text except `Html`
is escaped.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from urllib.parse import quote

from edgecrack.extras import require


class Html(str):
    """Text that is HTML and is not escaped."""

    __slots__ = ()

    def __html__(self) -> str:
        """Itself, by the protocol that templates know."""
        return str(self)


Kind = Literal["text", "percent", "fine", "points", "number", "count"]
Cell = str | float | None


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: its heading.
        kind: "text"; "percent" shows 100 times a number, "fine" with two decimals, "points" with
            its sign, too; "number" shows it unchanged with two decimals, "count" with none.
        hint: shown when the pointer rests on the heading.
    """

    title: str
    kind: Kind = "percent"
    hint: str = ""

    def shown(self, value: Cell) -> str:
        """A cell as readers see it."""
        if isinstance(value, str):
            return value
        if value is None:
            return "-"
        forms = {"percent": f"{100 * value:.1f}", "fine": f"{100 * value:.2f}"}
        forms |= {"points": f"{100 * value:+.2f}", "count": f"{value:.0f}"}
        return forms.get(self.kind, f"{value:.2f}")

    def order(self, value: float | None) -> str:
        """What rows are sorted by; unknown values are the lowest."""
        return "-1e9" if value is None else f"{value:.6g}"


@cache
def _macros() -> Any:
    require("jinja2", extra="train", purpose="a report's page")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("edgecrack.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html.jinja").module


def _html(element: str, *values: Any) -> Html:
    return Html(getattr(_macros(), element)(*values))


def page(title: str, *sections: Html | None) -> str:
    """A complete page with a title and sections; None is left out.

    Raises:
        MissingDependencyError: jinja2 is not installed.
    """
    return str(_html("page", title, sections))


def heading(text: str) -> Html:
    """A section's heading."""
    return _html("heading", text)


def paragraph(text: str, kind: Literal["", "soft", "lead"] = "") -> Html:
    """A paragraph; "soft" for notes, "lead" for the main statement."""
    return _html("paragraph", text, kind)


def facts(values: Mapping[str, str]) -> Html:
    """A list of names and values."""
    return _html("facts", values)


def cards(values: Sequence[tuple[str, str, str]]) -> Html:
    """A few large numbers: (name, number, meaning)."""
    return _html("cards", values)


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    *,
    caption: str = "",
    sortable: bool = False,
) -> Html:
    """A table that scrolls horizontally on a narrow screen; `sortable` by clicking a heading."""
    paired = [list(zip(columns, row, strict=True)) for row in rows]
    return _html("table", columns, paired, caption, sortable)


def folded(summary: str, section: Html) -> Html:
    """A section that readers open."""
    return _html("folded", summary, section)


def picture(file: str, caption: str, kind: Literal["plot", "wide", "wide four"] = "wide") -> Html:
    """A picture beside the page; a click opens it in full size.

    Wide pictures fill the page's width, and scroll horizontally on a narrow screen.
    """
    return _html("picture", link_to(file), caption, kind)


def link(file: str, text: str) -> Html:
    """A link to a file below the page's folder."""
    return _html("link", link_to(file), text)


def link_to(file: str) -> str:
    """A relative path as a URL; its name may contain any bytes."""
    return quote(os.fsencode(file))

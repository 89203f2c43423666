"""The parts that a report's HTML pages share: frame, style, tables, pictures.

A page is one file beside its pictures; it loads nothing from a network. Everything that is not
marked as `Html` is escaped.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal
from urllib.parse import quote

_STYLE = """
:root{--ink:#1d2730;--soft:#5b6873;--line:#dfe5ea;--shade:#f4f7f9;--accent:#1b6ca8}
*{box-sizing:border-box}
body{margin:0;background:#fff;color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",
Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 10px;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:38px 0 10px}
p{margin:8px 0;max-width:75ch}
a{color:var(--accent)}
.soft,figcaption{color:var(--soft);font-size:.88rem}
.lead{border-left:4px solid var(--accent);background:var(--shade);padding:10px 14px;
font-size:1.05rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:12px 0;font-size:.92rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;
margin:20px 0}
.card{border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.card b{display:block;font-size:1.7rem;line-height:1.3;font-variant-numeric:tabular-nums}
.card span{color:var(--soft);font-size:.85rem;display:block}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;margin:8px 0}
th,td{padding:5px 12px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{background:var(--shade);font-weight:600;vertical-align:bottom}
th.text,td.text{text-align:left}
td.text{white-space:normal;min-width:9ch;overflow-wrap:break-word}
td small{color:var(--soft)}
tbody tr:hover{background:var(--shade)}
th button{all:unset;cursor:pointer}
th button:focus-visible{outline:2px solid var(--accent)}
th button::after{content:" \\2195";color:#aab4bc}
th[aria-sort=ascending] button::after{content:" \\2191";color:inherit}
th[aria-sort=descending] button::after{content:" \\2193";color:inherit}
figure{margin:0 0 18px}
figure img{display:block;max-width:100%;height:auto;border:1px solid var(--line);border-radius:6px}
figure.plot img{width:640px}
figure.wide img{width:100%;min-width:680px}
figure.wide.four img{min-width:860px}
@media(max-width:600px){main{padding:18px 14px 40px}h1{font-size:1.3rem}
dl{grid-template-columns:1fr}dd{margin-bottom:6px}th,td{padding:5px 8px}}
"""
_SORT = """
document.querySelectorAll("table.sortable").forEach(function(table){
  var heads=table.querySelectorAll("thead th");
  heads.forEach(function(head,column){
    head.querySelector("button").addEventListener("click",function(){
      var up=head.getAttribute("aria-sort")==="descending";
      var body=table.tBodies[0],rows=Array.from(body.rows);
      var value=function(row){var cell=row.cells[column];
        return cell.dataset.value===undefined?cell.textContent:Number(cell.dataset.value)};
      rows.sort(function(one,other){var a=value(one),b=value(other);
        var order=typeof a==="number"?a-b:a.localeCompare(b,undefined,{numeric:true});
        return up?order:-order});
      heads.forEach(function(other){other.removeAttribute("aria-sort")});
      head.setAttribute("aria-sort",up?"ascending":"descending");
      body.append.apply(body,rows);
    });
  });
});
"""


class Html(str):
    """Text that is HTML already and needs no escaping."""

    __slots__ = ()


Kind = Literal["text", "percent", "fine", "points", "number", "count"]
Cell = str | float | None


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: its heading.
        kind: "text"; "percent" shows 100 times a number, "fine" with two decimals, "points" with
            its sign, too; "number" shows it as it is, with two decimals, "count" with none.
        hint: shown when the pointer rests on the heading.
    """

    title: str
    kind: Kind = "percent"
    hint: str = ""


def page(title: str, *sections: str) -> str:
    """A whole page of one title and sections of HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n"
        + "\n".join(section for section in sections if section)
        + f"\n</main>\n<script>{_SORT}</script>\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """A section's heading."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, kind: Literal["", "soft", "lead"] = "") -> str:
    """A paragraph; "soft" for notes, "lead" for the one sentence that matters."""
    return f'<p class="{kind}">{_text(text)}</p>'


def facts(values: Mapping[str, str]) -> str:
    """A list of names and values."""
    rows = (f"<dt>{escape(name)}</dt><dd>{_text(value)}</dd>" for name, value in values.items())
    return f"<dl>{''.join(rows)}</dl>"


def cards(values: Sequence[tuple[str, str, str]]) -> str:
    """A few large numbers: (name, number, what it means)."""
    cells = (
        f'<div class="card"><span>{escape(name)}</span><b>{escape(number)}</b>'
        f"<span>{escape(note)}</span></div>"
        for name, number, note in values
    )
    return f'<div class="cards">{"".join(cells)}</div>'


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    *,
    caption: str = "",
    sortable: bool = False,
) -> str:
    """A table that scrolls sideways on a narrow screen; `sortable` by a click on a heading."""
    heads = "".join(_head(column, sortable) for column in columns)
    body = "\n".join("<tr>" + "".join(map(_cell, columns, row)) + "</tr>" for row in rows)
    # Beside the table and not in it, where it would scroll sideways with the columns.
    note = paragraph(caption, "soft") if caption else ""
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll"><table{kind}><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>{note}"
    )


def picture(file: str, caption: str, kind: Literal["plot", "wide", "wide four"] = "wide") -> str:
    """A picture beside the page; a click opens it in full size.

    Wide ones take the page's width, and scroll sideways on a narrow screen.
    """
    address = escape(link_to(file))
    return (
        f'<figure class="{kind}"><div class="scroll"><a href="{address}">'
        f'<img src="{address}" alt="{escape(caption)}" loading="lazy"></a></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def link(file: str, text: str) -> Html:
    """A link to a file below the page's folder."""
    return Html(f'<a href="{escape(link_to(file))}">{escape(text)}</a>')


def link_to(file: str) -> str:
    """A relative path as an address, whatever bytes its name is made of."""
    return quote(os.fsencode(file))


def _text(value: str) -> str:
    return value if isinstance(value, Html) else escape(value)


def _head(column: Column, sortable: bool) -> str:
    title = escape(column.title)
    inside = f'<button type="button">{title}</button>' if sortable else title
    kind = ' class="text"' if column.kind == "text" else ""
    hint = f' title="{escape(column.hint)}"' if column.hint else ""
    return f'<th scope="col"{kind}{hint}>{inside}</th>'


def _cell(column: Column, value: Cell) -> str:
    if isinstance(value, str):
        kind = ' class="text"' if column.kind == "text" else ""
        return f"<td{kind}>{_text(value)}</td>"
    if value is None:
        return '<td data-value="-1e9">-</td>'
    forms = {"percent": f"{100 * value:.1f}", "fine": f"{100 * value:.2f}"}
    forms |= {"points": f"{100 * value:+.2f}", "count": f"{value:.0f}"}
    return f'<td data-value="{value:.6g}">{forms.get(column.kind, f"{value:.2f}")}</td>'

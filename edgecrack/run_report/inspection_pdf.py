"""A report as a PDF on A4: the same content as the page, with its state on every sheet of paper."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from edgecrack.extras import require
from edgecrack.run_report.facts import RunFacts
from edgecrack.run_report.page_content import PageContent
from edgecrack.run_report.report_words import Words
from edgecrack.run_report.width_plot import PLOT_HEIGHT, PLOT_WIDTH, WidthPlot

# Brought by reportlab, so that the PDF holds its letters: Latin ones of Western Europe.
_FONT, _BOLD = "Vera", "VeraBd"
_INK, _QUIET, _LINE, _RED = "#1b2430", "#5c6a7a", "#d5dbe2", "#c0262d"
_GREEN, _LONGEST_STATE = "#1d6b3f", 110
_THIN_SPACE, _SPACE = "\u202f", "\u00a0"
_MM = 72 / 25.4
_FRAME = 6  # reportlab's own, within the margins
_MARGIN, _FOOT = 16 * _MM - _FRAME, 20 * _MM
_TALLEST_MAP = 200 * _MM
# Of a card: the pictures' share of the width, how tall one is, and the gap beside them.
_PICTURES, _TALLEST_PICTURE, _GAP = 0.36, 50 * _MM, 14.0
_UPRIGHT = 1.2  # from this height on, by its width, a picture is upright
_SIDES = ("LEFT", "RIGHT", "TOP", "BOTTOM")


def render_pdf(facts: RunFacts, words: Words) -> bytes:
    """The report.

    Raises:
        MissingDependencyError: reportlab is not installed.
    """
    require("reportlab", extra="report", purpose="the report as PDF")
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    _load_fonts()
    title = words("title")
    if facts.structure is not None:
        title = f"{title}: {facts.structure.name}"
    target = io.BytesIO()
    document = SimpleDocTemplate(
        target,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_FOOT,
        bottomMargin=_FOOT,
        title=_printable(title),
        author="",
        creator="edgecrack",
        invariant=1,  # no time of writing: the same survey gives the same bytes
    )
    story = _Story(facts, words, document.width - 2 * _FRAME)

    def margins(canvas: Any, _document: Any) -> None:
        _draw_margins(canvas, A4, title, story.state, facts.is_draft)

    document.build(story.flowables(), onFirstPage=margins, onLaterPages=margins)
    return target.getvalue()


def _load_fonts() -> None:
    from reportlab.lib.fonts import addMapping
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    for name in (_FONT, _BOLD):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))
    addMapping(_FONT, 0, 0, _FONT)
    addMapping(_FONT, 1, 0, _BOLD)


def _printable(text: str) -> str:
    """The text in the font's letters; of others their number, for a box could hide a name."""
    from reportlab.pdfbase import pdfmetrics

    known = pdfmetrics.getFont(_FONT).face.charToGlyph
    text = " ".join(text.split("\n")).replace(_THIN_SPACE, _SPACE).replace("\t", " ")
    return "".join(letter if ord(letter) in known else f"[U+{ord(letter):04X}]" for letter in text)


def _draw_margins(
    canvas: Any, size: tuple[float, float], title: str, state: str, is_draft: bool
) -> None:
    """The state of review, the title and the page's number, on every page."""
    width, height = size
    canvas.saveState()
    canvas.setFont(_BOLD, 8)
    canvas.setFillColor(_RED if is_draft else _GREEN)
    canvas.drawString(_MARGIN + _FRAME, height - 12 * _MM, _printable(state)[:_LONGEST_STATE])
    canvas.setFont(_FONT, 8)
    canvas.setFillColor(_QUIET)
    canvas.drawString(_MARGIN + _FRAME, 11 * _MM, _printable(title)[:90])
    canvas.drawRightString(width - _MARGIN - _FRAME, 11 * _MM, str(canvas.getPageNumber()))
    canvas.restoreState()


class _Story:
    """A report's parts in reading order, as reportlab lays them out."""

    def __init__(self, facts: RunFacts, words: Words, width: float) -> None:
        from reportlab.lib.styles import ParagraphStyle

        self._facts, self._words, self._width = facts, words, width
        self._content = PageContent(facts, words).content()

        def style(name: str, size: float, **more: Any) -> ParagraphStyle:
            given = {"fontName": _FONT, "textColor": _INK, "leading": size * 1.4, **more}
            return ParagraphStyle(name, fontSize=size, **given)

        self._styles = {
            "title": style("title", 20, fontName=_BOLD, spaceAfter=6),
            "part": style("part", 13, fontName=_BOLD, spaceBefore=14, spaceAfter=4, keepWithNext=1),
            "crack": style(
                "crack", 10, fontName=_BOLD, spaceBefore=8, spaceAfter=4, keepWithNext=1
            ),
            "text": style("text", 9, spaceAfter=4),
            "figure": style("figure", 16, fontName=_BOLD),
            "cell": style("cell", 8),
            "number": style("number", 8, alignment=2),
            "quiet": style("quiet", 8, textColor=_QUIET, spaceAfter=6),
        }

    @property
    def state(self) -> str:
        """Whether the report is a draft, as a sentence."""
        return str(self._content["head"]["state"])

    def flowables(self) -> list[Any]:
        """All of it."""
        return [
            *self._head(),
            *self._summary(),
            *self._inspected(),
            *self._maps(),
            *self._cards(),
            *self._unconfirmed(),
            *self._rejected(),
            *self._missed(),
            *self._repeated(),
            *self._site(),
            *self._method(),
            *self._signature(),
        ]

    def _text(self, text: str, style: str = "text") -> Any:
        from reportlab.platypus import Paragraph

        return Paragraph(escape(_printable(text)), self._styles[style])

    def _part(self, key: str) -> Any:
        return self._text(self._words(key), "part")

    def _table(
        self,
        rows: Sequence[Sequence[str]],
        widths: Sequence[float],
        numbers: Sequence[int] = (),
        *,
        width: float | None = None,
    ) -> Any:
        """Rows of texts under each other.

        Args:
            rows: the first repeats on every page; of no texts there is none.
            widths: of the columns, as shares of their sum.
            numbers: columns that stand to the right.
            width: of the table; None takes the page's.
        """
        from reportlab.platypus import LongTable

        cells = [
            [
                self._text(text, "number" if column in numbers else "cell")
                for column, text in enumerate(row)
            ]
            for row in rows
            if row
        ]
        total = sum(widths)
        return LongTable(
            cells,
            colWidths=[(width or self._width) * each / total for each in widths],
            splitInRow=1,  # a row may be longer than a page
            repeatRows=1 if rows and rows[0] and len(cells) == len(rows) else 0,
            style=[
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-2, -1), 12),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
            ],
        )

    def _terms(self, terms: Sequence[tuple[str, str]]) -> Any:
        """Terms and what they are."""
        return self._table([(), *terms], (1, 3))

    def _picture(self, address: str, width: float, tallest: float) -> Any:
        from reportlab.lib.utils import ImageReader
        from reportlab.platypus import Image

        data = io.BytesIO(base64.b64decode(address.partition(",")[2]))
        wide, tall = ImageReader(data).getSize()
        factor = min(width / wide, tallest / tall)
        data.seek(0)
        return Image(data, wide * factor, tall * factor)

    def _head(self) -> list[Any]:
        words, head, structure = self._words, self._content["head"], self._facts.structure
        parts = [self._text(words("title"), "title")]
        if structure is not None:
            code = f" ({structure.code})" if structure.code else ""
            parts.append(self._text(f"{structure.name}{code}", "crack"))
        model = f"{head['model']}, {words('threshold')} {head['threshold']}"
        terms = [(words(key), str(head[key])) for key in ("run", "recorded", "processed", "source")]
        return [*parts, self._terms([*terms, (words("model"), model)])]

    def _summary(self) -> list[Any]:
        from reportlab.platypus import Spacer, Table

        words, head = self._words, self._content["head"]
        figures = [
            (head["counted"], head["count"]),
            (words("total_length"), head["length"]),
            (words("widest"), head["widest"]),
            (words("unconfirmed_marks"), str(len(self._facts.unconfirmed))),
        ]
        boxes = Table(
            [
                [self._text(label, "cell") for label, _ in figures],
                [self._text(value, "figure") for _, value in figures],
            ],
            colWidths=[self._width / len(figures)] * len(figures),
            style=[
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                *(("BOX", (column, 0), (column, 1), 0.6, _LINE) for column in range(len(figures))),
            ],
        )
        parts = [self._part("summary"), boxes, Spacer(1, 8)]
        said = []
        if not self._facts.confirmed:
            said.append(words("no_cracks"))
        if not self._facts.has_scale:
            said.append(words("in_pixels"))
        elif not head["scale_stated"]:
            said.append(words("scale_unstated"))
        said += [head["classes_by"]] if head["classes_by"] else []
        said += [f"{head['review_counts']} {head['looked']}"] if head["review_counts"] else []
        said += [words("stale", count=head["stale"])] if head["stale"] else []
        parts += [self._text(each) for each in (*said, *self._content["notes"])]
        keys = ["place", "cracks", "length", "area", "density"]
        names = ["place", "cracks", "length", "area_seen", "density"]
        if head["classes_by"]:
            keys, names = [*keys, "classes"], [*names, "class"]
        rows = [[words(name) for name in names]]
        rows += [[str(total[key]) for key in keys] for total in self._content["totals"]]
        table = self._table(rows, (3, 1, 1.4, 1.4, 1.6, 2)[: len(keys)], (1, 2, 3, 4))
        return [*parts, self._text(words("by_place"), "crack"), table]

    def _inspected(self) -> list[Any]:
        words, names = self._words, self._content["seen_names"]
        rows = [[words("sheet"), *(words(name) for name in names)]]
        rows += [[sheet["place"], *sheet["shares"]] for sheet in self._content["sheets"]]
        columns = range(1, len(names) + 1)
        return [
            self._part("inspected"),
            self._text(words("inspected_note")),
            self._table(rows, (2, *(1 for _ in columns)), tuple(columns)),
        ]

    def _maps(self) -> list[Any]:
        from reportlab.platypus import KeepTogether

        words = self._words
        parts: list[Any] = []
        own = [self._part("map"), self._text(words("map_note"))]
        for sheet in self._content["maps"]:
            for kind, caption in (
                ("map", self._text(f"{sheet['place']}. {sheet['drift']}", "quiet")),
                ("coverage", self._legend(sheet)),
            ):
                if sheet[kind] is None:
                    if kind == "map":
                        own.append(self._text(words("no_picture"), "quiet"))
                    continue
                picture = self._picture(sheet[kind], self._width, _TALLEST_MAP)
                parts.append(KeepTogether([*own, picture, caption]))
                own = []
        return [*parts, *own]

    def _legend(self, sheet: Mapping[str, Any]) -> Any:
        """What the colours of a coverage's picture mean."""
        from reportlab.platypus import Paragraph

        keys = [
            f'<font backColor="{colour}">{_SPACE * 5}</font>{_SPACE}{escape(_printable(text))}'
            for colour, text in sheet["legend"]
        ]
        name = escape(_printable(f"{sheet['place']}. {self._words('coverage_note')}:"))
        return Paragraph(f"{name} {f'{_SPACE * 3} '.join(keys)}", self._styles["quiet"])

    def _cards(self) -> list[Any]:
        from reportlab.platypus import KeepTogether, Spacer

        parts: list[Any] = []
        for card in self._content["cards"]:
            name = f"{self._words('crack')} {card['id']}"
            own = [] if parts else [self._part("each_crack")]
            own += [self._text(f"{name}: {card['place']}" if card["place"] else name, "crack")]
            own += [self._card_body(card), Spacer(1, 12)]
            parts.append(KeepTogether(own))
        if self._content["more_cards"]:
            parts.append(self._text(self._words("more", count=self._content["more_cards"])))
        return parts

    def _card_body(self, card: Mapping[str, Any]) -> Any:
        """A crack's pictures, and beside them its width and what is known."""
        from reportlab.platypus import Table

        left = _PICTURES * self._width
        right = self._width - left - _GAP
        pictures: list[Any] = [self._text(self._words("no_picture"), "quiet")]
        if card["pictures"]:
            pictures = self._pictures(card["pictures"], left)
        told: list[Any] = []
        if card["plot"] is not None:
            told += [
                self._drawing(card["plot"], right),
                self._text(self._words("profile"), "quiet"),
            ]
        told.append(self._table([(), *card["facts"]], (1, 2), width=right))
        return Table(
            [[pictures, "", told]],
            colWidths=[left, _GAP, right],
            style=[
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                *((f"{side}PADDING", (0, 0), (-1, -1), 0) for side in _SIDES),
            ],
        )  # fmt: skip

    def _pictures(self, addresses: Sequence[str], width: float) -> list[Any]:
        """A crack's pictures: above each other, upright ones beside each other."""
        from reportlab.platypus import Spacer, Table

        shown = [self._picture(each, width, _TALLEST_PICTURE) for each in addresses]
        if len(shown) == 2 and shown[0].drawHeight > _UPRIGHT * shown[0].drawWidth:
            half = (width - 6) / 2
            row = [self._picture(each, half, 2 * _TALLEST_PICTURE) for each in addresses]
            pair = Table([row], colWidths=[half + 6, half], hAlign="LEFT")
            pair.setStyle([(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in _SIDES])
            return [pair]
        for each in shown:
            each.hAlign = "LEFT"
        return [shown[0], *(part for each in shown[1:] for part in (Spacer(1, 6), each))]

    def _drawing(self, plot: WidthPlot, width: float) -> Any:
        from reportlab.graphics.shapes import Drawing, Line, Polygon, PolyLine, String
        from reportlab.lib.colors import Color, HexColor

        factor = width / PLOT_WIDTH
        drawing = Drawing(width, PLOT_HEIGHT * factor)
        drawing.scale(factor, factor)

        def flat(shape: Sequence[tuple[float, float]]) -> list[float]:
            return [each for x, y in shape for each in (x, PLOT_HEIGHT - y)]

        for rule in plot.rules:
            drawing.add(Line(*flat(rule), strokeColor=HexColor(_LINE), strokeWidth=1))
        for x, y, anchor, text in plot.texts:
            drawing.add(
                String(
                    x, PLOT_HEIGHT - y, _printable(text), fontName=_FONT, fontSize=6.5 / factor,
                    textAnchor=anchor, fillColor=HexColor(_QUIET),
                )
            )  # fmt: skip
        red = HexColor(_RED)
        band = Color(red.red, red.green, red.blue, 0.18)
        for shape in plot.bands:
            drawing.add(Polygon(flat(shape), fillColor=band, strokeColor=None))
        for shape in plot.lines:
            drawing.add(PolyLine(flat(shape), strokeColor=red, strokeWidth=1.6))
        return drawing

    def _unconfirmed(self) -> list[Any]:
        words, rows = self._words, self._content["unconfirmed"]
        if not rows:
            return []
        table = [[words("crack"), words("place"), words("length"), ""]]
        table += [[str(each["id"]), each["place"], each["length"], each["seen"]] for each in rows]
        parts = [
            self._part("unconfirmed"),
            self._text(words("unconfirmed_note")),
            self._table(table, (0.5, 2.2, 1, 2.8), (2,)),
        ]
        if self._content["more_unconfirmed"]:
            parts.append(self._text(words("more", count=self._content["more_unconfirmed"])))
        return parts

    def _rejected(self) -> list[Any]:
        words, rows = self._words, self._content["rejected"]
        if not rows:
            return []
        table = [[words(key) for key in ("crack", "place", "length", "reason", "review")]]
        for each in rows:
            reason = f"{each['reason']}: {each['note']}" if each["note"] else each["reason"]
            table.append([str(each["id"]), each["place"], each["length"], reason, each["review"]])
        parts = [
            self._part("rejected"),
            self._text(words("rejected_note")),
            self._table(table, (0.7, 1.6, 1, 1.6, 2.4), (2,)),
        ]
        if self._content["more_rejected"]:
            parts.append(self._text(words("more", count=self._content["more_rejected"])))
        return parts

    def _missed(self) -> list[Any]:
        words, missed = self._words, self._content["missed"]
        if missed is None:
            return [self._part("missed"), self._text(words("missed_none"))]
        rows = [[words(key) for key in ("width", "found_in", "at_least", "evidence")]]
        rows += [
            [each[key] for key in ("width", "found", "least", "evidence")]
            for each in missed["rows"]
        ]
        said = [missed["note"], *missed["more"]]
        parts = [self._part("missed"), *(self._text(text) for text in said if text)]
        return [*parts, self._table(rows, (1.4, 1, 1, 2), (1, 2))] if missed["rows"] else parts

    def _repeated(self) -> list[Any]:
        words, repeated = self._words, self._content["repeated"]
        parts = [self._part("repeated"), *(self._text(text) for text in repeated["said"])]
        if not repeated["rows"]:
            return parts
        names = ("crack", "half_lengths", "half_widths", "width_apart")
        rows = [[words(name) for name in names], *repeated["rows"]]
        return [*parts, self._table(rows, (0.5, 2, 2, 2), (1, 2, 3))]

    def _site(self) -> list[Any]:
        terms = self._content["site"]
        shown = self._terms(terms) if terms else self._text(self._words("site_none"))
        return [self._part("site_check"), shown]

    def _method(self) -> list[Any]:
        words = self._words
        parts = [self._part("method"), self._text(words("method_text"))]
        parts += [self._text(words("made_with"), "crack"), self._terms(self._content["basis"])]
        if self._content["settings"]:
            parts += [
                self._text(words("settings"), "crack"),
                self._terms(self._content["settings"]),
            ]
        return parts

    def _signature(self) -> list[Any]:
        from reportlab.platypus import KeepTogether, Spacer, Table

        words = self._words
        names = (("inspector", "name"), ("date", "signature"))
        texts = [f"{words(one)}, {words(other)}" for one, other in names]
        if self._content["head"]["reviewers"]:
            reviewers = words("reviewed_by", names=self._content["head"]["reviewers"])
            texts[0] = f"{texts[0]} ({reviewers})"
        labels = [self._text(text, "quiet") for text in texts]
        lines = Table(
            [[labels[0], "", labels[1]]],
            colWidths=[self._width * share for share in (0.46, 0.08, 0.46)],
            style=[("LINEABOVE", (column, 0), (column, 0), 0.8, _INK) for column in (0, 2)],
        )
        return [KeepTogether([Spacer(1, 46), lines])]

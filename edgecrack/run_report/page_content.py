"""A report's content in its language and units, for every output format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgecrack.measurement.severity import severity_tables
from edgecrack.run_report.facts import CrackPlace, PlaceTotal, RunFacts, length_mm
from edgecrack.run_report.pictures import coverage_picture, crack_pictures, numbered_map
from edgecrack.run_report.report_words import Words, class_name, term_name
from edgecrack.run_report.sections import (
    basis_section,
    missed_limits,
    note_sentences,
    repeated_section,
    site_section,
)
from edgecrack.run_report.width_plot import plot_widths
from edgecrack.run_survey.map_files import SEEN_COLOURS
from edgecrack.survey.coverage import SEEN

_MOST_CARDS, _MOST_ROWS = 100, 200
_NONE, _TO = "\u2013", " \u2013 "


class PageContent:
    """What a report shows.

    Args:
        facts: of the run.
        words: of the report's language and units.
    """

    def __init__(self, facts: RunFacts, words: Words) -> None:
        self._facts, self._words = facts, words

    def content(self) -> dict[str, Any]:
        """Texts, rows and pictures by their names in the template."""
        facts = self._facts
        confirmed, unconfirmed = facts.confirmed, facts.unconfirmed
        sheets = [self._sheet(each) for each in facts.document["sheets"]]
        return {
            "head": self._head(),
            "notes": note_sentences(facts.document, self._words),
            "totals": [self._total(each) for each in facts.totals],
            "seen_names": list(reversed(SEEN)),
            "sheets": self._sheet_rows(sheets),
            "maps": [each for each in sheets if each["has_map"]],
            "cards": [self._card(crack) for crack in confirmed[:_MOST_CARDS]],
            "more_cards": max(0, len(confirmed) - _MOST_CARDS),
            "unconfirmed": [self._row(crack) for crack in unconfirmed[:_MOST_ROWS]],
            "more_unconfirmed": max(0, len(unconfirmed) - _MOST_ROWS),
            "rejected": [self._rejected(crack) for crack in facts.rejected[:_MOST_ROWS]],
            "more_rejected": max(0, len(facts.rejected) - _MOST_ROWS),
            "missed": self._missed(),
            "settings": [(name, _plain(text)) for name, text in sorted(facts.settings.items())],
            "repeated": repeated_section(facts, self._words),
            "site": site_section(facts.site, self._words),
            "basis": basis_section(facts, self._words),
        }

    def _head(self) -> dict[str, Any]:
        facts, words = self._facts, self._words
        count, model = facts.document["count"], facts.document["model"]
        number = str(count["high"])
        if count["low"] != count["high"]:
            number = f"{count['low']}\u2013{count['high']}"
        sheets = facts.document["sheets"]
        found = [length_mm(crack, sheets[crack["sheet"]]) for crack in facts.confirmed]
        lengths = [each for each in found if each is not None]
        total = words.number(sum(crack["length_px"] for crack in facts.confirmed), 0) + " px"
        if lengths and len(lengths) == len(found):
            total = words.length(sum(lengths))
        if count["low"] != count["high"]:  # of which some may be one crack on two sheets
            total = words("up_to", length=total)
        classes = [crack["class"] for crack in facts.confirmed if crack["class"] is not None]
        return {
            "state": self._state(),
            "reviewers": ", ".join(facts.review.reviewers) if facts.review else "",
            "review_counts": self._review_counts(),
            "looked": self._looked(),
            "stale": len(facts.review.stale) if facts.review else 0,
            "run": facts.summary.get("run", {}).get("id", facts.run.name),
            "recorded": words.moment(facts.recorded_at or words("recorded_unknown")),
            "processed": words.moment(str(facts.summary.get("started_at") or _NONE)),
            "source": model.get("source") or _NONE,
            "model": model.get("model") or _NONE,
            "threshold": self._threshold(model.get("threshold")),
            "counted": words("found_cracks" if facts.is_draft else "confirmed_cracks"),
            "count": number,
            "length": total if facts.confirmed else _NONE,
            "widest": self._widest(),
            "scale_stated": all(
                crack["length_low_mm"] is not None
                for crack in facts.confirmed
                if crack["length_mm"] is not None
            ),
            "classes_by": self._classes_by(classes[0]["table"]) if classes else "",
        }

    def _threshold(self, value: Any) -> str:
        """As it was given, at least to one digit."""
        if not isinstance(value, (int, float)):
            return _NONE
        return self._words.number(value, max(1, len(f"{value:g}".partition(".")[2])))

    def _classes_by(self, table: str) -> str:
        """The document that classes come from; the name of a table of one's own."""
        known = {each.id: each for each in severity_tables()}
        if table not in known:
            return self._words("classes_by", document=table, clause=self._words("class"))
        document, clause = known[table].document, known[table].clause
        return self._words("classes_by", document=document, clause=clause)

    def _widest(self) -> str:
        widths = [crack["width"] for crack in self._facts.confirmed]
        for unit in ("mm", "px"):
            values = [each[f"p95_{unit}"] for each in widths if each[f"p95_{unit}"] is not None]
            if values:
                return self._size(max(values), unit)
        return self._words("none_measured") if widths else _NONE

    def _total(self, total: PlaceTotal) -> dict[str, Any]:
        words = self._words
        place = f"{total.code}: {total.name}" if total.code else self._sheet_name(total.sheet)
        length = f"{words.number(total.length_px, 0)} px"
        if total.length_mm is not None:
            length = words.length(total.length_mm)
        density = total.density_m_per_m2
        return {
            "place": place,
            "cracks": total.cracks,
            "length": length,
            "area": _NONE if total.area_m2 is None else words.area(total.area_m2),
            "density": _NONE if density is None else words.density(density),
            "classes": ", ".join(
                f"{class_name(name, words)}: {n}" for name, n in sorted(total.classes.items())
            ),
        }

    def _sheet_name(self, number: int | None) -> str:
        return f"{self._words('sheet')}\u00a0{number}"

    def _sheet(self, sheet: Mapping[str, Any]) -> dict[str, Any]:
        words, facts = self._words, self._facts
        structure = facts.structure
        markers = tuple((sheet["placed"] or {}).get("markers", []))
        found = None if structure is None else structure.of_sheet(sheet["number"], markers)
        name = self._sheet_name(sheet["number"])
        if found is not None:
            name = f"{found[0].code}: {found[0].name}, {found[1].name} ({name})"
        drawn = sheet["map"]
        pictures: dict[str, str | None] = {"picture": None, "coverage": None}
        if drawn is not None:
            own = [each for each in facts.confirmed if each["sheet"] == sheet["number"]]
            pictures["picture"] = numbered_map(
                facts.survey, drawn, own, is_reviewed=facts.review is not None
            )
            paths = [facts.survey / drawn[kind] for kind in ("coverage", "picture")]
            pictures["coverage"] = coverage_picture(*paths)
        shares = sheet["coverage"]["shares"]
        return {
            "place": name,
            "frames": sheet["frame_count"],
            "shares": [words.percent(shares[seen]) for seen in reversed(SEEN)],
            "has_map": drawn is not None,
            "map": pictures.get("picture"),
            "coverage": pictures.get("coverage"),
            "legend": self._legend(shares),
            "drift": words(
                "drift",
                sigma=words.number(sheet["registration_px"], 1),
                drift=words.number(sheet["drift_px"], 0),
            ),
        }

    def _sheet_rows(self, sheets: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Each sheet, but those of a single frame in one row."""
        if len(sheets) == 1:
            return list(sheets)
        rows = [each for each in sheets if each["frames"] > 1]
        single = [
            each["coverage"] for each in self._facts.document["sheets"] if each["frame_count"] == 1
        ]
        if single:
            total = max(1e-9, sum(each["seen_px"] for each in single))
            shares = {
                seen: sum(each["seen_px"] * each["shares"][seen] for each in single) / total
                for seen in SEEN
            }
            place = self._words("one_frame_sheets", count=len(single))
            percents = [self._words.percent(shares[seen]) for seen in reversed(SEEN)]
            rows.append({"place": place, "shares": percents})
        return rows

    def _legend(self, shares: Mapping[str, float]) -> list[tuple[str, str]]:
        """Colour and words of what the picture of the coverage shows."""
        words = self._words
        return [
            ("#{2:02x}{1:02x}{0:02x}".format(*SEEN_COLOURS[seen]),
             f"{words(seen)}: {words.percent(shares[seen])}")
            for seen in reversed(SEEN)
            if shares[seen] > 0
        ]  # fmt: skip

    def _card(self, crack: Mapping[str, Any]) -> dict[str, Any]:
        facts = self._facts
        sheet = facts.document["sheets"][crack["sheet"]]
        place, words = facts.places[crack["id"]], self._words
        return {
            "id": crack["id"],
            "place": self._where(place),
            "pictures": crack_pictures(facts.run, crack, sheet["mm_per_px"], words),
            "facts": self._facts_of(crack, place),
            "plot": None if crack["profile"] is None else plot_widths(crack["profile"], words),
        }

    def _where(self, place: CrackPlace) -> str:
        if place.element is None or place.face is None:
            return self._sheet_name(place.sheet)
        text = f"{place.element.name}, {place.face.name}"
        datum = place.face.datum
        if datum is None or place.from_datum_mm is None:
            return text
        key = {"bottom": "offset_above", "top": "offset_below"}.get(datum.edge, "offset")
        distance = self._words.length(max(0.0, place.from_datum_mm))
        return f"{text}, {self._words(key, distance=distance, datum=datum.name)}"

    def _facts_of(self, crack: Mapping[str, Any], place: CrackPlace) -> list[tuple[str, str]]:
        words = self._words
        found = [
            (words("length"), self._length(crack)),
            (words("width"), self._width(crack)),
        ]
        if crack["class"] is not None:
            chosen = crack["class"]
            found.append(
                (
                    words("class"),
                    f"{class_name(chosen['name'], words)} ({words.percent(chosen['probability'])})",
                )
            )
        axis = place.element is not None and place.element.axis is not None
        found.append(
            (
                words("orientation"),
                words("against_axis" if axis else "from_vertical", deg=place.angle_deg),
            )
        )
        if crack["confidence"] is not None:
            found.append(
                (
                    words("confidence"),
                    f"{words.percent(crack['confidence'])}, "
                    + words("seen_in", frames=len(crack["frames"]), count=crack["views"]),
                )
            )
        if crack["budget"]:
            terms = [
                f"{term_name(name, words)} {words.width_figure(u, 1)}"
                for name, u in crack["budget"].items()
                if u
            ]
            found.append((words("uncertainty"), f"{', '.join(terms)} {words.small_unit}"))
        if crack["place"] is not None:
            x, y, z = (words.number(each, 2) for each in crack["place"]["xyz_m"])
            text = f"x {x} m, y {y} m, z {z} m"
            if "latitude_deg" in crack["place"]:
                text = f"{crack['place']['latitude_deg']}, {crack['place']['longitude_deg']}"
            found.append((words("position"), text))
        return found + self._review_of(crack)

    def _state(self) -> str:
        """Whether the report is a draft, and how much of it a person has seen."""
        review, words = self._facts.review, self._words
        if review is None:
            return words("draft")
        reported = len(self._facts.confirmed) + len(self._facts.rejected)
        if review.is_done:
            return words("reviewed_by", names=", ".join(review.reviewers))
        return words("draft_so_far", done=reported - len(review.open_ids), count=reported)

    def _review_counts(self) -> str:
        """What the review added to and took from what the machine found."""
        review = self._facts.review
        if review is None:
            return ""
        reported = [crack["review"] for crack in self._facts.confirmed]
        return self._words(
            "review_counts",
            drawn=sum(each["machine"] is None for each in reported),
            raised=sum(each["machine"] == "unconfirmed" for each in reported),
            rejected=len(self._facts.rejected),
        )

    def _looked(self) -> str:
        """Whether the surface was checked for missed cracks."""
        review, words = self._facts.review, self._words
        if review is None:
            return ""
        if review.looked is None:
            return words("not_looked")
        return words("looked", name=review.looked.reviewer, time=words.moment(review.looked.at))

    def _review_of(self, crack: Mapping[str, Any]) -> list[tuple[str, str]]:
        """A person's decision on a crack, and the machine's result."""
        words, review = self._words, crack.get("review")
        if review is None:
            return []
        found = [(words("review"), self._decision(review))]
        origin = {
            "machine": words(f"machine_{review['machine']}") if review["machine"] else "",
            "drawn": words("origin_drawn"),
            "split": words("origin_split", parents=_joined(review["parents"])),
            "merged": words("origin_merged", parents=_joined(review["parents"])),
        }
        found.append((words("machine"), origin[review["origin"]]))
        for reading in review["gauges"]:
            told = f"{reading['reviewer']}, {words.moment(reading['at'])}"
            found.append((words("gauge"), f"{words.width(reading['mm'])} ({told})"))
        if review["tags"]:
            found.append(
                (words("tags"), ", ".join(words(f"tag_{each}") for each in review["tags"]))
            )
        if review["note"]:
            found.append((words("note"), review["note"]))
        return found

    def _decision(self, review: Mapping[str, Any]) -> str:
        words, decision = self._words, review["decision"]
        if decision is None:
            return words("not_reviewed")
        return words(
            f"decided_{decision}", name=review["reviewer"], time=words.moment(review["at"])
        )

    def _rejected(self, crack: Mapping[str, Any]) -> dict[str, Any]:
        review = crack["review"]
        reason = review["reason"]
        return {
            "id": crack["id"],
            "place": self._where(self._facts.places[crack["id"]]),
            "length": self._length(crack).partition(" (")[0],
            "reason": self._words(f"reason_{reason}") if reason else _NONE,
            "review": self._decision(review),
            "note": review["note"],
        }

    def _length(self, crack: Mapping[str, Any]) -> str:
        words = self._words
        if crack["length_mm"] is None:
            about = length_mm(crack, self._facts.document["sheets"][crack["sheet"]])
            if about is None:
                return f"{words.number(crack['length_px'], 0)} px"
            return words("about", length=words.length(about))
        text = words.length(crack["length_mm"])
        if crack["length_low_mm"] is None:
            return text
        ends = (words.length(crack[f"length_{end}_mm"]) for end in ("low", "high"))
        return f"{text} ({words('width_95')}: {_TO.join(ends)})"

    def _width(self, crack: Mapping[str, Any]) -> str:
        words, width = self._words, crack["width"]
        for unit in ("mm", "px"):
            if width[f"mean_{unit}"] is None:
                continue
            mean, low, high, largest = (
                self._size(width[f"{name}_{unit}"], unit) for name in ("mean", "low", "high", "max")
            )
            interval = f"{low.partition(' ')[0]}{_TO}{high}"
            return (
                f"{words('mean')} {mean} ({words('width_95')}: {interval}), "
                f"{words('largest')} {largest}"
            )
        is_drawn = (crack.get("review") or {}).get("origin") == "drawn"
        return words("not_measured" if is_drawn else "not_measurable")

    def _size(self, width: float, unit: str) -> str:
        """A width of "mm", in the report's units, or of "px"."""
        return self._words.width(width) if unit == "mm" else f"{self._words.number(width, 1)} px"

    def _row(self, crack: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": crack["id"],
            "place": self._where(self._facts.places[crack["id"]]),
            "length": self._length(crack).partition(" (")[0],
            "seen": self._words("seen_in", frames=len(crack["frames"]), count=crack["views"]),
        }

    def _missed(self) -> dict[str, Any] | None:
        """What share of cracks the model finds, at the coarsest scale of the run."""
        facts, words = self._facts, self._words
        if facts.evidence is None:
            return None
        scales = [each["mm_per_px"] for each in facts.document["sheets"] if each["mm_per_px"]]
        mm_per_px = max(scales, default=None)
        note = words("missed_pixels")
        if mm_per_px is not None:
            note = words("missed_scale", scale=words.width(mm_per_px, 1))
        more, holds = missed_limits(facts, mm_per_px, words)
        rows = self._missed_rows(facts.evidence["widths"], mm_per_px) if holds else []
        return {"note": note if holds else "", "more": more, "rows": rows}

    def _missed_rows(
        self, widths: Sequence[Mapping[str, Any]], mm_per_px: float | None
    ) -> list[dict[str, str]]:
        words, rows = self._words, []
        for each in widths:
            low, high = each["width_px"]
            text = f"{words.number(low, 1)}{_TO}{words.number(high, 1)} px"
            if mm_per_px is not None:
                ends = (words.width_figure(value * mm_per_px) for value in (low, high))
                text = f"{_TO.join(ends)} {words.small_unit}"
            rows.append(
                {
                    "width": text,
                    "found": words.percent(each["probability"]),
                    "least": words.percent(each["lower_95"]),
                    "evidence": f"{words('count_cracks', count=each['cracks'])}, "
                    f"{words('count_photos', count=each['photos'])}",
                }
            )
        return rows


def _plain(setting: str) -> str:
    """A setting without the marks of the language that it was written down in."""
    return _NONE if setting in ("None", "()") else setting.strip("()").rstrip(",").replace("'", "")


def _joined(ids: Sequence[int | str]) -> str:
    return ", ".join(map(str, ids))

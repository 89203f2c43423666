"""For which pictures the evidence of what may have been missed holds, and for which it does not."""

from __future__ import annotations

from edgecrack.run_report.facts import RunFacts
from edgecrack.run_report.report_words import Words


def missed_limits(facts: RunFacts, mm_per_px: float | None, words: Words) -> tuple[list[str], bool]:
    """Sentences about the evidence, and whether its figures hold for the run at all.

    They are of one threshold and of certain sizes of the frame; blur and contrast are those of the
    evidence's own pictures, and are not told apart.

    Args:
        facts: of a run with evidence.
        mm_per_px: its coarsest scale; None without one.
        words: of the report.
    """
    evidence = facts.evidence or {}
    threshold = facts.document["model"].get("threshold")
    if isinstance(threshold, (int, float)) and abs(threshold - evidence["threshold"]) > 1e-6:
        given = words.number(evidence["threshold"], 2), words.number(threshold, 2)
        return [words("missed_threshold", evidence=given[0], run=given[1])], False
    scales = ",".join(f"{scale:g}" for scale in evidence["scales"])
    if facts.settings.get("scales", scales) != scales:
        return [words("missed_scales", evidence=scales, run=facts.settings["scales"])], False
    narrowest = min(each["width_px"][0] for each in evidence["widths"])
    width = f"{words.number(narrowest, 2)} px"
    if mm_per_px is not None:
        width = words.width(narrowest * mm_per_px)
    blur = words("missed_blur", blur=words.number(evidence["blur_px"], 1))
    return [words("missed_narrower", width=width), blur, _of_the_run(facts, words)], True


def _of_the_run(facts: RunFacts, words: Words) -> str:
    blur_px, evidence = facts.document.get("blur_px"), facts.evidence or {}
    if blur_px is None:
        return words("missed_run_blur_unknown")
    # To the digit that is shown. Of smaller ones the estimate tells no figure worth one.
    if round(blur_px, 1) > round(evidence["blur_px"], 1):
        return words("missed_run_blur_more", blur=words.number(blur_px, 1))
    return words("missed_run_blur")

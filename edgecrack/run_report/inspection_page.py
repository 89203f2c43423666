"""A report as one HTML file that needs no other, on a screen and on paper."""

from __future__ import annotations

from edgecrack.extras import require
from edgecrack.run_report.facts import RunFacts
from edgecrack.run_report.page_content import PageContent
from edgecrack.run_report.report_words import Words


def render_page(facts: RunFacts, words: Words) -> str:
    """The report.

    Raises:
        MissingDependencyError: jinja2 is not installed.
    """
    require("jinja2", extra="report", purpose="the report's page")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("edgecrack.run_report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        facts=facts, words=words, **PageContent(facts, words).content()
    )

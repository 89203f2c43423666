"""`edgecrack review`: a person's word on each crack of a survey.

Parses, calls and prints; every import that costs time stands inside the command.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecrack.commands.shared_options import heading, results, serve_config
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from edgecrack.runtime.web.config import ServeConfig

_page = heading("Page")
_DEFAULT_ADDRESS = "127.0.0.1:8090"


def review(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that was surveyed.")],
    serve: Annotated[
        str,
        _page("HOST:PORT", "Where; an address other than 127.0.0.1 needs a token."),
    ] = _DEFAULT_ADDRESS,
    token_file: Annotated[
        Path | None,
        _page("FILE", "File with the token that reviewers give; else EDGECRACK_TOKEN."),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        _page("FILE", "Serve by HTTPS: the certificate, with those between, as PEM."),
    ] = None,
    tls_key: Annotated[
        Path | None, _page("FILE", "The certificate's key as PEM, without a password.")
    ] = None,
    browser: Annotated[
        bool, _page("", "Open the page in this machine's browser.", "--browser/--no-browser")
    ] = True,
    labels: Annotated[
        Path | None,
        results(
            "FOLDER",
            "Serve no page; write what was reviewed as labels for training: pictures, masks and "
            "COCO.",
            "--labels",
        ),
    ] = None,
    json_output: Annotated[
        bool, results("", "With --labels: print what was written as JSON.", "--json")
    ] = False,
) -> None:
    """Review a survey on a page: confirm, reject, draw, split and merge cracks, and add readings.

    Each action is kept in RUN/review.jsonl before the page says so. edgecrack report then tells the
    reviewer's word beside the machine's, and is no draft any more once each crack was decided on.
    """
    if labels is not None:
        from edgecrack.run_review.training_labels import export_labels

        written = export_labels(run, labels)
        if json_output:
            typer.echo(json.dumps({**asdict(written), "folder": str(written.folder)}))
            return
        typer.echo(
            f"{counted(written.cracks, 'crack')} and {counted(written.rejected, 'rejected mark')} "
            f"in {labels}"
        )
        if written.left_out:
            typer.echo(
                f"{written.left_out} left out: undecided marks beside them, or no picture of them"
            )
        return
    config = serve_config(serve, token_file, tls_cert, tls_key)
    assert config is not None
    _serve_review(run, config, opens_browser=browser)


def _serve_review(run: Path, config: ServeConfig, *, opens_browser: bool) -> None:
    import webbrowser

    from edgecrack.run_review.review_server import ReviewServer
    from edgecrack.run_review.review_session import ReviewSession
    from edgecrack.terminal.signals import stop_on_signals

    with stop_on_signals() as stop, ReviewSession(run) as session:
        with ReviewServer(config, session) as server:
            typer.echo(f"review: {server.url} (Ctrl-C ends it)")
            if opens_browser:
                webbrowser.open(server.url)
            stop.wait()
        left = len(session.progress()["open"])
        typer.echo(f"kept in {session.path}; {counted(left, 'crack')} still to be decided on")

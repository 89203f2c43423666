"""`edgecrack review`: a person's decisions on the cracks of a survey."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecrack.commands.shared_options import (
    TlsCertOption,
    TlsKeyOption,
    TokenFileOption,
    heading,
    results,
    serve_config,
)
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from edgecrack.runtime.web.config import ServeConfig

_page = heading("Live page")
_DEFAULT_ADDRESS = "127.0.0.1:8090"


def review(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    serve: Annotated[str, _page("HOST:PORT")] = _DEFAULT_ADDRESS,
    token_file: TokenFileOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    browser: Annotated[bool, _page("", "--browser/--no-browser")] = True,
    labels: Annotated[Path | None, results("FOLDER")] = None,
    json_output: Annotated[bool, results("", "--json")] = False,
) -> None:
    """Review a survey on a page: confirm, reject, draw, split and merge cracks, and add readings.

    Each action is saved in RUN/review.jsonl before the page confirms it. edgecrack report then
    shows the reviewer's decisions beside the machine's, and is final once every crack is decided.

    Args:
        run: Folder of a surveyed run.
        serve: Address of the page; any but 127.0.0.1 needs a token.
        browser: Open the page in a browser.
        labels: Write the reviewed cracks as training labels (images, masks and COCO) instead of
            serving a page.
        json_output: With --labels: print the result as JSON.
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
            typer.echo(f"{written.left_out} left out: undecided marks nearby, or no image")
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
            typer.echo(f"review: {server.url} (Ctrl-C to stop)")
            if opens_browser:
                webbrowser.open(server.url)
            stop.wait()
        left = len(session.progress()["open"])
        typer.echo(f"saved in {session.path}; {counted(left, 'crack')} undecided")

"""The link to the last report: which one it is, and that the page serves it and no other file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgecrack.runtime.web import status
from edgecrack.runtime.web.status import LastReport
from tests.runtime.web.rig import Rig, client

PAGE = '<!doctype html><style>p{color:red}</style><p>Riss 1</p><img src="data:image/png;base64,x">'


def report(run: Path, text: str = PAGE, written_s: float = 1_000_000_000.0) -> Path:
    path = run / "report" / "report.html"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (written_s, written_s))
    return path


def test_the_last_one_written_is_taken_of_this_run_or_one_beside_it(tmp_path: Path) -> None:
    out, here = tmp_path / "wall", tmp_path / "wall-3"
    here.mkdir()
    find = LastReport(here, out).find
    assert find() is None
    report(out, written_s=1e9)
    newest = report(tmp_path / "wall-2", written_s=1.2e9)
    report(tmp_path / "other", written_s=1.4e9)
    report(tmp_path / "wall-x", written_s=1.4e9)
    found = find()
    assert found is not None
    assert (found.path.resolve(), found.run) == (newest.resolve(), "wall-2")
    assert found.to_dict() == {"run": "wall-2", "written_at": "2008-01-10T21:20:00+00:00"}
    own = report(here, written_s=1.3e9)
    found = find()
    assert found is not None
    assert found.path.resolve() == own.resolve()


def test_links_lead_nowhere(tmp_path: Path) -> None:
    secret = report(tmp_path / "elsewhere")
    run = tmp_path / "wall"
    (run / "report").mkdir(parents=True)
    (run / "report" / "report.html").symlink_to(secret)
    (tmp_path / "wall-2").mkdir()
    (tmp_path / "wall-2" / "report").symlink_to(secret.parent)
    (tmp_path / "wall-3").symlink_to(tmp_path / "elsewhere")
    assert LastReport(run, run).find() is None


def test_neither_an_empty_nor_a_huge_file_is_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(tmp_path / "wall", "")
    report(tmp_path / "wall-2", "x" * 2000)
    monkeypatch.setattr(status, "LARGEST_BYTES", 1000)
    assert LastReport(tmp_path / "wall", tmp_path / "wall").find() is None


def test_the_server_shows_the_report_and_lets_it_do_nothing(tmp_path: Path) -> None:
    run = tmp_path / "wall"
    run.mkdir()
    with Rig(run).server() as server, client(server) as http:
        assert http.get("api/status").json()["report"] is None
        missing = http.get("report.html")
        assert missing.status_code == 404
        assert missing.json() == {"error": "there is no report yet"}
        report(run)
        answer = http.get("report.html")
        assert answer.status_code == 200
        assert answer.text == PAGE
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
        assert "script-src" not in policy
        assert "sandbox" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        # All else keeps the page's own policy, and no other file of the run is served.
        assert "style-src 'self'" in http.get("").headers["content-security-policy"]
        (run / "report" / "report.pdf").write_bytes(b"%PDF")
        for other in ("report/report.html", "report.pdf", "report.html/../report.pdf", "report/"):
            assert http.get(other).status_code == 404, other
        assert http.post("report.html").status_code == 405


def test_a_report_asks_for_the_token_like_all_else(tmp_path: Path) -> None:
    report(tmp_path)
    token = "a-token-of-the-run"
    with Rig(tmp_path).server(token=token) as server, client(server) as http:
        assert http.get("report.html").status_code == 401
        right = http.get("report.html", headers={"Authorization": f"Bearer {token}"})
        assert right.text == PAGE


def test_a_page_without_a_folder_has_no_report() -> None:
    with Rig().server() as server, client(server) as http:
        assert http.get("report.html").status_code == 404

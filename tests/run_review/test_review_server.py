"""The review's endpoints over real sockets: who may use them, and what they refuse."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.run_review.served_review import Served, served
from tests.waiting import PATIENCE_S

TOKEN = "correct-horse-battery"
CONFIRM = {"reviewer": "Ann", "action": "confirm", "crack": 1}
PAGE = (
    "", "page.css", "review.js", "words.js", "geometry.js", "course.js", "drawing.js", "queue.js",
    "details.js", "keeping.js", "modes.js", "icon.svg",
)  # fmt: skip


@pytest.fixture
def run(wall: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(wall, tmp_path / "run"))


@pytest.fixture
def review(run: Path) -> Iterator[Served]:
    with served(run) as review:
        yield review


@pytest.fixture(scope="module")
def untouched(wall: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One review for all tests after which nothing may have changed."""
    folder = tmp_path_factory.mktemp("untouched") / "run"
    with served(Path(shutil.copytree(wall, folder))) as review:
        yield review
        assert review.lines == []


def client(review: Served, **settings: Any) -> httpx.Client:
    return httpx.Client(base_url=review.server.url, timeout=PATIENCE_S, **settings)


def test_everything_that_the_page_needs_is_there(untouched: Served) -> None:
    with client(untouched) as http:
        for path in PAGE:
            answer = http.get(path)
            assert answer.status_code == 200, path
            assert "http://" not in answer.text.replace("http://www.w3.org/", ""), path
            assert "https://" not in answer.text, path
        survey = http.get("api/survey").json()
        assert [each["number"] for each in survey["frames"]] == [0, 4, 8]
        for each in survey["frames"]:
            answer = http.get(each["url"])
            assert answer.headers["content-type"] == "image/jpeg"
            assert answer.headers["cache-control"] == "private, max-age=3600"
        answer = http.get(survey["sheets"][0]["map"]["url"])
        assert answer.headers["content-type"] == "image/png"
        policy = http.get("").headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_an_action_is_kept_and_told(review: Served) -> None:
    with client(review) as http:
        before = http.get("api/review").json()
        assert before["open"] == [1, 2, 3]
        assert before["revision"] == 0
        answer = http.post("api/actions", json={**CONFIRM, "revision": 0})
        assert answer.status_code == 200
        told = answer.json()
        assert [each["id"] for each in told["changed"]] == [1]
        assert told["changed"][0]["review"]["decision"] == "confirmed"
        assert (told["open"], told["revision"], told["done"]) == ([2, 3], 1, False)
        assert http.get("api/review").json()["cracks"][0] == told["changed"][0]
    assert review.lines == [{"reviewer": "Ann", "action": "confirm", "crack": 1}]


def test_the_command_of_the_report_can_be_copied(wall: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(wall, tmp_path / "east face"))
    with served(run) as review, client(review) as http:
        command = http.get("api/survey").json()["report_command"]
    assert command == f"edgecrack report '{run}'"


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}])
def test_foreign_hosts_are_refused(untouched: Served, headers: dict[str, str]) -> None:
    with client(untouched, headers=headers) as http:
        for path in ("", "api/survey", "api/review", "frames/0.jpg", "maps/0.png"):
            assert http.get(path).status_code == 403, path
        assert http.post("api/actions", json=CONFIRM).status_code == 403
    assert untouched.lines == []


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_foreign_origins_are_refused(untouched: Served, headers: dict[str, str]) -> None:
    with client(untouched, headers=headers) as http:
        assert http.post("api/actions", json=CONFIRM).status_code == 403
        assert http.get("api/review").status_code == 403
        assert http.get("frames/0.jpg").status_code == 403
    assert untouched.lines == []


def test_a_form_of_another_site_cannot_act(untouched: Served) -> None:
    with client(untouched) as http:
        assert http.post("api/actions", data={"action": "confirm"}).status_code == 415
        assert http.get("api/actions").status_code == 405
    assert untouched.lines == []


def test_the_token_is_asked_for(run: Path) -> None:
    with served(run, TOKEN) as review:
        with client(review) as http:
            for path in ("api/survey", "api/review", "frames/0.jpg", "maps/0.png", "review.js"):
                answer = http.get(path)
                assert answer.status_code == 401, path
                assert run.name not in answer.text
            assert http.post("api/actions", json=CONFIRM).status_code == 401
            assert "<form" in http.get("").text
            answer = http.post("login", data={"token": TOKEN}, follow_redirects=True)
            assert "Review" in answer.text
            assert http.get("api/review").status_code == 200
        with client(review, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            assert http.post("api/actions", json=CONFIRM).status_code == 200
        assert len(review.lines) == 1


def test_bodies_that_are_too_long_or_no_json(review: Served) -> None:
    with client(review) as http:
        note = {"reviewer": "Ann", "action": "note", "crack": 1, "text": "x" * 100_000}
        assert http.post("api/actions", json=note).status_code == 413
        json_header = {"Content-Type": "application/json"}
        for body in (b"{", b"[]", b'"a"', b"[" * 5000, b"\xff\xfe"):
            answer = http.post("api/actions", content=body, headers=json_header)
            assert answer.status_code == 400, body[:9]
            assert answer.json()["error"]
        points = [[1.0 + 0.05 * each, 2.0] for each in range(2000)]
        drawn = {"reviewer": "Ann", "action": "draw", "frame": 0, "points": points}
        assert http.post("api/actions", json=drawn).status_code == 200
    assert len(review.lines) == 1


@pytest.mark.parametrize(
    "path",
    [
        "frames/1.jpg", "frames/99.jpg", "frames/-1.jpg", "frames/1e3.jpg", "frames/\u0661.jpg",
        f"frames/{'9' * 400}.jpg", "frames/999999999999.jpg", "frames/..%2f0.jpg", "maps/1.png",
        "maps/9999999999999.png", "maps/x.png", "frames/0.png", "review.jsonl", "static/review.js",
    ],
)  # fmt: skip
def test_pictures_that_there_are_not(untouched: Served, path: str) -> None:
    with client(untouched) as http:
        assert http.get(path).status_code == 404


def test_pictures_that_are_lost_or_damaged(review: Served) -> None:
    folder = review.run / "survey" / "key_frames"
    (folder / "00000000.jpg").unlink()
    (folder / "00000004.jpg").write_bytes(b"<script>")
    with client(review) as http:
        assert http.get("frames/0.jpg").json() == {"error": "the picture is lost"}
        assert http.get("frames/4.jpg").json() == {"error": "the picture is damaged"}
        assert http.get("frames/8.jpg").status_code == 200


@pytest.mark.parametrize(
    "action",
    [
        {"action": "confirm", "crack": 99},
        {"action": "confirm", "crack": True},
        {"action": "confirm", "crack": [1]},
        {"action": "confirm"},
        {"action": "reject", "crack": 1, "reason": "boredom"},
        {"action": "gauge", "crack": 1, "mm": -1},
        {"action": "gauge", "crack": 1, "mm": "0.3"},
        {"action": "tags", "crack": 1, "tags": ["<b>"]},
        {"action": "merge", "cracks": [1, 1]},
        {"action": "merge", "cracks": [1, 99]},
        {"action": "draw", "frame": 1, "points": [[1, 1], [50, 50]]},
        {"action": "draw", "frame": 0, "points": [[1, 1], [5000, 50]]},
        {"action": "split", "crack": 1, "at": None},
        {"action": "undo"},
        {"action": "drop table"},
        {},
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    untouched: Served, action: dict[str, Any]
) -> None:
    with client(untouched) as http:
        before = http.get("api/review").json()
        answer = http.post("api/actions", json={"reviewer": "Ann", **action})
        assert answer.status_code == 400
        assert len(answer.json()["error"]) > 10
        assert http.get("api/review").json() == before
    assert untouched.lines == []


def test_without_a_name_nothing_is_kept(untouched: Served) -> None:
    with client(untouched) as http:
        for name in (None, "", "  ", 7, "x" * 81, "a\nb"):
            answer = http.post("api/actions", json={**CONFIRM, "reviewer": name})
            assert answer.status_code == 400, name
    assert untouched.lines == []


def test_an_undo_of_what_was_not_seen_is_refused(review: Served) -> None:
    with client(review) as http:
        http.post("api/actions", json=CONFIRM)
        http.post("api/actions", json={**CONFIRM, "crack": 2, "reviewer": "Bob"})
        undo = {"reviewer": "Ann", "action": "undo"}
        answer = http.post("api/actions", json={**undo, "revision": 1})
        assert answer.status_code == 400
        assert "changed in the meantime" in answer.json()["error"]
        assert http.post("api/actions", json={**undo, "revision": 2}).status_code == 200
    assert [each["action"] for each in review.lines] == ["confirm", "confirm", "undo"]


def test_many_at_a_time_are_all_kept(review: Served) -> None:
    with client(review) as http, ThreadPoolExecutor(8) as pool:

        def note(number: int) -> int:
            body = {"reviewer": f"R{number}", "action": "gauge", "crack": 1, "mm": number / 10}
            revision: int = http.post("api/actions", json=body).json()["revision"]
            return revision

        revisions = list(pool.map(note, range(1, 41)))
    assert sorted(revisions) == list(range(1, 41))
    assert sorted(each["mm"] for each in review.lines) == [each / 10 for each in range(1, 41)]
    review.session.close()
    with served(review.run) as again, client(again) as http:
        assert len(http.get("api/review").json()["cracks"][0]["review"]["gauges"]) == 40


def test_what_was_cut_out_around_a_crack(untouched: Served) -> None:
    with client(untouched) as http:
        best = [each["best"] for each in http.get("api/review").json()["cracks"]]
        assert [each["view"] for each in best] == [f"/views/{each}.jpg" for each in (1, 2, 3, 4)]
        for each in best:
            answer = http.get(each["view"])
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        for path in ("views/5.jpg", "views/-1.jpg", "views/D1.jpg", "views/1.png"):
            assert http.get(path).status_code == 404

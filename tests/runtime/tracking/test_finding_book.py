"""Each crack of a stream once: it has one number while it stays in view, and its best picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgecrack.measurement.regions import measure_cracks
from edgecrack.runtime.frame import FrameResult, Position
from edgecrack.runtime.tracking.crack_tracker import CrackTracker
from edgecrack.runtime.tracking.finding_book import FindingBook
from edgecrack.runtime.tracking.findings import Finding, MeasuredView, thumbnail
from edgecrack.survey.plane_geometry import Matrix
from tests.runtime.fakes import Image, frame, result_of
from tests.survey.small_walls import HW, along, crack_mask, rough_wall, seen

LONG = [(60, 120), (700, 150)]
SHORT = [(300, 60), (380, 70)]


def view(index: int, way: Matrix, lines: Iterable[list[tuple[int, int]]] = (LONG,)) -> FrameResult:
    """What a camera over a wall sees, and a network that finds all of it."""
    wall = rough_wall()
    image = cv2.cvtColor(seen(wall, way), cv2.COLOR_GRAY2BGR)
    probability = seen(crack_mask(wall.shape, lines), way)
    found = measure_cracks(probability, 0.5, 4)
    taken = frame(index, np.asarray(image, np.uint8))
    return FrameResult(taken, probability, found.mask, found.crack_pixels, found.regions, 12.0, 3.0)


def flown(book: FindingBook, results: Iterable[FrameResult]) -> None:
    for result in results:
        book.follow(result.frame)
        book.see(result)


def test_a_crack_in_many_frames_is_one() -> None:
    closed: list[Finding] = []
    book = FindingBook(closed.append)
    flown(book, (view(n, way) for n, way in enumerate(along(0, 300, 60))))
    assert (book.count, book.confirmed, closed) == (1, 1, [])
    (crack,) = book.recent()
    assert (crack.id, crack.status, crack.crack.frames) == (1, "confirmed", 16)
    book.finish()
    assert [(each.id, each.crack.closed) for each in closed] == [(1, True)]
    assert [each.id for each in book.recent()] == [1]


def test_a_crack_that_is_out_of_view_is_closed_and_the_next_one_has_another_number() -> None:
    closed: list[Finding] = []
    book = FindingBook(closed.append)
    near = [[(60, 120), (200, 130)], [(600, 120), (740, 130)]]
    flown(book, (view(n, way, near) for n, way in enumerate(along(0, 450, 60))))
    assert [each.id for each in closed] == [1]
    book.finish()
    assert [each.id for each in closed] == [1, 2]
    assert all(each.crack.confirmed for each in closed)


def test_a_crack_whose_frames_the_network_skipped_keeps_its_number() -> None:
    book = FindingBook()
    for number, way in enumerate(along(0, 300, 60, step=10)):
        result = view(number, way)
        book.follow(result.frame)
        if number % 6 == 0:
            book.see(result)
    assert book.count == 1


def test_results_may_come_much_later_than_frames() -> None:
    book = FindingBook()
    results = [view(number, way) for number, way in enumerate(along(0, 300, 60))]
    for result in results:
        book.follow(result.frame)
    for result in results[::3]:
        book.see(result)
    assert book.count == 1
    assert book.recent()[0].crack.frames == 6


def test_two_cracks_that_turn_out_to_be_one_are_one() -> None:
    book = FindingBook()
    ways = along(0, 0, 60) * 2 + along(0, 200, 60)
    gap = [[(60, 120), (140, 124)], [(200, 126), (700, 150)]]
    flown(book, (view(n, way, gap if n < 2 else [LONG]) for n, way in enumerate(ways)))
    assert [each.id for each in book.recent()] == [1]


def test_a_lost_track_begins_anew() -> None:
    book = FindingBook()
    flown(book, [view(0, along(0, 0, 60)[0]), view(1, along(0, 0, 60)[0])])
    other = frame(2, np.full((*HW, 3), 90, np.uint8))
    book.follow(other)
    flown(book, [view(3, along(0, 0, 60)[0])])
    assert book.count == 2


def test_a_black_frame_counts_for_nothing() -> None:
    book = FindingBook()
    dark = replace(view(0, along(0, 0, 60)[0]), frame=frame(0, np.zeros((*HW, 3), np.uint8)))
    flown(book, [dark])
    assert book.count == 0


def test_the_best_view_shows_most_of_the_crack_and_where_the_robot_was() -> None:
    book = FindingBook()
    for number, way in enumerate(along(0, 260, 60)):
        where = Position(number, distance_m=float(number))
        flown(book, [replace(view(number, way), position=where)])
    best = book.recent()[0].best
    assert best.length_px == pytest.approx(HW[1], rel=0.1)
    assert book.recent()[0].to_dict()["position"]["distance_m"] == float(best.frame)


def test_short_cracks_are_not_told() -> None:
    book = FindingBook()
    flown(
        book, (view(n, way, [[(120, 120), (140, 124)]]) for n, way in enumerate(along(0, 60, 60)))
    )
    assert book.count == 0


def test_what_was_measured_goes_to_the_right_crack() -> None:
    book = FindingBook()
    results = [view(n, way, [LONG, SHORT]) for n, way in enumerate(along(150, 250, 20))]
    flown(book, results)
    lengths = [each.crack.length_px for each in book.recent()]
    views = [
        MeasuredView(5, f"{place} mm", "0.3 mm [0.2, 0.4]", (0.3, 0.2, 0.4), None, 100.0)
        for place in range(2)
    ]
    book.take_measured(5, views)
    flown(book, [view(6, along(260, 260, 20)[0], [LONG, SHORT])])
    longest = max(book.recent(), key=lambda each: each.crack.length_px)
    assert len(lengths) == 2
    assert longest.measured is not None
    assert longest.measured.length == "0 mm"  # the longest of a frame comes first


def test_the_thread_gives_the_same_as_the_book_alone() -> None:
    alone, threaded = FindingBook(), FindingBook()
    results = [view(number, way) for number, way in enumerate(along(0, 300, 60))]
    flown(alone, results)
    alone.finish()
    tracker = CrackTracker(threaded)
    for result in results:
        tracker.watch(result.frame)
        tracker.write(result)
    tracker.close()
    assert [e.to_dict() for e in threaded.recent()] == [e.to_dict() for e in alone.recent()]


def test_a_pipeline_that_hands_over_results_alone_is_followed_by_them() -> None:
    book = FindingBook()
    tracker = CrackTracker(book)
    for number, way in enumerate(along(0, 200, 60)):
        tracker.write(view(number, way))
    tracker.close()
    assert (book.count, book.confirmed) == (1, 1)


def test_frames_too_small_to_follow_are_passed_over() -> None:
    book = FindingBook()
    tiny = result_of(frame(0, np.full((20, 30, 3), 200, np.uint8)))
    flown(book, [tiny])
    assert book.count == 0


@pytest.mark.parametrize(
    ("hw", "box"),
    [
        ((480, 640), (5, 5, 9, 30)),
        ((480, 640), (0, 0, 640, 480)),
        ((480, 640), (600, 470, 640, 480)),
        ((480, 640), (0, 200, 640, 204)),
        ((20, 30), (3, 3, 8, 9)),
        ((2000, 100), (50, 0, 53, 2000)),
    ],
)
def test_a_thumbnail_shows_the_crack_and_is_small(
    hw: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    left, top, right, bottom = box
    image: Image = np.full((*hw, 3), 60, np.uint8)
    image[top:bottom, left:right] = 255
    shown = cv2.imdecode(np.frombuffer(thumbnail(result_of(frame(0, image)), box), np.uint8), 1)
    assert shown is not None
    assert max(shown.shape) <= 240
    red = shown[..., 2].astype(int) - shown[..., 0]
    assert (red > 40).any()

"""Cracks counted once each on virtual flights over large walls, of which everything is known.

A wall is made of photos of concrete without crack, with winding cracks painted on; a camera flies
over it in rows, back and forth, tilting and turning, with blur, noise and a changing exposure. The
cracks' masks are the true ones, so that what is judged is the track, the sheets and the inventory
and not the network; with `--network`, they are what the bundled network finds.

    python benchmarks/virtual_flights.py --data DATA --flights 20 --write
    python benchmarks/virtual_flights.py --data DATA --flights 5 --seed 101 --network --write
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.measurement.centre_lines import (  # noqa: E402
    CentreLine,
    follow,
    thin,
)
from edgecrack.measurement.cracks import Crack, trace_cracks  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from edgecrack.survey.inventory import FrameCracks, Inventory, InventoryKeeper  # noqa: E402
from edgecrack.survey.mosaic import DrawnCrack, draw_cracks, make_mosaic  # noqa: E402
from edgecrack.survey.plane_geometry import (  # noqa: E402
    Matrix,
    Points,
    corners,
    curve_of,
    inverse,
    moved,
    normal,
)
from edgecrack.survey.sheets import Sheet, SheetBuilder, Sheets  # noqa: E402
from edgecrack.survey.track import FrameTracker  # noqa: E402
from edgecrack.synthetic.surfaces import render_surface  # noqa: E402

Image = NDArray[np.uint8]

WALL_HW = (1150, 1700)
FRAME_HW = (320, 480)
_CELL, _SEAM = 380, 60
_APART_PX = 45
_MARGIN_PX = 70
_STEP_PX, _ROW_SHARE = 38.0, 0.62
_LEAST_LENGTH_PX = 15.0
_SPUR_PX = 8.0
_NEAR_PX = 3
_ENOUGH = 3  # sightings of a crack under an id that count as a split or a merge


@dataclass(frozen=True)
class Wall:
    """A wall and the cracks on it.

    Attributes:
        image: uint8 [H, W], without blur and noise.
        labels: uint8 [H, W], the number of each crack, 0 where there is none.
        count: of cracks.
    """

    image: Image
    labels: Image
    count: int


@dataclass(frozen=True)
class View:
    """A frame of a flight.

    Attributes:
        image: uint8 [H, W].
        labels: uint8 [H, W], the true crack of each pixel.
        to_wall: float64 [3, 3], from the frame's pixels to the wall's.
    """

    image: Image
    labels: Image
    to_wall: Matrix


def make_wall(
    rng: np.random.Generator, photos: list[Path], hw: tuple[int, int], surface: str = "photos"
) -> Wall:
    """A wall with three to eight cracks, of photos side by side or of a rendered surface."""
    if surface == "photos":
        plain = _of_photos(rng, photos, hw)
    else:
        rendered, _ = render_surface(cast(Any, surface), hw, rng)
        gray = cv2.cvtColor(np.asarray(rendered, np.float32), cv2.COLOR_BGR2GRAY)
        plain = np.asarray(gray * (150 / max(float(gray.mean()), 1e-3)), np.float32)
    labels, count = _cracks(rng, hw)
    inside = cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), 0.7)
    image = plain * (1 - 0.65 * inside)
    return Wall(np.clip(image, 0, 255).astype(np.uint8), labels, count)


def _of_photos(
    rng: np.random.Generator, photos: list[Path], hw: tuple[int, int]
) -> NDArray[np.float32]:
    """Photos side by side, their seams feathered."""
    total, weights = np.zeros(hw, np.float32), np.full(hw, 1e-6, np.float32)
    ramp = np.minimum(np.arange(_CELL) + 1, np.arange(_CELL)[::-1] + 1) / _SEAM
    soft = np.minimum(np.clip(ramp, 0, 1)[:, None], np.clip(ramp, 0, 1)[None]).astype(np.float32)
    for top in range(-_SEAM, hw[0], _CELL - _SEAM):
        for left in range(-_SEAM, hw[1], _CELL - _SEAM):
            path = photos[int(rng.integers(len(photos)))]
            photo = cv2.resize(_read(path), (_CELL, _CELL), interpolation=cv2.INTER_CUBIC)
            detail = photo - cv2.GaussianBlur(photo, (0, 0), 60)
            rows, columns = slice(max(top, 0), top + _CELL), slice(max(left, 0), left + _CELL)
            shape = total[rows, columns].shape
            inner = slice(rows.start - top, rows.start - top + shape[0])
            across = slice(columns.start - left, columns.start - left + shape[1])
            total[rows, columns] += soft[inner, across] * detail[inner, across]
            weights[rows, columns] += soft[inner, across]
    return np.asarray(150 + total / weights, np.float32)


def _read(path: Path) -> NDArray[np.float32]:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.float32)


def _cracks(rng: np.random.Generator, hw: tuple[int, int]) -> tuple[Image, int]:
    """Cracks that stay apart from each other, each with its own number."""
    labels = np.zeros(hw, np.uint8)
    taken = np.zeros(hw, np.uint8)
    wanted, count = int(rng.integers(3, 9)), 0
    for _ in range(200):
        if count == wanted:
            break
        points = _winding(rng, hw)
        rows, columns = np.round(points[:, 1]).astype(int), np.round(points[:, 0]).astype(int)
        if taken[rows, columns].any():
            continue
        count += 1
        drawn = np.round(points * 16).astype(np.int32)
        width = int(rng.integers(2, 6))
        cv2.polylines(labels, [drawn], False, count, width, cv2.LINE_8, 4)
        cv2.polylines(taken, [drawn], False, 1, 2 * _APART_PX, cv2.LINE_8, 4)
    return labels, count


def _winding(rng: np.random.Generator, hw: tuple[int, int]) -> Points:
    """A line that wanders, until it is long enough or near the wall's border, float64 [N, 2]."""
    length, heading = float(rng.uniform(150, 1100)), float(rng.uniform(0, 2 * np.pi))
    place = np.array([rng.uniform(150, hw[1] - 150), rng.uniform(150, hw[0] - 150)])
    start, points = heading, [place]
    for _ in range(int(length / 4)):
        heading += float(rng.normal(0, 0.17)) + 0.08 * (start - heading)
        place = place + 4 * np.array([np.cos(heading), np.sin(heading)])
        if (place < _MARGIN_PX).any() or (place > np.array(hw[::-1]) - _MARGIN_PX).any():
            break
        points.append(place)
    if len(points) < 20:
        return _winding(rng, hw)
    return np.array(points)


def flight(rng: np.random.Generator, wall: Wall, frame_hw: tuple[int, int]) -> Iterator[View]:
    """The frames of a flight over a wall."""
    path = _path(wall.image.shape, frame_hw)
    sway = [_smooth(rng, len(path), 9) for _ in range(8)]
    gain = np.exp(0.2 * _smooth(rng, len(path), 6))
    blur = np.clip(0.6 + 0.4 * _smooth(rng, len(path), 4), 0, 1.6)
    height, width = frame_hw
    for number, (x, y) in enumerate(path):
        turn, grow, across, down, tilt_x, tilt_y, *_ = (each[number] for each in sway)
        placed = _pose(0.04 * turn, 1 + 0.05 * grow, (3e-5 * tilt_x, 3e-5 * tilt_y))
        shift = np.array([[1, 0, x + 5 * across], [0, 1, y + 5 * down], [0, 0, 1]])
        middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
        to_wall = normal(shift @ placed @ middle)
        yield _seen(rng, wall, to_wall, frame_hw, float(gain[number]), float(blur[number]))


def _pose(turn: float, scale: float, tilt: tuple[float, float]) -> Matrix:
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [*tilt, 1]])


def _path(wall_hw: tuple[int, ...], frame_hw: tuple[int, int]) -> Points:
    """Middles of the frames: rows back and forth, float64 [N, 2]."""
    (height, width), (tall, wide) = wall_hw, frame_hw
    inset = 25
    tops = np.linspace(tall / 2 + inset, height - tall / 2 - inset, _rows(height, tall))
    points = []
    for number, y in enumerate(tops):
        count = int((width - wide - 2 * inset) / _STEP_PX) + 1
        xs = np.linspace(wide / 2 + inset, width - wide / 2 - inset, count)
        points += [(x, y) for x in (xs if number % 2 == 0 else xs[::-1])]
        if number + 1 < len(tops):
            last = points[-1][0]
            steps = np.arange(1, int((tops[1] - tops[0]) / _STEP_PX) + 1) * _STEP_PX
            points += [(last, y + step) for step in steps if step < tops[1] - tops[0] - 10]
    return np.array(points)


def _rows(height: int, tall: int) -> int:
    return max(1, 1 + int(np.ceil((height - tall - 50) / (_ROW_SHARE * tall))))


def _smooth(rng: np.random.Generator, count: int, over: float) -> NDArray[np.float64]:
    values = cv2.GaussianBlur(rng.normal(0, 1, (1, count + 60)), (0, 0), over)[0, 30 : 30 + count]
    return np.asarray(values / max(values.std(), 1e-6), np.float64)


def _seen(
    rng: np.random.Generator,
    wall: Wall,
    to_wall: Matrix,
    hw: tuple[int, int],
    gain: float,
    blur_px: float,
) -> View:
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    way = np.linalg.inv(half) @ to_wall @ half
    size, back = hw[::-1], cv2.WARP_INVERSE_MAP
    image: NDArray[Any] = cv2.warpPerspective(
        wall.image, way, size, flags=cv2.INTER_LINEAR | back, borderMode=cv2.BORDER_REFLECT
    )
    labels = cv2.warpPerspective(wall.labels, way, size, flags=cv2.INTER_NEAREST | back)
    image = image.astype(np.float32)
    if blur_px > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), blur_px)
    image = image * gain + rng.normal(0, 2, hw)
    return View(np.clip(image, 0, 255).astype(np.uint8), np.asarray(labels, np.uint8), to_wall)


def cracks_of(labels: Image) -> tuple[list[Crack], list[int]]:
    """The connected cracks of a true mask, without widths, and which crack each is."""
    mask = (labels > 0).astype(np.uint8)
    _, parts = cv2.connectedComponents(mask, None, 8)
    rows, columns = np.nonzero(thin(mask))
    groups = np.asarray(parts)[rows, columns]
    cracks, truths = [], []
    for group in np.unique(groups):
        own = groups == group
        lines = follow(rows[own], columns[own], _SPUR_PX)
        if sum(line.length_px for line in lines) < _LEAST_LENGTH_PX:
            continue
        cracks.append(_plain(lines))
        truths.append(int(np.bincount(labels[parts == group]).argmax()))
    return cracks, truths


def network_cracks(detector: CrackDetector, view: View) -> tuple[list[Crack], list[int]]:
    """What the network finds, and which true crack most of each is; 0 for none."""
    result = detector.detect(np.dstack([view.image] * 3))
    cracks = trace_cracks(result.mask, result.probability)
    near = cv2.dilate(view.labels, np.ones((2 * _NEAR_PX + 1,) * 2, np.uint8))
    truths = []
    for crack in cracks:
        xy = np.concatenate([line.xy for line in crack.lines]).astype(int)
        x, y = np.clip(xy, 0, np.array(view.image.shape[::-1]) - 1).T
        votes = np.bincount(near[y, x])
        truths.append(int(votes.argmax()) if 2 * votes[1:].sum() >= len(xy) else 0)
    return cracks, truths


def _plain(lines: list[CentreLine]) -> Crack:
    length = sum(line.length_px for line in lines)
    return Crack(tuple(lines), length, 0, (0, 0, 0, 0), 0.0, 1.0, (), None, None, None, None)


@dataclass
class Flown:
    """What came of a flight, and the truth: of each sighting its crack, of each frame its place."""

    wall: Wall
    views: list[View]
    sheets: Sheets
    inventory: Inventory
    truths: dict[tuple[int, int], int]
    seconds: dict[str, float]


def fly(
    rng: np.random.Generator,
    wall: Wall,
    frame_hw: tuple[int, int] = FRAME_HW,
    detector: CrackDetector | None = None,
) -> Flown:
    """Fly over a wall and take the inventory, of the true masks or by the network."""
    tracker, builder, keeper = FrameTracker(), SheetBuilder(), InventoryKeeper()
    found, truths, views = [], {}, []
    seconds = {"track": 0.0, "key frames": 0.0, "finish": 0.0, "inventory": 0.0}
    for number, view in enumerate(flight(rng, wall, frame_hw)):
        begin = time.thread_time()
        step = tracker.add(view.image)
        seconds["track"] += time.thread_time() - begin
        builder.add(step, view.image)
        seconds["key frames"] += time.thread_time() - begin
        if detector is None:
            cracks, own = cracks_of(view.labels)
        else:
            cracks, own = network_cracks(detector, view)
        found.append(FrameCracks(number, cracks))
        truths.update({(number, at): truth for at, truth in enumerate(own)})
        views.append(view)
    seconds["key frames"] -= seconds["track"]
    begin = time.thread_time()
    sheets = builder.finish()
    seconds["finish"] = time.thread_time() - begin
    inventory = keeper.update(sheets, found)
    seconds["inventory"] = time.thread_time() - begin - seconds["finish"]
    return Flown(wall, views, sheets, inventory, truths, seconds)


def judged(flown: Flown) -> dict[str, Any]:
    """The figures of a flight."""
    # Of the wall itself, for the network may have missed a crack.
    seen = np.bincount(
        [each for view in flown.views for each in np.unique(view.labels)],
        minlength=flown.wall.count + 1,
    )
    truth = int((seen[1:] >= _ENOUGH).sum())
    table = np.zeros((len(flown.inventory.cracks), flown.wall.count + 1), int)
    for place, crack in enumerate(flown.inventory.cracks):
        for sighting in crack.sightings:
            table[place, flown.truths[sighting]] += 1
    confirmed = np.array([crack.confirmed for crack in flown.inventory.cracks], bool)
    strong = table[confirmed][:, 1:] >= _ENOUGH
    rows, columns = linear_sum_assignment(-table)
    right = int(table[rows, columns].sum())
    errors, drifts = _registration(flown)
    sheets = flown.sheets.sheets
    return {
        "cracks": truth,
        "low": flown.inventory.confirmed.low,
        "high": flown.inventory.confirmed.high,
        "splits": int(np.maximum(strong.sum(axis=0) - 1, 0).sum()),
        "merges": int(np.maximum(strong.sum(axis=1) - 1, 0).sum()),
        "idf1": round(2 * right / max(1, int(table.sum()) + len(flown.truths)), 4),
        "frames": len(flown.views),
        "sheets": len(sheets),
        "doubtful": sum(len(sheet.doubtful) for sheet in sheets),
        "error_px": round(float(np.median(errors)), 3),
        "error_95_px": round(float(np.percentile(errors, 95)), 3),
        "drift_px": round(max(drift for drift, _ in drifts), 2),
        "bound_px": round(max(bound for _, bound in drifts), 2),
        "bound_holds": all(drift <= bound for drift, bound in drifts),
        **_lines_judged(flown),
        "ms_a_frame": {
            name: round(1e3 * each / len(flown.views), 2) for name, each in flown.seconds.items()
        },
    }


def _lines_judged(flown: Flown) -> dict[str, float]:
    """How much of the true cracks' length confirmed ones cover within 3 px, and the other way."""
    true_lines = [line.xy for crack in cracks_of(flown.wall.labels)[0] for line in crack.lines]
    drawn = []
    for sheet in flown.sheets.sheets:
        to_wall = _to_wall(flown, sheet)
        drawn += [
            moved(line, to_wall)
            for crack in flown.inventory.cracks
            if crack.confirmed and crack.sheet == sheet.number
            for line in (*crack.lines, *crack.bridges)
        ]
    truth, found = curve_of(true_lines).xy, curve_of(drawn).xy
    if not len(found):
        return {"complete": 0.0, "correct": 0.0}
    away = np.hypot(*(truth[:, None] - found[None]).transpose(2, 0, 1))
    return {
        "complete": round(float((away.min(axis=1) <= _NEAR_PX).mean()), 3),
        "correct": round(float((away.min(axis=0) <= _NEAR_PX).mean()), 3),
    }


def _to_wall(flown: Flown, sheet: Sheet) -> Matrix:
    """A sheet laid on the wall as well as can be, by the frames' true places."""
    here, there = [], []
    for frame in sheet.frames:
        placement, view = flown.sheets.placements[frame], flown.views[frame]
        places = _grid(placement.hw)
        here.append(moved(places, placement.homography))
        there.append(moved(places, view.to_wall))
    found, _ = cv2.findHomography(np.concatenate(here), np.concatenate(there), 0)
    return normal(np.asarray(found, np.float64))


def _registration(flown: Flown) -> tuple[NDArray[np.float64], list[tuple[float, float]]]:
    """Distances after each sheet is laid on the wall as well as can be, and the drifts with bounds.

    The drift is what is left where the sheet's reference frame alone is laid on the wall.
    """
    errors, drifts = [np.zeros(0)], []
    for sheet in flown.sheets.sheets:
        here, there = [], []
        for frame in sheet.frames:
            placement, view = flown.sheets.placements[frame], flown.views[frame]
            places = _grid(placement.hw)
            here.append(moved(places, placement.homography))
            there.append(moved(places, view.to_wall))
        on_sheet, on_wall = np.concatenate(here), np.concatenate(there)
        fitted = _to_wall(flown, sheet)
        errors.append(np.hypot(*(moved(on_sheet, fitted) - on_wall).T))
        reference = flown.views[sheet.reference_frame].to_wall
        drift = np.hypot(*(moved(on_wall, inverse(reference)) - on_sheet).T).max()
        drifts.append((float(drift), sheet.drift_px))
    return np.concatenate(errors), drifts


def _grid(hw: tuple[int, int]) -> Points:
    middle = np.array([[hw[1] / 2, hw[0] / 2]])
    return np.concatenate([corners(hw), middle])


def draw(flown: Flown, path: Path) -> None:
    """The maps of a flight, one below the other."""
    for sheet in flown.sheets.sheets:
        mosaic = make_mosaic(flown.sheets, sheet, lambda frame: flown.views[frame].image)
        own = [crack for crack in flown.inventory.cracks if crack.sheet == sheet.number]
        drawn = [
            DrawnCrack(str(crack.id), (*crack.lines, *crack.bridges), crack.confirmed)
            for crack in own
        ]
        cv2.imwrite(str(path.with_suffix(f".{sheet.number}.png")), draw_cracks(mosaic, drawn))


def _summary(flights: list[dict[str, Any]]) -> dict[str, Any]:
    exact = [each["low"] == each["high"] == each["cracks"] for each in flights]
    names = flights[0]["ms_a_frame"]
    return {
        "flights": len(flights),
        "count_exact": sum(exact),
        "most_splits_or_merges": max(each["splits"] + each["merges"] for each in flights),
        "least_idf1": min(each["idf1"] for each in flights),
        "median_idf1": float(np.median([each["idf1"] for each in flights])),
        "median_error_px": float(np.median([each["error_px"] for each in flights])),
        "worst_error_px": max(each["error_px"] for each in flights),
        "least_complete": min(each["complete"] for each in flights),
        "median_complete": float(np.median([each["complete"] for each in flights])),
        "least_correct": min(each["correct"] for each in flights),
        "median_correct": float(np.median([each["correct"] for each in flights])),
        "bounds_that_hold": sum(each["bound_holds"] for each in flights),
        "median_bound_over_drift": round(
            float(np.median([each["bound_px"] / each["drift_px"] for each in flights])), 2
        ),
        **{
            f"ms_a_frame_{name}": float(np.median([each["ms_a_frame"][name] for each in flights]))
            for name in names
        },
        "each": flights,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--flights", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--maps", type=Path, help="a folder for pictures of the maps")
    parser.add_argument(
        "--surface", default="photos", choices=("photos", "brick", "asphalt", "concrete")
    )
    parser.add_argument("--network", action="store_true", help="masks by the bundled network")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    photos = sorted((options.data / "concrete_tiles" / "negative").iterdir())
    flights = []
    with open_detector() if options.network else nullcontext() as detector:
        for seed in range(options.seed, options.seed + options.flights):
            rng = np.random.default_rng(seed)
            flown = fly(rng, make_wall(rng, photos, WALL_HW, options.surface), detector=detector)
            flights.append({"seed": seed, **judged(flown)})
            print(flights[-1], flush=True)
            if options.maps:
                draw(flown, options.maps / f"flight_{seed}")
    figures = _summary(flights)
    if options.write:
        name = "virtual_flights_network" if options.network else "virtual_flights"
        name += "" if options.surface == "photos" else f"_{options.surface}"
        write_result(name, figures, "opencv-python-headless", "numpy", "onnxruntime")
    else:
        print({name: each for name, each in figures.items() if name != "each"})


if __name__ == "__main__":
    main()

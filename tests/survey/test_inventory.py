from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgecrack.survey.inventory import Count, FrameCracks, Inventory, InventoryKeeper
from edgecrack.survey.plane_geometry import Matrix
from edgecrack.survey.sheets import Placement, Sheet, Sheets
from tests.survey.small_walls import (
    HW,
    Image,
    along,
    crack_mask,
    followed,
    found_in,
    rough_wall,
    seen,
    shifted,
)

WALL_HW = (420, 760)
LONG = [(60, 150), (200, 140), (380, 170), (560, 150), (700, 160)]
SHORT = [(120, 200), (160, 215), (230, 200)]
FAR = [(520, 60), (560, 110), (640, 115)]


def _laid(path: list[Matrix], sheet_of: list[int] | None = None, drift_px: float = 3.0) -> Sheets:
    """Frames that lie exactly where they are, on sheets in the wall's own pixels."""
    numbers = sheet_of or [0] * len(path)
    placements = {
        frame: Placement(number, each, HW)
        for frame, (number, each) in enumerate(zip(numbers, path, strict=True))
    }
    sheets = []
    for number in sorted(set(numbers)):
        frames = tuple(frame for frame, own in enumerate(numbers) if own == number)
        sheets.append(Sheet(number, frames, frames, frames[0], "", 0.5, drift_px))
    return Sheets(tuple(sheets), placements)


def _found(path: list[Matrix], mask: Image) -> list[FrameCracks]:
    return [found_in(frame, seen(mask, each)) for frame, each in enumerate(path)]


def _confirmed(inventory: Inventory) -> list[int]:
    return [crack.id for crack in inventory.cracks if crack.confirmed]


def test_each_crack_is_there_once() -> None:
    wall, mask = rough_wall(), crack_mask(WALL_HW, [LONG, SHORT, FAR])
    path = [*along(0, 440, 20), *along(440, 0, 110)]
    builder, _ = followed(seen(wall, each) for each in path)
    inventory = InventoryKeeper().update(builder.finish(), _found(path, mask))
    assert inventory.confirmed == Count(3, 3)
    assert inventory.unconfirmed == 0
    longest = max(inventory.cracks, key=lambda crack: crack.length_px)
    assert longest.length_px == pytest.approx(645, rel=0.03)
    assert len(longest.lines) == 1
    assert len(longest.frames) == len(path)


def test_ids_stay_when_more_frames_come() -> None:
    mask = crack_mask(WALL_HW, [LONG, SHORT, FAR])
    path = along(0, 440, 20)
    found, keeper = _found(path, mask), InventoryKeeper()
    before: dict[tuple[int, int], int] = {}
    for count in (4, 10, len(path)):
        inventory = keeper.update(_laid(path[:count]), found[:count])
        now = {each: crack.id for crack in inventory.cracks for each in crack.sightings}
        assert all(now[sighting] == number for sighting, number in before.items())
        before = now
    assert _confirmed(inventory) == [1, 2, 3]


def test_cracks_that_turn_out_to_be_one_keep_the_lowest_id() -> None:
    left, right = [(60, 150), (260, 150)], [(330, 150), (560, 150)]
    apart = crack_mask(WALL_HW, [SHORT, right, left])
    whole = crack_mask(WALL_HW, [SHORT, right, left, [(255, 150), (335, 150)]])
    path = [*[shifted(0, 20)] * 4, *[shifted(300, 20)] * 4, *[shifted(150, 20)] * 4]
    found = [*_found(path[:8], apart), *_found(path, whole)[8:]]
    keeper = InventoryKeeper()
    first = keeper.update(_laid(path[:8]), found[:8])
    ids = {crack.id: crack.lines[0][:, 0].min() for crack in first.cracks}
    parts = sorted(number for number, x in ids.items() if not 110 < x < 130)
    assert len(parts) == 2
    second = keeper.update(_laid(path), found)
    assert sorted(crack.id for crack in second.cracks) == sorted({*ids} - {parts[1]})
    again = InventoryKeeper(keeper.ids, keeper.next_id)
    assert [crack.id for crack in again.update(_laid(path), found).cracks] == [
        crack.id for crack in second.cracks
    ]
    assert again.next_id == keeper.next_id == 4


def test_a_gap_along_the_way_is_bridged_and_another_direction_is_not() -> None:
    pieces = [[(60, 100), (200, 100)], [(212, 102), (400, 100)], [(206, 112), (206, 200)]]
    path = [shifted(x, 20) for x in range(0, 121, 10)]
    inventory = InventoryKeeper().update(_laid(path), _found(path, crack_mask(WALL_HW, pieces)))
    assert inventory.confirmed == Count(2, 2)
    longest = inventory.cracks[0]
    assert len(longest.bridges) == 1
    assert longest.length_px == pytest.approx(340, abs=8)


@pytest.mark.parametrize(("frames", "confirmed"), [(1, 0), (2, 0), (3, 1)])
def test_three_frames_confirm(frames: int, confirmed: int) -> None:
    path = [shifted(100, 60)] * frames
    inventory = InventoryKeeper().update(_laid(path), _found(path, crack_mask(WALL_HW, [LONG])))
    assert inventory.confirmed == Count(confirmed, confirmed)
    assert inventory.unconfirmed == 1 - confirmed


def test_what_half_of_the_frames_do_not_show_is_not_confirmed() -> None:
    mask, path = crack_mask(WALL_HW, [LONG]), [shifted(100, 60)] * 10
    found = _found(path, mask)
    found = [each if number < 4 else replace(each, cracks=[]) for number, each in enumerate(found)]
    inventory = InventoryKeeper().update(_laid(path), found)
    assert (inventory.confirmed.high, inventory.unconfirmed) == (0, 1)
    assert inventory.cracks[0].views == 10


def test_unfit_frames_count_for_nothing() -> None:
    path = [shifted(100, 60)] * 5
    found = [replace(each, verdict="unfit") for each in _found(path, crack_mask(WALL_HW, [LONG]))]
    inventory = InventoryKeeper().update(_laid(path), found)
    assert inventory.cracks == ()
    assert inventory.unfit_frames == (0, 1, 2, 3, 4)


def test_sheets_that_are_not_linked_make_a_range() -> None:
    path = [shifted(0, 20)] * 4 + [shifted(300, 20)] * 4
    sheets = _laid(path, [0] * 4 + [1] * 4)
    inventory = InventoryKeeper().update(
        sheets, _found(path, crack_mask(WALL_HW, [LONG, SHORT, FAR]))
    )
    assert inventory.confirmed == Count(2, 4)


def test_a_sheet_that_drifted_far_makes_a_range_but_of_what_one_frame_shows() -> None:
    masks = [[(60, 100), (250, 100)], [(60, 160), (250, 160)], [(400, 130), (600, 130)]]
    mask = crack_mask(WALL_HW, masks)
    path = [shifted(0, 40)] * 4 + [shifted(380, 40)] * 4
    found = _found(path, mask)
    for drift_px, low in ((3.0, 3), (400.0, 2)):
        inventory = InventoryKeeper().update(_laid(path, drift_px=drift_px), found)
        assert inventory.confirmed == Count(low, 3)


def test_parallel_cracks_stay_two() -> None:
    mask = crack_mask(WALL_HW, [[(60, 100), (400, 100)], [(60, 112), (400, 112)]])
    path = along(0, 150, 20)
    inventory = InventoryKeeper().update(_laid(path), _found(path, mask))
    assert inventory.confirmed == Count(2, 2)


def test_a_false_branch_of_one_frame_is_not_on_the_map() -> None:
    plain = crack_mask(WALL_HW, [LONG])
    odd = crack_mask(WALL_HW, [LONG, [(250, 150), (260, 220)]])
    path = [shifted(100, 60)] * 10
    found = _found(path, plain)
    found[4] = found_in(4, seen(odd, path[4]))
    (crack,) = InventoryKeeper().update(_laid(path), found).cracks
    assert len(crack.lines) == 1
    assert crack.lines[0][:, 1].max() < 180


@pytest.mark.parametrize("frames", [0, 1])
def test_nothing_found_is_an_empty_inventory(frames: int) -> None:
    path = [shifted(0, 0)] * frames
    found = [found_in(frame, np.zeros(HW, np.uint8)) for frame in range(frames)]
    inventory = InventoryKeeper().update(_laid(path), found)
    assert inventory == Inventory((), Count(0, 0), 0, ())


def test_frames_on_no_sheet_count_for_nothing() -> None:
    path = [shifted(0, 0)]
    found = [found_in(7, crack_mask(HW, [[(20, 20), (200, 90)]]))]
    assert InventoryKeeper().update(_laid(path), found).cracks == ()

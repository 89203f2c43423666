"""Which pictures a damaged packet takes along, against a slow model of a decoder."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgecrack.runtime.sources.ffmpeg import LONGEST_DAMAGE_FRAMES, DamageRecord

GROUP = 8


def decode_order(groups: int) -> list[tuple[int, str]]:
    """Display number and kind of each packet: I, then P and B by turns, as cameras send them."""
    packets: list[tuple[int, str]] = []
    for group in range(groups):
        first = group * GROUP
        packets.append((first, "I"))
        for place in range(2, GROUP, 2):
            packets += [(first + place, "P"), (first + place - 1, "B")]
        packets.append((first + GROUP - 1, "P"))
    return packets


def truly_damaged(packets: list[tuple[int, str]], lost: set[int]) -> set[int]:
    """Display numbers of pictures that lack data or repeat one that does."""
    damaged: set[int] = set()
    reference_is_damaged = False
    for number, (display, kind) in enumerate(packets):
        if kind == "I":
            reference_is_damaged = number in lost
            is_damaged = reference_is_damaged
        elif kind == "P":
            reference_is_damaged = is_damaged = reference_is_damaged or number in lost
        else:
            is_damaged = reference_is_damaged or number in lost
        if is_damaged:
            damaged.add(display)
    return damaged


@given(st.integers(1, 5), st.data())
def test_no_damaged_picture_comes_out_and_a_key_frame_ends_it(
    groups: int, data: st.DataObject
) -> None:
    packets = decode_order(groups)
    lost = data.draw(st.sets(st.integers(0, len(packets) - 1), max_size=4))
    number_of = {display: number for number, (display, _) in enumerate(packets)}
    record = DamageRecord()
    shown: set[int] = set()
    waiting: set[int] = set()
    due = 0
    for number, (display, kind) in enumerate(packets):
        if kind == "I":
            record.note_entry(number)
        if number in lost:
            record.note_damage(number)
        waiting.add(display)
        while due in waiting:
            its = number_of[due]
            if record.is_sound(its, packets[its][1] == "I"):
                shown.add(due)
            due += 1
    damaged = truly_damaged(packets, lost)
    assert not shown & damaged
    # Nothing is left out but from a damaged packet to the next key frame.
    for display in set(range(len(packets))) - shown:
        group = display // GROUP
        assert any(packets[number][0] // GROUP == group for number in lost)


def test_before_the_first_key_frame_of_a_joined_stream_nothing_is_sound() -> None:
    record = DamageRecord(starts_clean=False)
    assert [record.is_sound(number, number == 3) for number in range(6)] == [False] * 3 + [True] * 3


def test_stripes_are_whole_when_a_round_has_passed() -> None:
    record = DamageRecord()
    record.note_damage(5)
    sound = []
    for number in range(40):
        if number % 10 == 0:
            record.note_entry(number)
        sound.append(record.is_sound(number, False))
    assert sound == [True] * 5 + [False] * 15 + [True] * 20


def test_damage_without_any_entry_ends_at_last() -> None:
    record = DamageRecord()
    record.note_damage(1)
    sound = [record.is_sound(number, False) for number in range(LONGEST_DAMAGE_FRAMES + 10)]
    assert sound.index(True, 1) == LONGEST_DAMAGE_FRAMES + 1
    assert all(sound[LONGEST_DAMAGE_FRAMES + 1 :])

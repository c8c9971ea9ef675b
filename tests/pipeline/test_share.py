"""Whose turn it is, and how much of the window may belong to what is not live."""

import pytest

from agent.pipeline.share import Share

WINDOW = 20


def turns(share: Share, count: int) -> str:
    """Who goes, while both have some: `L` is live."""
    order = ""
    for _ in range(count):
        live = share.is_lives_turn
        share.took(live=live)
        order += "L" if live else "-"
    return order


def places(share: Share, size: int = 1) -> int:
    """How many rows of so many bytes may be on their way beside the present."""
    count = 0
    while count < 10 * WINDOW and share.has_room(size, window=WINDOW):
        share.sent(size)
        count += 1
    return count


def share_of(*, hurried: bool, most_bytes: int = 1_000_000) -> Share:
    share = Share(most_bytes=most_bytes)
    share.hurried = hurried
    return share


@pytest.mark.parametrize(("hurried", "order"), [(False, "L----L----L"), (True, "LLLL-LLLL-L")])
def test_one_turn_of_five_is_the_presents_and_four_while_it_is_hurried(hurried: bool, order: str) -> None:
    assert turns(share_of(hurried=hurried), 11) == order


@pytest.mark.parametrize(("hurried", "most"), [(False, 16), (True, 4)])
def test_four_fifths_of_the_places_are_the_pasts_and_one_while_the_present_is_hurried(
    hurried: bool, most: int
) -> None:
    assert places(share_of(hurried=hurried)) == most


@pytest.mark.parametrize(("hurried", "most"), [(False, 8), (True, 2)])
def test_so_it_is_with_the_bytes(hurried: bool, most: int) -> None:
    assert places(share_of(hurried=hurried, most_bytes=10_000), size=1_000) == most


def test_one_row_of_any_size_always_has_room() -> None:
    assert places(share_of(hurried=True, most_bytes=10), size=1_000) == 1


def test_what_is_answered_makes_room() -> None:
    share = share_of(hurried=False, most_bytes=10_000)
    places(share, size=1_000)
    share.settled(1_000)
    assert places(share, size=1_000) == 1


def test_a_new_session_begins_with_the_present_and_an_empty_window() -> None:
    share = share_of(hurried=True)
    places(share)
    turns(share, 2)
    share.begin()
    assert (places(share), turns(share, 6)) == (16, "L----L")

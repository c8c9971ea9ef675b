"""Which row makes the broker hang up."""

from agent.pipeline.suspects import OnItsWay, Suspects

SECOND = 1_000_000_000


def rows(*keys: int, waited_ns: int = 1_000_000) -> list[OnItsWay]:
    return [OnItsWay(key, waited_ns) for key in keys]


def suspecting(*keys: int) -> Suspects:
    suspects = Suspects()
    for _ in range(3):
        suspects.broke(rows(*keys), alone=len(keys) == 1)
    return suspects


def test_nobody_is_suspected_before_three_connections_broke() -> None:
    suspects = Suspects()
    for _ in range(2):
        suspects.broke(rows(1, 2, 3), alone=False)
    assert not suspects.any
    suspects.broke(rows(1, 2, 3), alone=False)
    assert [key in suspects for key in (1, 2, 3, 4)] == [True, True, True, False]


def test_only_what_was_on_its_way_each_time_is_suspected() -> None:
    suspects = Suspects()
    for keys in ((1, 2, 3), (2, 3, 4), (3, 4, 5)):
        suspects.broke(rows(*keys), alone=False)
    assert [key for key in range(6) if key in suspects] == [3]


def test_breaks_with_nothing_in_common_suspect_nobody() -> None:
    suspects = Suspects()
    for key in range(0, 30, 3):
        suspects.broke(rows(key, key + 1), alone=False)
    assert not suspects.any


def test_an_answer_acquits_and_when_all_are_acquitted_the_count_begins_again() -> None:
    suspects = suspecting(1, 2)
    suspects.answered(1)
    assert (1 in suspects, 2 in suspects) == (False, True)
    suspects.answered(2)
    assert not suspects.any
    suspects.broke(rows(1), alone=True)
    assert not suspects.any


def test_with_the_second_break_alone_it_is_guilty_and_all_is_forgotten() -> None:
    suspects = suspecting(1, 2)
    assert suspects.broke(rows(1), alone=True) is None
    assert suspects.broke(rows(1), alone=True) == 1
    assert not suspects.any


def test_an_answer_between_two_breaks_alone_acquits() -> None:
    suspects = suspecting(1, 2)
    assert suspects.broke(rows(1), alone=True) is None
    suspects.answered(1)
    assert suspects.broke(rows(2), alone=True) is None
    assert suspects.broke(rows(1), alone=True) is None


def test_a_break_with_something_else_on_its_way_proves_nothing() -> None:
    suspects = suspecting(1, 2)
    for _ in range(5):
        assert suspects.broke(rows(1), alone=False) is None


def test_a_line_that_dies_long_after_a_row_was_sent_proves_nothing() -> None:
    suspects = suspecting(1)
    for _ in range(5):
        assert suspects.broke(rows(1, waited_ns=20 * SECOND), alone=True) is None


def test_a_break_with_nothing_on_its_way_changes_nothing() -> None:
    suspects = Suspects()
    for keys in ((1, 2), (), (1, 2), (), (2, 3)):
        suspects.broke(rows(*keys), alone=False)
    assert 2 in suspects

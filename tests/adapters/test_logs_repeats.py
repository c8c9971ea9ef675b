from __future__ import annotations

from agent.adapters.logs.repeats import RepeatLimit


class Now:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_the_same_entry_passes_so_often_and_the_rest_is_told_once() -> None:
    now = Now()
    limit = RepeatLimit(most=3, per_s=60, now_s=now)
    written = [due for number in range(40) for due in limit.pass_on("a", {"n": number})]
    now.now_s += 61
    later = [*limit.pass_on("b", {"n": 100}), *limit.pass_on("b", {"n": 101})]
    assert written == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert later == [{"n": 39, "repeated": 37}, {"n": 100}, {"n": 101}]


def test_a_new_window_opens_for_the_same_key() -> None:
    now = Now()
    limit = RepeatLimit(most=1, per_s=60, now_s=now)
    limit.pass_on("a", {"n": 0})
    limit.pass_on("a", {"n": 1})
    now.now_s += 60
    assert limit.pass_on("a", {"n": 2}) == [{"n": 1, "repeated": 1}, {"n": 2}]
    assert limit.pass_on("a", {"n": 3}) == []


def test_keys_do_not_hold_one_another_back() -> None:
    limit = RepeatLimit(most=1, per_s=60, now_s=Now())
    assert [limit.pass_on(key, {"key": key}) for key in ("a", "b", "a")] == [
        [{"key": "a"}],
        [{"key": "b"}],
        [],
    ]


def test_flush_tells_what_is_held_back_now_and_only_once() -> None:
    limit = RepeatLimit(most=1, per_s=60, now_s=Now())
    for number in range(3):
        limit.pass_on("a", {"n": number})
    assert limit.flush() == [{"n": 2, "repeated": 2}]
    assert limit.flush() == []


def test_what_is_held_back_keeps_no_exception_alive() -> None:
    limit = RepeatLimit(most=1, per_s=60, now_s=Now())
    for _ in range(2):
        limit.pass_on("a", {"n": 0, "exc_info": ValueError("with a traceback")})
    assert limit.flush() == [{"n": 0, "repeated": 1}]


def test_endlessly_many_keys_take_bounded_memory_and_lose_no_count() -> None:
    now = Now()
    limit = RepeatLimit(most=1, per_s=60, now_s=now)
    told = 0
    for number in range(5000):
        for _ in range(3):
            told += sum(due.get("repeated", 0) for due in limit.pass_on(number, {"n": number}))
    held = limit.flush()
    assert len(held) <= 1000
    assert told + sum(entry["repeated"] for entry in held) == 10_000

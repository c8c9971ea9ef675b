"""Where two documents differ."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.contract.differences import differences
from agent.contract.merge_patch import merge_patch

VALUES = st.recursive(
    st.integers(0, 3) | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@given(before=VALUES, after=VALUES)
def test_there_are_none_only_between_equals(before: Any, after: Any) -> None:
    assert (list(differences(before, after)) == []) == (before == after)
    assert set(differences(before, after)) == set(differences(after, before))


@given(before=VALUES, after=VALUES)
def test_each_leads_to_a_place_at_which_they_differ(before: Any, after: Any) -> None:
    missing = object()
    for path in differences(before, after):
        one, other = before, after
        for key in path:
            one = one.get(key, missing) if isinstance(one, dict) else missing
            other = other.get(key, missing) if isinstance(other, dict) else missing
        assert one is missing or other is missing or one != other


def test_a_patch_differs_where_it_says_something_new() -> None:
    before = {"a": {"b": 1, "c": [1]}, "d": 2}
    after = merge_patch(before, {"a": {"b": 1, "c": [1, 2]}, "d": None, "e": {"f": 1}})
    assert list(differences(before, after)) == [("a", "c"), ("d",), ("e",)]

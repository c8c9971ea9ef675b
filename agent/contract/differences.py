"""Where two JSON documents differ, as pointers."""

from collections.abc import Iterator, Mapping

from agent.contract.problems import KeyPath


def differences(before: object, after: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The places at which they differ: a key that only one of them has, or a value that is another.

    Lists are compared as a whole, as a merge patch replaces them.

    >>> list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4}))
    [('a', 'c'), ('d',)]
    """
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        if before != after:
            yield path
        return
    for key in sorted(before.keys() | after.keys()):
        if key in before and key in after:
            yield from differences(before[key], after[key], (*path, key))
        else:
            yield (*path, key)

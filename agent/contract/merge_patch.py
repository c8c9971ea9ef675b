"""JSON Merge Patch: what a document becomes when a patch states only what is to differ."""

from collections.abc import Mapping


def merge_patch(target: object, patch: object) -> object:
    """`target` changed as `patch` says; neither is touched, and what did not change is shared, not copied.

    A mapping is merged key by key, and null removes a key. Whatever else the patch states stands in the
    place of what was there: lists are replaced as a whole. Both are JSON: their depth is bounded by whoever
    read them.

    >>> merge_patch({"fps": 5, "model": "people"}, {"fps": 10, "model": None})
    {'fps': 10}

    Source: RFC 7396, section 2.
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, change in patch.items():
        if change is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), change)
    return merged

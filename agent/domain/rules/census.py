"""What one scene shows, counted once, so that a question about it costs little however many there are."""

from bisect import bisect_left

from agent.domain.scene import Scene

_Group = tuple[str | None, str | None, bool | None]
"""Objects of a class, in a zone, that move or do not; None: whatever it is."""


class Census:
    """Of one scene; each of its two books is made when it is asked for the first time."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._confidences: dict[_Group, list[float]] | None = None
        self._longest_ns: dict[tuple[str | None, str], int] | None = None

    def count(
        self, class_name: str | None, zone: str | None, *, moving: bool | None, min_confidence: float
    ) -> int:
        """How many objects it shows of these, at least so confident."""
        if self._confidences is None:
            self._confidences = self._by_group()
        found = self._confidences.get((class_name, zone, moving), ())
        return len(found) - bisect_left(found, min_confidence)

    def longest_ns(self, class_name: str | None, zone: str) -> int:
        """How long the object has stood in `zone` that has stood there longest; 0 where none does."""
        if self._longest_ns is None:
            self._longest_ns = self._by_stay()
        return self._longest_ns.get((class_name, zone), 0)

    def _by_group(self) -> dict[_Group, list[float]]:
        groups: dict[_Group, list[float]] = {}
        for one in sorted(self._scene.objects, key=lambda each: each.confidence):
            for zone in (None, *one.zones):
                for class_name in (None, one.class_name):
                    for moving in (None, one.moves):
                        groups.setdefault((class_name, zone, moving), []).append(one.confidence)
        return groups

    def _by_stay(self) -> dict[tuple[str | None, str], int]:
        longest: dict[tuple[str | None, str], int] = {}
        now_ns = self._scene.at.monotonic_ns
        for one in self._scene.objects:
            for zone, since_ns in one.zones.items():
                for class_name in (None, one.class_name):
                    stood_ns = longest.get((class_name, zone), 0)
                    longest[class_name, zone] = max(stood_ns, now_ns - since_ns)
        return longest

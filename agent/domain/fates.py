"""What became of the candidates of a frame: each has one fate, so that the counts add up."""

from typing import Final, NamedTuple

FLOOR: Final = 0.1
"""From this confidence on a box of a running camera is a candidate, whatever its thresholds.

Of a clip of pedestrians a YOLO11n gives 15 boxes a frame above 0.25, 21 from here on, and 38 above 0.01.
"""


class Fates(NamedTuple):
    """Counts of candidates: boxes whose best class is at or above `FLOOR`, or above the threshold in force.

    `under_threshold`: not confident enough for their class. `class_off`: their class is switched off; where
    candidates are many, the weakest of these count as under their threshold, their class being unknown.
    `too_small`: a side is shorter than the least. `suppressed`: a stronger box of their class overlaps them.
    `surplus`: the frame had its most objects already. `excluded`: a zone leaves them out. `unconfirmed`:
    their track is too young to be believed. `reported`: they are objects of the frame's message.
    """

    under_threshold: int = 0
    class_off: int = 0
    too_small: int = 0
    suppressed: int = 0
    surplus: int = 0
    excluded: int = 0
    unconfirmed: int = 0
    reported: int = 0

    @property
    def candidates(self) -> int:
        """All of them."""
        return sum(self)

    def seen(self, *, excluded: int, unconfirmed: int) -> "Fates":
        """What is left after zones and tracking have taken so many of the objects reported.

        >>> Fates(under_threshold=2, reported=3).seen(excluded=1, unconfirmed=0).reported
        2
        """
        return self._replace(
            excluded=self.excluded + excluded,
            unconfirmed=self.unconfirmed + unconfirmed,
            reported=self.reported - excluded - unconfirmed,
        )


NO_FATES: Final = Fates()

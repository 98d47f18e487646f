"""How large a task's pictures are brought, and the detector with them: what costs are counted from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The size of pictures and of the detector.

    Attributes:
        side, longest: pixels to which the shorter side of a picture is brought, unless the longer one
            would then exceed `longest`.
        multiple: of which the sides of a batch are, so that the stages halve whole pixels.
        anchor: side of an anchor in pixels of its maps.
        width: channels of the neck; the box head has four times as many, as in Lin et al.
    """

    channels: int
    side: int
    longest: int
    multiple: int = 32
    anchor: int = 8
    width: int = 256

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the picture that costs are counted at: the largest that is lying."""
        return (self.channels, self.side, self.longest)


FRAMES: Mapping[str, Frame] = {
    "scenes": Frame(channels=1, side=48, longest=48, multiple=16, anchor=6, width=32),
    "voc": Frame(channels=3, side=600, longest=1000),
    "coco": Frame(channels=3, side=800, longest=1333),
}
"""By task; those of photographs are the field's usual, as DCP-NAS does not say its own."""

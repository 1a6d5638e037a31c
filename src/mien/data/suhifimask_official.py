"""What the official lists of SuHiFiMask hold: counted from them, or as the readme states them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class ListSizes(NamedTuple):
    """Lines of the "video" list (which names tracks) and of the "image" list of one split."""

    tracks: int
    images: int


def _sizes(train: tuple[int, int], dev: tuple[int, int], test: tuple[int, int]) -> dict[str, ListSizes]:
    return {"train": ListSizes(*train), "dev": ListSizes(*dev), "test": ListSizes(*test)}


OFFICIAL: Mapping[str, Mapping[str, ListSizes]] = {
    "p1": _sizes((72_217, 201_568), (12_082, 40_824), (64_441, 132_190)),
    "p2.1": _sizes((83_528, 141_444), (32_184, 40_129), (22_155, 63_738)),
    "p2.2": _sizes((68_783, 115_790), (31_604, 39_557), (23_886, 70_887)),
    "p2.3": _sizes((64_571, 106_946), (30_639, 38_308), (28_131, 86_602)),
    "p2.4": _sizes((65_326, 108_189), (30_939, 38_695), (27_683, 85_400)),
    "p3": _sizes((39_370, 159_063), (41_997, 89_276), (58_652, 164_557)),
}
"""Protocol -> split -> sizes."""
UNSEEN_MASK: Mapping[str, int] = {"p2.1": 4, "p2.2": 3, "p2.3": 2, "p2.4": 1}
"""Protocol -> label of the mask that only its test has."""
OFFICIAL_TRACK_LABELS: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("p1", "test"): (33_076, 4_431, 5_815, 5_262, 4_577, 4_833, 4_303, 1_002, 676, 466),
    ("p3", "dev"): (20_611, 3_093, 3_576, 2_176, 1_960, 1_656, 2_217, 1_625, 2_331, 2_752),
    ("p3", "test"): (30_673, 4_538, 4_779, 3_363, 2_560, 3_955, 3_592, 1_925, 1_719, 1_548),
    ("p2.1", "test"): (14_366, 0, 0, 0, 7_789, 0, 0, 0, 0, 0),
}
"""(protocol, split) -> tracks of the labels 0 to 9."""
OFFICIAL_SHARED: Mapping[str, Mapping[tuple[str, str], int]] = {
    "p3": {("train", "test"): 25_047, ("train", "dev"): 26_305, ("dev", "test"): 31_934}
}
"""Protocol -> (split, split) -> tracks that are in both."""

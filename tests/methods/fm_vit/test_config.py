"""Settings that do not fit together are refused in one line."""

import pytest

from mien.core.errors import ConfigError
from mien.methods.fm_vit.config import RECIPES, FmVitConfig, PredictOptions


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"modalities": ("ir", "rgb")}, "in this order"),
        ({"modalities": ("swir",)}, "some of"),
        ({"modalities": ()}, "some of"),
        ({"net": "single"}, "single sees one"),
        ({"modalities": ("rgb",)}, "single sees one"),
        ({"net": "early", "rho": 0.5}, "rho"),
        ({"net": "early", "subsets": "alternate"}, "subsets"),
        ({"peer_temperature": 2.0}, "needs method.peer"),
        ({"aux": 1.0}, "needs method.aux_targets"),
        ({"net": "mavit", "peer": 0.5}, "do not apply"),
        ({"peer": 0.5, "subsets": "dropout"}, "steps that see the pupil alone"),
        ({"peer": 0.5, "modalities": ("depth", "ir")}, "pupil='rgb'"),
        ({"theta": 0.7}, "theta"),
        ({"rho": 1.5}, "rho"),
        ({"fused": -1.0}, "fused"),
    ],
)
def test_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        FmVitConfig(**changes)  # type: ignore[arg-type]


def test_each_net_has_its_schedule() -> None:
    assert FmVitConfig().schedule == "alternate"
    assert FmVitConfig(net="early").schedule == "full"
    assert FmVitConfig(net="single", modalities=("ir",)).schedule == "full"
    assert FmVitConfig(subsets="each").schedule == "each"


def test_recipes_are_named_after_themselves() -> None:
    assert {name: r().name for name, r in RECIPES.items()} == {n: f"fm_vit-{n}" for n in RECIPES}


def test_a_box_has_an_inside() -> None:
    with pytest.raises(ConfigError, match="beyond"):
        PredictOptions(box=(10, 10, 5, 20))
    assert PredictOptions(rgb="a.png", ir="b.png").pictures() == {"rgb": "a.png", "ir": "b.png"}

"""The ten systems: one literal table, name -> package, resolved lazily.

A method's package has these modules, each imported only when needed (`Entry.load`):

| module | names |
|---|---|
| ``config`` (no torch) | ``RECIPES: dict[str, () -> Recipe]``, ``PredictOptions``, ``InspectOptions`` |
| ``task`` | ``build(recipe, uses) -> Experiment`` (`mien.engine.task`), also ``at_hand(recipe)`` |
| ``evaluate`` | ``evaluate(folder, evaluation) -> Measured`` (`mien.engine.task`) |
| ``predict`` | ``Predictor``, ``export_plan(predictor, count) -> ExportPlan`` (`mien.engine.export`) |
| ``protocol`` (no torch) | ``PROTOCOL_VERSION, SEEDS, MAIN, SHOWN, ROWS, CLAIMS``, also ``CHAINS`` |
| ``demo`` | ``demo(output, inputs) -> DemoResult`` (`mien.engine.show`) |
| ``inspection`` | ``inspect(folder, options) -> Inspection`` (`mien.engine.show`) |

``CHAINS``: name of a recipe that builds on others -> the stages that end in it.

Other packages add methods through the entry-point group ``mien.methods`` (value: the package's import path).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from mien.core.config import Recipe, suggest
from mien.core.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """One method: what it is, and the package that holds it (empty: not part of this version).

    ``measured``: its protocol has been run in full; else its verbs work and its table is still empty.
    """

    name: str
    family: str
    paper: str
    title: str
    package: str = ""
    measured: bool = True

    def load(self, module: str) -> ModuleType:
        """Imports one module of the method's package.

        Raises:
            ConfigError: this version of mien does not contain the method.
        """
        if not self.package:
            raise ConfigError(
                f"{self.name} ({self.title}) is not part of this version of mien; ready: {', '.join(ready())}"
            )
        return importlib.import_module(f"{self.package}.{module}")


_TABLE = (
    Entry(
        "ncl",
        "long-tailed recognition",
        "2306.16709",
        "NCL++: nested collaborative learning",
        "mien.methods.ncl",
    ),
    Entry(
        "sagm",
        "domain generalisation",
        "2303.10353",
        "SAGM: sharpness-aware gradient matching",
        "mien.methods.sagm",
    ),
    Entry(
        "gkd",
        "face recognition",
        "2304.04462",
        "GKD: grouped knowledge distillation",
        "mien.methods.gkd",
    ),
    Entry(
        "cakd",
        "face recognition",
        "2306.14662",
        "URFM + APT: cross-architecture distillation",
        "mien.methods.cakd",
    ),
    Entry(
        "fm_vit",
        "face anti-spoofing",
        "2305.03277",
        "FM-ViT: flexible-modal vision transformer",
        "mien.methods.fm_vit",
    ),
    Entry(
        "cqil",
        "face anti-spoofing",
        "2304.07580",
        "SuHiFiMask and CQIL: surveillance anti-spoofing",
        "mien.methods.cqil",
    ),
    Entry(
        "igc_net",
        "3-D faces",
        "2303.10896",
        "IGC-Net: inverse graphics capsules",
        "mien.methods.igc_net",
    ),
    Entry(
        "otavatar",
        "avatars",
        "2303.14662",
        "OTAvatar: one-shot talking face avatar",
        "mien.methods.otavatar",
    ),
    Entry("car", "avatars", "2304.03903", "CAR: clothed avatar from one image", "mien.methods.car"),
    Entry(
        "phycine",
        "physical reasoning",
        "2303.01869",
        "PHYCINE: physical concepts from video",
        "mien.methods.phycine",
    ),
)


COMPOSE = Entry("compose", "combinations", "", "combinations of the methods", "mien.bench.compose")
"""Not a method: a protocol whose stages belong to methods (`owner`)."""


def owner(recipe: Recipe, default: Entry) -> Entry:
    """The method whose config a recipe holds; ``default`` if it is no method's of the catalogue."""
    package = type(recipe.method).__module__.rpartition(".")[0]
    return next((e for e in methods().values() if e.package == package), default)


def table_entry(name: str) -> Entry:
    """The entry of one protocol: a method's, or ``compose``.

    Raises:
        ConfigError: no such method, with the nearest name.
    """
    return COMPOSE if name == COMPOSE.name else method(name)


def methods() -> dict[str, Entry]:
    """All methods by name: the table above, then plug-ins."""
    from importlib.metadata import entry_points

    table = {entry.name: entry for entry in _TABLE}
    for point in entry_points(group="mien.methods"):
        table.setdefault(point.name, Entry(point.name, "plug-in", "", point.name, point.value))
    return table


def ready() -> list[str]:
    """Names of the methods that this installation contains."""
    return [name for name, entry in methods().items() if entry.package]


def method(name: str) -> Entry:
    """The entry of one method.

    Raises:
        ConfigError: no such method, with the nearest name.
    """
    table = methods()
    if name not in table:
        raise ConfigError(f"no method {name!r}{suggest(name, list(table))}")
    return table[name]


def recipe_names(name: str) -> list[str]:
    """Names of the recipes of a method."""
    return list(method(name).load("config").RECIPES)

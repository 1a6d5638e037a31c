"""``mien demo igc_net``: a rendered and a real face as parts, depth, normals, albedo, relit and turned."""

from __future__ import annotations

import html
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mien.core import figures, io
from mien.data.capsule_files import CapsuleSet
from mien.engine.show import DemoResult
from mien.engine.zoo import load_folder
from mien.methods.igc_net.evaluate import measured
from mien.methods.igc_net.meshes import save
from mien.methods.igc_net.options import PredictOptions
from mien.methods.igc_net.photos import Picture, look_at
from mien.methods.igc_net.pictures import COLUMNS, exploded_mesh, face_row
from mien.methods.igc_net.predict import Capsules, FaceResult, Predictor
from mien.methods.igc_net.seen import see
from mien.methods.igc_net.task import configs
from mien.render.mesh_io import Mesh
from mien.synth.capsule_set import PARTS, Heads3d, packed, unpacked

OURS = "igc_net/small"
FIRST = 1_000_000
"""Number of the first rendered person, far behind those of any training."""
PEOPLE = 4
"""Rendered people; the first is shown."""
BOX = (182, 82, 268, 174)
"""The face in `skimage.data.astronaut` (NASA, public domain), from the brows to the chin."""
_NAMES = {
    "side": "depth: SIDE, % (deviation of ln depth)",
    "mad": "normals: mean angle, degrees",
    "iou": "parts: mean IoU with the true ones",
    "yaw": "yaw: correlation with the true one",
}


class Shown(NamedTuple):
    """A face of the page.

    Attributes:
        name: of its files.
        row: pictures of `COLUMNS`.
        mesh: its parts pulled apart.
    """

    name: str
    row: list[Picture]
    mesh: Mesh


def demo(output: Path, inputs: list[Path]) -> DemoResult:
    """Takes a rendered and a real face apart, or the user's photographs."""
    folder = output / "igc_net"
    predictor = Predictor.from_folder(load_folder(OURS))
    if inputs:
        return _theirs(folder, predictor, inputs)
    _, data = configs(predictor.folder.recipe)
    faces = rendered_faces(predictor.size)
    seen = see(predictor.net, faces)
    found = measured(seen, faces, seen, faces).metrics
    shown = [shown_face(predictor, "rendered", faces.pictures[0])]
    shown.append(shown_face(predictor, "real", astronaut(predictor.size)))
    headline = {name: round(found[name], 3) for name in ("side", "mad", "iou", "yaw") if name in found}
    files = _save(folder, shown)
    text = (
        f"<p>One photograph each, no label in training ({html.escape(data.kind)}, {data.size} px)."
        f" Numbers: {len(faces)} pictures of {PEOPLE} rendered people whom no training saw; names of the"
        " parts are matched on the same pictures.</p>"
        + figures.img(files[0].read_bytes(), "two faces taken apart")
        + "".join(_viewer(one) for one in shown)
        + figures.table([{"": _NAMES[k], "value": f"{v:.3f}"} for k, v in headline.items()])
    )
    return DemoResult(headline, text, (predictor.folder.weights,), tuple(files))


def rendered_faces(size: int) -> CapsuleSet:
    """Pictures of `PEOPLE` made people with all their truth. 0.2 s a person."""
    made = Heads3d(PEOPLE, 5, size, first=FIRST)
    arrays = [packed(view) for person in range(PEOPLE) for view in made.views(person)]
    view = unpacked({name: np.stack([own[name] for own in arrays]) for name in arrays[0]})
    who = np.repeat(np.arange(PEOPLE), made.per_identity)
    return CapsuleSet(view.image, who, np.rad2deg(view.view[:, 1]), *view[1:], parts=PARTS)


def astronaut(size: int) -> Picture:
    """The square around Eileen Collins' head."""
    from skimage.data import astronaut as portrait

    photo = look_at(portrait(), size, BOX)
    assert photo.crop is not None
    return photo.crop


def shown_face(predictor: Predictor, name: str, crop: Picture) -> Shown:
    """A square picture taken apart."""
    own: Capsules = predictor.encode(crop)
    return Shown(name, face_row(predictor.net, crop, own.object), exploded_mesh(own.object))


def sheet(shown: list[Shown]) -> bytes:
    """Rows of faces as a PNG."""
    return figures.picture_rows([(one.name, one.row) for one in shown], COLUMNS)


def _save(folder: Path, shown: list[Shown]) -> list[Path]:
    files = [io.write_bytes(folder / "sheet.png", sheet(shown))]
    return files + [save(folder / f"{one.name}_exploded.glb", one.mesh) for one in shown]


def _viewer(one: Shown) -> str:
    """The parts pulled apart, to be turned; colours as on a screen."""
    assert one.mesh.colors is not None
    colours = one.mesh.colors.clip(0, 1) ** (1 / 2.2)
    return figures.mesh_viewer(one.mesh.vertices, one.mesh.faces, colours, f"{one.name}: parts pulled apart")


def _theirs(folder: Path, predictor: Predictor, inputs: list[Path]) -> DemoResult:
    """The user's photographs."""
    options = PredictOptions(explode=True, output=str(folder))
    results = predictor.predict(*map(str, inputs), options=options)
    cards = "".join(_answer(path, result) for path, result in zip(inputs, results, strict=True))
    files = tuple(Path(f) for result in results for f in result.files)
    last = results[-1]
    headline = {"photographs": len(results), "status": last.status, "view": list(last.view)}
    return DemoResult(headline, f"<div class=cards>{cards}</div>", tuple(inputs), files)


def _answer(path: Path, result: FaceResult) -> str:
    """One of the user's photographs as a card."""
    sheets = [Path(f) for f in result.files if Path(f).name == "sheet.png"]
    shown = "".join(figures.img(f.read_bytes(), path.name) for f in sheets)
    kind = "good" if result.status == "ok" else "bad"
    note = f" <span class=muted>{html.escape(result.note)}</span>" if result.note else ""
    said = f"{html.escape(path.name)}: <b class={kind}>{result.status}</b>{note}"
    return f"<div class=card>{shown}<div>{said}</div></div>"

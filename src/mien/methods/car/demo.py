"""``mien demo car``: a made person whom no training saw becomes an avatar that walks, from one picture."""

from __future__ import annotations

import html
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mien.core import figures, io
from mien.core.catalogue import method
from mien.data.clothed import ClothedMesh, ClothedPeople
from mien.data.video import write_video
from mien.engine.folder import ModelFolder
from mien.engine.show import DemoResult
from mien.engine.zoo import load_folder
from mien.methods.car.evaluate import Case, case_of, errors, restore
from mien.methods.car.looks import (
    Camera,
    Picture,
    camera_for,
    draw,
    draw_normals,
    front_and_back,
    heat,
    map_picture,
    rgb_of,
)
from mien.methods.car.pictures import SOURCES
from mien.methods.car.reconstruct import Reconstruction
from mien.methods.car.texture import paint
from mien.methods.car.view import to_view
from mien.methods.car.walk import PERIOD, frames_of, walk_cycle
from mien.render.mesh_io import Mesh
from mien.render.skinned import Animation
from mien.synth.clothed_set import ClothedSet
from mien.synth.sheet import contact_sheet

OURS = "car/small"
PERSON = 999_999
"""Number of the made person, far behind those of any training."""
SETTINGS = ClothedSet(identities=PERSON + 1, per_identity=1, unseen=1)
"""The set they belong to: people, clothes and poses outside the ranges of training."""
RESOLUTION = 96
"""Cells of both surfaces."""
FRAMES, CYCLES = 24, 2
"""Of the walk."""
SIDE = 192
"""Pixels of the drawings."""
YAWS = (0.5, 1.5)
"""Of the two cameras of the walk, radians."""
_NOTE = (
    "<p class=muted>The person is made. Whoever makes an avatar of a real person should have their consent,"
    " and say that it is one.</p>"
)


class Shapes(NamedTuple):
    """The surfaces that are compared, posed, with sRGB colours (V, 3)."""

    coarse: Mesh
    refined: Mesh
    coarse_colors: Any
    refined_colors: Any


@dataclass(frozen=True, eq=False)
class Walk:
    """An avatar in motion.

    Attributes:
        motion: keys of one cycle.
        frames: (V, 3) vertices of each frame of it.
        camera: sees them all.
    """

    motion: Animation
    frames: list[Any]
    camera: Camera


def demo(output: Path, inputs: list[Path]) -> DemoResult:
    """Makes an avatar of a made person, or of the people in the user's pictures."""
    folder, model = output / "car", load_folder(OURS)
    if inputs:
        return _reconstruct(folder, model, inputs)
    began = time.perf_counter()
    case = made_case(SETTINGS, PERSON)
    drawn = time.perf_counter() - began
    found = restore(model).reconstruct(case.image, case.mask, case.body, coarse=RESOLUTION, fine=RESOLUTION)
    shapes, walk = shapes_of(found, case), walking(found, FRAMES)
    before = errors(found.coarse.posed, found.coarse.canonical, found.coarse.faces, case)
    after = errors(found.avatar.posed, found.avatar.canonical, found.avatar.faces, case)
    seconds = {"the person": drawn, **found.seconds}
    numbers = {
        "chamfer_cm": after["chamfer"],
        "front_angle_coarse": before["front_angle"],
        "front_angle_refined": after["front_angle"],
        "seconds": sum(found.seconds.values()),
        "triangles": len(found.avatar.faces),
        "watertight": bool(after["watertight"]),
    }
    sheet = draw_sheet(found, case, shapes)
    files = (
        found.avatar.export(folder / "avatar.glb", animations={"walk": walk.motion}),
        found.avatar.save(folder / "avatar.safetensors"),
        io.write_bytes(folder / "sheet.png", sheet),
        write_video(folder / "walk.mp4", walk_pictures(found, walk), FRAMES / PERIOD).path,
    )
    viewer = figures.mesh_viewer(*shapes.refined[:2], shapes.refined_colors, "the avatar as photographed")
    video = figures.video(files[-1].read_bytes(), "the avatar walks")
    text = (
        "<p>One picture of a made person whom no training saw, in clothes and a pose outside its ranges, and"
        " a body that is a little wrong. Nets guess the normals of front and back, a field in the star pose"
        " gives the coarse surface, and a second field is bent to the normals in the picture's pose.</p>"
        f"{figures.cards(f'<div class=card>{viewer}</div><div class=card>{video}<div>walking</div></div>')}"
        + figures.img(sheet, "picture, normals, surfaces before and after refinement, truth, what is known")
        + f"<p class=muted>{_legend()}</p>"
        + figures.table(_numbers(before, after, seconds, numbers))
        + _NOTE
    )
    headline = {k: round(v, 2) if isinstance(v, float) else v for k, v in numbers.items()}
    return DemoResult(headline, text, (model.weights,), files)


def made_case(settings: ClothedSet, number: int) -> Case:
    """The first picture of a person of a made set, and its truth; the given body has its joints. Some 2 s.

    Args:
        settings: which set.
        number: of the person.
    """
    person, pictures = replace(settings, per_identity=1).drawn(number)
    arrays = {name: rows[None] for name, rows in pictures.items()}
    mesh = ClothedMesh(person.points, person.faces, person.weights)
    people = ClothedPeople(
        rig=settings.rig(), body=person.body[None], given=person.given[None], pools={}, meshes=(mesh,),
        **arrays,
    )  # fmt: skip
    case = case_of(people, 0, 0)
    joints = torch.as_tensor(person.given_heads, dtype=torch.float32)
    return case._replace(body=replace(case.body, joints=joints))


def shapes_of(found: Reconstruction, case: Case) -> Shapes:
    """Both surfaces in the picture's pose; the coarse one is painted as the avatar was."""
    first, own = found.coarse, found.avatar
    looks = paint(
        to_view(first.posed, case.calib), first.canonical, first.faces, case.image, case.mask,
        case.body.vertices,
    )  # fmt: skip
    coarse = Mesh(first.posed.cpu().numpy(), first.faces.cpu().numpy())
    return Shapes(coarse, own.mesh("posed"), looks.colors.numpy(), own.colors.numpy())


def walking(found: Reconstruction, frames: int) -> Walk:
    """The avatar's walk and a camera for it."""
    motion = walk_cycle(found.avatar, frames)
    vertices = frames_of(found.avatar, motion)
    return Walk(motion, vertices, camera_for(*vertices))


def walk_pictures(found: Reconstruction, walk: Walk) -> list[Picture]:
    """Frames of the walk seen by two cameras side by side, `CYCLES` times."""
    own = found.avatar
    faces, colors = own.faces.numpy(), own.colors.numpy()
    cycle = [
        contact_sheet([draw(v, faces, replace(walk.camera, yaw=y), SIDE, colors=colors) for y in YAWS], 2)
        for v in walk.frames
    ]
    return cycle * CYCLES


def photo_of(case: Case) -> Picture:
    """The picture, (S, S, 3) uint8."""
    return np.asarray(np.rint(255 * case.image.permute(1, 2, 0).numpy()), np.uint8)


def draw_sheet(found: Reconstruction, case: Case, shapes: Shapes) -> bytes:
    """What the picture shows and what was made of it, as a PNG."""
    camera, own = camera_for(case.posed.vertices, shapes.coarse.vertices), found.avatar
    back = replace(camera, yaw=np.pi)
    mask = np.repeat(np.where(case.mask.numpy()[..., None], np.uint8(40), np.uint8(255)), 3, 2)
    true = case.true_maps
    assert found.maps.back is not None
    assert true.back is not None
    behind = [map_picture(m.flip(-1) * m.new_tensor([-1.0, 1, -1])[:, None, None])
              for m in (found.maps.back, true.back)]  # fmt: skip
    table = rgb_of([color for _, color in SOURCES.values()])
    known = table[own.provenance.long().numpy()], heat(own.uncertainty.numpy())
    doubt = [draw(*shapes.refined[:2], camera, SIDE, colors=c, even=True) for c in known]

    def row(mesh: Mesh, colors: Any) -> list[Picture]:
        normals = [draw_normals(mesh.vertices, mesh.faces, c, SIDE) for c in (camera, back)]
        return normals + front_and_back(mesh, camera, SIDE, colors=colors)

    return figures.picture_rows(
        [
            ("in", [photo_of(case), mask, map_picture(found.maps.front), behind[0]]),
            ("coarse", row(shapes.coarse, shapes.coarse_colors)),
            ("refined", row(shapes.refined, shapes.refined_colors)),
            ("truth", row(case.posed, None)),
            ("known", [map_picture(true.front), behind[1], *doubt]),
        ]
    )


def _legend() -> str:
    """What the sheet's rows and colours are."""
    kinds = ", ".join(f"<b style='color:{color}'>{name}</b>" for name, color in SOURCES.values())
    return (
        "First row: picture, mask, guessed normals of front and back. Then normals and looks of the surface,"
        " front and back: coarse, refined, true (without colours). Last row: true normals; where each"
        f" vertex's colour comes from ({kinds}); how little is known of it."
    )


def _numbers(
    before: dict[str, float], after: dict[str, float], seconds: dict[str, float], numbers: dict[str, Any]
) -> list[dict[str, str]]:
    """The table of the page."""
    both = {"chamfer": ("Chamfer distance, cm", 2), "p2s": ("true surface to the avatar's, cm", 2),
            "front_angle": ("angle of the visible normals, degrees", 1),
            "front": ("their error, (1 - cos) / 2", 3)}  # fmt: skip
    rows = [
        {"": text, "coarse": f"{before[k]:.{d}f}", "refined": f"{after[k]:.{d}f}"}
        for k, (text, d) in both.items()
    ]
    rows += [{"": f"seconds: {name}", "coarse": "", "refined": f"{s:.1f}"} for name, s in seconds.items()]
    closed = "yes" if numbers["watertight"] else "no"
    return [
        *rows,
        {"": "triangles", "coarse": "", "refined": f"{numbers['triangles']:,}"},
        {"": "watertight", "coarse": "", "refined": closed},
    ]


def _reconstruct(folder: Path, model: ModelFolder, inputs: list[Path]) -> DemoResult:
    """The people in the user's pictures."""
    own = method("car")
    options = own.load("config").PredictOptions(output=str(folder))
    predictor = own.load("predict").Predictor.from_folder(model)
    results = predictor.predict(*map(str, inputs), options=options)
    cards = "".join(_answer(p, r) for p, r in zip(inputs, results, strict=True))
    files = tuple(Path(f) for r in results for f in r.files)
    headline = {"pictures": len(results), "status": results[-1].status}
    return DemoResult(headline, f"{figures.cards(cards)}{_NOTE}", tuple(inputs), files)


def _answer(path: Path, result: Any) -> str:
    """One of the user's pictures as a card."""
    shown = "".join(
        figures.img(f.read_bytes(), f.stem) for f in map(Path, result.files) if f.suffix == ".png"
    )
    kind = "good" if result.status == "ok" else "bad"
    said = f"{html.escape(path.name)}: <b class={kind}>{result.status}</b>"
    return f"<div class=card>{shown}<div>{said}</div></div>"

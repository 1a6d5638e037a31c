"""Trains the shipped weights by their committed recipes and writes them with cards under src/mien/zoo.

    python tools/ship_weights.py ncl/small=small ncl/ce-small=small-ce otavatar/demo=runs/otavatar-gpu-sr-s0
    python tools/ship_weights.py --groups gkd/small cqil/small   # errors by group, into cards that are there

Each name gets the weights that ``mien train METHOD --preset RECIPE --seed 0`` makes; a stage that
``mien reproduce`` has already trained is used, since it is the same training. A finished run folder of such a
recipe can be given instead of it: a training on another machine.
"""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from mien.bench.reproduce import train_chain
from mien.bench.store import commit
from mien.core import io
from mien.core.catalogue import Entry, method
from mien.core.config import hash_recipe, save_recipe
from mien.core.errors import ConfigError
from mien.core.protocol import Evaluation, Stage
from mien.core.shipped import zoo_root
from mien.engine.folder import ModelFolder, open_folder

CARD = """# {name}

{title} (arXiv {paper}), trained on {note}.

| | |
|---|---|
| made by | `mien train {method} --preset {preset} --seed 0` |
| commit | {commit} |
| training | {steps} steps, {seconds} s on {cpu}, {threads} threads, torch {torch} |
| parameters | {parameters} |
| sha256 | `{sha}` |

Measured on {images}, with the *last* weights (no selection on test data):

| metric | value |
|---|---|
{metrics}

Licence: Apache-2.0, as mien. Training data: see ASSETS.md. Intended use: demonstration and tests; {limits}
"""


LIMIT = 6_000_000
"""Bytes; larger weights are kept as float16."""
TESTED = {
    "car": "12 made people of shapes, clothes and poses that were not in training, one picture of each",
    "ncl": "the balanced test set (2,000 real pictures)",
    "cqil": "1,504 worse pictures of a made set of 101 people, many of tracks that were in training (P3)",
    "gkd": "400 rendered people that were not in training",
    "cakd": "120 rendered people that were not in training",
    "fm_vit": "100 rendered people before three devices, none of them in training",
    "igc_net": "1,500 pictures of 300 rendered people that were not in training",
    "otavatar": "48 people of the same kind that were not in training",
    "phycine": "80 made sets of videos that were not in training",
    "sagm": "the inner part of the style that is held out of training (noto)",
}


LIMITS = {
    "attacks": "not fit to guard anything. It knows rendered people, cameras and attacks; real cameras need"
    " training and thresholds of their own.",
    "avatars": "not for imitating anyone without their consent, and not for passing made pictures off as"
    " real ones: say that they are made. It knows rendered people.",
    "classes": "classes are those of the training set, and a picture of anything else gets one of them all"
    " the same.",
    "worlds": "it knows colliding, charged discs before a plain ground, and questions about them; masses and"
    " charges of objects that nothing acted on mean nothing.",
    "faces": "not for identifying anyone. It was trained on made people at low resolution; a threshold holds"
    " for pictures like those it was chosen on.",
}


KINDS = {
    "physical reasoning": "worlds",
    "face recognition": "faces",
    "face anti-spoofing": "attacks",
    "avatars": "avatars",
}


def copy_weights(source: Path, target: Path) -> None:
    """The file, or where it is larger than `LIMIT` its numbers as float16."""
    if source.stat().st_size <= LIMIT:
        shutil.copyfile(source, target)
        return
    from safetensors.torch import load_file, save_file

    save_file({k: v.half() if v.is_floating_point() else v for k, v in load_file(source).items()}, target)


def trained(entry: Entry, source: str) -> tuple[ModelFolder, str]:
    """The finished training and the recipe's name; ``source``: that name, or a run folder.

    Raises:
        ConfigError: a folder whose settings are not those of the committed recipe.
    """
    recipes = entry.load("config").RECIPES
    if source in recipes:
        recipe = recipes[source]()
        chains = getattr(entry.load("protocol"), "CHAINS", {})
        folders, _ = train_chain(entry, chains.get(recipe.name, (Stage(source, recipe),)), 0, print, None)
        return folders[-1], source
    folder = open_folder(Path(source))
    preset = folder.recipe.name.removeprefix(f"{entry.name}-")
    if preset not in recipes or hash_recipe(recipes[preset]()) != hash_recipe(folder.recipe):
        raise ConfigError(f"{source}: not trained by the committed recipe {preset!r}; put its settings there")
    return folder, preset


PEOPLE, EACH = 120, 6
"""Made people on whom errors by group are counted, and pictures of each."""
BEGIN, END = "Errors by group", "Licence:"


def with_groups(card: str, folder: ModelFolder) -> str:
    """The card with errors by group of people before its licence, where its model judges people."""
    tables = {"face recognition": recognition_errors, "face anti-spoofing": liveness_errors}
    family = method(folder.method).family
    if family not in tables:
        return card
    head, tail = card.partition(BEGIN)[0], END + card.partition(END)[2]
    return head.partition(END)[0] + tables[family](folder) + "\n\n" + tail


def liveness_errors(folder: ModelFolder) -> str:
    """BPCER and APCER by group of a model that tells live faces from attacks, as text and a table."""
    found = import_module(f"{method(folder.method).package}.by_people").errors_by_people(folder)
    lines = []
    for seen, rates in found.items():
        for r in rates:
            errors = [f"{100 * v:.1f}" for v in (r.refused, r.accepted)]
            cells = (seen, f"{r.attribute}: {r.group}", r.people, r.live, errors[0], r.attacks, errors[1])
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    head = "input | group | live people | live pictures | BPCER, % | attacks | APCER, %"
    table = f"| {head} |\n|---|---|---|---|---|---|---|\n" + "\n".join(lines)
    said = (
        f"{BEGIN}, on the same test pictures, at the model's own thresholds: live faces refused (BPCER) and"
        " attacks accepted (APCER, all kinds together). An attack counts for the person whom it shows. They"
        " are made people: the table shows how such a model can differ, not how it does on anybody.\n\n"
    )
    return said + table


def recognition_errors(folder: ModelFolder) -> str:
    """Missed and false matches by group of a model that tells people apart, as text and a table."""
    from mien.engine.face_demo import demo_people
    from mien.engine.face_embedding import embed
    from mien.engine.face_groups import errors_by_group, made_groups
    from mien.engine.faces import restore
    from mien.engine.predictor import default_device

    data = folder.recipe.data
    images = demo_people(data, PEOPLE, EACH)
    groups = made_groups(data.set_seed, data.people + data.val_people, PEOPLE)
    e = embed(restore(folder), images, data.size, default_device()).numpy()
    lines = []
    for rule in ("far@0.01", "far@0.001"):
        threshold = folder.facts["thresholds"][rule]["value"]
        for name, of_person in {"all": np.full(PEOPLE, "people"), **groups}.items():
            for g in errors_by_group(e, images.targets, of_person[images.targets], threshold):
                errors = f"{100 * g.missed:.1f} | {100 * g.false:.2f}"
                lines.append(f"| {rule} | {name}: {g.group} | {g.people} | {errors} |")
    table = "| threshold | group | people | missed matches, % | false matches, % |\n|---|---|---|---|---|\n"
    said = (
        f"{BEGIN}, on the first {PEOPLE} of those people, {EACH} pictures of each, all pairs within a group."
        " They are made people: the table shows how such a model can differ, not how it does on anybody.\n\n"
    )
    return said + table + "\n".join(lines)


def regroup(name: str) -> None:
    """Errors by group of shipped weights, written into their card."""
    folder = open_folder(zoo_root() / name)
    card = folder.path / "card.md"
    io.write_text(card, with_groups(io.read_text(card), folder))
    print(card)


def ship(name: str, source: str) -> None:
    """One set of weights."""
    entry = method(name.split("/")[0])
    folder, preset = trained(entry, source)
    target = zoo_root() / name
    with io.new_folder(target) as part:
        copy_weights(folder.weights, part / "weights.safetensors")
        for more in folder.path.glob("*.safetensors"):  # what learned beside the model
            if more.name not in ("weights.safetensors", "best.safetensors", "swad.safetensors"):
                shutil.copyfile(more, part / more.name)
        io.write_json(part / "facts.json", folder.facts)
        save_recipe(part / "config.toml", entry.name, folder.recipe)
        measured = entry.load("evaluate").evaluate(open_folder(part), Evaluation("test"))
        sha = io.sha256(part / "weights.safetensors")
        (part / "weights.sha256").write_text(f"{sha}  weights.safetensors\n")
        run = io.read_json(folder.path / "run.json")
        from safetensors import safe_open

        with safe_open(str(folder.weights), "pt") as tensors:
            count = sum(tensors.get_tensor(k).numel() for k in tensors.keys())
        card = CARD.format(
            name=name,
            title=entry.title,
            paper=entry.paper,
            method=entry.name,
            preset=preset,
            commit=commit(),
            parameters=f"{count:,}",
            sha=sha,
            images=TESTED[entry.name],
            limits=LIMITS[KINDS.get(entry.family, "classes")],
            note=folder.facts["data"]["note"],
            metrics="\n".join(
                f"| {k} | {v:.4f} |" for k, v in measured.metrics.items() if not k.startswith("less_")
            ),
            steps=run["steps"],
            seconds=run["seconds"],
            cpu=run["machine"]["cpu" if run["machine"]["device"] == "cpu" else "device"],
            **{k: run["machine"][k] for k in ("threads", "torch")},
        )
        (part / "card.md").write_text(with_groups(card, open_folder(part)))
    print(target)


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["--groups"]:
        for word in words[1:]:
            regroup(word)
    else:
        for word in words:
            ship(*word.split("="))

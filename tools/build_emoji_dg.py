"""Builds the bundled Emoji-DG from three npm packages of emoji artwork.

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 @lobehub/fluent-emoji-3d@1.1.0
    python tools/build_emoji_dg.py GOOGLE/package TWITTER/package FLUENT/package

Three artists drew the same things: Noto (Apache-2.0), Twemoji (CC BY 4.0), Fluent 3D (MIT). Ten classes by
the glyphs' subcategory; pictures laid on white and resized to 32 pixels. Same input, same bytes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

OUT = Path(__file__).parent.parent / "src/mien/data/assets/emoji_dg.npz"
SIZE = 32
CLASSES = {
    "animal": "animal-mammal animal-bird animal-bug animal-marine animal-reptile animal-amphibian"
    " monkey-face cat-face",
    "building": "place-building place-religious hotel",
    "clock": "time",
    "clothing": "clothing",
    "face": "face-smiling face-affection face-concerned face-neutral-skeptical face-tongue face-sleepy"
    " face-unwell face-negative",
    "food": "food-fruit food-vegetable food-prepared food-asian food-sweet drink",
    "plant": "plant-flower plant-other",
    "sky": "sky&weather",
    "tool": "tool household office music musical-instrument light&video computer",
    "vehicle": "transport-ground transport-air transport-water",
}


def main(google: str, twitter: str, fluent: str) -> None:
    """Writes the asset."""
    subcategory = {s: c for c, names in enumerate(CLASSES.values()) for s in names.split()}
    found: dict[str, list[tuple[str, int, np.ndarray]]] = {"fluent": [], "noto": [], "twemoji": []}
    for entry in sorted(json.loads((Path(google) / "emoji.json").read_text()), key=lambda e: e["unified"]):
        label = subcategory.get(entry["subcategory"].replace(" ", ""))
        if label is None:
            continue
        code = entry["unified"].lower()
        places = {
            "noto": [Path(google) / "img/google/64" / entry["image"]],
            "twemoji": [Path(twitter) / "img/twitter/64" / entry["image"]],
            "fluent": [Path(fluent) / "assets" / f"{c}.webp" for c in (code, code.replace("-fe0f", ""))],
        }
        for domain, candidates in places.items():
            path = next((p for p in candidates if p.is_file()), None)
            if path is not None:
                found[domain].append((code, label, on_white(path)))
    arrays = {"classes": np.array(list(CLASSES))}
    for domain, items in found.items():
        arrays[f"{domain}_images"] = np.stack([image for _, _, image in items])
        arrays[f"{domain}_targets"] = np.array([label for _, label, _ in items], np.int8)
        arrays[f"{domain}_glyphs"] = np.array([code for code, _, _ in items])
    np.savez_compressed(OUT, **arrays)
    print(
        OUT,
        OUT.stat().st_size,
        {d: np.bincount([i[1] for i in items]).tolist() for d, items in found.items()},
    )


def on_white(path: Path) -> np.ndarray:
    """(32, 32, 3) uint8; resized with premultiplied alpha, so that edges do not darken."""
    with Image.open(path) as image:
        rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(white, rgba).convert("RGB")
    side = max(flat.size)
    padded = Image.new("RGB", (side, side), (255, 255, 255))
    padded.paste(flat, ((side - flat.width) // 2, (side - flat.height) // 2))
    return np.asarray(padded.resize((SIZE, SIZE), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main(*sys.argv[1:])

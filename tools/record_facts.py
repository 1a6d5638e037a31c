"""Turns measurements into lines of results/METHOD.facts.jsonl, which README tables show.

mien bench engine --json > out/engine.json
mien bench ncl --json > out/loss.json
mien export ncl --int8 --output out/export
mien train ncl --data.kind idx --data.root DIR --data.imbalance 100 --output runs/fashion
mien eval ncl --weights runs/fashion --json > out/fashion.json
python tools/record_facts.py ncl out/engine.json out/loss.json out/export/export.json out/fashion.json

mien reproduce sagm --rows cost
python tools/record_facts.py sagm

mien bench gkd --json > out/gkd.json; mien bench partial_fc --json > out/pfc.json
mien export gkd --int8 --output out/export-gkd
python tools/record_facts.py gkd out/gkd.json out/pfc.json out/export-gkd/export.json

examples/challenge.sh
python tools/record_facts.py challenge out/challenge/board.json

mien bench render --json > out/render.json; mien bench people --json > out/people.json
mien data make pad --identities 60 --per-identity 10 --output out/pad
python tools/judge_faces.py .. --output out/judge.json
python tools/landmark_transfer.py .. --output out/transfer.json
python tools/record_facts.py people out/judge.json out/transfer.json out/pad out/people.json out/render.json
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mien.bench.store import commit, load_table, results_dir
from mien.core import io
from mien.core.catalogue import method
from mien.engine.folder import open_folder

Fact = tuple[str, str, str]


def engine_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """Step ratio and waiting shares."""
    ratios = answer["ratios"]
    cpu = f"{answer['machine']['cpu']}, {answer['machine']['threads']} threads"
    yield "step", f"engine step over a plain torch loop, ResNet-20, 32 px ({cpu})", f"{ratios['step']:.3f}"
    for key, text in (("small", "the small net"), ("resnet20", "ResNet-20")):
        yield (
            f"waiting_{key}",
            f"waiting for data, share of the step, {text}",
            f"{100 * ratios[f'waiting_{key}']:.1f} %",
        )


def loss_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """Time and memory of the loss."""
    entries = {e["name"]: e for e in answer["entries"]}
    for size in (100, 1000, 8142):
        ours = entries[f"ncl_loss_C{size}"]
        time, memory = (answer["ratios"][f"loss_{what}_C{size}"] for what in ("time", "memory"))
        yield (
            f"loss_C{size}",
            f"NCL++ loss over cross-entropy, C = {size:,} (K 3, M 2, B 64): time, peak memory",
            f"{time:.1f}x ({1000 * ours['median_s']:.1f} ms), {memory:.1f}x ({ours['peak_mb']:.1f} MB)",
        )


def export_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """Parity, accuracy, size, speed of every exported file."""
    for g in answer["graphs"]:
        if g["name"] in ("ensemble", "expert0"):
            yield (
                f"export_{g['name']}_{g['precision']}",
                f"ONNX {g['precision']}, {g['name']}, {answer['images']} real test pictures:"
                " largest difference, accuracy change, size, one picture on one thread (torch)",
                f"{g['max_difference']:.2g}, {100 * g['metric_change']:+.1f} points, {g['megabytes']:.2f} MB,"
                f" {g['onnx_ms']:.2f} ms ({g['torch_ms']:.2f} ms)",
            )


def fashion_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """The full Fashion-MNIST at imbalance factor 100."""
    m = answer["metrics"]
    run = io.read_json(Path(answer["weights"]) / "run.json")
    counts = open_folder(answer["weights"]).facts["train_counts"]
    groups = " / ".join(_percent(m[f"ensemble_{g}"]) for g in ("many", "medium", "few"))
    minutes = run["seconds"] / 60
    yield (
        "fashion_full",
        f"NCL++ on the full Fashion-MNIST at imbalance factor 100 ({sum(counts):,} training pictures,"
        f" {max(counts):,} to {min(counts)} a class; 10,000 test pictures; one seed):"
        " single, ensemble (many / medium / few)",
        f"{100 * m['single_all']:.1f} %, {100 * m['ensemble_all']:.1f} % ({groups}); {minutes:.1f} minutes",
    )


def _percent(value: float | None) -> str:
    return "no such class" if value is None or value != value else f"{100 * value:.1f}"


def training_facts() -> Iterator[Fact]:
    """Seconds of one small training."""
    lines = io.read_lines(results_dir() / "ncl.jsonl")
    main = method("ncl").load("protocol").MAIN
    seconds = [r["seconds"] for r in lines if r["row"] == main]
    if seconds:
        text = f"one small training of NCL++, median over {len(seconds)} seeds (other work on the machine)"
        yield "seconds", text, f"{statistics.median(seconds):.0f} s"


def cost_facts() -> Iterator[Fact]:
    """Ratios of step times and of memory, medians over the repeats of the bench row."""
    lines = [r for r in io.read_lines(results_dir() / "sagm.jsonl") if r["row"] == "cost"]
    nets = (("resnet18", "ResNet-18"), ("vit_tiny", "ViT-Tiny"))
    for key, text in nets:
        steps = [("sagm", "erm"), ("sam", "erm"), ("gsam", "erm"), ("sagm", "sam")]
        values = [_median(lines, f"{a}_over_{b}_{key}") for a, b in steps]
        names = ", ".join(f"{a.upper()} / {b.upper()}" for a, b in steps)
        where = f"{text}, 64 px, batch 32, 2 threads, median of {len(lines)} runs"
        yield f"step_{key}", f"time of a step: {names} ({where})", ", ".join(f"{v:.2f}" for v in values)
        yield (
            f"overhead_{key}",
            f"part of a SAGM step that is neither of its two passes, in ERM steps ({text}): norm of the"
            " gradient, move to the perturbed point and back, mean of two gradients, the base optimiser's own"
            " update",
            f"{_median(lines, f'overhead_over_passes_{key}'):.2f}",
        )
        yield (
            f"memory_{key}",
            f"memory of a SAGM step above an ERM step, in sizes of the weights ({text})",
            f"{_median(lines, f'memory_over_erm_{key}'):.1f} (a gradient, a copy of the weights)",
        )


def judge_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """What a detector and an embedding of real faces say of the made ones."""
    rows = {r["row"]: r for r in answer["rows"]}
    found = rows["detection"]
    yield (
        "detection",
        "MediaPipe's detector finds unpicked frontal renders, 256 px",
        f"{100 * found['rate']:.1f} % of {found['pictures']}",
    )
    texts = {
        "renders": "renders, a quarter of the pictures with glasses",
        "renders_bare": "renders without glasses",
        "orl": "real ORL faces",
    }
    for key, text in texts.items():
        if key in rows:
            r = rows[key]
            yield (
                f"verify_{key}",
                f"embedding (dlib's network) of 40 people x 5, {text}: AUC, EER, rank-1, mean distance of the"
                " same and of different people",
                f"{r['auc']:.3f}, {100 * r['eer']:.1f} %, {100 * r['rank1']:.1f} %, {r['same']:.3f},"
                f" {r['different']:.3f}",
            )
    f = rows["factors"]
    names = ("glasses", "hair", "light", "yaw", "shape", "paint", "another_person")
    yield (
        "factors",
        "mean distance to the unchanged picture when one thing changes: "
        + ", ".join(names).replace("_", " "),
        ", ".join(f"{f[n]:.3f}" for n in names),
    )


def transfer_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """A landmark net trained on renders, tested on real faces."""
    yield (
        "landmarks",
        f"five landmarks by a net trained on {answer['trained_on']:,} renders, tested on {answer['orl']} real"
        " ORL pictures against MediaPipe's mesh: error / eye distance (mean shape), gain",
        f"{answer['nme']:.4f} ({answer['mean_shape_nme']:.4f}), {100 * answer['gain']:.0f} %",
    )


def pad_facts(folder: Path) -> Iterator[Fact]:
    """The shortcut audit of a made pad set."""
    card = (folder / "card.md").read_text()
    line = next(x for x in card.splitlines() if x.startswith("Shortcut audit"))
    record = json.loads((folder / "set.json").read_text())
    yield (
        "audit",
        f"shortcut audit of {record['identities'] * record['per_identity']:,} live and attack samples,"
        f" {record['size']} px: AUC of logistic regression on mean, spread, border of a modality; of the"
        " relief of the depth map against masks only, against prints and screens only",
        line.split(": ", 1)[1].rstrip("."),
    )


def speed_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """Pictures a second, and the renderer beside others."""
    cpu = answer["machine"]["cpu"]
    r = answer["ratios"]
    if answer["bench"] == "render":
        best = {s: min(e["median_s"] for e in answer["entries"] if "torch" not in e["name"]
                       and e["name"].endswith(f"_{s}")) for s in (128, 512)}  # fmt: skip
        for size in (128, 512):
            yield (
                f"render_{size}",
                f"a moving body of 28,044 triangles at {size} px, depth, ids, weights, normals: our time,"
                f" gain over the best packaged renderer ({cpu})",
                f"{1000 * best[size]:.2f} ms, {r[f'speedup_{size}']:.1f}x",
            )
        return
    at = {e["name"]: e for e in answer["entries"]}
    for size in (64, 128, 256):
        yield (
            f"people_{size}",
            f"faces at {size} px with all ground truth: pictures a core-second, seconds a person ({cpu})",
            f"{r[f'images_per_core_second_{size}']:.1f}, {at[f'identity_{size}']['median_s']:.2f} s",
        )
    yield "people_numpy", "compiled shading over the same in NumPy", f"{r['speedup_over_numpy']:.1f}x"


def face_training_facts(name: str) -> Iterator[Fact]:
    """Seconds of the trainings behind the rows, and of all rows of the claims together."""
    table = load_table(method(name))
    rows = {r.id: r for r in table.rows}
    by_row = {i: [r["seconds"] for r in table.records[(i, "test")].values()] for i in rows}
    for i in ("student", method(name).load("protocol").MAIN, "teacher"):
        if by_row.get(i):
            what = f"{rows[i].label}, its teacher included" if rows[i].models == "all" else rows[i].label
            text = f"training, median over {len(by_row[i])} seed(s), much other work on the machine ({what})"
            yield f"seconds_{i}", text, f"{statistics.median(by_row[i]):.0f} s"


SUBSETS = {"R": "rgb", "D": "depth", "I": "ir", "RDI": "rgb+depth+ir"}


def pad_training_facts() -> Iterator[Fact]:
    """Where FM-ViT errs: by species of attack, by device; and how long it trained."""
    table = load_table(method("fm_vit"))
    test, seen = (list(table.records[("fm", e)].values()) for e in ("test", "seen"))

    def per_cent(values: list[float]) -> str:
        return f"{100 * statistics.mean(values):.0f}"

    for species in sorted(test[0]["extra"]["species"]["rgb"]):
        cells = [per_cent([r["extra"]["species"][s][species] for r in test]) for s in SUBSETS.values()]
        text = f"{species} accepted by FM-ViT as live (APCER, %), on {', '.join(SUBSETS)}, mean over seeds"
        yield f"species_{species}", text, " / ".join(cells)
    for name, where in (("test", test), ("seen", seen)):
        cells = [per_cent([r["metrics"][f"acer_{s}"] for r in where]) for s in SUBSETS.values()]
        devices = "unseen devices" if name == "test" else "the training devices"
        text = f"ACER of FM-ViT on unseen people before {devices} (%), on {', '.join(SUBSETS)}"
        yield f"acer_{name}", text, " / ".join(cells)
    for row in ("rgb", "early", "fm"):
        own = [r["seconds"] for r in table.records[(row, "test")].values()]
        text = f"training, median over {len(own)} seed(s), much other work on the machine ({row})"
        yield f"seconds_{row}", text, f"{statistics.median(own):.0f} s"


def pad_bench_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """Cost of one modality over a fixed fusion; time of a report."""
    r, cpu = answer["ratios"], f"{answer['machine']['cpu']}, {answer['machine']['threads']} threads"
    if answer["bench"] == "pad":
        text = f"report on 10^6 scores, with intervals; over one loop of thresholds ({cpu})"
        yield "pad", text, f"{r['report_seconds_1e6']:.2f} s, {r['speedup_over_loop']:.0f}x faster"
        return
    for kind, what in (("flops", "operations"), ("latency", "latency")):
        cells = [f"{r[f'{kind}_over_fusion_{m}']:.2f}" for m in ("rgb", "depth", "ir")]
        yield (
            f"bench_{kind}",
            f"one modality over a fixed fusion of three ViTs: {what} ({cpu})",
            " / ".join(cells),
        )
    yield "bench_params", "parameters over those of the fusion", f"{r['params_over_fusion']:.2f}"


def pad_export_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """Parity, change of 1 - ACER, size and speed of the graphs of all subsets."""
    for precision in ("fp32", "int8"):
        graphs = {g["name"]: g for g in answer["graphs"] if g["precision"] == precision}
        one, whole = graphs["rgb"], graphs["rgb_depth_ir"]
        text = (
            f"ONNX {precision}, {len(graphs)} graphs, {answer['images']} rendered test presentations: largest"
            " difference, worst change of ACER, size of colour alone and of all three, one presentation on"
            " one thread (torch)"
        )
        yield (
            f"export_{precision}",
            text,
            f"{max(g['max_difference'] for g in graphs.values()):.2g},"
            f" {100 * max(-g['metric_change'] for g in graphs.values()):+.1f} points,"
            f" {one['megabytes']:.2f} and {whole['megabytes']:.2f} MB, {one['onnx_ms']:.1f}"
            f" ({one['torch_ms']:.1f}) and {whole['onnx_ms']:.1f} ({whole['torch_ms']:.1f}) ms",
        )


def gkd_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """Time and memory of the loss beside its dense form and KD; of PartialFC beside a full layer."""
    r, cpu = answer["ratios"], f"{answer['machine']['cpu']}, {answer['machine']['threads']} threads"
    if answer["bench"] == "gkd":
        for classes in (85742, 1000000):
            yield (
                f"loss_{classes}",
                f"GKD's loss over the same terms with masks (B, C), C = {classes:,}, B = 128: time, memory"
                f" beyond the logits ({cpu})",
                f"{r[f'time_over_dense_{classes}']:.2f}, {r[f'memory_over_dense_{classes}']:.2f}",
            )
        text = f"GKD's loss over plain KD, C = 85,742, B = 128: time ({cpu})"
        yield "loss_kd", text, f"{r['time_over_kd_85742']:.2f}"
    else:
        yield (
            "partial_fc",
            "PartialFC, 10^6 identities x 512, two gloo processes: step with a tenth sampled over the full"
            f" step, memory of a process over that of one alone ({cpu})",
            f"{r['step_over_full']:.2f}, {r['memory_per_rank_over_single']:.2f}",
        )


def face_export_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """Parity, change of the TAR, size and speed of an exported recogniser."""
    for g in answer["graphs"]:
        yield (
            f"export_{g['precision']}",
            f"ONNX {g['precision']}, {answer['images']} {'real' if answer['real'] else 'rendered'} test"
            f" pictures: largest difference, change of {answer['metric']}, size, one picture on one thread"
            " (torch)",
            f"{g['max_difference']:.2g}, {100 * g['metric_change']:+.1f} points, {g['megabytes']:.2f} MB,"
            f" {g['onnx_ms']:.2f} ms ({g['torch_ms']:.2f} ms)",
        )


def surveillance_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """Of CQIL: parity and size of its graphs; or pictures a second with and without super-resolution."""
    for g in answer.get("graphs", ()):
        yield (
            f"export_{g['name']}_{g['precision']}",
            f"ONNX {g['precision']}, {g['name']}, {answer['images']} made test pictures: largest difference,"
            " change of the metric, size",
            f"{g['max_difference']:.2g}, {100 * g['metric_change']:+.1f} points, {g['megabytes']:.2f} MB",
        )
    if "ratios" in answer:
        r = answer["ratios"]
        kinds = ("torch", "onnx", "int8")
        for net, label in (("sr", "with super-resolution"), ("plain", "without super-resolution")):
            speeds = ("/".join(f"{r[f'fps_{net}_{k}_{batch}']:.0f}" for k in kinds) for batch in (1, 32))
            yield (
                f"fps_{net}",
                f"pictures a second on one thread, {label}, torch/ONNX/int8: one at a time, 32 at once",
                ", ".join(speeds),
            )


def _median(lines: list[dict[str, Any]], key: str) -> float:
    return statistics.median(line["metrics"][key] for line in lines)


def board_facts(lines: list[dict[str, Any]]) -> Iterator[Fact]:
    """A contest's board, one fact for each team."""
    for line in lines:
        low, high = (f"{100 * line[k]:.1f}" for k in ("low", "high"))
        ranks = f"{line['rank_low']} to {line['rank_high']}"
        area, rank = f"{100 * line['auc']:.1f} %", f"{line['rank']} ({ranks})"
        value = f"{100 * line['value']:.1f} % [{low}, {high}], {area}, {rank}"
        yield f"team_{line['team']}", f"team `{line['team']}`: ACER [95 %], AUC, rank (95 %)", value


def main(name: str, files: list[str]) -> None:
    """Appends the facts of all files to those of one method."""
    own = {"ncl": training_facts, "sagm": cost_facts}
    own["fm_vit"] = pad_training_facts
    own |= {n: partial(face_training_facts, n) for n in ("gkd", "cakd")}
    found = list(own.get(name, lambda: iter(()))())
    for file in files:
        if Path(file).is_dir():
            found += pad_facts(Path(file))
            continue
        answer = json.loads(Path(file).read_text())
        if isinstance(answer, list):
            found += board_facts(answer)
        elif "audit" in answer:
            values = ", ".join(f"{k} {v:.3f}" for k, v in answer["audit"].items())
            text = f"shortcut audit of the {answer['n']:,} test crops: AUC of mean, spread and border alone"
            found.append(("audit", text, values))
        elif answer.get("bench") == "engine":
            found += engine_facts(answer)
        elif answer.get("bench") == "ncl":
            found += loss_facts(answer)
        elif answer.get("bench") in ("people", "render"):
            found += speed_facts(answer)
        elif answer.get("bench") in ("gkd", "partial_fc"):
            found += gkd_facts(answer)
        elif answer.get("bench") in ("pad", "fm_vit"):
            found += pad_bench_facts(answer)
        elif answer.get("method") == "fm_vit":
            found += pad_export_facts(answer)
        elif answer.get("method") == "cqil" or answer.get("bench") == "cqil":
            found += surveillance_facts(answer)
        elif answer.get("method") in ("gkd", "cakd"):
            found += face_export_facts(answer)
        elif "goals" in answer:
            found += judge_facts(answer)
        elif "mean_shape_nme" in answer:
            found += transfer_facts(answer)
        elif "graphs" in answer:
            found += export_facts(answer)
        else:
            found += fashion_facts(answer)
    for key, text, value in found:
        io.append_line(
            results_dir() / f"{name}.facts.jsonl",
            {"name": key, "text": text, "value": value, "commit": commit()},
        )
        print(f"{text}: {value}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

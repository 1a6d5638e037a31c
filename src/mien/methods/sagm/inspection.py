"""``mien inspect sagm``: how sharp the training loss is, over all source domains and in each."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F

from mien.core import io
from mien.engine.folder import ModelFolder
from mien.engine.predictor import default_device
from mien.engine.show import Inspection
from mien.methods.sagm.config import InspectOptions
from mien.methods.sagm.evaluate import own_splits, restore
from mien.methods.sagm.figures import plot_slices
from mien.methods.sagm.sharpness import loss_slice, sharpness_by_domain, sharpness_report
from mien.methods.sagm.task import configs, training_batches


def inspect(folder: ModelFolder, options: InspectOptions) -> Inspection:
    """Sharpness of one model at one radius."""
    data, device = configs(folder.recipe)[1], default_device()
    sources, targets = own_splits(folder)
    net = restore(folder).to(device)
    by_name = {s.name: training_batches([s], data, options.images, device) for s in sources}
    together = [b for batches in by_name.values() for b in batches]
    report = sharpness_report(net, F.cross_entropy, together, options.rho, directions=options.directions)
    domains = sharpness_by_domain(net, F.cross_entropy, by_name, options.rho, directions=options.directions)
    facts = {
        "sources": ", ".join(by_name),
        "held_out": ", ".join(t.name for t in targets),
        "training_pictures": sum(len(y) for _, y in together),
        "rho": options.rho,
        **{k: round(v, 5) for k, v in report.items()},
    }
    rows = [{"domain": n, **{k: round(v, 5) for k, v in r.items()}} for n, r in domains.items()]
    files: tuple[Path, ...] = ()
    if options.plot:
        at, losses = loss_slice(net, F.cross_entropy, together[:1], 1.0)
        files = (io.write_bytes(Path(options.plot), plot_slices(at, {folder.path.name: losses})),)
    return Inspection(facts, {"by domain": rows}, files)

from __future__ import annotations

import pytest
import torch

from mien.core.config import hash_recipe
from mien.core.errors import ConfigError
from mien.core.io import read_json
from mien.engine import checkpoint
from mien.engine.trainer import Trainer
from tests.engine.test_trainer import experiment, recipe, same, state_of
from tests.engine.toys import make_net


def swad_recipe(**schedule):
    return recipe(**{"swad": 0.3, "eval_every": 0.4, "steps": 20, **schedule})


def scorer(losses):
    """A validation split whose loss at each look is given, by step."""
    made = []

    def validate(net, device):
        return {"score": 0.5, "loss": losses(made[-1].step)}

    return made, validate


def loaded(path):
    net = make_net()
    checkpoint.load_weights(net, path)
    return state_of(net)


def test_swad_averages_the_iterates_between_its_two_points(tmp_path):
    """Looks at 2, 4, ..: the loss is least at 4 and never above the bound, so steps 3..20 are averaged."""
    made, validate = scorer(lambda step: 1.0 if step == 4 else 1.1 + (step < 4))
    trainer = Trainer(experiment(validate=validate), swad_recipe(), tmp_path)
    made.append(trainer)
    iterates = []
    trainer.watch = lambda clock, logs: iterates.append(state_of(trainer.task.net))
    trainer.run()
    mean = {k: torch.stack([s[k].double() for s in iterates[2:]]).mean(0).float() for k in iterates[0]}
    found = loaded(tmp_path / "swad.safetensors")
    for name, value in mean.items():
        torch.testing.assert_close(found[name], value)
    assert same(loaded(tmp_path / "weights.safetensors"), iterates[-1])
    assert read_json(tmp_path / "facts.json")["swad"] == {"converged": True}


def test_without_convergence_the_last_segment_is_kept(tmp_path):
    made, validate = scorer(lambda step: 100.0 - step)
    trainer = Trainer(experiment(validate=validate), swad_recipe(), tmp_path)
    made.append(trainer)
    iterates = []
    trainer.watch = lambda clock, logs: iterates.append(state_of(trainer.task.net))
    trainer.run()
    found = loaded(tmp_path / "swad.safetensors")
    for name in found:
        torch.testing.assert_close(found[name], (iterates[-1][name] + iterates[-2][name]) / 2)
    assert read_json(tmp_path / "facts.json")["swad"] == {"converged": False}


@pytest.mark.parametrize("cut", [5, 8, 13])
def test_swad_survives_a_cut_to_the_bit(tmp_path, cut):
    files = []
    for folder, stops in ((tmp_path / "whole", [None]), (tmp_path / "cut", [cut, None])):
        for stop in stops:
            made, validate = scorer(lambda step: 1.0 if step == 4 else 1.1 + (step < 4))
            made.append(Trainer(experiment(validate=validate), swad_recipe(checkpoint_every=50), folder))
            made[0].run(stop)
        files.append((folder / "swad.safetensors").read_bytes())
    assert files[0] == files[1]


def test_the_best_look_is_kept_beside_the_last_weights(tmp_path):
    made, validate = scorer(lambda step: 1.0)
    trainer = Trainer(experiment(validate=validate), recipe(eval_every=1.0, steps=10), tmp_path)
    made.append(trainer)
    seen = []
    trainer.watch = lambda clock, logs: seen.append(state_of(trainer.task.net))
    trainer.run()
    assert same(loaded(tmp_path / "best.safetensors"), seen[4])
    assert same(loaded(tmp_path / "weights.safetensors"), seen[9])


def test_swad_needs_looks_and_a_loss(tmp_path):
    with pytest.raises(ConfigError, match=r"needs schedule\.eval_every"):
        recipe(swad=0.3)
    with pytest.raises(ConfigError, match="needs a validation split"):
        Trainer(experiment(), swad_recipe(), tmp_path)
    with pytest.raises(ConfigError, match="reports none"):
        Trainer(experiment(validate=lambda net, device: {"score": 1.0}), swad_recipe(), tmp_path).run()


def test_swad_names_another_training_and_its_absence_does_not():
    plain = recipe(eval_every=0.4)
    assert hash_recipe(plain) == hash_recipe(recipe())
    assert hash_recipe(recipe(eval_every=0.4, swad=0.3)) not in (
        hash_recipe(plain),
        hash_recipe(recipe(eval_every=0.8, swad=0.3)),
    )

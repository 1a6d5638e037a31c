from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from mien.core.errors import WeightsError
from mien.methods.otavatar.state import AvatarState, check_state, load_state, net_hash
from mien.synth.orbit import orbit_cameras
from tests.methods.otavatar.avatars import NAMES, tiny_net

NET = tiny_net()


def state(**changes):
    torch.manual_seed(1)
    held = {
        "w_id": torch.randn(1, 1, 16), "camera": torch.from_numpy(orbit_cameras(0.1)[0]),
        "scale": torch.randn(9) / 10, "shift": torch.randn(9) / 10, "row": torch.rand(4),
        "generator": net_hash(NET), "size": 32, "names": NAMES, "note": "by hand",
        "delta": {"decoder.net.0.bias": torch.ones(8)},
    }  # fmt: skip
    return AvatarState(**{**held, **changes})


def test_a_file_and_back(tmp_path):
    own = state()
    back = load_state(own.save(tmp_path / "me.safetensors"), NET)
    for name in ("w_id", "camera", "scale", "shift", "row"):
        assert torch.equal(getattr(back, name), getattr(own, name))
    assert (back.generator, back.size, back.names, back.note) == (own.generator, 32, NAMES, "by hand")
    assert list(back.delta) == ["decoder.net.0.bias"]
    assert torch.equal(back.delta["decoder.net.0.bias"], torch.ones(8))
    assert (tmp_path / "me.safetensors").stat().st_size < 4000


def test_the_corrected_camera():
    plain = state(scale=torch.zeros(9), shift=torch.zeros(9))
    assert torch.equal(plain.seen_from, plain.camera)
    wide = state(scale=torch.zeros(9), shift=torch.eye(3).flatten() / 10)
    assert wide.seen_from[16] == pytest.approx(3.3)
    assert torch.equal(wide.seen_from[:16], wide.camera[:16])


def test_the_hash_is_of_what_draws():
    assert net_hash(tiny_net()) == net_hash(NET)
    assert net_hash(tiny_net(1)) != net_hash(NET)
    other = tiny_net()
    with torch.no_grad():
        next(other.encoder.parameters()).add_(1)
    assert net_hash(other) == net_hash(NET)
    other.w_avg.add_(1)
    assert net_hash(other) != net_hash(NET)


def test_a_state_of_another_generator_is_refused(tmp_path):
    path = state().save(tmp_path / "me.safetensors")
    with pytest.raises(WeightsError, match=r"made with another generator .*; invert the") as caught:
        load_state(path, tiny_net(1))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"w_id": torch.zeros(1, 1, 8)}, "w_id .* does not fit"),
        ({"w_id": torch.zeros(1, 3, 16)}, "w_id .* does not fit"),
        ({"row": torch.zeros(5)}, "the source has 5 actions, the controller knows 4"),
        ({"delta": {"decoder.net.0.bias": torch.ones(3)}}, "the person's own decoder.net.0.bias"),
        ({"delta": {"nothing": torch.ones(3)}}, "the person's own nothing"),
        ({"delta": {"own": torch.ones(3, 1, 4, 4)}}, "the person's own own"),
    ],
)
def test_tensors_that_do_not_fit(changes, text):
    with pytest.raises(WeightsError, match=text):
        check_state(state(**changes), NET)


def test_damaged_files(tmp_path):
    path = tmp_path / "me.safetensors"
    path.write_bytes(b"PK\x03\x04 a pickle in a zip")
    with pytest.raises(WeightsError, match="a pickle"):
        load_state(path)
    save_file({"x": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match=r"not an avatar's state .*; invert the portrait again"):
        load_state(path)
    state(w_id=torch.full((1, 1, 16), float("nan"))).save(path)
    with pytest.raises(WeightsError, match="w_id holds values that are no numbers"):
        load_state(path)
    replace(state(), camera=torch.zeros(24)).save(path)
    with pytest.raises(WeightsError, match=r"camera has the shape \(24,\)"):
        load_state(path)
    replace(state(), row=torch.zeros(4, dtype=torch.float64)).save(path)
    with pytest.raises(WeightsError, match=r"row is torch\.float64, not float32"):
        load_state(path)
    whole = state().save(path).read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(WeightsError, match="header lies about tensor"):
        load_state(path)

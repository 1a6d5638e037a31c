from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.methods.otavatar.photos import Photos, photo_rays, read_photos
from mien.synth.orbit import orbit_cameras
from tests.methods.otavatar.avatars import person


def read(image, coeffs=None, camera=None, mask=None):
    return read_photos(image, coeffs, camera, mask, 32, 4)


def test_every_form_of_picture(tmp_path):
    array = person()
    Image.fromarray(array).save(tmp_path / "a.png")
    tensor = torch.from_numpy(array).permute(2, 0, 1).float() / 255
    forms = [array, str(tmp_path / "a.png"), tmp_path / "a.png", Image.fromarray(array), tensor]
    for form in forms:
        assert torch.allclose(read(form).pictures[0], tensor, atol=1e-6)
    assert read(forms).pictures.shape == (5, 3, 32, 32)


def test_what_is_not_white_is_the_person():
    photos = read(person())
    assert torch.equal(photos.opacity[0, 0] > 0, photos.pictures[0].amin(0) < 0.98)
    assert 0.3 < photos.opacity.mean() < 0.5
    assert torch.allclose(photos.cameras, torch.from_numpy(orbit_cameras(0.0)))
    assert not photos.rows.any()


def test_grey_and_transparent_pictures():
    grey = read(Image.fromarray(person()[..., 0]))
    assert torch.equal(grey.pictures[0, 0], grey.pictures[0, 2])
    rgba = np.dstack([person(), np.full((32, 32), 255, np.uint8)])
    rgba[:8, :, 3] = 0
    rgba[:8, :, :3] = 0
    clear = read(Image.fromarray(rgba))
    assert (clear.pictures[0, :, :8] == 1).all()


def test_a_mask_lays_the_rest_on_white():
    mask = np.zeros((64, 64))
    mask[:, :32] = 1
    photos = read(person(64), mask=mask)
    assert torch.allclose(photos.pictures[..., 17:], torch.ones(1, 3, 32, 15))
    assert torch.allclose(photos.pictures[..., :15], read(person(64)).pictures[..., :15], atol=1e-6)
    for bad, text in (
        (mask * 2, "numbers in 0"),
        (mask[None], "numbers in 0"),
        ([mask, mask], "1 pictures but 2"),
    ):
        with pytest.raises(ShapeError, match=text):
            read(person(64), mask=bad)


def test_numbers_that_do_not_fit():
    with pytest.raises(ConfigError, match="no picture"):
        read([])
    with pytest.raises(ShapeError, match=r"expected coefficients \(1, 4\), got \(1, 5\)"):
        read(person(), np.zeros(5))
    with pytest.raises(ShapeError, match=r"expected coefficients \(2, 4\), got \(1, 4\)"):
        read([person(), person()], np.zeros(4))
    with pytest.raises(DataError, match="no numbers; track it again"):
        read(person(), [0, 0, np.nan, 0])
    with pytest.raises(ShapeError, match=r"expected cameras \(1, 25\)"):
        read(person(), camera=np.zeros(16))


def test_rays_show_the_pixels_they_go_through():
    photos = read([person(), 255 - person()])
    sample = photo_rays(photos, 50, 0.5, 3)
    target = sample(0)
    assert target.rgb.shape == (2, 50, 3)
    at = (target.uv[:, 0] * 32).long()
    for k in range(2):
        seen = photos.pictures[k][:, at[k, :, 1], at[k, :, 0]].T
        assert torch.allclose(target.rgb[k], 2 * seen - 1)
    assert torch.isnan(target.depth).all()
    assert torch.equal(sample(1).uv, photo_rays(photos, 50, 0.5, 3)(1).uv)
    assert not torch.equal(sample(1).uv, sample(0).uv)
    with pytest.raises(ConfigError, match="rays=0"):
        photo_rays(photos, 0, 0.5, 3)


def test_a_share_of_the_rays_falls_on_contrast_of_the_person():
    """A dot on a flat person: rays seek it and its edge, and never the background."""
    pictures = torch.full((1, 3, 32, 32), 0.5)
    pictures[:, :, 20, 12] = 0.0
    opacity = torch.zeros(1, 1, 32, 32)
    opacity[:, :, 8:] = 1.0
    photos = Photos(pictures, opacity, torch.from_numpy(orbit_cameras(0)), torch.zeros(1, 4))
    uv = photo_rays(photos, 9, 0.0, 0, detail=1.0)(0).uv[0, 0] * 32
    assert (uv[:, 1] >= 8).all()
    near = ((uv - torch.tensor([12.5, 20.5])).abs() < 2).all(1)
    assert near.all()

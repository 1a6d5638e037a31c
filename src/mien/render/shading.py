"""Light on a surface: second-order spherical harmonics and a Blinn-Phong lobe, differentiable in everything.

Directions are unit vectors in any one frame. Colours are linear.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mien.core.errors import ConfigError

A0, A1, A2 = math.pi, 2 * math.pi / 3, math.pi / 4  # cosine lobe in bands 0, 1, 2


def harmonics(d: Tensor) -> Tensor:
    """Real spherical harmonics of unit directions (.., 3), bands 0 to 2: (.., 9).

    Order Y00, Y1-1 (y), Y10 (z), Y11 (x), Y2-2 (xy), Y2-1 (yz), Y20 (3 z^2 - 1), Y21 (xz), Y22 (x^2 - y^2).

    Example:
        >>> round(float(harmonics(torch.tensor([0.0, 0.0, 1.0]))[2]), 6)
        0.488603
    """
    x, y, z = d.unbind(-1)
    c0, c1, c2 = 0.5 / math.sqrt(math.pi), math.sqrt(3 / (4 * math.pi)), 0.5 * math.sqrt(15 / math.pi)
    return torch.stack(
        [
            torch.full_like(x, c0),
            c1 * y,
            c1 * z,
            c1 * x,
            c2 * x * y,
            c2 * y * z,
            0.25 * math.sqrt(5 / math.pi) * (3 * z * z - 1),
            c2 * x * z,
            0.5 * c2 * (x * x - y * y),
        ],
        -1,
    )


def irradiance(normals: Tensor, light: Tensor) -> Tensor:
    """E(n) = sum_l A_l sum_m L_lm Y_lm(n): exact for light without bands above 2. O(pixels x 9 C).

    Source: Ramamoorthi and Hanrahan, An efficient representation for irradiance environment maps, 2001.

    Args:
        normals: (B, .., 3) unit.
        light: (B, 9, C) or (9, C) coefficients of the radiance.

    Returns:
        (B, .., C).

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> sky = torch.zeros(9, 1); sky[0] = 2 * math.sqrt(math.pi)  # radiance 1 from everywhere
        >>> round(float(irradiance(torch.tensor([[0.0, 1.0, 0.0]]), sky)), 6)
        3.141593
    """
    if normals.shape[-1] != 3 or light.ndim not in (2, 3) or light.shape[-2] != 9:
        raise ConfigError(
            f"expected normals (.., 3) and light (9, C) or (B, 9, C), got {tuple(normals.shape)} and "
            f"{tuple(light.shape)}"
        )
    if light.ndim == 3 and len(light) != len(normals):
        raise ConfigError(f"{len(light)} lights for a batch of {len(normals)}")
    bands = normals.new_tensor([A0] + [A1] * 3 + [A2] * 5)
    basis = harmonics(normals) * bands
    if light.ndim == 2:
        return basis @ light
    flat = basis.reshape(len(basis), math.prod(basis.shape[1:-1]), 9)
    return (flat @ light).reshape(*basis.shape[:-1], light.shape[-1])


def blinn_phong(normals: Tensor, view: Tensor, towards: Tensor, shininess: float | Tensor) -> Tensor:
    """Lobe k(s) max(0, n.h)^s max(0, n.l), h halfway between light and view, (.., 1).

    k = (s + 2) (s + 4) / (8 pi (2^(-s/2) + s)) makes the lobe reflect all of a light's energy, integrated
    over its direction, when the surface is seen head-on (less at an angle).

    Args:
        normals: (.., 3) unit.
        view: (.., 3) unit, towards the camera.
        towards: (.., 3) unit, towards the light.
        shininess: s > 0, one or (.., 1).
    """
    h = torch.nn.functional.normalize(view + towards, dim=-1)
    s = torch.as_tensor(shininess, dtype=normals.dtype, device=normals.device)
    scale = (s + 2) * (s + 4) / (8 * math.pi * (2 ** (-s / 2) + s))
    nh = (normals * h).sum(-1, keepdim=True).clamp(min=1e-6)
    nl = (normals * towards).sum(-1, keepdim=True).clamp(min=0)
    return scale * nh**s * nl


def shade(
    albedo: Tensor,
    normals: Tensor,
    light: Tensor,
    *,
    view: Tensor | None = None,
    towards: Tensor | None = None,
    color: Tensor | None = None,
    specular: float | Tensor = 0.04,
    shininess: float | Tensor = 30.0,
    visible: Tensor | None = None,
) -> Tensor:
    """Radiance of a matt surface with a glossy coat under a sky and, if given, one directional light.

    albedo / pi (E(n) + v c max(0, n.l)) + specular v c lobe(n, view, l), c the irradiance of the directional
    light facing it, v its visibility. O(pixels x C) time and memory.

    Args:
        albedo: (B, .., C) linear.
        normals: (B, .., 3) unit; where they are 0 (nothing there) only band 0 and 2 of the sky would remain:
            mask the result.
        light: (B, 9, C) or (9, C) of the sky (`irradiance`).
        view: (B, .., 3) or (3,) unit, towards the camera; needed with a directional light.
        towards: (B, .., 3) or (3,) unit, towards the directional light, or None.
        color: (C,) irradiance of the directional light, default 1.
        specular: share that the coat reflects, one or (B, .., 1).
        shininess: exponent of the coat, one or (B, .., 1).
        visible: (B, .., 1) in [0, 1], default 1.

    Returns:
        (B, .., C).

    Raises:
        ConfigError: shapes that do not fit, or a directional light without a view.
    """
    if albedo.shape[:-1] != normals.shape[:-1]:
        raise ConfigError(f"albedo {tuple(albedo.shape)} and normals {tuple(normals.shape)} do not match")
    if albedo.shape[-1] != light.shape[-1]:
        raise ConfigError(f"albedo has {albedo.shape[-1]} channels, light {light.shape[-1]}")
    out = albedo / math.pi * irradiance(normals, light)
    if towards is None:
        return out
    if view is None:
        raise ConfigError("a directional light needs view, the direction towards the camera")
    c = albedo.new_ones(albedo.shape[-1]) if color is None else color
    if visible is not None:
        c = c * visible
    nl = (normals * towards).sum(-1, keepdim=True).clamp(min=0)
    return out + c * (albedo / math.pi * nl + specular * blinn_phong(normals, view, towards, shininess))

"""Affine maps from a place in the augmented image back to one in the image: the geometry of ADA."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import torch
from torch import Tensor

from gantlet.augment.draws import Draws

Size = tuple[int, int]  # height, width
Move = Callable[[Draws, Size], Tensor]  # -> [N, 3, 3]
DOUBLING = math.log(2)


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """[[a b right] [c d down] [0 0 1]] for each row."""
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    return torch.stack([a, b, right, c, d, down, zero, zero, one], 1).view(-1, 3, 3)


def _scaled(x: Tensor, y: Tensor) -> Tensor:
    zero = torch.zeros_like(x)
    return _matrix(x, zero, zero, y, zero, zero)


def _turned(cos: Tensor, sin: Tensor) -> Tensor:
    zero = torch.zeros_like(cos)
    return _matrix(cos, -sin, sin, cos, zero, zero)


def _moved(right: Tensor, down: Tensor) -> Tensor:
    zero, one = torch.zeros_like(right), torch.ones_like(right)
    return _matrix(one, zero, zero, one, right, down)


def x_flip(d: Draws, size: Size) -> Tensor:
    """Left and right exchanged, in half of the rows."""
    return _scaled(1 - 2 * (2 * d.u[:, 0]).floor(), torch.ones_like(d.gate))


def quarter_turns(d: Draws, size: Size) -> Tensor:
    """0, 90, 180 or 270 degrees; of an image that is not square 0 or 180."""
    turns = (4 * d.u[:, 0]).floor() if size[0] == size[1] else 2 * (2 * d.u[:, 0]).floor()
    cos = (turns == 0).to(turns.dtype) - (turns == 2).to(turns.dtype)
    sin = (turns == 1).to(turns.dtype) - (turns == 3).to(turns.dtype)
    return _turned(cos, sin)


def integer_translation(d: Draws, size: Size) -> Tensor:
    """Whole pixels, up to an eighth of either side."""
    h, w = size
    return _moved(((d.u[:, 0] - 0.5) * w / 4).round(), ((d.u[:, 1] - 0.5) * h / 4).round())


def isotropic_scaling(d: Draws, size: Size) -> Tensor:
    """Both sides times 2^N(0, 0.2^2)."""
    s = torch.exp(0.2 * DOUBLING * d.g[:, 0])
    return _scaled(s, s)


def rotation(d: Draws, size: Size) -> Tensor:
    """Any angle."""
    angle = math.pi * (2 * d.u[:, 0] - 1)
    return _turned(angle.cos(), angle.sin())


def anisotropic_scaling(d: Draws, size: Size) -> Tensor:
    """One side times 2^N(0, 0.2^2), the other divided by it."""
    s = torch.exp(0.2 * DOUBLING * d.g[:, 0])
    return _scaled(s, 1 / s)


def fractional_translation(d: Draws, size: Size) -> Tensor:
    """N(0, 1/8^2) of either side."""
    h, w = size
    return _moved(d.g[:, 0] * w / 8, d.g[:, 1] * h / 8)


def _then(a: Tensor, b: Tensor) -> Tensor:
    """a b of [N, 3, 3], elementwise: a product of matrices may be rounded to bfloat16 or TF32."""
    return (a.unsqueeze(3) * b.unsqueeze(1)).sum(2)


TURN, STRETCH, SHIFT = math.radians(25), 0.2, 1 / 8
SLIGHT = 5  # uniforms a row


def slight(u: Tensor, size: Size) -> Tensor:
    """Turned by up to 25 degrees, either side 0.8 to 1.2 times as long, moved by up to an eighth of it: what an image
    shows stays the same. u: uniforms in 0..1, [N, 5] -> [N, 3, 3]
    """
    part = 2 * u - 1
    turned = _turned((TURN * part[:, 0]).cos(), (TURN * part[:, 0]).sin())
    stretched = _scaled(1 / (1 + STRETCH * part[:, 1]), 1 / (1 + STRETCH * part[:, 2]))
    moved = _moved(SHIFT * size[1] * part[:, 3], SHIFT * size[0] * part[:, 4])
    return _then(_then(turned, stretched), moved)


AGAIN = "rotation, again"  # after the stretch, so that it may have any direction
MOVES: dict[str, Move] = {
    "x-flip": x_flip,
    "quarter-turns": quarter_turns,
    "integer-translation": integer_translation,
    "isotropic-scaling": isotropic_scaling,
    "rotation": rotation,
    "anisotropic-scaling": anisotropic_scaling,
    AGAIN: rotation,
    "fractional-translation": fractional_translation,
}


def composed(draws: dict[str, Draws], p: Tensor, policy: Collection[str], size: Size) -> tuple[Tensor, Tensor] | None:
    """Which rows are moved (bool [N]) and by which map; None where no operation of the policy moves anything.

    Of the two rotations each is executed with 1 - sqrt(1 - p), either with p.
    """
    used = [name for name in MOVES if name in policy or (name == AGAIN and "rotation" in policy)]
    if not used:
        return None
    gate = draws[used[0]].gate
    moved = torch.zeros_like(gate, dtype=torch.bool)
    back = torch.eye(3, dtype=gate.dtype, device=gate.device).expand(len(gate), 3, 3)
    for name in used:
        share = 1 - (1 - p).sqrt() if MOVES[name] is rotation else p
        done = draws[name].gate < share
        back = torch.where(done.view(-1, 1, 1), _then(back, MOVES[name](draws[name], size)), back)
        moved = moved | done
    return moved, back

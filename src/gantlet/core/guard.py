"""The guarded step: what is not finite moves nothing, decided on the device; and what micro-batches would change."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Game
from gantlet.core.when import Now

if TYPE_CHECKING:
    from gantlet.core.optimizers import Player


def may_shrink(player: Player) -> Tensor | bool:
    """An infinite fp16 gradient only lowers the loss scale, until that is down to one."""
    return False if player.scale is None else player.scale > 1


def laid_out_as(weight: Tensor, grad: Tensor) -> Tensor:
    """Fused optimisers walk weight and gradient side by side: unequal strides would mix up elements without an error."""
    grad = grad.detach()
    return grad if grad.stride() == weight.stride() else torch.empty_like(weight).copy_(grad)


@torch.no_grad()
def guarded_step(player: Player, good: Tensor, now: Now) -> None:
    """The optimiser's step where `good`, nothing at all elsewhere; decided on the device."""
    opt = player.opt
    for group in opt.param_groups:
        group["lr"] = player.rate(now)
    if player.scale is not None and player.grown is not None:
        rescale(player.scale, player.grown, good)
    if player.fused:
        opt.found_inf = (~good).to(torch.float32)  # type: ignore[attr-defined]
        opt.step()
        return
    before = [w.detach().clone() for w in player.weights]
    moments = {w: {k: v.clone() for k, v in opt.state[w].items() if torch.is_tensor(v)} for w in player.weights}
    opt.step()
    for weight, old in zip(player.weights, before):
        weight.copy_(torch.where(good, weight, old))
        for name, value in opt.state[weight].items():
            if torch.is_tensor(value):  # torch's optimisers begin from zeros
                was = moments[weight].get(name, torch.zeros_like(value))
                value.copy_(torch.where(good.to(value.device), value, was))


def rescale(scale: Tensor, grown: Tensor, good: Tensor) -> None:
    """Halve after an overflow, double after 2,000 good steps (the rule of torch's GradScaler, without reading back)."""
    grown.copy_(torch.where(good, grown + 1, 0))
    full = grown >= 2000
    scale.copy_(torch.where(good, torch.where(full, scale * 2, scale), (scale / 2).clamp(min=1.0)))
    grown.copy_(torch.where(full, 0, grown))


def couples_batch(module: nn.Module) -> bool:
    """Does a row's output depend on the other rows? (Batch norm, minibatch statistics, losses that say so.)"""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return True
    return bool(getattr(module, "couples_batch", False))


def coupled(game: Game) -> list[str]:
    """What makes rows of a game depend on each other: parts that a module says (`coupling`), or it, by name and class."""
    found: list[str] = []
    for name, m in game.named_modules():
        if couples_batch(m):
            found += getattr(m, "coupling", None) or [f"{name or type(game).__name__} ({type(m).__name__})"]
    return found


def refuse_coupling(game: Game, micro: int) -> None:
    """Micro-batches change what a statistic over the batch is, and may cut what belongs together: InputError."""
    for found in coupled(game):
        raise InputError(
            f"micro_batch {micro}: {found} looks at the whole batch, "
            "so smaller pieces train something else; use micro_batch=null with a smaller batch, or another part"
        )
    for name, module in game.named_modules():
        together = int(getattr(module, "together", 1))
        if micro % together:
            raise InputError(
                f"micro_batch {micro}: {name} ({type(module).__name__}) makes one of {together} samples, which do not "
                f"divide it; use micro_batch={max(1, micro // together) * together}"
            )


def warn_of_coupling(game: Game, world: int) -> None:
    """On several ranks a statistic over the batch is each rank's own, and under batch norm so is a row's slope: say so once,
    naming what it concerns.
    """
    _warn_of_shared_slopes(game)
    found = coupled(game)
    if found and world > 1:
        rest = f" and {len(found) - 1} more" if len(found) > 1 else ""
        warnings.warn(
            f"{found[0]}{rest}: looks at the whole batch, of which each of the {world} ranks sees its own part, so this is "
            "not the training of one process with the same batch",
            stacklevel=2,
        )


def _warn_of_shared_slopes(game: Game) -> None:
    for module in game.modules():
        norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for label in getattr(module, "of_one_row", ()) if norms else ():
            logging.getLogger("gantlet").warning(
                "%s is about the slope of one row, and D has %s, through which it is that of all rows of the batch "
                "(Gulrajani et al. 2017, section 4); use D.batch_norm=false, or another penalty",
                label,
                type(norms[0]).__name__,
            )

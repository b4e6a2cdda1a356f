"""Standing statistics: what batch norms know of the weights that are saved."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from gantlet.core.errors import InputError
from gantlet.core.game import Game


@torch.no_grad()
def standing(game: Game, *, batches: int = 16, batch: int = 64, seed: int = 0) -> int:
    """Give every batch norm of what generates the mean of its statistics over so many batches of samples (Brock, Donahue
    and Simonyan 2019, appendix: standing statistics); says how many batch norms there were.

    Running statistics follow the weights of the last few hundred steps; averaged weights have others. Samples are
    those of a seed, so that the same weights get the same statistics. Only batch norms run as in training: nothing else
    of the game changes. A norm that generating does not pass keeps what it had.
    """
    if batches < 1 or batch < 2:
        raise InputError(f"standing statistics of {batches} batches of {batch}: use at least 1 of at least 2 samples")
    modules = [m for part in game.made_of().values() for m in part.modules()]
    norms = list({id(m): m for m in modules if isinstance(m, _BatchNorm) and m.track_running_stats}.values())
    if not norms:
        return 0
    modes, momenta, before = [m.training for m in modules], [m.momentum for m in norms], [_kept(m) for m in norms]
    try:
        for module in modules:
            module.training = False
        for norm in norms:
            norm.reset_running_stats()
            norm.training, norm.momentum = True, None  # null: a cumulative mean
        for i in range(batches):
            game.generate(game.latent(batch, seed=seed, first=i * batch))
    finally:
        for module, training in zip(modules, modes, strict=True):
            module.training = training
        for norm, momentum, kept in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            _restore(norm, kept)
    return len(norms)


def _kept(norm: _BatchNorm) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in norm.named_buffers(recurse=False)}


def _restore(norm: _BatchNorm, kept: dict[str, Tensor]) -> None:
    """What it had, where no sample passed it; how often it was trained in any case."""
    if int(norm.get_buffer("num_batches_tracked")) == 0:
        norm.get_buffer("running_mean").copy_(kept["running_mean"])
        norm.get_buffer("running_var").copy_(kept["running_var"])
    norm.get_buffer("num_batches_tracked").copy_(kept["num_batches_tracked"])

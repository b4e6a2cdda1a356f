"""Do samples depend on their latents?"""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.doctor.probes.case import PROBES, Case
from gantlet.doctor.vitals import apart, rows_of


@torch.no_grad()
def latents(case: Case) -> dict[str, Tensor]:
    """latent_std: the mean over values of a sample of its deviation over latents, that of reals being 1. latent_response:
    mean |G(z) - G(z')| / mean |x - x'| for z' another latent and the same label, x and x' reals of one label.

    Both are 0 for a generator that ignores its latents.
    """
    if not case.makes:
        return {}
    fake, real = rows_of(case.fake), rows_of(case.real)
    z = case.latents(len(fake))
    other = rows_of(case.made(case.game, z.roll(1, 0)))
    return {
        "latent_std": fake.std(0).mean() / real.std(0).mean().clamp(min=1e-12),
        "latent_response": (fake - other).norm(dim=1).mean() / _apart_within(case, real),
    }


def _apart_within(case: Case, real: Tensor) -> Tensor:
    """The mean distance of two reals of one class, of any two where no class has two rows."""
    everywhere = apart(real)
    if not case.conditional:
        return everywhere.clamp(min=1e-12)
    (y,) = case.labels(len(real))
    same = (y[:, None] == y[None, :]).fill_diagonal_(False)
    within = (torch.cdist(real, real) * same).sum() / same.sum()
    return torch.where(same.any(), within, everywhere).clamp(min=1e-12)


PROBES.append(latents)

"""How the samples are: do they reach every place where reals are, show a lattice, or repeat what was trained on?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gantlet.doctor.probes.case import PROBES, Case
from gantlet.doctor.vitals import rows_of
from gantlet.metrics.spectrum import lattice, power, standing_out

K = 5  # neighbours of a real whose distance is its radius: density and coverage's own choice
FIRST = 200  # steps before which samples are bad for no reason worth a name
FEW = 32  # reals below which neighbours say nothing
HELD = 8  # held-out rows below which the nearest of them is luck
FAR = 0.95  # of the distances to the nearest: a place that a twentieth of the reals is in shows
SIDE = 16  # pixels of a thumbnail's side
PERIOD = 4  # pixels of a lattice: what the last two upsamplings by 2 leave


@torch.no_grad()
def outcomes(case: Case) -> dict[str, Tensor]:
    """coverage: the share of reals with a fake as near as their 5th neighbour among reals is (Naeem et al. 2020; .97 of
    fresh reals), by thumbnails. checkerboard: by how many dB the frequencies of a lattice of 4 pixels stand out more in
    fakes than in reals. memorised: how much more often fakes are nearest to a training row than to a held-out one than
    chance has it, .5 for fresh samples and 1 for copies.
    """
    if not case.makes or case.state.now.step < FIRST:
        return {}
    return {**_covered(case), **_lattice(case), **_memorised(case)}


def _covered(case: Case) -> dict[str, Tensor]:
    if len(case.reals) < FEW:
        return {}
    real, fake = seen(case.reals), seen(case.fakes)
    return {"coverage": coverage(real, fake), "reach": reach(real, fake)}


def _lattice(case: Case) -> dict[str, Tensor]:
    if case.real.dim() != 4 or min(case.real.shape[2:]) < 2 * PERIOD:
        return {}
    return {"checkerboard": checkerboard(case.reals, case.fakes)}


def _memorised(case: Case) -> dict[str, Tensor]:
    if case.held is None or len(case.held) < HELD:
        return {}
    return memorised(*(seen(x) for x in (case.fakes, case.rows.train, case.held)))


def seen(x: Tensor) -> Tensor:
    """[n, ...] -> [n, d]: images as thumbnails, which weigh what one sees more than noise, all else as it is."""
    if x.dim() == 4 and max(x.shape[2:]) > SIDE:
        x = F.adaptive_avg_pool2d(x, (min(SIDE, x.shape[2]), min(SIDE, x.shape[3])))
    return rows_of(x)


def coverage(real: Tensor, fake: Tensor, k: int = K) -> Tensor:
    """The share of balls around reals [n, d], each reaching its own k-th neighbour, that hold a fake [m, d]."""
    radius = _distances(real, real).topk(k + 1, dim=1, largest=False).values[:, k]  # the first is the row itself
    return (_distances(real, fake) <= radius[:, None]).any(1).float().mean()


def reach(real: Tensor, fake: Tensor) -> Tensor:
    """How far the reals [n, d] farthest from a fake are over how far the fakes [m, d] farthest from a real are, either the
    95 % quantile of distances to the nearest. About 1 for fresh reals, less for samples that are only rough still; far above
    it, places are left out.
    """
    apart = _distances(real, fake)
    missed, stray = (apart.amin(dim).quantile(FAR) for dim in (1, 0))
    return missed / stray.clamp(min=1e-12)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """[n, m], float64 where there is such a thing: products then do not blur who is nearer."""
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    return torch.cdist(x.to(wide), y.to(wide))


def checkerboard(real: Tensor, fake: Tensor) -> Tensor:
    """dB by which fakes' [n, C, H, W] lattice frequencies differ more from their neighbours than reals' do, on average.

    Peaks and gaps alike: transposed convolutions leave peaks, repeated pixels gaps. NaN where a side of the images is no
    multiple of such frequencies.
    """
    h, w = real.shape[2:]
    places = lattice(h, w, PERIOD)
    if not places:
        return torch.full((), torch.nan)
    ours, theirs = (standing_out(power(x).mean(0), w, places).abs().mean() for x in (fake, real))
    return ours - theirs


def memorised(fake: Tensor, train: Tensor, held: Tensor) -> dict[str, Tensor]:
    """memorised: (s - e) / (1 - e) / 2 + 1/2, where s is the share of fakes [m, d] nearer to a training row [n, d] than to
    any held-out one [h, d], and e = n / (n + h) that of samples which know neither: equal counts, without leaving rows out.

    memorised_z: s - e in standard deviations under exchange of the two sets, where fakes whose nearest row is one and the
    same are one piece of evidence. Fakes as near to either are left out.
    """
    near, far = (_distances(fake, x).min(1) for x in (train, held))
    told, nearer = near.values != far.values, near.values < far.values
    n, rows = len(train), len(train) + len(held)
    owner = torch.where(nearer, near.indices, n + far.indices)
    weight = near.values.new_zeros(rows).index_add_(0, owner, told.to(near.values))
    count, chance = weight.sum().clamp(min=1), n / rows
    off = torch.where(told.any(), weight[:n].sum() / count - chance, 0.0)
    luck = (weight.square().sum() / count**2 - 1 / rows) * rows / (rows - 1)
    deviation = (chance * (1 - chance) * torch.maximum(luck, 1 / count)).sqrt()
    return {"memorised": 0.5 + off / (1 - chance) / 2, "memorised_z": off / deviation}


PROBES.append(outcomes)

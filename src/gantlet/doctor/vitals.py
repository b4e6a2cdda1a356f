"""Vitals: what training computes anyway, put down after every step, and a closer look every so many."""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.core.dynamics import Reports
from gantlet.core.gradients import Report
from gantlet.core.noise import normal
from gantlet.core.optimizers import Player
from gantlet.core.state import State

ROWS = 64  # of a batch that are compared with each other
DIRECTIONS = 4  # along which the middle of a batch is followed


def pulse(reports: Reports) -> dict[str, Tensor]:
    """TURN.gradient, TURN.term.LABEL and TURN.STAT of one step: nothing that was not there already."""
    found: dict[str, Tensor] = {}
    for turn, report in reports.items():
        if report.gradient is not None:
            found[f"{turn}.gradient"] = report.gradient
        found |= {f"{turn}.term.{k}": v for k, v in report.terms.items()}
        found |= {f"{turn}.{k}": v for k, v in report.stats.items()}
    return found


class Look:
    """A closer look at one step: logits, samples, slopes and moves. A watcher is due when it is, and asks for `needs`."""

    needs = frozenset({"views", "updates", "slopes"})

    def __init__(self) -> None:
        self.marks: dict[str, Tensor] = {}  # turn -> a number for each real row of the last look
        self.norms: dict[str, Tensor] = {}  # turn -> norms of its gradient, a weight each

    @torch.no_grad()
    def __call__(self, state: State, reports: Reports) -> dict[str, Tensor]:
        """The vitals of this step, all on the device."""
        players = {turn.name: turn.player for turn in state.turns}
        found: dict[str, Tensor] = {}
        for turn, report in reports.items():
            seen = verdicts(report) | self._samples(turn, report) | moves(report, state.players[players[turn]])
            seen |= {f"slope.{k}": v for k, v in report.slopes.items()}
            found |= {f"{turn}.{k}": v for k, v in seen.items()}
            if report.norms is not None:
                self.norms[turn] = report.norms
        return found

    def _samples(self, turn: str, report: Report) -> dict[str, Tensor]:
        if not {"real", "fake"} <= report.views.keys():
            return {}
        real, fake = (rows_of(report.views[k]) for k in ("real", "fake"))
        found = samples(real, fake)
        marks = marks_of(real)
        before = self.marks.get(turn)
        found["twins"] = (_same(marks, marks).sum(1) > 1).float().mean()
        if before is not None:
            found["repeats"] = _same(marks, before).any(1).float().mean()
        self.marks[turn] = marks
        if {"features_real", "features_fake"} <= report.views.keys():
            inside = [rows_of(report.views[f"features_{k}"]) for k in ("real", "fake")]
            found["features_diversity"] = apart(inside[1]) / apart(inside[0]).clamp(min=1e-12)
        return found


def verdicts(report: Report) -> dict[str, Tensor]:
    """auc (pairs of a real and a fake that D ranks rightly), spread (mean std of either side's logits), middle."""
    if not {"on_real", "on_fake"} <= report.views.keys():
        return {}
    real, fake = (rows_of(report.views[k]).mean(1) for k in ("on_real", "on_fake"))
    higher = (real[:, None] > fake[None, :]).float() + 0.5 * (real[:, None] == fake[None, :]).float()
    middle = (real.mean() + fake.mean()) / 2
    return {
        "auc": higher.mean(),
        "spread": (real.std(correction=0) + fake.std(correction=0)) / 2,
        "right_on_real": (real > middle).float().mean(),
        "right_on_fake": (fake < middle).float().mean(),
    }


def rows_of(x: Tensor) -> Tensor:
    """[N, ...] -> float32 [N, d]."""
    return x.float().reshape(x.shape[0], -1)


def samples(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """What can be seen of two batches [N, d] without a network.

    diversity (mean distance of fakes from each other over that of reals), real_size and fake_size (root mean squares),
    outside (share of reals' values beyond all of the fakes'), edge (share of fakes' values beyond +-0.99), and the middle of
    either side along some fixed directions (fake_at.k, real_at.k) with the reals' std there (width.k).
    """
    low, high = fake.min(), fake.max()
    slack = 0.02 * (high - low)  # a bounded output comes close to its bounds and does not reach them
    found = {
        "diversity": apart(fake) / apart(real).clamp(min=1e-12),
        "real_size": real.square().mean().sqrt(),
        "fake_size": fake.square().mean().sqrt(),
        "outside": ((real < low - slack) | (real > high + slack)).float().mean(),
        "edge": (fake.abs() > 0.99).float().mean(),
        "fake_mean": fake.mean(),
        "real_mean": real.mean(),
    }
    along = directions(real.shape[1], real.device)
    at_real, at_fake = real @ along, fake @ along
    for k in range(along.shape[1]):
        found[f"real_at.{k}"], found[f"fake_at.{k}"] = at_real[:, k].mean(), at_fake[:, k].mean()
        found[f"width.{k}"] = at_real[:, k].std(correction=0)
    return found


def apart(x: Tensor) -> Tensor:
    """The mean distance between two different rows of x [N, d]."""
    x = x[:ROWS]
    n, few = x.shape[0], x.shape[1] <= 64  # products are quick, and not exact where rows are equal
    mode = "donot_use_mm_for_euclid_dist" if few else "use_mm_for_euclid_dist_if_necessary"
    found: Tensor = torch.cdist(x, x, compute_mode=mode).sum() / max(n * (n - 1), 1)
    return found


def directions(width: int, device: torch.device) -> Tensor:
    """Fixed unit vectors [width, k]: the axes where these are few, random ones elsewhere."""
    if width <= DIRECTIONS:
        return torch.eye(width, device=device)
    drawn = normal((width,), DIRECTIONS, key=("directions", width), device=device)
    unit: Tensor = (drawn / drawn.norm(dim=1, keepdim=True)).T
    return unit


def marks_of(x: Tensor) -> Tensor:
    """A float64 number for each row [N, d] that equal rows share and others do not."""
    drawn = normal((x.shape[1],), 1, key=("marks", x.shape[1]), device=x.device)[0]
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    found: Tensor = (x.to(wide) * drawn.to(wide)).sum(1)
    return found


def _same(a: Tensor, b: Tensor) -> Tensor:
    return a[:, None] == b[None, :]


def moves(report: Report, player: Player) -> dict[str, Tensor]:
    """update (norm of the step), weights (norm), still (share of weight tensors whose gradient is exactly zero), first_last
    (gradient of the first over that of the last), scale (of an fp16 loss)."""
    found: dict[str, Tensor] = {}
    if report.update is not None:
        weights = torch.stack(torch._foreach_norm([w.detach() for w in player.weights])).norm()
        found |= {"update": report.update, "weights": weights}
    if report.norms is not None:
        found["still"] = (report.norms == 0).float().mean()
        found["first_last"] = report.norms[0] / report.norms[-1].clamp(min=1e-30)
    if player.scale is not None:
        found["scale"] = player.scale
    return found

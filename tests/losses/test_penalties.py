"""Penalties: closed forms on critics whose slopes are known, and their gradient in the critic's weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.critics import Critics, Verdict
from gantlet.core.noise import uniform
from gantlet.core.when import Now
from gantlet.losses.penalties import Penalty, evidence, slopes
from helpers import number, play

PENALTIES = sorted(registry.penalty.parts)
REAL = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 2.0], [-1.0, 1.0, 1.0], [2.0, -0.5, 0.0]], dtype=torch.float64)
FAKE = torch.tensor([[0.0, 1.0, 1.0], [1.5, 1.0, -1.0], [0.0, -1.0, 0.5], [1.0, 0.5, 2.0]], dtype=torch.float64)
W = torch.tensor([0.6, -1.5, 0.8], dtype=torch.float64)
A = torch.tensor([[1.0, 0.5, 0.0], [0.5, -0.7, 0.2], [0.0, 0.2, 0.4]], dtype=torch.float64)


class Linear(nn.Module):
    """D(x) = w . x"""

    def __init__(self, w: Tensor = W) -> None:
        super().__init__()
        self.w = nn.Parameter(w.clone())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


class Quadratic(nn.Module):
    """D(x) = x A x, whose slope is 2 A x."""

    def __init__(self) -> None:
        super().__init__()
        self.A = nn.Parameter(A.clone())

    def forward(self, x: Tensor) -> Tensor:
        return ((x @ ((self.A + self.A.T) / 2)) * x).sum(1)


class Smooth(nn.Module):
    """A small network without kinks; one logit a row, or a sequence of them."""

    def __init__(self, logits: int = 0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, max(logits, 1))).double()
        self.logits = logits

    def forward(self, x: Tensor) -> Verdict | Tensor:
        out = self.body(x)
        return Verdict(out, (x,)) if self.logits else out.squeeze(1)


def made(name: str, **options: Any) -> Penalty:
    return registry.penalty.parts[name].fn(**options)


def value(penalty: Penalty, *critics: nn.Module, now: Now = Now(), real: Tensor = REAL, fake: Tensor = FAKE) -> Tensor:  # noqa: B008
    many = Critics({str(i): c for i, c in enumerate(critics)})
    return penalty.term(evidence(many, real, fake, (), now))


def between(now: Now = Now()) -> Tensor:  # noqa: B008
    eps = uniform((1,), 4, key=(now.seed, now.step, now.play, "gp"), first=now.first).double()
    return eps * REAL + (1 - eps) * FAKE


def norms(x: Tensor) -> Tensor:
    return (2 * x @ A).norm(dim=1)


CLOSED: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {  # on w . x and on x A x
    "r1": (lambda: 3.0 / 2 * float(W.square().sum()), lambda: 3.0 / 2 * float(norms(REAL).square().mean())),
    "r2": (lambda: 3.0 / 2 * float(W.square().sum()), lambda: 3.0 / 2 * float(norms(FAKE).square().mean())),
    "gp": (lambda: 3.0 * (float(W.norm()) - 1) ** 2, lambda: 3.0 * float((norms(between()) - 1).square().mean())),
}
STRENGTH = {"r1": "gamma", "r2": "gamma", "gp": "weight"}


@pytest.mark.parametrize("name", PENALTIES)
def test_closed_forms(name: str) -> None:
    """gamma/2 |w|^2 or weight (|w| - 1)^2 for w . x; slopes 2 A x for x A x."""
    linear, quadratic = CLOSED[name]
    penalty = made(name, **{STRENGTH[name]: 3.0})
    assert number(value(penalty, Linear())) == pytest.approx(linear(), abs=1e-12)
    assert number(value(penalty, Quadratic())) == pytest.approx(quadratic(), abs=1e-12)


def test_the_target_of_gp() -> None:
    assert number(value(made("gp", weight=2.0, target=0.0), Linear())) == pytest.approx(2 * float(W.square().sum()))


def test_gp_looks_between_the_row_of_real_and_that_of_fake() -> None:
    """x^ = eps x + (1 - eps) G(z), one eps a row, keyed by its place in the joint batch."""
    asked: list[Tensor] = []
    critic = Linear()
    critic.register_forward_pre_hook(lambda m, args: asked.append(args[0].detach()))
    now = Now(step=5, seed=3, first=7)
    value(made("gp"), critic, now=now)
    assert torch.allclose(asked[-1], between(now))
    share = (asked[-1] - FAKE) / (REAL - FAKE)
    known = (REAL - FAKE).abs() > 1e-9
    assert all(float(row[k].std()) < 1e-9 for row, k in zip(share, known))
    value(made("gp"), critic, now=now._replace(first=9), real=REAL[2:], fake=FAKE[2:])
    assert torch.equal(asked[-1], between(now)[2:])
    value(made("gp"), critic, now=now._replace(step=6))
    assert not torch.allclose(asked[-1], between(now))


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("logits", [0, 3])
def test_the_gradient_in_the_critic_s_weights(name: str, logits: int) -> None:
    """Second derivatives agree with central differences in float64."""
    critic = Smooth(logits)
    penalty = made(name)
    weights = list(critic.parameters())
    found = torch.autograd.grad(value(penalty, critic), weights, allow_unused=True)
    h = 1e-6
    largest = 0.0
    for w, g in zip(weights, found):
        flat = w.detach().view(-1)
        for i in range(flat.numel()):
            was = flat[i].clone()
            flat[i] = was + h
            up = value(penalty, critic).detach()
            flat[i] = was - h
            slope = number(up - value(penalty, critic)) / (2 * h)
            flat[i] = was
            assert slope == pytest.approx(0.0 if g is None else float(g.view(-1)[i]), abs=1e-6)
            largest = max(largest, abs(slope))
    assert largest > 1e-3


def test_of_a_patch_map_each_row_s_mean_is_differentiated() -> None:
    """D(x) = [w . x, 3 w . x] has the slope of 2 w . x, however large the batch."""

    class Patches(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x @ self.w, 3 * (x @ self.w)], 1).view(-1, 1, 2, 1)

    x = REAL.clone().requires_grad_()
    assert torch.allclose(slopes(Critics({"D": Patches()})(x)[0], x), (2 * W).expand(4, 3))
    assert number(value(made("r1", gamma=1.0), Patches())) == pytest.approx(0.5 * float((2 * W).square().sum()))


@pytest.mark.parametrize("name", PENALTIES)
def test_critics_are_summed(name: str) -> None:
    alone = [number(value(made(name), c)) for c in (Linear(), Quadratic(), Linear(2 * W))]
    assert number(value(made(name), Linear(), Quadratic(), Linear(2 * W))) == pytest.approx(sum(alone), abs=1e-10)


@pytest.mark.parametrize("name", PENALTIES)
def test_the_strength_may_be_a_schedule(name: str) -> None:
    scheduled = made(name, **{STRENGTH[name]: lambda now: 2.0 + now.step})
    plain = made(name, **{STRENGTH[name]: 7.0})
    assert torch.equal(value(scheduled, Quadratic(), now=Now(step=5)), value(plain, Quadratic(), now=Now(step=5)))


@pytest.mark.parametrize("name", PENALTIES)
def test_rows_are_averaged(name: str) -> None:
    """A batch is worth the mean of its halves: micro-batches and ranks add up."""
    penalty = made(name)
    halves = [value(penalty, Quadratic(), now=Now(first=i), real=REAL[i : i + 2], fake=FAKE[i : i + 2]) for i in (0, 2)]
    assert number(value(penalty, Quadratic())) == pytest.approx(number(sum(halves)) / 2, abs=1e-12)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_lazy_penalty_weighs_as_much_on_average(name: str) -> None:
    """Due every 4th step with 4 times the weight: the mean over steps is that of every step."""
    lazy, eager = play("mlp", f"penalties.{name}.every=4"), play("mlp", f"penalties.{name}.every=1")
    totals = []
    for made_ in (lazy, eager):
        seen = []
        for step in range(8):
            state, engine = made_.state, made_.engine
            state.now = Now(step=step, images=0)  # the same rows; weights are not moved
            batch, now = engine.draw(state, made_.data)
            now = now._replace(step=step - step % 4)  # and the same noise within a period
            scene = engine.stage(state.game, batch, now, grad=False)
            terms = state.turns[0].loss(scene._replace(now=now._replace(step=step))).terms
            seen.append(float(terms[name].detach()) if name in terms else 0.0)
        totals.append(seen)
    assert [s > 0 for s in totals[0]] == [True, False, False, False] * 2
    assert totals[0][0] == pytest.approx(4 * totals[1][0], rel=1e-5)
    if name != "gp":  # gp draws another point between each step
        assert sum(totals[0]) == pytest.approx(sum(totals[1]), rel=1e-5)


def test_evidence_uses_a_graph_that_is_there() -> None:
    """A fake under a dynamics that feels the other player is used as it is; a plain one is made differentiable."""
    theta = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    critics = Critics({"D": Quadratic()})
    seen = evidence(critics, REAL, theta * FAKE, (), Now())
    (felt,) = torch.autograd.grad(made("r2", gamma=1.0).term(seen), theta)
    assert float(felt) == pytest.approx(2.0 * float(norms(FAKE).square().mean()))  # d/dt of t^2/2 |2 A f|^2
    assert not REAL.requires_grad
    assert not FAKE.requires_grad
    assert evidence(critics, REAL, FAKE, (), Now()).fake.requires_grad


def test_float64_stays_float64_and_low_precision_is_raised() -> None:
    for dtype, want in [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
    ]:
        x = REAL.to(dtype).requires_grad_()
        assert slopes(Verdict((x @ W.to(dtype)).to(want)), x).dtype == want


def test_every_penalty_has_a_closed_form_here() -> None:
    """A new penalty must be given its closed form here."""
    assert set(CLOSED) == set(STRENGTH) == set(PENALTIES)

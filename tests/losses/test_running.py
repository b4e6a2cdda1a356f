"""Averages that penalties keep: LeCam's of the logits, path length's of the lengths; where logits are held."""

from __future__ import annotations

import copy

import pytest
import torch
from penalty_cases import FAKE, REAL, B, Linear, Quadratic, W, Z, lengths, made, seen, value
from torch import Tensor, nn

from gantlet.core.critics import Critics, Evidence
from gantlet.core.errors import InputError
from gantlet.core.when import Now
from gantlet.losses.anchors import MOST
from gantlet.losses.running import RunningMean
from helpers import number, play

F64 = torch.float64


def exponential(values: list[float], decay: float) -> float:
    """decay^(n-1) v_1 + (1 - decay) sum over k > 1 of decay^(n-k) v_k."""
    n = len(values)
    later = sum(decay ** (n - k) * v for k, v in enumerate(values[1:], start=2))
    return decay ** (n - 1) * values[0] + (1 - decay) * later


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_an_average_is_the_closed_form(decay: float) -> None:
    values = [3.0, -1.0, 4.0, 1.5, -9.0]
    mean = RunningMean(4, decay).double()
    for n, v in enumerate(values, start=1):
        said = mean.update(torch.tensor([v, 2 * v], dtype=F64))
        assert said.tolist() == pytest.approx([exponential(values[:n], decay), 2 * exponential(values[:n], decay)])
    assert mean.count.tolist() == [5, 5, 0, 0]
    assert mean.mean[2:].tolist() == [0, 0]


def test_an_average_passes_over_what_is_not_finite() -> None:
    mean = RunningMean(2, 0.5)
    for v in (torch.nan, 2.0, torch.inf, 4.0):
        said = mean.update(torch.tensor([v, 1.0]))
    assert said.tolist() == [3.0, 1.0]
    assert mean.count.tolist() == [2, 4]


def test_what_an_average_said_stays() -> None:
    """A graph may hold it: the next update does not write into it."""
    mean = RunningMean(1, 0.5)
    first = mean.update(torch.tensor([1.0]))
    mean.update(torch.tensor([3.0]))
    assert first.tolist() == [1.0]


def test_there_may_be_too_many_critics() -> None:
    with pytest.raises(InputError, match=f"{MOST + 1} critics: .* at most {MOST}"):
        value(made("lecam"), *(Linear() for _ in range(MOST + 1)))


# ---- LeCam --------------------------------------------------------------------------------------------------------


def test_lecam_holds_each_side_at_the_other_s_average() -> None:
    """(D(x) - a_F)^2 and (D(G(z)) - a_R)^2, the averages being those after this batch."""
    penalty = made("lecam", weight=2.0, decay=0.9)
    reals, fakes = [REAL, REAL + 1, 0.5 * REAL], [FAKE, FAKE - 2, FAKE.flip(1)]
    for step, (real, fake) in enumerate(zip(reals, fakes)):
        found = number(value(penalty, Linear(), now=Now(step=step), real=real, fake=fake))
        a_real = exponential([float((x @ W).mean()) for x in reals[: step + 1]], 0.9)
        a_fake = exponential([float((x @ W).mean()) for x in fakes[: step + 1]], 0.9)
        wanted = ((real @ W - a_fake).square().mean() + (fake @ W - a_real).square().mean()) * 2
        assert found == pytest.approx(float(wanted), rel=1e-12)


def test_lecam_s_averages_are_statistics() -> None:
    """No gradient goes through them: d/dw of the mean of (w . x - a)^2 at the a that was found."""
    penalty, critic = made("lecam", weight=1.0), Linear()
    (grad,) = torch.autograd.grad(value(penalty, critic), [critic.w])
    a_real, a_fake = float((REAL @ W).mean()), float((FAKE @ W).mean())
    pull = 2 * ((REAL @ W - a_fake).unsqueeze(1) * REAL + (FAKE @ W - a_real).unsqueeze(1) * FAKE).mean(0)
    assert torch.allclose(grad, pull)


def test_lecam_waits_but_looks() -> None:
    """Nothing is added before step `after`, while the averages move."""
    penalty, eager = made("lecam", after=2), made("lecam", after=0)
    said = [[number(value(p, Linear(), now=Now(step=s), real=REAL + s)) for s in range(4)] for p in (penalty, eager)]
    assert said[0][:2] == [0, 0]
    assert said[0][2:] == said[1][2:]
    assert min(said[1]) > 0


def test_lecam_keeps_a_pair_for_each_critic() -> None:
    penalty = made("lecam")
    assert isinstance(penalty.state, nn.ModuleDict)
    value(penalty, Linear(), Quadratic(), Linear(2 * W))
    real = penalty.state["real"].mean[:3].tolist()
    assert real[2] == pytest.approx(2 * real[0])
    assert real[1] == pytest.approx(number(Quadratic()(REAL).mean()))


def test_logit_l2_of_fakes_on_request() -> None:
    """weight E D(x)^2, plus weight E D(G(z))^2."""
    plain = number(value(made("logit-l2", weight=2.0), Linear()))
    assert plain == pytest.approx(2 * float((REAL @ W).square().mean()))
    both = number(value(made("logit-l2", weight=2.0, fakes=True), Linear()))
    assert both == pytest.approx(plain + 2 * float((FAKE @ W).square().mean()))


# ---- path length --------------------------------------------------------------------------------------------------


def test_path_length_is_held_at_its_average() -> None:
    """The first batch's mean length is the first average; after n batches it is the exponential one."""
    penalty = made("path-length", weight=1.0, decay=0.9)
    assert penalty.g_term is not None
    means = []
    for scale in (1.0, 2.0, 0.5):
        G = _scaled(scale)
        means.append(scale * float(lengths().mean()))
        found = number(penalty.g_term(seen(Linear(), G=G)))
        wanted = (scale * lengths() - exponential(means, 0.9)).square().mean()
        assert found == pytest.approx(float(wanted), rel=1e-12)


def _scaled(scale: float) -> nn.Module:
    layer = nn.Linear(3, 3, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(scale * B.T)
    return layer


class Pictures(nn.Module):
    """G(z) = z B as images of 2 channels and 2 x 3 pixels, scaled by what is given."""

    def __init__(self) -> None:
        super().__init__()
        self.B = nn.Parameter(torch.linspace(-1, 1, 36, dtype=F64).view(3, 12))

    def forward(self, z: Tensor, scale: Tensor) -> Tensor:
        return (scale.unsqueeze(1) * (z @ self.B)).view(-1, 2, 2, 3)


def test_path_length_of_images() -> None:
    """|J^T y| = scale |B y| / sqrt(pixels), pixels counted without channels; the share of rows is the first ones."""
    from gantlet.core.noise import normal

    G, scale = Pictures(), torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=F64)
    for rows, n in ((1.0, 4), (0.75, 3), (0.1, 1)):
        penalty = made("path-length", weight=1.0, rows=rows)
        e = seen(Linear(), now=Now(first=8))
        said = penalty.g_term(Evidence(e.critics, e.real, e.fake, (scale,), [], [], e.now, Z, G))
        y = normal((2, 2, 3), 4, key=(0, 0, 0, "path-length"), first=8).double().view(4, 12)[:n]
        long = scale[:n] * (y @ G.B.detach().T).norm(dim=1) / 6**0.5
        assert number(said) == pytest.approx(float((long - long.mean()).square().mean()), abs=1e-12)


def test_path_length_differentiates_a_latent_that_has_a_graph() -> None:
    """Latents that were moved by another player are used as they are."""
    theta = torch.tensor(1.5, dtype=F64, requires_grad=True)
    G = _bent()
    penalty = made("path-length", weight=1.0, decay=1 - 1e-12)

    def at(t: Tensor) -> Tensor:
        e = seen(Linear(), G=G)
        return penalty.g_term(e._replace(z=t * Z))

    (found,) = torch.autograd.grad(at(theta), theta)
    h = 1e-6
    up, down = (number(at(torch.tensor(1.5 + s, dtype=F64))) for s in (h, -h))
    assert number(found) == pytest.approx((up - down) / (2 * h), rel=1e-5)
    assert not Z.requires_grad


def _bent() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def test_a_game_without_latents_is_refused() -> None:
    e = Evidence(Critics({"D": Linear()}), REAL, FAKE, (), [], [], Now())
    for name in ("path-length", "zcr"):
        with pytest.raises(InputError, match=name):
            made(name).g_term(e)


# ---- in a game ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lecam", "path-length"])
def test_a_state_is_saved_and_goes_on(name: str) -> None:
    """Another penalty that loads the state says next what this one says next."""
    one, other = made(name, decay=0.8), made(name, decay=0.8)
    assert one.state is not None
    assert other.state is not None
    for step in range(3):
        value(one, Linear(), now=Now(step=step), real=REAL + step)
    other.state.load_state_dict(copy.deepcopy(one.state.state_dict()))
    fresh = made(name, decay=0.8)
    said = [number(value(p, Linear(), now=Now(step=3))) for p in (one, other, fresh)]
    assert said[0] == said[1] != said[2]


@pytest.mark.parametrize("dynamics", ["alternating", "simultaneous", "extragradient", "consensus", "unrolled"])
def test_averages_move_once_a_step(dynamics: str) -> None:
    """Evaluations that only look ahead leave them alone."""
    ran = play("mlp", "penalties.lecam.after=0", "penalties.path-length.every=1", f"dynamics={dynamics}").run(3)
    counts = {k.split(".")[-2]: int(b[0]) for k, b in ran.state.game.named_buffers() if k.endswith("count")}
    assert counts == {"real": 3, "fake": 3, "path-length": 3}

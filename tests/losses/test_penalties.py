"""Penalties: laws over the registry. Closed forms, gradients by finite differences, sums, schedules, laziness."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from penalty_cases import (
    CLOSED,
    DRAW,
    FAKE,
    FEEL_FAKES,
    PROMPT,
    REAL,
    STRENGTH,
    VISIBLE,
    A,
    Bends,
    Linear,
    Makes,
    Quadratic,
    Smooth,
    W,
    Z,
    around,
    between,
    central,
    drawn,
    made,
    norms,
    seen,
    strong,
    value,
)  # fmt: skip
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.critics import Critics, Evidence, Verdict
from gantlet.core.errors import InputError
from gantlet.core.when import Now
from gantlet.losses.penalties import evidence, slopes
from helpers import number, play

PENALTIES = sorted(registry.penalty.parts)
OF_CRITICS = [name for name in PENALTIES if made(name).term is not None]
OF_MAKERS = [name for name in PENALTIES if made(name).g_term is not None] + ["orthogonal"]
each_penalty = pytest.mark.parametrize("name", PENALTIES)


@each_penalty
def test_closed_forms(name: str) -> None:
    """Worked out by hand, for w . x and for x A x, with strength 3."""
    linear, quadratic = CLOSED[name]
    assert number(value(strong(name, 3.0), Linear())) == pytest.approx(linear(), abs=1e-10)
    assert number(value(strong(name, 3.0), Quadratic())) == pytest.approx(quadratic(), abs=1e-10)


@pytest.mark.parametrize("name", OF_CRITICS)
@pytest.mark.parametrize("logits", [0, 3])
def test_the_gradient_in_the_critic_s_weights(name: str, logits: int) -> None:
    """Second derivatives agree with central differences in float64."""
    torch.manual_seed(0)
    critic = Smooth(logits)
    penalty = strong(name, 10.0, **VISIBLE.get(name, {}))
    weights = list(critic.parameters())

    def term() -> Tensor:
        assert penalty.term is not None
        return penalty.term(seen(critic))

    found = torch.autograd.grad(term(), weights, allow_unused=True)
    wanted = central(term, weights)
    for g, d in zip(found, wanted):
        assert torch.allclose(torch.zeros_like(d) if g is None else g, d, rtol=1e-5, atol=2e-6)
    assert max(float(d.abs().max()) for d in wanted) > 1e-3


@pytest.mark.parametrize("name", OF_MAKERS)
def test_the_gradient_in_the_generator_s_weights(name: str) -> None:
    """What a penalty adds in the generator's turn, where nobody has asked about the reals."""
    torch.manual_seed(0)
    G, many = Bends(), Critics({"D": Smooth()})
    options = {"generator": True} if name == "orthogonal" else {}
    penalty = strong(name, 10.0, **options, **VISIBLE.get(name, {}))
    weights = list(G.parameters())

    def term() -> Tensor:
        assert penalty.g_term is not None
        fake = G(Z)
        on_fake = many(fake, now=Now(), side="fake")
        return penalty.g_term(Evidence(many, REAL, fake, (), [], on_fake, Now(), Z, G))

    found = torch.autograd.grad(term(), weights, allow_unused=True)
    wanted = central(term, weights)
    for g, d in zip(found, wanted):
        assert torch.allclose(torch.zeros_like(d) if g is None else g, d, rtol=1e-5, atol=2e-6)
    assert max(float(d.abs().max()) for d in wanted) > 1e-3


@pytest.mark.parametrize("name", OF_CRITICS)
def test_the_critic_s_gradient_in_the_generator_s_weights(name: str) -> None:
    """Second-order dynamics differentiate the critic's gradient in G's weights: nothing is detached on the way."""
    torch.manual_seed(0)
    critic, G = Smooth(), Bends()
    penalty = strong(name, 10.0, **VISIBLE.get(name, {}))
    mine, theirs = list(critic.parameters()), list(G.parameters())
    along = [torch.linspace(-1, 1, w.numel(), dtype=w.dtype).view_as(w) for w in mine]

    def felt() -> Tensor:
        assert penalty.term is not None
        term = penalty.term(seen(critic, fake=G(Z), G=G))
        grads = torch.autograd.grad(term, mine, create_graph=True, allow_unused=True)
        return torch.stack([(g * a).sum() for g, a in zip(grads, along) if g is not None]).sum()

    found = felt()
    mixed = torch.autograd.grad(found, theirs, allow_unused=True) if found.requires_grad else [None] * len(theirs)
    wanted = central(felt, theirs)
    for g, d in zip(mixed, wanted):
        assert torch.allclose(torch.zeros_like(d) if g is None else g, d, rtol=1e-4, atol=1e-5)
    assert (max(float(d.abs().max()) for d in wanted) > 1e-3) == (name in FEEL_FAKES)


@each_penalty
def test_critics_are_summed(name: str) -> None:
    """What a penalty adds in the generator's turn counts once, whatever the number of critics."""
    each = [Linear(), Quadratic(), Linear(2 * W)]
    alone = [number(value(made(name), critic)) for critic in each]
    penalty = made(name)
    once = 0.0 if penalty.g_term is None else number(penalty.g_term(seen(Linear())))
    wanted = sum(alone) - 2 * once
    assert number(value(made(name), *each)) == pytest.approx(wanted, abs=1e-10)


@each_penalty
def test_the_strength_may_be_a_schedule(name: str) -> None:
    scheduled, plain = strong(name, lambda now: 2.0 + now.step), strong(name, 7.0)
    assert torch.equal(value(scheduled, Quadratic(), now=Now(step=5)), value(plain, Quadratic(), now=Now(step=5)))


@each_penalty
def test_rows_are_averaged(name: str) -> None:
    """A batch is worth the mean of its halves, so micro-batches and ranks add up; the others say `couples_batch`."""
    if made(name).couples_batch:
        return
    whole = value(made(name), Quadratic())
    halves = [
        value(made(name), Quadratic(), now=Now(first=i), real=REAL[i : i + 2], fake=FAKE[i : i + 2], z=Z[i : i + 2])
        for i in (0, 2)
    ]
    assert number(whole) == pytest.approx(number(sum(halves)) / 2, abs=1e-12)


@each_penalty
def test_micro_batches_are_refused_where_rows_are_coupled(name: str) -> None:
    changes = [f"penalties.{name}.every=1", "micro_batch=4"]
    if made(name).couples_batch:
        with pytest.raises(InputError, match="micro_batch 4"):
            play("mlp", *changes)
    else:
        play("mlp", *changes).run(1)


@each_penalty
def test_draws_are_keyed_by_step_and_seed(name: str) -> None:
    """Those that draw say something else in another step, seed and play; the others say the same."""
    first = number(value(made(name), Quadratic()))
    for now in (Now(step=1), Now(seed=1), Now(play=1)):
        assert (number(value(made(name), Quadratic(), now=now)) != first) == (name in DRAW)


@each_penalty
def test_a_lazy_penalty_weighs_as_much_on_average(name: str) -> None:
    """Due every 4th step with 4 times the weight: the mean over steps is that of every step."""
    options = {**PROMPT, "gp-one-sided": {"target": 0.001}}.get(name, {})  # small critics are not steep
    prompt = [f"penalties.{name}.{option}={v}" for option, v in options.items()]
    totals = []
    for every in (4, 1):
        played, said = play("mlp", f"penalties.{name}.every={every}", *prompt), []
        for step in range(8):
            state, engine = played.state, played.engine
            state.now = Now(step=step, images=0)  # the same rows; weights are not moved
            batch, now = engine.draw(state, played.data)
            now = now._replace(step=step - step % 4)  # and the same noise within a period
            scene = engine.stage(state.game, batch, now, grad=False)._replace(now=now._replace(step=step))
            terms = [turn.loss(scene).terms for turn in state.turns]
            said.append(sum(float(t[name].detach()) for t in terms if name in t))
        totals.append(said)
    assert [s != 0 for s in totals[0]] == [True, False, False, False] * 2
    assert totals[0][0] == pytest.approx(4 * totals[1][0], rel=1e-5)
    if name not in DRAW and made(name).state is None:  # those differ from step to step
        assert sum(totals[0]) == pytest.approx(sum(totals[1]), rel=1e-5)


@each_penalty
def test_a_penalty_plays(name: str) -> None:
    """Steps of a whole game with it, under dynamics of the first and of the second order and in low precision."""
    prompt = [f"penalties.{name}.{option}={v}" for option, v in PROMPT.get(name, {}).items()]
    for dynamics, precision in (("alternating", "float32"), ("alternating", "bf16"), ("consensus", "float32")):
        played = play("mlp", f"penalties.{name}.every=1", *prompt, f"dynamics={dynamics}", precision=precision)
        before = played.weights()
        played.run(2)
        played.state.check_finite()
        assert all(bool((a != b).any()) for a, b in zip(before, played.weights()))


@each_penalty
def test_no_value_is_read_on_the_host(name: str) -> None:
    """On the meta device tensors have no values, so reading one fails."""
    penalty = strong(name, 2.0)
    if penalty.state is not None:
        penalty.state.to("meta")
    away = {"real": REAL.to("meta"), "fake": FAKE.to("meta"), "z": Z.to("meta"), "G": Makes().to("meta")}
    assert value(penalty, Smooth(3).to("meta"), **away).shape == ()


@each_penalty
def test_the_dtype_of_the_inputs_is_kept(name: str) -> None:
    assert value(made(name), Quadratic()).dtype == torch.float64
    single = {"real": REAL.float(), "fake": FAKE.float(), "z": Z.float(), "G": Makes().float()}
    penalty = registry.penalty.parts[name].fn(**PROMPT.get(name, {}))
    assert value(penalty, Quadratic().float(), **single).dtype == torch.float32


def test_low_precision_is_raised() -> None:
    for dtype, want in [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
    ]:
        x = REAL.to(dtype, copy=True).requires_grad_()
        assert slopes(Verdict((x @ W.to(dtype)).to(want)), x).dtype == want


# ---- evidence and slopes ------------------------------------------------------------------------------------------


def test_of_a_patch_map_each_row_s_mean_is_differentiated() -> None:
    """D(x) = [w . x, 3 w . x] has the slope of 2 w . x, however large the batch."""

    class Patches(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x @ self.w, 3 * (x @ self.w)], 1).view(-1, 1, 2, 1)

    x = REAL.clone().requires_grad_()
    said = Critics({"D": Patches()})(x, now=Now(), side="real")
    assert torch.allclose(slopes(said[0], x), (2 * W).expand(4, 3))
    assert number(value(made("r1", gamma=1.0), Patches())) == pytest.approx(0.5 * float((2 * W).square().sum()))
    twice = number(value(made("fd-r1"), Linear(2 * W)))
    assert number(value(made("fd-r1"), Patches())) == pytest.approx(twice)


def test_evidence_uses_a_graph_that_is_there() -> None:
    """A fake under a dynamics that feels the other player is used as it is; a plain one is made differentiable."""
    theta = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    critics = Critics({"D": Quadratic()})
    said = evidence(critics, REAL, theta * FAKE, (), Now())
    (felt,) = torch.autograd.grad(made("r2", gamma=1.0).term(said), theta)
    assert float(felt) == pytest.approx(2.0 * float(norms(FAKE).square().mean()))  # d/dt of t^2/2 |2 A f|^2
    assert not REAL.requires_grad
    assert not FAKE.requires_grad
    assert evidence(critics, REAL, FAKE, (), Now()).fake.requires_grad


# ---- packing ------------------------------------------------------------------------------------------------------

W6 = torch.cat([W, 0.5 * W.flip(0)])
A6 = torch.block_diag(A, 0.3 * A) + 0.1 * torch.ones(6, 6, dtype=torch.float64)


class Pair:
    """Shows two samples at once."""

    def shown(self, x: Tensor, given: tuple[Tensor, ...], now: Now, side: str) -> tuple[Tensor, tuple[Tensor, ...]]:
        return x.reshape(len(x) // 2, -1), given


class Both(nn.Module):
    """D(x, x') = p A p of the pair p = (x, x')."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(*A6.shape, bias=False, dtype=A6.dtype)
        with torch.no_grad():
            self.layer.weight.copy_(A6)

    def forward(self, pair: Tensor) -> Tensor:
        return (self.layer(pair) * pair).sum(1)


def packed(x: Tensor) -> Tensor:
    return x.reshape(2, 6)


def steep(x: Tensor) -> Tensor:
    """|grad| of a pair: sqrt(|d/dx|^2 + |d/dx'|^2)."""
    return (packed(x) @ (A6 + A6.T)).norm(dim=1)


def rises() -> Tensor:
    p, v = packed(REAL), packed(drawn("fd", "real", 0))
    return 2 * (p @ A6 * v).sum(1) + 0.01 * (v @ A6 * v).sum(1)


PACKED: dict[str, tuple[Callable[[], Tensor], Callable[[], float]]] = {  # on p A p, a number a pair; on w . p
    "r1": (lambda: 1.5 * steep(REAL).square(), lambda: 1.5 * number(W6.norm()) ** 2),
    "r2": (lambda: 1.5 * steep(FAKE).square(), lambda: 1.5 * number(W6.norm()) ** 2),
    "gp": (lambda: 3 * (steep(between()) - 1).square(), lambda: 3 * (number(W6.norm()) - 1) ** 2),
    "gp-one-sided": (lambda: 3 * (steep(between()) - 1).clamp(min=0) ** 2, lambda: 3 * (number(W6.norm()) - 1) ** 2),
    "gp-zero": (lambda: 3 * steep(between()).square(), lambda: 3 * number(W6.norm()) ** 2),
    "dragan": (lambda: 3 * (steep(around()) - 1).square(), lambda: 3 * (number(W6.norm()) - 1) ** 2),
    "fd-r1": (
        lambda: 1.5 * rises().square(),
        lambda: 1.5 * float((packed(drawn("fd", "real", 0)) @ W6).square().mean()),
    ),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_row_has_one_slope_in_all_its_samples(name: str) -> None:
    """The mean is over pairs, and the norm over both samples of one."""
    pairs, flat = PACKED[name]
    found = number(value(strong(name, 3.0), Both(), lenses=[Pair()]))
    assert found == pytest.approx(number(pairs().mean()), rel=1e-9)
    assert number(value(strong(name, 3.0), Linear(W6), lenses=[Pair()])) == pytest.approx(flat(), rel=1e-9)


@each_penalty
def test_packing_is_accepted(name: str) -> None:
    """Fewer rows of logits than samples: still a number, whose gradient reaches the critic."""
    critic = Both()
    total = value(made(name), critic, lenses=[Pair()])
    assert torch.isfinite(total)
    if name in OF_CRITICS:
        (grad,) = torch.autograd.grad(total, [critic.layer.weight])
        assert bool((grad != 0).any())


def test_every_penalty_has_a_closed_form_here() -> None:
    """A new penalty must be given its closed form here."""
    assert set(CLOSED) == set(STRENGTH) == set(PENALTIES)

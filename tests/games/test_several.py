"""Games of several critics or generators: who plays, how opinions merge, what the optimum is worth."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Spec
from gantlet.core.noise import normal
from gantlet.core.recipe import recipe
from gantlet.core.trick import Trick
from gantlet.core.when import Now
from gantlet.games.arena import Played
from gantlet.games.d2gan import log_softplus, rewards_fakes, rewards_reals
from gantlet.games.gman import MERGES, Regulated, soft_mean
from gantlet.games.mixture import InTurn
from helpers import IMAGES, POINTS, Play, Rows, number, play, same, tensors

SEVERAL = ["gman", "d2gan", "mad-gan"]
SMALL = {"G": {"use": "mlp", "z": 3, "hidden": [8]}, "D": {"use": "mlp", "hidden": [8]}}
EXACT = torch.float64


def game(name: str, spec: Spec = POINTS, seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    return registry.game.parts[name].fn(spec, **{**SMALL, **options})


def scene(rows: int = 6, dtype: torch.dtype = torch.float32, **now: int) -> Played:
    real, fake = (normal((2,), rows, key=(side,)).to(dtype) for side in ("real", "fake"))
    return Played(Now(**now), real, fake)


def logits(made: Game, x: Tensor) -> list[Tensor]:
    return [verdict.logits for verdict in made.arena.critics(x, now=Now(), side="")]


# ---- who plays ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEVERAL)
def test_every_critic_and_every_generator_moves(name: str) -> None:
    """All of one make, all drawn differently, and none is left out of a step."""
    made = play(name)
    critics = list(made.state.game.arena.critics.critics.values())
    generators = list(getattr(made.state.game.G, "generators", [made.state.game.G]))
    assert (len(critics), len(generators)) == {"gman": (5, 1), "d2gan": (2, 1), "mad-gan": (1, 4)}[name]
    for nets in (critics, generators):
        weights = [[w.detach().clone() for w in net.parameters() if w.dim() > 1] for net in nets]
        assert all(not torch.equal(a, b) for one, two in itertools.combinations(weights, 2) for a, b in zip(one, two))
    before = [[w.detach().clone() for w in net.parameters()] for net in (*critics, *generators)]
    made.step()
    for net, old in zip((*critics, *generators), before):
        assert all(not torch.equal(a, b) for a, b in zip(net.parameters(), old))


@pytest.mark.parametrize("name", SEVERAL)
def test_turns_and_owners(name: str) -> None:
    made = game(name, d_steps=3, g_steps=2)
    assert [(t.name, t.player, t.times) for t in made.turns()] == [("D", "D", 3), ("G", "G", 2)]
    owned = [p for modules in made.owns().values() for m in modules for p in m.parameters()]
    assert {id(p) for p in owned} == {id(p) for p in made.parameters()}
    assert len(owned) == len({id(p) for p in owned})
    assert list(made.made_of()) == ["G"]


@pytest.mark.parametrize("name", SEVERAL)
def test_penalties_and_tricks_are_for_all_critics(name: str) -> None:
    """A penalty is summed over critics; a trick dresses each network."""

    class Marked(Trick):
        def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
            net.mark = role
            return net

    r2 = registry.penalty.parts["r2"].fn(gamma=2.0)
    made = game(name, penalties={"r2": r2}, tricks={"marked": Marked()})
    nets = [*made.arena.critics.critics.values(), *getattr(made.G, "generators", [made.G])]
    assert [net.mark for net in nets] == ["D"] * len(made.arena.critics.critics) + ["G"] * (
        len(nets) - len(made.arena.critics.critics)
    )
    seen = scene()
    fake = seen.fake.clone().requires_grad_()
    slopes = [torch.autograd.grad(said.sum(), fake)[0] for said in logits(made, fake)]
    wanted = sum(number(s.square().sum(1).mean()) for s in slopes)
    assert number(made.d_wants(seen).terms["r2"]) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("name", "slot"), [("gman", "D"), ("d2gan", "D"), ("mad-gan", "G")])
def test_one_module_cannot_be_several(name: str, slot: str) -> None:
    kind = "critic" if slot == "D" else "generator"
    net = registry.KINDS[kind].find("mlp").fn(POINTS)
    with pytest.raises(InputError, match=rf"{slot}: one MLP\w+ cannot be \d networks; give a part"):
        game(name, **{slot: net})
    made = game(name, **{slot: lambda spec: registry.KINDS[kind].find("mlp").fn(spec)})  # a function of the Spec is one
    assert made.stage(Batch(torch.zeros(4, 2)), Now()).fake.shape == (4, 2)


@pytest.mark.parametrize(
    ("name", "changes"),
    [("gman", ["merge=learned", "sharpness=2"]), ("gman", ["merge=max"]), ("mad-gan", ["generators=3"]), ("d2gan", [])],
)
def test_six_steps_are_three_saved_and_three_more(name: str, changes: list[str]) -> None:
    whole, part = play(name, *changes).run(6), play(name, *changes).run(3)
    again = play(name, *changes, seed=5)
    again.state.load_state_dict(part.state.state_dict())
    again.run(6)
    a, b = (tensors(made.state.state_dict()) for made in (whole, again))
    assert list(a) == list(b)
    assert same(a.values(), b.values())


# ---- several critics: how their opinions merge ----------------------------------------------------------------------

SAID = [0.5, -1.0, 2.0]


def test_merges_by_hand() -> None:
    said = torch.tensor(SAID, dtype=EXACT, requires_grad=True)
    weights = [math.exp(2 * v) for v in SAID]
    soft = sum(w * v for w, v in zip(weights, SAID)) / sum(weights)
    for name, wanted in {"mean": 0.5, "max": 2.0, "softmax": soft, "learned": soft}.items():
        assert number(MERGES[name](2.0)(said)) == pytest.approx(wanted, rel=1e-6)
    for name, slope in {"mean": [1 / 3] * 3, "max": [0, 0, 1]}.items():
        assert torch.autograd.grad(MERGES[name](2.0)(said), said)[0].tolist() == pytest.approx(slope)
    # d/dV_i of sum w V: w_i (1 + lambda (V_i - sum w V))
    (slope,) = torch.autograd.grad(MERGES["softmax"](2.0)(said), said)
    by_hand = [w / sum(weights) * (1 + 2 * (v - soft)) for w, v in zip(weights, SAID)]
    assert slope.tolist() == pytest.approx(by_hand)


def test_a_soft_merge_goes_from_the_mean_to_the_largest() -> None:
    said = torch.tensor(SAID, dtype=EXACT)
    values = [number(soft_mean(said, sharpness)) for sharpness in (0.0, 0.1, 1.0, 10.0, 1000.0)]
    assert values[0] == pytest.approx(0.5)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(2.0)
    assert torch.autograd.gradcheck(soft_mean, (said.clone().requires_grad_(), torch.tensor(1.3, dtype=EXACT)))


@pytest.mark.parametrize("sharpness", [0.01, 1.0, 30.0])
def test_a_learned_sharpness_begins_where_it_is_told_and_feels_the_spread(sharpness: float) -> None:
    """d/d lambda of sum w V is the variance of V under w."""
    merge, said = Regulated(sharpness).double(), torch.tensor(SAID, dtype=EXACT)
    assert number(merge.sharpness) == pytest.approx(sharpness, rel=1e-4)
    w = torch.softmax(merge.sharpness.detach() * said, 0)
    spread = number((w * said.square()).sum() - (w * said).sum() ** 2)
    (slope,) = torch.autograd.grad(merge(said), merge.before_softplus)
    assert number(slope) == pytest.approx(spread * -math.expm1(-number(merge.sharpness)), rel=1e-6)


@pytest.mark.parametrize("merge", MERGES)
def test_gman_merges_g_s_losses_and_adds_up_d_s(merge: str) -> None:
    sharp = {} if merge in ("mean", "max") else {"sharpness": 3.0}
    made, seen = game("gman", merge=merge, critics=4, **sharp), scene()
    on_real, on_fake = logits(made, seen.real), logits(made, seen.fake)
    d = sum(number(F.softplus(-r).mean() + F.softplus(f).mean()) for r, f in zip(on_real, on_fake))
    assert number(made.d_wants(seen).total) == pytest.approx(d, rel=1e-5)
    each = torch.stack([-F.softplus(f).mean() for f in on_fake])
    wanted = {"mean": each.mean(), "max": each.max()}.get(merge, soft_mean(each, 3.0))
    loss = made.g_wants(seen)
    assert number(loss.terms["G"]) == pytest.approx(number(wanted), rel=1e-5)
    assert set(loss.terms) == ({"G", "push"} if merge == "learned" else {"G"})


def test_numbers_that_a_merge_does_not_read_are_refused() -> None:
    for merge in ("mean", "max"):
        with pytest.raises(InputError, match=f"sharpness=3: merge={merge} has none; use merge=softmax"):
            game("gman", merge=merge, sharpness=3.0)
    for merge in ("mean", "max", "softmax"):
        with pytest.raises(InputError, match=f"push=0.5: merge={merge} learns no sharpness; use merge=learned"):
            game("gman", merge=merge, push=0.5)


def test_g_is_paid_for_a_sharper_judge() -> None:
    """min over lambda of F - c lambda (Durugkar, Gemp and Mahadevan 2017, eq. 7): D does not move it, G does."""
    made = game("gman", merge="learned", sharpness=2.0, push=0.25)
    loss = made.g_wants(scene())
    assert number(loss.terms["push"]) == pytest.approx(-0.5)
    assert number(loss.stats["sharpness"]) == pytest.approx(2.0)
    moved = play("gman", "merge=learned", "push=100", "players.G.lr=0.1")
    before = number(moved.state.game.arena.merge.sharpness)
    moved.step()
    assert number(moved.state.game.arena.merge.sharpness) > before
    assert any(w is moved.state.game.arena.merge.before_softplus for w in moved.state.players["G"].weights)
    with pytest.raises(InputError, match="sharpness 0: a learned one begins above zero"):
        game("gman", merge="learned", sharpness=0.0)


@pytest.mark.parametrize("merge", MERGES)
def test_only_a_mean_can_be_cut_into_micro_batches(merge: str) -> None:
    """The largest of means is not the mean of the largest."""
    made = play(recipe("mlp"), game=game("gman", IMAGES, merge=merge))
    cut = Engine(batch=8, micro_batch=4)
    if merge == "mean":
        cut.settle(made.state)
        return
    with pytest.raises(InputError, match=r"micro_batch 4: arena\.merge"):
        cut.settle(made.state)


def test_each_critic_has_its_own_state() -> None:
    """What a loss carries is about one critic: BEGAN's k."""
    made = game("gman", D={"use": "autoencoder", "hidden": [8], "code": 2}, adversarial="began")
    assert len({id(pair.state) for pair in made.arena.pairs.values()}) == 3
    assert sum(name.endswith(".k") for name in made.state_dict()) == 3


# ---- two critics: KL both ways ------------------------------------------------------------------------------------

GRID = torch.linspace(-12, 12, 6001, dtype=EXACT)


def integral(values: Tensor) -> float:
    return number(torch.trapezoid(values, GRID))


def log_density(mu: float, s: float) -> Tensor:
    return -0.5 * ((GRID - mu) / s).square() - math.log(s * math.sqrt(2 * math.pi))


def value(pair: Any, score: Tensor, mu: float, s: float) -> float:
    """What D earns whose positive score is softplus of its logit."""
    logit = score + torch.log(-torch.expm1(-score))
    p, q = log_density(0, 1).exp(), log_density(mu, s).exp()
    return -integral(p * pair.as_real(logit)) - integral(q * pair.as_fake(logit))


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.2, 0.1), (0.05, 0.7)])
@pytest.mark.parametrize(("mu", "s"), [(0.0, 1.0), (0.5, 1.2), (-1.0, 0.9)])
def test_d2gan_s_optimum_is_kl_both_ways(alpha: float, beta: float, mu: float, s: float) -> None:
    """alpha (log alpha - 1) + beta (log beta - 1) + alpha KL(p || q) + beta KL(q || p), at alpha p/q and beta q/p."""
    ratio = torch.exp(log_density(0, 1) - log_density(mu, s))
    kl = math.log(s) + (1 + mu**2) / (2 * s**2) - 0.5
    reverse = -math.log(s) + (s**2 + mu**2) / 2 - 0.5
    best = [(rewards_reals(alpha), alpha * ratio), (rewards_fakes(beta), beta / ratio)]
    wanted = [alpha * (math.log(alpha) - 1 + kl), beta * (math.log(beta) - 1 + reverse)]
    for (pair, score), most in zip(best, wanted):
        assert value(pair, score, mu, s) == pytest.approx(most, abs=1e-6)
        for change, size in itertools.product((torch.ones_like(GRID), GRID.sin(), GRID.tanh()), (0.1, -0.1)):
            assert value(pair, score * torch.exp(size * change), mu, s) < most - 1e-6


def test_log_softplus_where_softplus_is_zero() -> None:
    for dtype, tolerance in ((torch.float32, 2e-6), (EXACT, 1e-13)):
        v = torch.tensor([-1e4, -200, -30, -15.001, -15, -14.999, -1, 0, 3, 1e4], dtype=dtype, requires_grad=True)
        said = log_softplus(v)
        by_hand = [x if x < -30 else math.log(math.log1p(math.exp(x)) if x < 700 else x) for x in v.tolist()]
        assert said.tolist() == pytest.approx(by_hand, rel=tolerance)
        (slope,) = torch.autograd.grad(said.sum(), v)
        assert bool(torch.isfinite(slope).all() & (slope > 0).all())
    v = torch.linspace(-20, 5, 26, dtype=EXACT, requires_grad=True)
    assert torch.autograd.gradcheck(log_softplus, v)


def test_d2gan_s_critics_have_reversed_rewards() -> None:
    """D1 raises reals and lowers fakes, D2 does the opposite, and G plays against both."""
    real, fake = (torch.randn(5, dtype=EXACT, requires_grad=True) for _ in range(2))
    for pair, sign in ((rewards_reals(0.3), 1), (rewards_fakes(0.3), -1)):
        up, down = torch.autograd.grad(pair.d(real, fake), (real, fake))
        assert bool((sign * up < 0).all())
        assert bool((sign * down > 0).all())
        (raised,) = torch.autograd.grad(pair.g(fake, None), fake)
        assert bool((sign * raised < 0).all())
        assert pair.ordered == (sign == 1)


def test_d2gan_s_losses_by_hand() -> None:
    made, seen = game("d2gan", alpha=0.3, beta=0.2), scene()
    (real1, real2), (fake1, fake2) = logits(made, seen.real), logits(made, seen.fake)
    on_fake = F.softplus(fake1).mean() - 0.2 * F.softplus(fake2).log().mean()
    d = -0.3 * F.softplus(real1).log().mean() + F.softplus(real2).mean() + on_fake
    assert number(made.d_wants(seen).total) == pytest.approx(number(d), rel=1e-5)
    assert number(made.g_wants(seen).total) == pytest.approx(-number(on_fake), rel=1e-5)


# ---- several generators ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_mad_gan_s_d_minimises_cross_entropy_over_all_classes(count: int) -> None:
    """Class 0 is real, class 1 + i is generator i; the log-odds of real and who made a fake add up to it."""
    made, seen = game("mad-gan", generators=count).double(), scene(7, EXACT, first=2)
    widened = made.arena.critics.critics["D"].critic
    on_real, on_fake = (getattr(said, "logits", said) for said in map(widened, (seen.real, seen.fake)))
    assert on_real.shape == (7, 1 + count)
    made_by = torch.tensor([1 + (2 + i) % count for i in range(7)])
    wanted = F.cross_entropy(on_real, torch.zeros_like(made_by)) + F.cross_entropy(on_fake, made_by)
    loss = made.d_wants(seen)
    assert list(loss.terms) == ["D", "which"]
    assert number(loss.total) == pytest.approx(number(wanted), abs=1e-12)
    odds = on_fake[:, 0] - on_fake[:, 1:].logsumexp(1)
    assert number(made.g_wants(seen).total) == pytest.approx(number(F.softplus(-odds).mean()), abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize(("rows", "first"), [(8, 0), (8, 3), (1, 4), (2, 7)])
def test_row_i_is_of_generator_i_mod_k(count: int, rows: int, first: int) -> None:
    """While training each generator makes its own rows alone; generating from those latents gives the same."""
    made = game("mad-gan", generators=count).double()
    seen = made.stage(Batch(torch.zeros(rows, 2, dtype=EXACT)), Now(first=first))
    for i in range(rows):
        alone = made.G.generators[(first + i) % count](seen.z[i : i + 1, :-1])
        assert torch.allclose(seen.fake[i : i + 1], alone, atol=1e-12)
    assert torch.allclose(made.generate(seen.z), seen.fake, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_samples_are_of_every_generator_alike(count: int) -> None:
    class Constant(nn.Module):
        z_dim, made = 3, itertools.count()

        def __init__(self) -> None:
            super().__init__()
            self.value = nn.Parameter(torch.tensor(float(next(self.made))))

        def forward(self, z: Tensor) -> Tensor:
            return self.value.expand(len(z), 2)

    made = game("mad-gan", generators=count, G=lambda spec: Constant())
    z = made.latent(4000, seed=1)
    assert z.shape == (4000, 4)
    chosen = made.generate(z)[:, 0]
    shares = [number((chosen == g.value).float().mean()) for g in made.G.generators]
    assert sum(shares) == pytest.approx(1)
    assert all(abs(share - 1 / count) < 5 * math.sqrt(1 / count / 4000) for share in shares)
    assert abs(number(torch.corrcoef(torch.stack([chosen, z[:, 0]]))[0, 1])) < 0.06  # nothing else is chosen by it


@pytest.mark.parametrize("net", ["mlp", "cnn", "dcgan"])
@pytest.mark.parametrize("spectral", [False, True])
def test_any_critic_that_ends_in_a_linear_layer_tells_generators_apart(net: str, spectral: bool) -> None:
    options = {"use": net, "spectral": spectral, **({"hidden": [8]} if net == "mlp" else {"width": 4})}
    made = game("mad-gan", IMAGES, D=options)
    critic = made.arena.critics.critics["D"]
    x = torch.randn(5, *IMAGES.shape)
    for _ in range(30 if spectral else 1):
        said = critic(x)
    assert (said.logits.shape, said.classes.shape) == ((5,), (5, 4))
    assert number(said.classes.std()) > 0
    last = [m for m in critic.modules() if isinstance(m, nn.Linear)][-1]
    assert last.out_features == 5
    if spectral:
        assert number(torch.linalg.matrix_norm(last.weight, 2)) == pytest.approx(1, abs=0.05)


def test_mad_gan_refuses_what_it_cannot_tell_apart() -> None:
    class Replay(Trick):
        replaces_fakes = True

        def judged(self, real: Tensor, fake: Tensor, now: Now) -> tuple[Tensor, Tensor]:
            return real, fake.flip(0)

    class Pairs(Trick):
        def shown(self, x: Tensor, given: tuple[Tensor, ...], now: Now, side: str) -> tuple[Tensor, tuple[Tensor, ...]]:
            return x[::2], given

    with pytest.raises(InputError, match="D: AutoencoderCritic has no last linear layer with one output"):
        game("mad-gan", D={"use": "autoencoder"})
    with pytest.raises(
        InputError, match=r"tricks\.replay: it shows D other fakes.*leave it out \(tricks\.replay=null\)"
    ):
        game("mad-gan", tricks={"replay": Replay()})
    with pytest.raises(InputError, match=r"tricks\.which: this game has a part of this name"):
        game("mad-gan", tricks={"which": Pairs()})
    with pytest.raises(InputError, match=r"packed samples are of several generators.* leave out the trick"):
        game("mad-gan", tricks={"pairs": Pairs()}).d_wants(scene())
    with pytest.raises(InputError, match=r"packed samples are of several generators.*leave tricks\.packing out"):
        game("mad-gan", tricks={"packing": {"m": 2}})  # as it is built


def test_in_turn_passes_what_samples_are_conditioned_on() -> None:
    class Echo(nn.Module):
        z_dim = 2

        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            return z + y

    made = game("mad-gan", G=lambda spec: Echo(), generators=3)
    z, y = torch.randn(7, 3), torch.randn(7, 2)
    assert torch.equal(InTurn(made.G, 5)(z, y), z[:, :2] + y)
    assert torch.equal(made.generate(z, y), z[:, :2] + y)


class Blob(nn.Module):
    """A generator of one mode: a narrow cloud around b."""

    z_dim = 2
    begins = itertools.cycle([-0.1, 0.1])

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.tensor([next(self.begins), 0.0]))

    def forward(self, z: Tensor) -> Tensor:
        return 0.3 * z + self.b


class Modes(Rows):
    """Half of the points around (-2, 0), half around (2, 0)."""

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        side = 2.0 * (torch.arange(first, first + n) % 2) - 1
        return Batch(0.3 * normal((2,), n, key=("modes",), first=first) + torch.stack([2 * side, 0 * side], 1))


def test_two_generators_take_a_mode_each() -> None:
    """Neither can make both modes; D comes to know them apart."""
    made: Play = play(
        recipe("mlp").override("batch=32", "players.D.lr=2e-2", "players.G.lr=2e-2", "precision=float32"),
        data=Modes(POINTS),
        game=game(
            "mad-gan", G=lambda spec: Blob(), D={"use": "mlp", "hidden": [16]}, generators=2,
            penalties={"r1": registry.penalty.parts["r1"].fn(gamma=0.1)},
        ),
    )  # fmt: skip
    made.run(150)
    left, right = (g.b.tolist() for g in made.state.game.G.generators)
    assert left == pytest.approx([-2, 0], abs=0.4)
    assert right == pytest.approx([2, 0], abs=0.4)
    seen = made.state.game.stage(Batch(torch.zeros(64, 2)), Now(step=1000))
    (said,) = made.state.game.arena.critics(seen.fake, now=Now(), side="fake")
    assert number((said.classes.argmax(1) == torch.arange(64) % 2).float().mean()) > 0.95

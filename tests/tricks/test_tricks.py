"""Each trick against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gantlet.augment.control import Controller
from gantlet.core import registry
from gantlet.core.critics import Critics, Evidence, Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Loss, Spec
from gantlet.core.noise import uniform
from gantlet.core.trick import Trick
from gantlet.core.when import Now
from gantlet.games.arena import Played
from gantlet.games.classic import Classic
from gantlet.nets.growth import Growth
from gantlet.tricks.beside import Beside
from gantlet.tricks.discrimination import Likeness
from gantlet.tricks.growing import Growing
from gantlet.tricks.stddev import Spread
from gantlet.tricks.virtual import VirtualNorm, WithReference
from helpers import IMAGES, POINTS, number, play, same

TRICKS = sorted(registry.trick.parts)
SPEC = Spec((2,))
W, B = torch.tensor([0.6, -0.8], dtype=torch.float64), torch.tensor([0.5, 0.25], dtype=torch.float64)
REAL = torch.tensor([[1.0, 2.0], [0.0, -1.0], [2.0, 0.5], [-1.0, 1.0]], dtype=torch.float64)
FAKE = torch.tensor([[0.0, 1.0], [1.5, -1.0], [0.5, 0.0], [1.0, 2.0]], dtype=torch.float64)
softplus = nn.functional.softplus


class Shift(nn.Module):
    """G(z) = z + b"""

    z_dim = 2

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(B.clone())

    def forward(self, z: Tensor) -> Tensor:
        return z + self.b


class Tilt(nn.Module):
    """D(x) = w . x, with features x and 2 x."""

    def __init__(self, w: Tensor = W) -> None:
        super().__init__()
        self.w = nn.Parameter(w.clone())

    def forward(self, x: Tensor) -> Verdict:
        return Verdict(x @ self.w, (x, 2 * x))


def made(name: str, **options: Any) -> Trick:
    trick = registry.trick.parts[name].fn(**options)
    assert isinstance(trick, Trick)
    return trick


def game(trick: Trick, D: nn.Module | None = None, **options: Any) -> Classic:
    return Classic(SPEC, G=Shift(), D=D or Tilt(), tricks={"t": trick}, **options)


def played(now: Now = Now()) -> Played:  # noqa: B008
    return Played(now, REAL, FAKE, (), FAKE - B)


def d_of(g: Classic, now: Now = Now()) -> Loss:  # noqa: B008
    return g.d_wants(played(now))


def g_of(g: Classic, now: Now = Now()) -> Loss:  # noqa: B008
    return g.g_wants(played(now))


# ---- labels -------------------------------------------------------------------------------------------------------


def label_smoothing() -> None:
    """D: 0.9 softplus(-D(x)) + 0.1 softplus(D(x)) on reals, softplus on fakes; with `fake` those are soft too."""
    real, fake = REAL @ W, FAKE @ W
    want = (0.9 * softplus(-real) + 0.1 * softplus(real)).mean() + softplus(fake).mean()
    assert number(d_of(game(made("label-smoothing"))).total) == pytest.approx(number(want))
    want = softplus(-real).mean() + (0.2 * softplus(-fake) + 0.8 * softplus(fake)).mean()
    assert number(d_of(game(made("label-smoothing", real=1.0, fake=0.2))).total) == pytest.approx(number(want))
    assert number(g_of(game(made("label-smoothing"))).total) == pytest.approx(number(softplus(-fake).mean()))


def label_flipping() -> None:
    """A flipped row costs what the other label would; the rows are those whose draw is below p."""
    now, p = Now(step=2, seed=5), 0.5
    flipped = [uniform((), 4, key=(5, 2, 0, "label-flipping", side)) < p for side in ("real", "fake")]
    assert any(bool(f.any()) for f in flipped)
    real, fake = REAL @ W, FAKE @ W
    want = torch.where(flipped[0], softplus(real), softplus(-real)).mean()
    want = want + torch.where(flipped[1], softplus(-fake), softplus(fake)).mean()
    assert number(d_of(game(made("label-flipping", p=p)), now).total) == pytest.approx(number(want))
    trick = made("label-flipping", p=lambda now: 0.1 * now.step)
    ones, zeros = trick.labels(torch.ones(5000), torch.zeros(5000), now)
    assert float((ones == 0).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert float((zeros == 1).float().mean()) == pytest.approx(0.2, abs=0.02)


# ---- statistics of the batch --------------------------------------------------------------------------------------


def feature_matching() -> None:
    """Features x and 2 x: the gap of the last layer is |2 (mean x - mean G(z))|^2."""
    gap = REAL.mean(0) - FAKE.mean(0)
    terms = g_of(game(made("feature-matching", weight=3.0))).terms
    assert number(terms["t"]) == pytest.approx(3 * 4 * number(gap.square().sum()))
    terms = g_of(game(made("feature-matching", layers=None))).terms
    assert number(terms["t"]) == pytest.approx(5 * number(gap.square().sum()))
    square = REAL.square().mean(0) - FAKE.square().mean(0)
    terms = g_of(game(made("feature-matching", layers=(0,), moments=2))).terms
    assert number(terms["t"]) == pytest.approx(number(gap.square().sum() + square.square().sum()))
    assert "t" not in d_of(game(made("feature-matching"))).terms


def minibatch_discrimination() -> None:
    """Mean over j != i of exp(-|M_ib - M_jb|): with one feature and T = (1, 2), exp(-3 |x_i - x_j|)."""
    likeness = Likeness(1, 1, 2).double()
    with torch.no_grad():
        likeness.T.copy_(torch.tensor([[1.0, 2.0]]))
    x = torch.tensor([[0.0], [0.5], [2.0]], dtype=torch.float64)
    want = [
        [(math.exp(-1.5) + math.exp(-6)) / 2],
        [(math.exp(-1.5) + math.exp(-4.5)) / 2],
        [(math.exp(-6) + math.exp(-4.5)) / 2],
    ]
    assert torch.allclose(likeness(x), torch.tensor(want, dtype=torch.float64))
    assert likeness(x[:1]).tolist() == [[0.0]]  # alone it is like nobody
    layer = nn.Sequential(nn.Flatten(), nn.Linear(2, 1)).double()
    dressed = made("minibatch-discrimination", kernels=3, width=2).dress("D", layer, SPEC).double()
    beside = dressed[1]
    assert isinstance(beside, Beside)
    by_hand = beside.layer(REAL) + beside.statistic(REAL) @ beside.more.weight.T
    assert torch.allclose(dressed(REAL), by_hand)
    assert beside.statistic(REAL).shape == (4, 3)


def minibatch_stddev() -> None:
    """Of rows (0, 4) and (2, 4) the deviations are 1 and 0: their mean is 1/2; a group of two knows no other rows."""
    h = torch.tensor([[0.0, 4.0], [2.0, 4.0], [1.0, 1.0], [1.0, 7.0]], dtype=torch.float64)
    assert torch.allclose(Spread(2)(h), torch.tensor([[0.5], [0.5], [1.5], [1.5]]).double(), atol=1e-4)
    whole = (math.sqrt(0.5) + math.sqrt(h[:, 1].var(unbiased=False))) / 2
    assert torch.allclose(Spread(None)(h), torch.full((4, 1), whole).double(), atol=1e-4)
    assert torch.allclose(Spread(16)(h), Spread(None)(h))  # a smaller batch is one group
    layer = nn.Linear(2, 3).double()
    beside = made("minibatch-stddev", group=2).dress("D", layer, SPEC).double()
    want = layer(h) + torch.tensor([[0.5], [0.5], [1.5], [1.5]]).double() * beside.more.weight.T
    assert torch.allclose(beside(h), want, atol=1e-4)


def packing() -> None:
    """Rows 0 and 1 side by side, then 2 and 3: D(x_0, x_1) = w . (x_0, x_1)."""
    trick = made("packing", m=2)
    shown, given = trick.shown(REAL, (FAKE,), Now(), "real")
    assert shown.tolist() == [[1, 2, 0, -1], [2, 0.5, -1, 1]]
    assert given[0].tolist() == [[0, 1, 1.5, -1], [0.5, 0, 1, 2]]
    w = torch.tensor([0.6, -0.8, 0.1, 0.2], dtype=torch.float64)
    g = game(made("packing", m=2), D=Tilt(w))
    real, fake = REAL.view(2, 4) @ w, FAKE.view(2, 4) @ w
    assert number(d_of(g).total) == pytest.approx(number(softplus(-real).mean() + softplus(fake).mean()))
    images = torch.arange(4 * 3 * 2 * 2.0).view(4, 3, 2, 2)
    packed = trick.shown(images, (), Now(), "real")[0]
    assert packed.shape == (2, 6, 2, 2)
    assert torch.equal(packed[1, 3:], images[3])
    assert trick.critic_spec(Spec((3, 8, 8), given=((1, 8, 8), (5,))))[:1] == ((6, 8, 8),)
    assert trick.critic_spec(Spec((3, 8, 8), given=((1, 8, 8), (5,)))).given == ((2, 8, 8), (10,))


def top_k() -> None:
    """Half of four: only the two fakes with the highest logits count."""
    best = (FAKE @ W).sort(descending=True).values[:2]
    trick = made("top-k", gamma=0.5, every=10, floor=0.25)
    assert number(g_of(game(trick), Now(step=10)).total) == pytest.approx(number(softplus(-best).mean()))
    sizes = [len(trick.chosen(torch.randn(16), Now(step=s))) for s in (0, 9, 10, 20, 30, 1000)]
    assert sizes == [16, 16, 8, 4, 4, 4]
    maps = torch.tensor([[0.0, 9.0], [5.0, 5.0], [1.0, 1.0], [0.0, 0.0]])
    assert sorted(trick.chosen(maps, Now(step=10)).tolist()) == [0, 1]
    relative = game(made("top-k", gamma=0.5, every=1), adversarial="relativistic")
    rows = (FAKE @ W).topk(2).indices
    want = softplus((REAL @ W)[rows] - (FAKE @ W)[rows]).mean()
    assert number(g_of(relative, Now(step=1)).total) == pytest.approx(number(want))


def virtual_batch_norm() -> None:
    """Reference rows 1 and 3 (mean 2, mean square 5) and x = 5, each a third: mean 3, variance 35/3 - 9 = 8/3."""
    norm = VirtualNorm(nn.BatchNorm1d(1, eps=0.0), 2)
    out = norm(torch.tensor([[1.0], [3.0], [5.0]]))
    assert torch.allclose(out, torch.tensor([[-1.0], [1.0], [2 / math.sqrt(8 / 3)]]))
    maps = torch.tensor([1.0, 3.0, 1.0, 3.0, 5.0, 5.0]).view(3, 1, 2, 1)
    assert torch.allclose(norm(maps)[2], torch.full((1, 2, 1), 2 / math.sqrt(8 / 3)))
    weighed = nn.BatchNorm1d(1, eps=0.0)
    nn.init.constant_(weighed.weight, 3.0), nn.init.constant_(weighed.bias, 7.0)
    assert torch.allclose(VirtualNorm(weighed, 2)(torch.tensor([[1.0], [3.0], [5.0]])), 3 * out + 7)


# ---- samples and latents ------------------------------------------------------------------------------------------


def instance_noise() -> None:
    """x + sigma n with n of unit variance, another draw for each side; no noise is x itself."""
    trick = made("instance-noise", sigma=lambda now: 0.5 - 0.1 * now.step)
    x = torch.zeros(4000, 3, dtype=torch.float64)
    for step, sigma in ((0, 0.5), (3, 0.2)):
        seen, _ = trick.shown(x, (x,), Now(step=step), "real")
        assert float(seen.std()) == pytest.approx(sigma, rel=0.03)
        assert abs(float(seen.mean())) < 0.02
    assert trick.shown(x, (), Now(step=5), "real")[0] is x
    both = [trick.shown(x, (), Now(), side)[0] for side in ("real", "fake")]
    assert abs(float((both[0] * both[1]).mean())) < 0.01


def image_pool() -> None:
    """First every place is filled; then a stored fake comes out where the draw says so, and the new one stays in."""
    trick = made("image-pool", size=4)
    trick.dress("G", Shift(), SPEC)
    first = trick.judged(REAL, FAKE, Now(step=0))
    assert torch.equal(first[0], REAL)
    assert torch.equal(first[1], FAKE)
    new = FAKE + 10
    now = Now(step=1)
    places = [uniform((), 4, key=(0, s, 0, "image-pool", "places")).argsort().tolist() for s in (0, 1)]
    half = uniform((), 4, key=(0, 1, 0, "image-pool")) < 0.5
    out = trick.judged(REAL, new, now)[1]
    stored = {place: FAKE[row] for row, place in enumerate(places[0])}
    for row, place in enumerate(places[1]):
        assert torch.equal(out[row], stored[place] if half[row] else new[row])
        stored[place] = new[row] if half[row] else stored[place]
    kept = trick.kept.rows(torch.arange(4), torch.float64)
    assert all(torch.equal(kept[place], value) for place, value in stored.items())


def historical_averaging() -> None:
    """|theta - mean|^2: 0 at the first batch, and (1/4) |move|^2 at the second, whose mean is half of both."""
    g = game(made("historical-averaging", weight=2.0))
    assert number(d_of(g, Now(images=0)).terms["t"]) == 0
    assert number(g_of(g, Now(images=0)).terms["t"]) == 0
    with torch.no_grad():
        g.arena.critics.critics["D"].w.add_(torch.tensor([1.0, 2.0]))
    term = d_of(g, Now(images=8)).terms["t"]
    assert number(term) == pytest.approx(2 * 5 / 4)
    (slope,) = torch.autograd.grad(term, g.arena.critics.critics["D"].w)
    assert slope.tolist() == pytest.approx([2.0, 4.0])  # 2 weight (theta - mean)
    assert number(d_of(g, Now(images=8, first=4)).terms["t"]) == pytest.approx(2 * 5 / 4)  # a piece of the same batch
    assert number(d_of(g, Now(images=16)).terms["t"]) == pytest.approx(2 * 5 / 9)  # mean of 0, 1, 1
    assert number(g_of(g, Now(images=8)).terms["t"]) == 0  # G has not moved


def latent_optimization() -> None:
    """D(G(z)) = w . (z + b) has g = w: every latent moves by alpha w / (|w|^2 + beta), and D feels that it does."""
    alpha, beta = 0.9, 0.1
    g = game(made("latent-optimization", alpha=alpha, beta=beta))
    plain = Classic(SPEC, G=Shift(), D=Tilt())
    batch = Batch(REAL)
    moved, still = g.stage(batch, Now()), plain.stage(batch, Now())
    step = alpha * W / (W.square().sum() + beta)
    assert torch.allclose(moved.z - still.z, step.expand(4, 2))
    assert torch.allclose(moved.fake - still.fake, step.expand(4, 2))
    w = g.arena.critics.critics["D"].w
    (felt,) = torch.autograd.grad(moved.fake[:, 0].sum(), w)  # d/dw of alpha w_0 / (|w|^2 + beta), four rows
    size = float(W.square().sum()) + beta
    want = [4 * alpha * ((i == 0) / size - 2 * float(W[0]) * float(W[i]) / size**2) for i in (0, 1)]
    assert felt.tolist() == pytest.approx(want)
    with torch.no_grad():
        assert torch.allclose(g.stage(batch, Now()).fake, moved.fake)
        assert not g.stage(batch, Now()).fake.requires_grad
    assert set(map(id, g.stagers())) == {id(g.G), id(g.arena.critics)}
    chooses = Shift()
    chooses.fixed_latents = 1
    held = Classic(SPEC, G=chooses, D=Tilt(), tricks={"t": made("latent-optimization", alpha=alpha, beta=beta)})
    only = torch.tensor([float(alpha * W[0] / (W[0].square() + beta)), 0.0], dtype=torch.float64)
    assert torch.allclose(held.stage(batch, Now()).z - still.z, only.expand(4, 2))  # g of what may move alone
    assert g.made_of() == {"G": g.G}


# ---- augmentation -------------------------------------------------------------------------------------------------


def diffaugment() -> None:
    """Brightness of a flat image: saturation and contrast of no contrast change nothing."""
    trick = made("diffaugment", policy=("color",))
    x = torch.full((5, 3, 4, 4), 0.25)
    u = uniform((7,), 5, key=(0, 0, 0, "diffaugment", "real"))
    seen, _ = trick.shown(x, (), Now(), "real")
    assert torch.allclose(seen, (0.25 + u[:, 0] - 0.5).view(5, 1, 1, 1).expand_as(x), atol=1e-6)


def ada() -> None:
    """With p = 1, brightness alone adds 0.2 n, one n a row."""
    trick = made("ada", policy=("brightness",), p=1.0)
    x = torch.rand(4000, 1, 4, 4)
    change = trick.shown(x, (), Now(), "real")[0] - x
    assert float(change.flatten(1).std(1).max()) < 1e-6
    assert float(change[:, 0, 0, 0].std()) == pytest.approx(0.2, rel=0.05)
    assert torch.equal(made("ada", policy=("brightness",)).shown(x, (), Now(), "real")[0], x)  # p begins at 0


def blurring() -> None:
    """Of one bright pixel half way through, its neighbour has exp(-1 / (2 s^2)) as much, s = 0.5 sigma of the side."""
    trick = made("blurring", sigma=0.1, images=100)
    x = torch.zeros(1, 1, 21, 21)
    x[0, 0, 10, 10] = 1
    seen = trick.shown(x, (), Now(images=50), "real")[0][0, 0]
    assert float(seen.sum()) == pytest.approx(1, abs=1e-5)
    assert float(seen[10, 11] / seen[10, 10]) == pytest.approx(math.exp(-0.5 / 1.05**2), rel=1e-5)
    assert torch.allclose(trick.shown(torch.ones(1, 1, 5, 9), (), Now(), "fake")[0], torch.ones(1, 1, 5, 9))
    assert trick.shown(x, (), Now(images=100), "real")[0] is x


def apa() -> None:
    """The reals whose draw is below p are the fakes of their rows."""
    trick = made("apa")
    assert torch.equal(trick.judged(REAL, FAKE, Now())[0], REAL)
    assert isinstance(trick.control, Controller)
    trick.control.p.fill_(0.5)
    now = Now(step=3, images=1)
    pseudo = (uniform((), 4, key=(0, 3, 0, "apa")) < 0.5).unsqueeze(1)
    real, fake = trick.judged(REAL, FAKE, now)
    assert torch.equal(real, torch.where(pseudo, FAKE, REAL))
    assert torch.equal(fake, FAKE)


class Scaled(nn.Module):
    """A weight that is no layer's and no norm's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


def freeze_d() -> None:
    """The first layer asks for no gradient, the second does."""
    net = nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(), nn.Linear(3, 1))
    assert made("freeze-d", layers=1).dress("D", net, Spec((2,))) is net
    assert [p.requires_grad for p in net.parameters()] == [False, False, True, True]
    assert all(p.requires_grad for p in made("freeze-d").dress("G", nn.Linear(2, 2), Spec((2,))).parameters())
    parts = [Scaled(), nn.Linear(2, 3), Scaled(), nn.BatchNorm1d(3), nn.Linear(3, 3), Scaled(), nn.Linear(3, 1)]
    net = made("freeze-d", layers=1).dress("D", nn.Sequential(*parts), Spec((2,)))
    assert [part.weight.requires_grad for part in net] == [False] * 4 + [True] * 3


def growing() -> None:
    """The full size in the middle of the run: two doublings in five of ten steps (the rest in test_growing.py)."""
    trick = made("growing", steps=10)
    assert isinstance(trick, Growing)
    trick.grown.append(Growth(2))
    assert [trick.level(Now(step=n, images=4 * n)) for n in (0, 1, 5)] == [0, 0, 2]


def self_supervised() -> None:
    """Decoders that draw nothing lose E |x| twice, of wholes and of quarters (the rest in test_self_supervised.py)."""
    critic = nn.Sequential(Tilt())
    critic.decodable = ((0, 1, 0), (0, 1, 0))  # type: ignore[assignment]
    critic = made("self-supervised").dress("D", critic, Spec((1, 4, 4)))
    for weight in critic.get_submodule("decoders").parameters():
        nn.init.zeros_(weight)
    x = -0.5 * torch.ones(2, 1, 4, 4)
    seen = Evidence(Critics({"D": critic}), x, x, (), [Verdict(x.mean((1, 2, 3)), (x,))], [], Now())
    assert number(made("self-supervised", weight=2.0).d_terms(seen)[""]) == pytest.approx(2 * 2 * 0.5)


CLASSES = torch.tensor([0, 2, 1, 0])


def told(name: str, **options: Any) -> tuple[Trick, nn.Module, nn.Linear]:
    """A trick, a critic of one linear layer that it dressed, and that layer."""
    trick, layer = made(name, **options), nn.Linear(2, 1).double()
    spec = trick.critic_spec(Spec((2,), classes=3))
    return trick, trick.dress("D", nn.Sequential(layer, nn.Flatten(0)), spec).double(), layer


def concat_labels() -> None:
    """w . [x, onehot(y)] + b: what a class adds is its own weight (the rest in test_class_tricks.py)."""
    _, D, layer = told("concat-labels")
    gap = D(REAL, CLASSES) - layer(REAL).squeeze(1)
    more = next(p for n, p in D.named_parameters() if n.endswith("more.weight"))
    assert torch.allclose(gap, more[0, CLASSES])


def projection() -> None:
    """w . x + b + v_y . x"""
    _, D, layer = told("projection")
    assert torch.allclose(D(REAL, CLASSES).logits, layer(REAL).squeeze(1) + (D.embed.weight[CLASSES] * REAL).sum(1))


def ac_gan() -> None:
    """Both sides of four samples whose classes a classifier without weights cannot tell: log 3 each."""
    trick, D, _ = told("ac-gan", weight=2.0)
    nn.init.zeros_(D.classifier.weight)
    critics = Critics({"D": D})
    seen = Evidence(critics, REAL, FAKE, (CLASSES,), critics(REAL, CLASSES), critics(FAKE, CLASSES), Now())
    assert number(trick.d_terms(seen)[""]) == pytest.approx(2 * 2 * math.log(3))
    assert number(trick.g_terms(seen)[""]) == pytest.approx(2 * math.log(3))


def reacgan() -> None:
    """All samples and proxies on one spot, near enough: log(1 + e^((1 - m_n) / t) j), j the samples of other classes."""
    trick, D, _ = told("reacgan", weight=1.0, embed=1, temperature=0.5, negative=0.2)
    nn.init.ones_(D.proxies)
    nn.init.zeros_(D.project.weight), nn.init.ones_(D.project.bias)
    critics = Critics({"D": D})
    seen = Evidence(critics, REAL, FAKE, (CLASSES,), critics(REAL, CLASSES), critics(FAKE, CLASSES), Now())
    others = [2, 3, 3, 2]
    want = sum(math.log(1 + j * math.exp(0.8 / 0.5)) for j in others) / 4
    assert number(trick.d_terms(seen)[""]) == pytest.approx(want)


BY_HAND: dict[str, Callable[[], None]] = {
    "ac-gan": ac_gan,
    "ada": ada,
    "apa": apa,
    "blurring": blurring,
    "concat-labels": concat_labels,
    "diffaugment": diffaugment,
    "feature-matching": feature_matching,
    "freeze-d": freeze_d,
    "historical-averaging": historical_averaging,
    "image-pool": image_pool,
    "instance-noise": instance_noise,
    "label-flipping": label_flipping,
    "label-smoothing": label_smoothing,
    "latent-optimization": latent_optimization,
    "minibatch-discrimination": minibatch_discrimination,
    "minibatch-stddev": minibatch_stddev,
    "packing": packing,
    "projection": projection,
    "reacgan": reacgan,
    "growing": growing,
    "self-supervised": self_supervised,
    "top-k": top_k,
    "virtual-batch-norm": virtual_batch_norm,
}


@pytest.mark.parametrize("name", TRICKS)
def test_by_hand(name: str) -> None:
    """A new trick must be given its value here."""
    BY_HAND[name]()


def test_nothing_is_checked_that_is_not_there() -> None:
    assert set(BY_HAND) == set(TRICKS)


@pytest.mark.parametrize("name", TRICKS)
def test_each_says_what_it_is(name: str) -> None:
    """One sentence, with the paper's year."""
    doc = registry.trick.parts[name].doc
    assert doc.endswith(".")
    assert any(f"20{year}" in doc for year in range(14, 26))


# ---- what cannot be played is refused, with the way out -----------------------------------------------------------


@pytest.mark.parametrize("name", ["label-smoothing", "label-flipping"])
def test_losses_without_labels_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"tricks.{name}: this loss has no labels.*use adversarial=non-saturating"):
        play("r1gan", f"tricks.{name}={{}}")


def test_a_critic_without_features_is_refused() -> None:
    class Bare(Tilt):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            return x @ self.w

    with pytest.raises(InputError, match=r"gives no features; use mlp, cnn or dcgan, or return Verdict"):
        g_of(game(made("feature-matching"), D=Bare()))
    with pytest.raises(InputError, match=r"layers 2: the critic has 2 layers of features; use -2..1"):
        g_of(game(made("feature-matching", layers=(0, 2))))


def test_batches_that_do_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match=r"4 samples do not divide into packs of 3; use a batch .* and a micro_batch"):
        made("packing", m=3).shown(REAL, (), Now(), "real")
    play("mlp", "tricks.packing.m=3", "batch=12", "micro_batch=6").run(1)
    for micro, use in ((8, 6), (2, 3)):
        with pytest.raises(
            InputError, match=rf"micro_batch {micro}: arena\.tricks\.packing .*; use micro_batch={use}$"
        ):
            play("mlp", "tricks.packing.m=3", "batch=12", f"micro_batch={micro}")
    with pytest.raises(InputError, match=r"4 rows are not groups of 3"):
        Spread(3)(REAL)
    trick = made("image-pool", size=3)
    trick.dress("G", Shift(), SPEC)
    with pytest.raises(InputError, match=r"a batch with 4 rows is more than its 3 places; use size=32"):
        trick.judged(REAL, FAKE, Now())


def test_conditions_that_cannot_follow_are_refused() -> None:
    with pytest.raises(InputError, match="stored fakes belong to other conditions"):
        made("image-pool").critic_spec(Spec((2,), given=((3,),)))
    with pytest.raises(InputError, match="must be vectors or images"):
        made("packing").critic_spec(Spec((2,), given=((),)))


def test_networks_that_cannot_be_dressed_are_refused() -> None:
    for name in ("minibatch-stddev", "minibatch-discrimination"):
        with pytest.raises(InputError, match="Tilt has no linear layer or convolution"):
            game(made(name))
    with pytest.raises(InputError, match=r"G \(MLPGenerator\) has no batch norm to replace; use dcgan"):
        play("mlp", "tricks.virtual-batch-norm={}")
    small = ["tricks.virtual-batch-norm.role=D", "D.batch_norm=true"]
    with pytest.raises(InputError, match=r"of samples of \[1, 8, 8\] it is an input layer alone.*and D.smallest=2"):
        play("dcgan", *small)
    play("dcgan", *small, "D.smallest=2")


def test_what_must_come_last_comes_last_wherever_it_is_listed() -> None:
    """All weights are averaged, whichever trick added them, and noise falls on samples before they are packed."""
    changes = ["tricks.historical-averaging={}", "tricks.packing={}", "tricks.minibatch-stddev={}", "tricks.ada={p: 1}"]
    ends = [play("mlp", *order).run(2).weights() for order in (changes, changes[::-1])]
    assert same(*ends)


# ---- more of some -------------------------------------------------------------------------------------------------


def test_half_of_what_a_pool_gives_is_old_and_its_ages_halve() -> None:
    """Of a full pool half comes out old, and of the old ones each visit leaves half as many."""
    trick = made("image-pool", size=64)
    trick.dress("G", Shift(), SPEC)
    ages = []
    for step in range(200):
        fake = torch.full((64, 2), float(step))
        ages.append(step - trick.judged(fake, fake, Now(step=step))[1][:, 0])
    age = torch.cat(ages[50:])
    shares = [float((age == a).float().mean()) for a in range(4)]
    assert shares == pytest.approx([1 / 2, 1 / 4, 1 / 8, 1 / 16], abs=0.01)


def test_a_pool_does_not_blend_its_samples_over_ranks() -> None:
    """What is averaged over ranks before a save is floating; samples are kept as bits."""
    trick = made("image-pool", size=8)
    trick.dress("G", Shift(), SPEC)
    assert not any(b.is_floating_point() for b in trick.buffers())
    x = torch.tensor([[1.5, -2.25e-8], [3e20, 0.1]])
    trick.kept.keep(torch.tensor([6, 2]), x)
    assert torch.equal(trick.kept.rows(torch.tensor([6, 2]), torch.float32), x)


@pytest.mark.parametrize("role", ["G", "D"])
def test_with_virtual_batch_norm_rows_do_not_depend_on_each_other(role: str) -> None:
    """In training mode too, once the reference batch is there; and no batch norm is left."""
    made_ = play("dcgan", f"tricks.virtual-batch-norm={{size: 4, role: {role}}}", "D.smallest=2").run(2)
    state = made_.state.game
    net = state.G if role == "G" else state.arena.critics.critics["D"]
    assert isinstance(net, WithReference)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())
    assert net.training
    x = torch.randn(6, state.z_dim) if role == "G" else torch.randn(6, *IMAGES.shape)
    said = [net(x), net(x[1:3])]
    whole, part = said if role == "G" else [v.logits for v in said]
    assert torch.allclose(whole[1:3], part, atol=1e-5)
    if role == "D":
        assert all(len(f) == 6 for f in said[0].features)
        first = made_.data.take(0, 8, torch.device("cpu")).x[:4]
        assert torch.equal(net.kept[0].rows(torch.arange(4), torch.float32), first)


def test_virtual_batch_norm_of_a_row_of_the_reference_is_nearly_batch_norm() -> None:
    """With many reference rows, a row's own share vanishes."""
    norm = nn.BatchNorm2d(3)
    h = torch.randn(500, 3, 2, 2)
    virtual = VirtualNorm(norm, 500)(torch.cat([h, h]))[500:]
    assert torch.allclose(virtual, norm(h), atol=0.05)
    assert torch.allclose(VirtualNorm(norm, 500)(torch.cat([h, h]))[:500], norm(h), atol=1e-5)


def test_a_statistic_stands_beside_a_convolution_as_one_more_channel() -> None:
    """W h + V s is the convolution of h and s concatenated."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LeakyReLU(), nn.Conv2d(4, 1, 3, padding=1, stride=2))
    beside = made("minibatch-stddev", group=2).dress("D", net, IMAGES)[2]
    assert isinstance(beside, Beside)
    h = torch.randn(4, 4, 6, 6)
    both = torch.cat([h, Spread(2)(h).view(4, 1, 1, 1).expand(4, 1, 6, 6)], 1)
    kernel = torch.cat([beside.layer.weight, beside.more.weight], 1)
    want = nn.functional.conv2d(both, kernel, beside.layer.bias, stride=2, padding=1)
    assert torch.allclose(beside(h), want, atol=1e-5)
    scale = float(beside.layer.weight.detach().square().mean().sqrt())
    assert 0.3 * scale < float(beside.more.weight.detach().square().mean().sqrt()) < 3 * scale


@pytest.mark.parametrize(("name", "changes"), [("infogan", []), ("cgan", []), ("mad-gan", ["G=mlp", "D=mlp"])])
def test_latent_optimization_leaves_choices_alone(name: str, changes: list[str]) -> None:
    """Codes, classes and which generator stay what was drawn; the noise moves."""
    scenes = []
    for more in ([], ["tricks.latent-optimization={}"]):
        made_ = play(name, *changes, *more)
        batch, now = made_.engine.draw(made_.state, made_.data)
        scenes.append(made_.engine.stage(made_.state.game, batch, now, grad=False))
    plain, moved = (scene.z for scene in scenes)
    fixed = made_.state.game.G.fixed_latents
    assert fixed > 0
    free = plain.shape[1] - fixed
    assert torch.equal(plain[:, free:], moved[:, free:])
    assert bool((plain[:, :free] != moved[:, :free]).any(0).all())


def test_two_statistics_stand_beside_one_layer() -> None:
    net: nn.Module = nn.Sequential(nn.Linear(2, 5), nn.LeakyReLU(), nn.Linear(5, 1))
    for name in ("minibatch-stddev", "minibatch-discrimination"):
        net = made(name).dress("D", net, SPEC)
    outer = net[2]
    assert isinstance(outer, Beside)
    assert isinstance(outer.layer, Beside)
    assert isinstance(outer.layer.layer, nn.Linear)
    assert net(REAL.float()).shape == (4, 1)
    assert made("minibatch-stddev").dress("G", nn.Linear(2, 1), SPEC).weight.shape == (1, 2)  # G is left as it is


def test_a_spectrally_normalised_layer_stays_so() -> None:
    made_ = play("sngan", "tricks.minibatch-stddev={}").run(1)
    beside = next(m for m in made_.state.game.modules() if isinstance(m, Beside))
    assert nn.utils.parametrize.is_parametrized(beside.more, "weight")
    for _ in range(50):
        beside(torch.randn(4, beside.layer.in_features))
    assert float(torch.linalg.matrix_norm(beside.more.weight.detach(), 2)) == pytest.approx(1, abs=0.02)


def test_flipped_labels_of_packed_rows_do_not_depend_on_how_the_batch_is_cut() -> None:
    """Packed rows are fewer: a slice begins at its own place among them."""
    tricks = {"packing": made("packing"), "flip": made("label-flipping", p=0.5)}
    g = Classic(SPEC, G=Shift(), D=Tilt(torch.cat([W, -W])), tricks=tricks)
    x, y = torch.randn(16, 2, dtype=torch.float64), torch.randn(16, 2, dtype=torch.float64)
    whole = number(g.d_wants(Played(Now(), x, y)).total)
    parts = [number(g.d_wants(Played(Now(first=i), x[i : i + 8], y[i : i + 8])).total) for i in (0, 8)]
    assert whole == pytest.approx(sum(parts) / 2)


def test_real_features_are_asked_for_only_once() -> None:
    """A loss that looks at reals in G's turn has their features already."""
    for adversarial, asked in (("non-saturating", 2), ("relativistic", 2)):
        D = Tilt()
        seen: list[int] = []
        D.register_forward_hook(lambda *a, seen=seen: seen.append(1))
        g_of(game(made("feature-matching"), D=D, adversarial=adversarial))
        assert len(seen) == asked


def test_evidence_carries_what_tricks_need() -> None:
    critics = Critics({"D": Tilt()})
    seen = Evidence(critics, REAL, FAKE, (), [], critics(FAKE, now=Now(), side="fake"), Now())
    assert number(made("feature-matching").g_terms(seen)[""]) > 0
    assert made("historical-averaging").g_terms(seen) == {}
    assert POINTS.shape == SPEC.shape

"""Trainings broken on purpose, each in one way that has a name: what is changed, what should be found, and of whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from doctor_play import Bedside
from doctor_sets import Feed, Table
from gantlet.core.game import Loss
from gantlet.games.arena import Played

Rows = Callable[[Table], Table]
FREE: dict[str, Any] = {"penalties": {}}  # nothing keeps the critic smooth


class Case(NamedTuple):
    """One way to be, broken or not."""

    expected: str = ""  # the finding that names it; "": healthy
    accepted: tuple[str, ...] = ()  # other findings that are right as well
    who: str = ""  # a word that the finding must name: a player, a tensor
    changes: Mapping[str, Any] = {}  # of the base recipe
    train: Rows | None = None  # the rows it is fed with
    both: Rows | None = None  # these and the held-out ones
    unit: float = 1.0  # what rows were multiplied by
    game: Callable[[Any], None] | None = None  # changes what was built, before anybody plays it
    state: Callable[[Bedside], None] | None = None  # ... and after
    code: bool = False  # no option undoes it
    needs: str = ""  # "image" or "labels": the sets on which it can be
    steps: float = 1.0  # times the set's

    def bedside(self, recipe: Any, train: Table, held: Table) -> Bedside:
        """This training, ready to be played."""
        both = self.both or (lambda table: table)
        train, held = both(train), both(held)
        bed = Bedside.of(recipe, self.train(train) if self.train else train, held, self.game)
        bed.unit = self.unit
        if self.state is not None:
            self.state(bed)
        return bed


# ---- what is done to a built training -----------------------------------------------------------------------------


def spoilt(bed: Bedside, turn: str, wrap: Callable[[Played, Callable[[Any], Loss]], Loss]) -> None:
    """What a turn says, said otherwise."""
    bed.state.turns = [
        t._replace(loss=lambda scene, say=t.loss: wrap(scene, say)) if t.name == turn else t for t in bed.state.turns
    ]


def scaled(loss: Loss, factor: float) -> Loss:
    terms = {k: factor * v for k, v in loss.terms.items()}
    return Loss(terms, loss.stats, loss.views, loss.felt)


def rounded(bed: Bedside) -> None:
    """Fakes are rounded to pixels before D judges them in G's turn: the slope of a rounded number is zero."""
    spoilt(bed, "G", lambda scene, say: say(scene._replace(fake=scene.fake.mul(127.5).round().div(127.5))))


def cut_inside(game: Any) -> None:
    """A detach before G's last layer: what is before it never learns."""
    game.G.body[-2].register_forward_hook(lambda module, args, out: out.detach())


def other_weights(bed: Bedside) -> None:
    """G's optimiser was made with D's weights."""
    mine, theirs = bed.state.players["G"], bed.state.players["D"]
    options = {k: v for k, v in mine.opt.defaults.items() if k in ("lr", "betas", "eps", "fused")}
    mine.opt = type(mine.opt)(theirs.weights, **options)  # type: ignore[call-arg]


def wrong_sign(bed: Bedside) -> None:
    """G maximises its loss."""
    spoilt(bed, "G", lambda scene, say: scaled(say(scene), -1.0))


def swapped(bed: Bedside) -> None:
    """D is told that reals are fakes and fakes are reals; what it says is still looked at in the right order."""

    def say_it(scene: Played, say: Callable[[Any], Loss]) -> Loss:
        said = say(scene._replace(real=scene.fake.detach(), fake=scene.real))
        stats = {"real": said.stats["fake"], "fake": said.stats["real"]}
        views = {_other_side(k): v for k, v in said.views.items()}
        return Loss(said.terms, stats, views, said.felt)

    spoilt(bed, "D", say_it)


def _other_side(name: str) -> str:
    return name.replace("real", "?").replace("fake", "real").replace("?", "fake")


def nan_at_half(bed: Bedside) -> None:
    """At half-time, one number that is none."""

    def wrap(scene: Played, say: Callable[[Any], Loss]) -> Loss:
        said = say(scene)
        return scaled(said, float("nan")) if scene.now.step == bed.recipe["steps"] // 2 else said

    spoilt(bed, "D", wrap)


def stuck(bed: Bedside) -> None:
    """The loader answers the same batch every time."""

    class Stuck(Feed):
        def places(self, first: int, n: int) -> Tensor:
            return super().places(0, n)

    bed.feed = Stuck(bed.feed.table, bed.feed.seed)


def loud_logits(game: Any) -> None:
    """Logits of ten thousands, in half precision."""
    critic_of(game).body[-1].register_forward_hook(lambda module, args, out: 1e6 * out)


def critic_of(game: Any) -> Any:
    return game.arena.critics.critics["D"]


def no_latent(game: Any) -> None:
    """Latents are multiplied by zero."""
    game.G.register_forward_pre_hook(lambda module, args: (0 * args[0], *args[1:]))


def one_latent(game: Any) -> None:
    """One latent for the whole batch."""
    game.G.register_forward_pre_hook(lambda module, args: (args[0][:1].expand_as(args[0]), *args[1:]))


def deaf(game: Any) -> None:
    """The weights that hear the latent are zero and frozen."""
    weight = game.G.body[0].weight
    nn.init.zeros_(weight)
    weight.requires_grad_(False)


def dead(game: Any) -> None:
    """Biases so low that no unit of the critic's first layer ever fires."""
    nn.init.constant_(critic_of(game).body[0].bias, -8.0)


def squashed(game: Any) -> None:
    """Samples end in a tanh."""
    game.G.register_forward_hook(lambda module, args, out: torch.tanh(out))


def normed(game: Any) -> None:
    """Batch norm after every layer of the critic but the last."""
    body = critic_of(game).body
    found: list[nn.Module] = []
    for layer in body:
        found += [layer]
        if isinstance(layer, nn.Linear) and layer is not body[-1]:
            found += [nn.BatchNorm1d(layer.out_features)]
    critic_of(game).body = nn.Sequential(*found)


def together(bed: Bedside) -> None:
    """D judges reals and fakes in one batch, and fakes alone in G's turn."""
    arena: Any = bed.state.game.arena
    pair = arena.pairs["D"]

    def say_it(scene: Played, say: Callable[[Any], Loss]) -> Loss:
        (both,) = arena.critics(torch.cat([scene.real, scene.fake.detach()]), now=scene.now, side="real")
        real, fake = both.logits.chunk(2)
        views = {"real": scene.real, "fake": scene.fake, "on_real": real, "on_fake": fake}
        return Loss({"D": pair.d(real, fake)}, {"real": real.mean(), "fake": fake.mean()}, views)

    spoilt(bed, "D", say_it)


def unmeasured(game: Any) -> None:
    """Batch norms of G never measure anything, and are asked all the same."""
    for module in game.G.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.0


class Deconvolved(nn.Module):
    """8 x 8 images by transposed convolutions of 3 with stride 2, whose outputs overlap unevenly."""

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.start = nn.Linear(z_dim, 64 * 4)
        up = {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}
        self.body = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose2d(64, 32, **up), nn.ReLU(), nn.ConvTranspose2d(32, 1, **up)
        )

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.body(self.start(z).view(-1, 64, 2, 2)))


def checkered(game: Any) -> None:
    """A generator that draws checkerboards."""
    game.G = Deconvolved(game.z_dim)


# ---- what is done to the rows -------------------------------------------------------------------------------------


def first(n: int) -> Rows:
    return lambda table: table.where(torch.arange(min(n, len(table.x))))


def without_some(table: Table) -> Table:
    """Two classes are missing; where there are none, what lies farthest out."""
    if table.y is not None:
        return table.where(table.y > 1)
    far = table.x.flatten(1).norm(dim=1)
    return table.where(far < far.quantile(0.7))


def times(factor: float) -> Rows:
    return lambda table: table.times(factor)


def _lr(G: float, D: float) -> dict[str, Any]:
    return {"players.G.lr": G, "players.D.lr": D}


def each_player(**options: Any) -> dict[str, Any]:
    return {f"players.{p}.{k}": v for p in ("D", "G") for k, v in options.items()}


WILD = (
    "large-steps",
    "limit-cycle",
    "exploding",
    "overpowered",
    "collapse",
    "diverged",
)  # of a critic that nothing holds

FAULTS: dict[str, Case] = {
    "g-hot": Case("collapse", ("large-steps", "limit-cycle", "underpowered", "exploding", "diverged", "reinflation"),
                  changes={**FREE, **_lr(5e-2, 1e-4)}),
    "d-hot": Case("overpowered", ("large-steps", "vanishing", "exploding", "limit-cycle"),
                  changes={**FREE, **_lr(1e-4, 3e-2)}),
    "saturating-d-hot": Case("collapse", ("vanishing", "overpowered", "limit-cycle"),
                             changes={**FREE, "adversarial": "minimax", "d_steps": 5, **_lr(2e-3, 1e-2)}),
    "d-often": Case("overpowered", ("collapse", "vanishing", "limit-cycle", "exploding"),
                    changes={**FREE, "d_steps": 15, **_lr(2e-4, 2e-3)}),
    "g-often": Case("underpowered", ("collapse", "limit-cycle", "diverged"), changes={**FREE, "g_steps": 15}),
    "d-frozen": Case("not-updating", who="D", changes={"players.D.lr": 0.0}),
    "g-frozen": Case("not-updating", who="G", changes={"players.G.lr": 0.0}),
    "detached": Case("no-gradient", who="G", state=rounded, code=True),
    "detached-inside": Case("no-gradient", who="G", game=cut_inside, code=True),
    "wrong-weights": Case("not-updating", who="G", state=other_weights, code=True),
    "sign-flipped": Case("diverged-sign", ("cooperative", "diverged"), who="G", state=wrong_sign, code=True),
    "labels-swapped": Case("cooperative", ("diverged-sign",), who="D", state=swapped, code=True),
    "lr-huge": Case("exploding", ("large-steps", "latent-ignored", "diverged", "collapse", "dead-units", "limit-cycle",
                                  "nonfinite"),
                    changes=_lr(0.5, 0.5)),
    "simultaneous-sgd": Case("limit-cycle", ("collapse", "underpowered", "overpowered", "nonfinite"),
                             changes={**FREE, "dynamics": "simultaneous",
                                      "players": {p: {"use": "sgd", "lr": 0.5} for p in ("D", "G")}}),
    "momentum": Case("limit-cycle", ("collapse", "exploding", "overpowered"),
                     changes={**FREE, **each_player(beta1=0.95, lr=5e-3)}),
    "wgan-free": Case("limit-cycle", ("unbounded", *WILD),
                      changes={**FREE, "adversarial": "wasserstein", **each_player(lr=1e-2)}),
    "gamma-huge": Case("stiff", ("limit-cycle", "heavy-penalty"),
                       changes={"penalties.r1.gamma": 1e3, "penalties.r2.gamma": 1e3}),
    "latent-zero": Case("latent-ignored", ("collapse",), game=no_latent, code=True),
    "latent-deaf": Case("latent-ignored", ("collapse",), game=deaf, code=True),
    "latent-shared": Case("latent-ignored", ("collapse",), game=one_latent, code=True),
    "few-rows": Case("overfit", ("data-stuck", "memorised", "shift", "dropped-modes"), train=first(16)),
    "loader-stuck": Case(
        "data-stuck", ("overfit", "memorised"), changes={"batch": 16}, state=stuck, code=True
    ),
    "modes-missing": Case("shift", ("overfit", "dropped-modes"), train=without_some),
    "range": Case("range", ("data-scale", "dropped-modes"), both=times(6.0), unit=6.0, game=squashed),
    "scale": Case("data-scale", ("range",), both=times(100.0), unit=100.0),
    "dead-critic": Case("dead-units", ("no-gradient", "vanishing"), who="D", changes={"D.slope": 0.0}, game=dead,
                        code=True),
    "norm-of-both": Case("batch-leak", who="D", changes=FREE, game=normed, state=together, code=True),
    "g-narrow": Case("capacity", ("collapse", "dropped-modes"), changes={"G.hidden": [2]}),
    "nan": Case("nonfinite", who="D", state=nan_at_half, code=True),
    "fp16-overflow": Case("loss-scale", ("nonfinite",), changes={"precision": "fp16"}, game=loud_logits, code=True),
    "sharp-critic": Case("fake-slope", WILD,
                         changes={"penalties.r2": None, "D": {"use": "fourier", "hidden": [64, 64], "scale": 4.0},
                                  "penalties.r1.gamma": 0.01, **each_player(lr=5e-3)}),
    "lazy-unscaled": Case("limit-cycle", ("fake-slope", "exploding", "overpowered", "collapse", "stiff"),
                          changes={f"penalties.{r}": {"gamma": 0.1 / 16, "every": 16} for r in ("r1", "r2")}),
    "average-frozen": Case("average-stale",
                           changes={"average.half_life_images": 1e12, "average.ramp_up": None}),
    "norm-unmeasured": Case("norm-gap", who="G", changes={"G.batch_norm": True}, game=unmeasured, code=True),
    "checkerboard": Case("checkerboard", game=checkered, needs="image", code=True),
    "memorised": Case("memorised", ("overfit",), train=first(64), changes={"G.hidden": [256, 256]}, needs="image"),
}  # fmt: skip


def plays(case: Case, images: bool, mixture: bool) -> bool:
    """Can a set of this kind be broken in this way?"""
    return {"": True, "image": images, "labels": images or mixture}[case.needs]

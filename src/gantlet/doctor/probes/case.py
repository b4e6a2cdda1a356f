"""What probes are made on: one training, whose networks are asked about rows that they are not being trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from gantlet.core.critics import Verdict
from gantlet.core.dynamics import buffers_kept
from gantlet.core.game import Game
from gantlet.core.noise import key_of
from gantlet.core.state import State
from gantlet.doctor.finding import About
from gantlet.doctor.probes.rectified import Rectified
from gantlet.doctor.rows import Rows
from gantlet.doctor.vitals import apart, rows_of
from gantlet.games.arena import Arena
from gantlet.games.duel import Duel
from gantlet.losses.penalties import per_row
from gantlet.nets.spread import Spread

ROWS = 64  # rows that most probes look at, as the vitals do
MOST = 256  # rows where few are too noisy: held out against train, neighbours
NUMBERS = 2**24  # 64 MiB of samples at once: of larger ones fewer are made
LATENTS = key_of("probe")  # seed of the latents that are looked at, the same each time

Watched = tuple[Tensor, list[Tensor]]  # what was computed, and the dead channels of each rectifier on the way


class Case:
    """One training as probes see it; what several of them need is computed once.

    Networks are asked in pieces as large as a batch, without a graph, in float32. `makes`: its samples can be looked at.
    `judges`: so can what its critics say of single rows (a critic of pairs or codes is none of these).
    """

    def __init__(self, state: State, about: About, rows: Rows) -> None:
        self.state, self.about, self.rows = state, about, rows
        self.game: Game = state.game
        self.conditional = bool(self.game.labelled and self.game.classes)  # do G, and critics, take the class?
        self.unit = _unit(self.game, rows)
        self.chunk = self.whole(min(ROWS, max(about.batch, self.unit)))
        few = NUMBERS // max(1, rows.train[0].numel()) if len(rows.train) else 0
        # a round of probes costs what a few steps do, whatever the batch
        self.most = min(MOST, max(ROWS, 4 * about.batch), max(few, self.chunk))
        enough = min(len(rows.train), ROWS) >= 2 * self.unit and self.chunk > 0  # two logits have a spread
        told = rows.y is not None or not self.conditional
        self.makes = enough and told and len(state.players) > 1 and self._makes_rows()
        self.judges = self.makes and isinstance(self.game, Duel)

    def whole(self, n: int) -> int:
        """At most n rows that packs and groups of rows divide, all pieces alike where there are several."""
        chunk = getattr(self, "chunk", n)
        return n // chunk * chunk if n > chunk > 0 else n // self.unit * self.unit

    def _makes_rows(self) -> bool:
        return self.fake.shape[1:] == self.rows.train.shape[1:]

    # ---- rows -----------------------------------------------------------------------------------------------------

    @property
    def real(self) -> Tensor:
        """The first training rows [n, ...], n <= ROWS."""
        return self.rows.train[: self.whole(min(ROWS, len(self.rows.train)))]

    @property
    def reals(self) -> Tensor:
        """More of them, n <= MOST."""
        return self.rows.train[: self.whole(min(self.most, len(self.rows.train)))]

    @property
    def held(self) -> Tensor | None:
        """Held-out rows [n, ...], n <= MOST; None: there are none, or too few to be judged."""
        held = self.rows.held
        lacking = held is None or (self.conditional and self.rows.held_y is None)
        count = 0 if held is None or lacking else self.whole(min(self.most, len(held)))
        return held[:count] if held is not None and count >= 2 * self.unit else None

    @property
    def fake(self) -> Tensor:
        """[ROWS, ...] made as they are for the critics."""
        return self._watched_fake[0]

    @property
    def dead_in_G(self) -> list[Tensor]:
        """The dead channels of each rectifier while `fake` was made, bool [channels]."""
        return self._watched_fake[1]

    @cached_property
    def _watched_fake(self) -> Watched:
        return _watched(lambda: self.made(self.game, self.latents(ROWS)), self.pieces(self.whole(ROWS)))

    @cached_property
    def fakes(self) -> Tensor:
        """As many as there are `reals`."""
        n = len(self.reals)
        rest = max(0, n - len(self.fake))
        more = [self.made(self.game, self.latents(rest, first=len(self.fake)), first=len(self.fake))] if rest else []
        return torch.cat([self.fake, *more])[:n]

    @cached_property
    def width(self) -> Tensor:
        """The mean distance of two reals."""
        return apart(rows_of(self.real)).clamp(min=1e-12)

    def latents(self, n: int, *, first: int = 0) -> Tensor:
        """[about n, z]"""
        return self.game.latent(self.whole(n), seed=LATENTS, first=first).to(self.rows.train.dtype)

    def labels(self, n: int, *, first: int = 0, of: Tensor | None = None) -> tuple[Tensor, ...]:
        """What n rows are conditioned on: those of the training rows, over again where there are fewer."""
        y = self.rows.y if of is None else of
        if not self.conditional or y is None:
            return ()
        return (y[torch.arange(first, first + n, device=y.device) % len(y)],)

    # ---- asking ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def made(self, game: Game, z: Tensor, *, first: int = 0) -> Tensor:
        """The samples of latents [n, z] by this game or one that averages it, labels as of row `first` on."""
        with buffers_kept(game):
            parts = [game.generate(some, *self.labels(len(some), first=first + at)) for at, some in self._pieces(z)]
        return torch.cat([part if part.dim() else part.view(1) for part in parts])  # a game of one number has no rows

    @property
    def arena(self) -> Arena:
        """Critics and what stands before them; of a case that `judges`."""
        assert isinstance(self.game, Duel)
        return self.game.arena

    def judged(self, x: Tensor, given: Sequence[Tensor] = (), *, side: str = "real", first: int = 0) -> Verdict:
        """What the first critic says of x in one piece, as it sees x while training; buffers are the caller's to keep."""
        now = self.state.now._replace(first=first)
        said: list[Verdict] = self.arena.critics(x, *given, now=now, side=side)
        return said[0]

    @torch.no_grad()
    def verdicts(self, x: Tensor, *, side: str = "real", y: Tensor | None = None) -> Iterator[Verdict]:
        """Of x piece by piece; labels are the training rows' or y."""
        for at, some in self._pieces(x):
            with buffers_kept(self.arena.critics):
                said = self.judged(some, self.labels(len(some), first=at, of=y), side=side, first=at)
            yield said

    def logits(self, x: Tensor, *, side: str = "real", y: Tensor | None = None) -> Tensor:
        """A logit for each row of x (each pack of rows) [n]."""
        return torch.cat([per_row(said).flatten() for said in self.verdicts(x, side=side, y=y)]).float()

    @property
    def on_reals(self) -> Tensor:
        """Logits of `reals`."""
        return self._watched_on_reals[0]

    @property
    def on_fake(self) -> Tensor:
        """Logits of `fake`."""
        return self._watched_on_fake[0]

    @property
    def dead_in_D(self) -> list[Tensor]:
        """The channels of each rectifier that were dead for both, bool [channels]."""
        return [a & b for a, b in zip(self._watched_on_reals[1], self._watched_on_fake[1])]

    @cached_property
    def _watched_on_reals(self) -> Watched:
        return _watched(lambda: self.logits(self.reals), self.pieces(len(self.reals)))

    @cached_property
    def _watched_on_fake(self) -> Watched:
        return _watched(lambda: self.logits(self.fake, side="fake"), self.pieces(len(self.fake)))

    @cached_property
    def spread(self) -> Tensor:
        """The mean deviation of either side's logits."""
        return ((self.on_reals.std() + self.on_fake.std()) / 2).clamp(min=1e-12)

    def pieces(self, n: int) -> int:
        """In how many pieces n rows are shown."""
        return -(-n // self.chunk)

    def _pieces(self, x: Tensor) -> Iterator[tuple[int, Tensor]]:
        for at in range(0, len(x), self.chunk):
            yield at, x[at : at + self.chunk]


Probe = Callable[[Case], dict[str, Tensor]]
PROBES: list[Probe] = []


def _watched(run: Callable[[], Tensor], pieces: int) -> Watched:
    with Rectified() as seen:
        found = run()
    return found, seen.layers(pieces)


def _unit(game: Game, rows: Rows) -> int:
    """Rows that a batch has to be a multiple of: packs of samples, groups whose statistics a critic reads."""
    if not isinstance(game, Duel) or rows.train.dim() < 2:
        return 1
    packs = max(1, game.arena.seen.shape[0] // rows.train.shape[1])
    groups = [m.group for m in game.arena.critics.modules() if isinstance(m, Spread) and m.group]
    return packs * math.lcm(1, *groups)


@contextmanager
def modes(module: nn.Module, choose: Callable[[nn.Module], bool]) -> Iterator[None]:
    """Every part in training mode or not, as chosen; afterwards each as it was."""
    before = [(m, m.training) for m in module.modules()]
    try:
        for m, _ in before:
            m.training = choose(m)
        yield
    finally:
        for m, training in before:
            m.training = training


def normalises(module: nn.Module) -> bool:
    """Only batch norms train, as far as they do: they look at the batch, and nothing is drawn."""
    return module.training and isinstance(module, _BatchNorm)


def trains(module: nn.Module) -> bool:
    """As it is, without dropout, which would differ between two calls."""
    return module.training and not isinstance(module, _DropoutNd)


def rests(module: nn.Module) -> bool:
    """Nothing trains."""
    return False

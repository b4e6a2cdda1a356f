"""The engine's three verbs: stage a scene, take a gradient, move a player.

Nothing else in the package enters autocast, differentiates for a step, reduces over ranks or steps an optimiser; every
dynamics is written in these verbs, so precision, micro-batches, ranks and the finite guard work for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Data, Game, Loss, Turn
from gantlet.core.gradients import Gradient, Grads, Report, add, merge
from gantlet.core.guard import guarded_step, laid_out_as, may_shrink, refuse_coupling, warn_of_coupling
from gantlet.core.machine import Ranks, seed_generators
from gantlet.core.noise import key_of
from gantlet.core.optimizers import within
from gantlet.core.when import Now

if TYPE_CHECKING:
    from gantlet.core.optimizers import Player
    from gantlet.core.state import State

At = Mapping[nn.Parameter, Tensor]  # values that stand in for weights: where a hypothetical evaluation is made
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Engine:
    """Where and how the arithmetic is done."""

    def __init__(
        self,
        *,
        device: torch.device | str = "cpu",
        precision: str = "float32",  # float32 | bf16 | fp16
        batch: int = 64,  # over all ranks
        micro_batch: int | None = None,
        channels_last: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.precision, self.batch, self.channels_last = precision, batch, channels_last
        self.ranks = ranks or Ranks()
        if precision not in ("float32", *_DTYPES):
            raise InputError(f"precision {precision!r}: use float32, {' or '.join(_DTYPES)}")
        if batch % self.ranks.world:
            world = self.ranks.world
            raise InputError(f"batch {batch} does not divide over {world} ranks; use {batch // world * world or world}")
        self.rows = batch // self.ranks.world
        self.micro = micro_batch if micro_batch and micro_batch < self.rows else None
        self.needs: frozenset[str] = frozenset()
        self.sharing = True  # may turns share a scene? (a test compares)
        self.moved: set[str] = set()  # players that moved at least once
        self._kept: tuple[Now, Any] | None = None

    def settle(self, state: State) -> None:
        """Bring a new state to the device, in the engine's layout and precision; refuse what cannot be."""
        if self.micro is not None:
            refuse_coupling(state.game, self.micro)
        if self.ranks.first:
            warn_of_coupling(state.game, self.ranks.world)
        if self.precision == "fp16" and state.dynamics.second_order:
            raise InputError("precision=fp16: a scaled gradient cannot be differentiated again; use bf16 or float32")
        if self.precision == "fp16":
            for player in state.players.values():
                player.use_scaler()

    def place(self, game: Game) -> Game:
        """The game's weights on the device, 4-d ones in the engine's memory layout."""
        game.to(self.device)
        if self.channels_last:
            game.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return game

    def forget(self) -> None:
        """Drop the scene that is kept for a later turn."""
        self._kept = None

    # ---- verbs --------------------------------------------------------------------------------------------------

    def draw(self, state: State, data: Data) -> tuple[Batch, Now]:
        """This rank's slice of the next joint batch; the position in the data moves on."""
        now = state.now._replace(rank=self.ranks.rank, first=self.ranks.rank * self.rows)
        batch = data.take(now.images + now.first, self.rows, self.device)
        if self.channels_last and batch.x.dim() == 4:
            batch = batch._replace(x=batch.x.contiguous(memory_format=torch.channels_last))
        state.now = state.now._replace(images=now.images + self.batch, play=now.play + 1)
        return batch, now

    def stage(
        self, game: Game, batch: Batch, now: Now, *, grad: bool, at: At | None = None, create_graph: bool = False
    ) -> Any:
        """What all players see; with a graph only where somebody differentiates through it."""
        seed_generators(self.device, key_of(now.seed, now.step, now.play, now.first, "stage"))
        with self._region(), torch.set_grad_enabled(grad):
            return _apart(game, at, lambda: game.stage(batch, now), create_graph)

    def gradient(
        self,
        state: State,
        turn: Turn,
        batch: Batch,
        now: Now,
        *,
        create_graph: bool = False,
        again: bool = False,
        at: At | None = None,
    ) -> Gradient:
        """The gradient of one turn's loss in its player's weights.

        `again`: another turn will ask for the same batch before what staged it moves, so the scene is worth keeping.
        `at`: the loss is that of a game in which these tensors stand in for those weights; a gradient in a weight that
        is stood in for is one in its tensor.
        """
        player = state.players[turn.player]
        size = self.micro or self.rows
        grads: Grads = [None] * len(player.weights)
        report = Report()
        for start in range(0, self.rows, size):
            part, when = batch, now
            if self.micro is not None:
                part, when = batch.rows(start, start + size), now._replace(first=now.first + start)
            scene = self._scene(state, player, part, when, again=again, at=at, create_graph=create_graph)
            share = part.x.shape[0] / self.rows
            found = self._differentiate(state, turn, player, scene, when, share, create_graph, at)
            grads = add(grads, found[0]) if start else found[0]
            report = merge(report, found[1], share, views="views" in self.needs, slopes=found[2])
        ahead = create_graph and at is not None  # hypothetical: what is not finite there is not an alarm
        return self._reduced(state, turn, grads, report, create_graph, alarm=not ahead)

    def move(self, state: State, name: str, gradient: Gradient) -> None:
        """One guarded step of a player: a gradient that is not finite moves nothing, without asking the host."""
        player = state.players[name]
        pairs = [(w, g) for w, g in zip(player.weights, gradient.grads) if g is not None]
        if not pairs:
            raise InputError(
                f"turn {gradient.turn.name!r}: no weight of player {name!r} has a gradient; "
                "its loss does not depend on them (detached, or computed without grad)"
            )
        if player.scale is not None:
            inverse = 1 / player.scale
            pairs = [(w, g * inverse) for w, g in pairs]
        norms = torch.stack(torch._foreach_norm([g for _, g in pairs]))
        norm = norms.norm()
        good = gradient.finite & torch.isfinite(norm)
        state.look(gradient.turn, ("gradient",), (torch.isfinite(norm) | may_shrink(player)).view(1))
        if player.clip_norm is not None:
            factor = (player.clip_norm / (norm + 1e-12)).clamp(max=1.0)
            pairs = [(w, g * factor) for w, g in pairs]
        before = [w.detach().clone() for w, _ in pairs] if "updates" in self.needs else None
        for weight, grad in pairs:
            weight.grad = laid_out_as(weight, grad)
        guarded_step(player, good, state.now)
        self.moved.add(name)
        for weight, _ in pairs:
            weight.grad = None
        keep_in_bounds(player, good)
        gradient.report.gradient, gradient.moved = norm, good
        if before is not None:
            change = torch._foreach_sub(before, [w.detach() for w, _ in pairs])
            gradient.report.update = torch.stack(torch._foreach_norm(change)).norm()
            gradient.report.norms = _spread_out(norms, [g is not None for g in gradient.grads])
        if self._kept is not None and state.makes_scenes(player.weights):
            self._kept = None

    @staticmethod
    def pull(
        outputs: Sequence[Tensor], inputs: Sequence[Tensor], along: Sequence[Tensor], *, again: bool = True
    ) -> Grads:
        """The product of `along` with the Jacobian of outputs in inputs, for dynamics of second order.

        `again`: the graph is kept, and the product has one of its own.
        """
        return list(
            torch.autograd.grad(outputs, inputs, along, allow_unused=True, retain_graph=again, create_graph=again)
        )

    # ---- what the verbs are made of -------------------------------------------------------------------------------

    def _region(self) -> AbstractContextManager[Any]:
        """A fresh autocast region: its cache of cast weights must not outlive a move."""
        if self.precision not in _DTYPES:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision])

    def _scene(
        self, state: State, player: Player, batch: Batch, now: Now, *, again: bool, at: At | None, create_graph: bool
    ) -> Any:
        kept, self._kept = self._kept, None
        own = at is not None and state.makes_scenes(at)  # nobody else stages with these values
        keep = again and self.sharing and self.micro is None and not own
        if kept is not None and kept[0] == now and not own:
            scene = kept[1]
        else:
            felt = create_graph or at is not None
            grad = felt or keep or state.makes_scenes(player.weights)
            scene = self.stage(state.game, batch, now, grad=grad, at=at, create_graph=create_graph)
        if keep:
            self._kept = (now, scene)
        return scene

    def _differentiate(
        self, state: State, turn: Turn, player: Player, scene: Any, now: Now, share: float, create_graph: bool,
        at: At | None,
    ) -> tuple[Grads, Loss, dict[str, Tensor]]:  # fmt: skip
        seed_generators(self.device, key_of(now.seed, now.step, now.play, now.first, turn.name))
        whole = create_graph or at is not None  # another player's weights are part of what is differentiated
        held = nullcontext() if whole else _only_these_learn(state.parameters, player.weights)
        with held, self._region(), torch.enable_grad():
            loss = Loss.checked(_apart(state.game, at, lambda: turn.loss(scene), create_graph), turn.name)
            total = loss.total * share
            if player.scale is not None:
                total = total * player.scale
        if not total.requires_grad:
            return [None] * len(player.weights), loss, {}
        # pruned to this player's weights; what another turn shares of the graph is not on these paths
        again = at is not None or (self._kept is not None and state.makes_scenes(player.weights))
        weights = [(at or {}).get(w, w) for w in player.weights]
        felt = {k: v for k, v in loss.felt.items() if v.requires_grad} if "slopes" in self.needs else {}
        grads = torch.autograd.grad(
            total, [*weights, *felt.values()], allow_unused=True, create_graph=create_graph,
            retain_graph=create_graph or again,
        )  # fmt: skip
        slopes = {k: _steepness(g, player.scale) for k, g in zip(felt, grads[len(weights) :]) if g is not None}
        return list(grads[: len(weights)]), loss, slopes

    def _reduced(
        self, state: State, turn: Turn, grads: Grads, report: Report, create_graph: bool, *, alarm: bool
    ) -> Gradient:
        places = [i for i, g in enumerate(grads) if g is not None]
        if self.ranks.world > 1 and create_graph:
            raise InputError("second-order dynamics do not run on several ranks: a mean over ranks has no graph")
        if self.ranks.world > 1:
            means = self.ranks.mean([g for g in grads if g is not None])
            for place, mean in zip(places, means):
                grads[place] = mean
        labels = tuple(report.terms)
        finite = torch.isfinite(torch.stack([report.terms[label].float() for label in labels]))
        if self.ranks.world > 1:  # all ranks skip a step or none does
            finite = self.ranks.mean([finite.float()])[0] > 1 - 0.5 / self.ranks.world
        if alarm:
            state.look(turn, labels, finite)
        return Gradient(grads, finite.all(), report, turn)


def _spread_out(norms: Tensor, there: list[bool]) -> Tensor:
    """Norms of those that are there, and zeros in the places of the others."""
    rest = iter(norms.unbind())
    return torch.stack([next(rest) if has else norms.new_zeros(()) for has in there])


def _steepness(grad: Tensor, scale: Tensor | None) -> Tensor:
    """The sum over rows of the norm of each row's slope, as of the loss before it was scaled."""
    with torch.no_grad():
        found: Tensor = grad.detach().float().flatten(1).norm(dim=1).sum()
        return found if scale is None else found / scale


def keep_in_bounds(player: Player, good: Tensor | None = None) -> None:
    """Bring the weights of a player that has bounds back within them; `good` False, on the device: leave them."""
    if player.clip_weights is None and player.max_norm is None:
        return
    with torch.no_grad():
        clip, longest = (_bound(player, value, good) for value in (player.clip_weights, player.max_norm))
        for weight in player.weights:
            if clip is not None:
                weight.clamp_(-clip, clip)
            if longest is not None and weight.dim() > 1:
                weight.mul_(within(weight, longest))


def _bound(player: Player, value: float | None, good: Tensor | None) -> Tensor | None:
    """Filled on the device, once for all weights; infinite where `good` is False."""
    if value is None:
        return None
    bound = player.weights[0].new_full((), value)
    return bound if good is None else torch.where(good, bound, torch.inf)


def _apart(game: Game, at: At | None, run: Callable[[], Any], create_graph: bool) -> Any:
    """`run()`, in a game some of whose weights are other tensors, or whose losses are differentiated twice.

    Both read copies of the buffers: a graph that is walked back later must find running statistics as they were. What was
    written into the copies is kept, but for a step ahead, which has a graph and other weights and ends in no move, and for
    modules whose weights are stood in for: those are another network's statistics.
    """
    if at is None and not create_graph:
        return run()
    buffers = {name: b.clone() for name, b in game.named_buffers()}
    weights = {name: at[p] for name, p in game.named_parameters() if p in at} if at else {}
    found = torch.func.functional_call(game, {**weights, **buffers}, (run,))
    if at is None or not create_graph:
        with torch.no_grad():
            for name, buffer in game.named_buffers():
                if not _stood_in(name, weights):
                    buffer.copy_(buffers[name])
    return found


def _stood_in(buffer: str, weights: Mapping[str, Tensor]) -> bool:
    """Does this buffer belong to a module, or to a part of one, that has a weight among these?"""
    return any(buffer.startswith(weight.rpartition(".")[0] + ".") for weight in weights)


@contextmanager
def _only_these_learn(parameters: Iterable[nn.Parameter], weights: Iterable[nn.Parameter]) -> Iterator[None]:
    """Other players' weights ask for no gradient while a first-order loss is computed: nothing is kept for them."""
    mine = {id(w) for w in weights}
    others = [p for p in parameters if p.requires_grad and id(p) not in mine]
    for other in others:
        other.requires_grad_(False)
    try:
        yield
    finally:
        for other in others:
            other.requires_grad_(True)

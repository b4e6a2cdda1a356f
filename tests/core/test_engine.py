"""The engine's three verbs: who moves, what is shared, what is cut into pieces, what is differentiated."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gantlet.core.dynamics import buffers_kept
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Loss
from helpers import DYNAMICS, GAMES, LAWS, PLAYABLE, POINTS, Play, Rows, has_batch_norm, largest_gap, play, same, spoil

OTHER = {"D": "G", "G": "D"}
EXACT = Rows(dtype=torch.float64)


def take_turn(made: Play, name: str, **options: Any) -> Any:
    """Draw, differentiate one turn, without a move."""
    turn = next(t for t in made.state.turns if t.name == name)
    batch, now = made.engine.draw(made.state, made.data)
    return made.engine.gradient(made.state, turn, batch, now, **options)


# ---- who moves ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("mover", ["D", "G"])
def test_a_turn_moves_its_player_and_nobody_else(name: str, mover: str) -> None:
    """The other player's weights stay bit-identical; no weight keeps a `.grad` or loses its `requires_grad`."""
    made = play(name)
    mine, others = made.weights(mover), made.weights(OTHER[mover])
    made.engine.move(made.state, mover, take_turn(made, mover))
    assert same(others, made.weights(OTHER[mover]))
    assert not same(mine, made.weights(mover))
    assert all(p.grad is None and p.requires_grad for p in made.state.game.parameters())


@pytest.mark.parametrize(("name", "dynamics"), PLAYABLE)
def test_no_gradient_is_left_anywhere(name: str, dynamics: str) -> None:
    made = play(name, f"dynamics={dynamics}").run(2)
    assert all(p.grad is None and p.requires_grad for p in made.state.game.parameters())
    assert all(not p.requires_grad for p in made.state.averages["ema"].copies["G"].parameters())
    assert made.engine._kept is None  # no graph outlives a step


def test_a_loss_that_moves_nobody_is_refused_by_name() -> None:
    made = play("mlp")
    made.state.turns[1] = made.state.turns[1]._replace(loss=lambda s: Loss({"G": s.fake.detach().mean()}))
    with pytest.raises(InputError, match="turn 'G': no weight of player 'G' has a gradient"):
        made.step()
    made.state.turns[1] = made.state.turns[1]._replace(loss=lambda s: Loss({}))
    with pytest.raises(InputError, match="turn 'G': its loss gave a Loss without terms"):
        made.step()


# ---- sharing a scene ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "dynamics"), PLAYABLE)
def test_a_shared_scene_is_the_scene_redone(name: str, dynamics: str) -> None:
    """Bit-identical weights with and without sharing; with batch norm or styles in G only running statistics differ.

    A graph that is walked back twice adds up in another order than two graphs: the last bits differ.
    """
    data = Rows(dtype=torch.float64)
    shared, redone = (play(name, f"dynamics={dynamics}", data=data) for _ in range(2))
    redone.engine.sharing = False
    shared.run(3), redone.run(3)
    tolerance = 1e-7 if shared.state.dynamics.second_order else 0.0
    assert largest_gap(shared.weights(), redone.weights()) <= tolerance
    buffers = [dict(p.state.game.named_buffers()) for p in (shared, redone)]
    differ = {k for k, b in buffers[0].items() if (b - buffers[1][k]).abs().max() > tolerance}
    assert all(k.startswith("G.") for k in differ)
    counts_forwards = has_batch_norm(shared.state.game.G) or all(k.endswith("w_mean") for k in differ)
    assert not differ or counts_forwards


def test_sharing_saves_a_forward_of_the_generator() -> None:
    calls = []
    for sharing in (True, False):
        made = play("r1gan")
        made.engine.sharing = sharing
        calls.append([])
        made.state.game.G.register_forward_hook(lambda *a, seen=calls[-1]: seen.append(1))
        made.run(2)
    assert [len(c) for c in calls] == [2, 4]


# ---- micro-batches ------------------------------------------------------------------------------------------------


def without_batch_norm(name: str) -> list[str]:
    """Changes after which no row's play depends on how the batch is cut."""
    game = play(name).recipe["game"]
    off = {"batch_norm": "false", "dropout": "0", "input_dropout": "0"}  # a mask is drawn for the rows of a piece
    off |= {"minibatch_std": "false", "half_life_images": "1e12"}  # running magnitudes move at every forward
    changes = [f"{net}.{name}={value}" for net in ("G", "D") for name, value in off.items() if game[net].get(name)]
    return [*changes, *(["penalties.path-length=null"] if "path-length" in (game.get("penalties") or {}) else [])]


COUPLED = {"reacgan": "ReACGAN", "semi": "FeatureMatching", "small-semi": "Classifies"}  # by a statistic of the batch


@pytest.mark.parametrize(("name", "micro"), [(n, m) for n in GAMES for m in ((1, 3, 4) if n in LAWS else (3,))])
def test_micro_batches_are_the_whole_batch(name: str, micro: int) -> None:
    """To 1e-6 in float64, penalties and their noise included, also where the pieces are unequal."""
    changes = without_batch_norm(name)
    if play(name).recipe["D"].get("spectral"):
        changes.append("D.spectral=false")  # its power iteration takes a step a forward: more pieces, further along
    if name in COUPLED:
        with pytest.raises(InputError, match=rf"micro_batch {micro}: .*{COUPLED[name]}.* looks at the whole batch"):
            play(name, *changes, f"micro_batch={micro}")
        return
    whole = play(name, *changes, data=EXACT).run(1)
    parts = play(name, *changes, f"micro_batch={micro}", data=EXACT).run(1)
    assert largest_gap(whole.weights(), parts.weights()) < 1e-6


@pytest.mark.parametrize("name", ["wgan-gp", "r1gan"])
def test_micro_batches_in_float32(name: str) -> None:
    changes = without_batch_norm(name)
    whole = play(name, *changes)
    parts = play(name, *changes, "micro_batch=3")
    for turn in ("D", "G"):
        a, b = take_turn(whole, turn), take_turn(parts, turn)
        assert largest_gap(a.grads, b.grads) < 1e-5 * max(1.0, max(float(g.abs().max()) for g in a.grads))
        assert largest_gap(a.report.terms.values(), b.report.terms.values()) < 1e-5
        assert a.report.stats.keys() == b.report.stats.keys()


@pytest.mark.parametrize("name", [n for n in LAWS if has_batch_norm(play(n).state.game)])
def test_batch_statistics_refuse_micro_batches_by_name(name: str) -> None:
    with pytest.raises(InputError, match=r"micro_batch 4: (G|arena)\.[\w.-]+ \(\w+\) looks at the whole batch"):
        play(name, "micro_batch=4")


def test_a_loss_on_batch_statistics_refuses_micro_batches() -> None:
    made = play("mlp")
    made.state.game.couples_batch = True
    engine = Engine(batch=8, micro_batch=4)
    with pytest.raises(InputError, match="micro_batch 4: Classic"):
        engine.settle(made.state)
    Engine(batch=8, micro_batch=8).settle(made.state)  # one piece is the whole


# ---- with and without a graph -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("turn", ["D", "G"])
def test_a_scene_without_a_graph_gives_the_same_gradient(name: str, turn: str) -> None:
    """A graph that this player does not need changes nothing: kept (`again`), whole (`create_graph`) or none."""
    plain, kept, whole = (
        take_turn(play(name, data=EXACT), turn, **o) for o in ({}, {"again": True}, {"create_graph": True})
    )
    plain_grads, kept_grads, whole_grads = ([g for g in made.grads if g is not None] for made in (plain, kept, whole))
    assert plain_grads  # a network that is still growing has weights without one
    assert same(plain_grads, kept_grads)
    assert largest_gap(plain_grads, [g.detach() for g in whole_grads]) < 1e-12
    assert not any(g.requires_grad for g in plain_grads)
    assert any(g.requires_grad for g in whole_grads) or turn == "G"
    assert not any(
        t.requires_grad for g in (plain, whole) for t in [*g.report.terms.values(), *g.report.stats.values()]
    )


def test_only_who_makes_the_scene_gets_a_graph_of_it() -> None:
    made = play("mlp")
    seen: dict[str, bool] = {}
    for i, turn in enumerate(made.state.turns):
        loss = turn.loss
        made.state.turns[i] = turn._replace(
            loss=lambda s, loss=loss, name=turn.name: (seen.update({name: s.fake.requires_grad}), loss(s))[1]
        )
    take_turn(made, "D"), take_turn(made, "G")
    assert seen == {"D": False, "G": True}


@pytest.mark.parametrize("mover", ["D", "G"])
def test_while_one_learns_the_others_ask_for_nothing(mover: str) -> None:
    """A first-order loss keeps no activations for weights that it does not move; with a graph all are felt."""
    for options, want in (({}, {mover}), ({"create_graph": True}, {"D", "G"})):
        made = play("mlp")
        seen: set[str] = set()

        def look(scene: Any, loss: Loss, made: Play = made, seen: set[str] = seen) -> Loss:
            players = made.state.players.items()
            seen.update(name for name, p in players if any(w.requires_grad for w in p.weights))
            return loss

        spoil(made.state, mover, look)
        take_turn(made, mover, **options)
        assert seen == want


def mixed(made: Play, game: Any) -> tuple[Tensor, Tensor]:
    """d/d theta_G of <v_D, u> for a fixed direction u: by autodiff through the engine, by central differences."""
    weights = made.state.players["G"].weights
    turn = made.state.turns[0]
    batch, now = made.engine.draw(made.state, made.data)
    direction = [torch.cos(torch.arange(w.numel(), dtype=w.dtype)).view_as(w) for w in made.state.players["D"].weights]

    def along(**options: Any) -> Tensor:
        grads = made.engine.gradient(made.state, turn, batch, now, **options).grads
        return sum((g * u).sum() for g, u in zip(grads, direction))

    by_graph = torch.cat([g.flatten() for g in torch.autograd.grad(along(create_graph=True), weights)])
    h, slopes = 1e-5, []
    for w in weights:
        flat = w.detach().view(-1)
        for i in range(flat.numel()):
            value = flat[i].clone()
            flat[i] = value + h
            up = along()
            flat[i] = value - h
            slopes.append((up - along()) / (2 * h))
            flat[i] = value
    return by_graph, torch.stack(slopes)


@pytest.mark.parametrize(
    "changes", [(), ("penalties.r2.gamma=1",), ("penalties.gp={}",), ("adversarial=relativistic",)]
)
def test_the_mixed_jacobian_is_there(changes: tuple[str, ...]) -> None:
    """Law 1: d v_D / d theta_G by autodiff equals finite differences, and is not zero."""
    made = play("mlp", *changes, "G.hidden=[3]", "G.z=2", "D.hidden=[4]", "batch=5", data=Rows(POINTS, torch.float64))
    for critic in made.state.game.arena.critics.modules():  # a smooth critic: a kink would spoil the differences
        for name, child in critic.named_children():
            if isinstance(child, nn.LeakyReLU):
                setattr(critic, name, nn.Softplus())
    by_graph, by_differences = mixed(made, made.state.game)
    assert float(by_differences.abs().max()) > 1e-3
    assert float((by_graph - by_differences).abs().max()) < 1e-6


# ---- hypothetical evaluations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dcgan", "sngan"])
def test_buffers_come_back_after_a_hypothetical_evaluation(name: str) -> None:
    made = play(name)
    before = [b.clone() for b in made.state.game.buffers()]
    assert before
    with buffers_kept(made.state.game):
        take_turn(made, "D")
        assert not same(before, made.state.game.buffers())
    assert same(before, made.state.game.buffers())
    with pytest.raises(KeyError), buffers_kept(made.state.game):
        take_turn(made, "D")
        raise KeyError
    assert same(before, made.state.game.buffers())


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_step_changes_buffers_once(dynamics: str) -> None:
    """Batch norm counts its batches: fakes once a step, verdicts three times, however far a dynamics looks ahead."""
    made = play("dcgan", f"dynamics={dynamics}", data=Rows(POINTS._replace(shape=(1, 16, 16)))).run(3)
    counts = {k: int(v) for k, v in made.state.game.named_buffers() if k.endswith("num_batches_tracked")}
    assert {v for k, v in counts.items() if k.startswith("G.")} == {3}
    # real and fake for D, fake for G; unrolled play shows G's fakes to a critic that will never be
    seen = 6 if dynamics == "unrolled" else 9
    assert {v for k, v in counts.items() if k.startswith("arena.critics.")} == {seen}


# ---- the layout of memory -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dcgan", "r1gan", "wgan"])
def test_channels_last_computes_the_same(name: str) -> None:
    """Five steps of each layout agree, moments are laid out as their weights (fused kernels walk both side by side)."""
    data = Rows(IMAGES_3, torch.float64)
    plain, last = play(name, data=data), play(name, data=data, channels_last=True)
    assert same(plain.weights(), last.weights())
    plain.run(5), last.run(5)
    assert largest_gap(plain.weights(), last.weights()) < 1e-5
    four = [w for p in last.state.players.values() for w in p.weights if w.dim() == 4]
    assert any(w.stride() != w.contiguous().stride() for w in four)
    for player in last.state.players.values():
        for w, moments in player.opt.state.items():
            assert all(m.stride() == w.stride() for m in moments.values() if m.shape == w.shape and m.dim())


IMAGES_3 = POINTS._replace(shape=(3, 8, 8))


def test_gradients_are_laid_out_as_weights() -> None:
    """A fused step walks weight and gradient in memory order: a gradient of the other layout must be turned first."""
    seen = []
    made = play("r1gan", data=Rows(IMAGES_3), channels_last=True)
    for player in made.state.players.values():
        player.opt.register_step_pre_hook(
            lambda opt, *_: seen.extend((w.stride(), w.grad.stride()) for g in opt.param_groups for w in g["params"])
        )
    made.run(1)
    assert seen
    assert all(a == b for a, b in seen)
    contiguous = [(a, b) for a, b in seen if len(a) == 4 and a[1] == 1]
    assert contiguous


# ---- precision of the arithmetic ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GAMES)
def test_float64_stays_float64(name: str) -> None:
    """Losses, penalties, gradients and moments never pass through float32."""
    made = play(name, data=EXACT)
    for turn in ("D", "G"):
        gradient = take_turn(made, turn)
        found = [g for g in gradient.grads if g is not None]
        everything = [*found, *gradient.report.terms.values(), *gradient.report.stats.values()]
        assert {t.dtype for t in everything} == {torch.float64}
    made.run(1)
    moments = [v for p in made.state.players.values() for s in p.opt.state.values() for v in s.values() if v.dim()]
    assert {m.dtype for m in moments} <= {torch.float64}


# ---- nothing is read back -----------------------------------------------------------------------------------------

READS = [
    "item",
    "tolist",
    "nonzero",
    "__bool__",
    "__float__",
    "__int__",
    "__index__",
    "numpy",
    "__array__",
    "cpu",
    "is_nonzero",
]


@pytest.mark.parametrize(("name", "dynamics"), PLAYABLE)
def test_a_step_reads_nothing_back(name: str, dynamics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No value leaves the device in a step: neither a loss, nor a norm, nor a flag (averages included)."""
    made = play(
        name, f"dynamics={dynamics}", *(["micro_batch=4", *without_batch_norm(name)] if name == "r1gan" else [])
    )
    made.engine.needs = frozenset({"views", "updates"})
    made.step()
    found: list[str] = []
    for read in READS:
        original = getattr(torch.Tensor, read)
        monkeypatch.setattr(
            torch.Tensor,
            read,
            lambda t, *a, read=read, original=original, **k: (found.append(read), original(t, *a, **k))[1],
        )
    float(torch.zeros(()))
    assert found  # the trap works
    found.clear()
    made.step()
    made.state.average()
    assert found == []


# ---- watchers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "dynamics"), [(n, d) for n, d in PLAYABLE if n in ("dcgan", "sngan", "mlp")])
def test_watchers_change_nothing(name: str, dynamics: str) -> None:
    """With and without watchers that draw random numbers and generate in eval mode, the weights are bit-identical."""

    def nosy(state: Any, reports: Any) -> None:
        torch.manual_seed(state.now.step)
        torch.rand(7), torch.randn(3)
        for game in (state.game, state.best_game()):
            game.eval()
            with torch.no_grad():
                game.generate(game.latent(4, seed=state.now.step))
            game.train()
        state.state_dict()
        state.check_finite()
        assert reports["D"].views and reports["G"].update is not None

    nosy.needs = frozenset({"views", "updates"})
    plain, watched = play(name, f"dynamics={dynamics}"), play(name, f"dynamics={dynamics}")
    plain.run(4)
    watched.run(4, (lambda now: True, nosy))
    assert same(plain.weights(), watched.weights())
    assert same(plain.state.game.state_dict().values(), watched.state.game.state_dict().values())
    averages = [p.state.averages["ema"].copies["G"].state_dict().values() for p in (plain, watched)]
    assert same(*averages)


def test_mean_logits_are_told_where_verdicts_are_shown() -> None:
    """By games that say nothing of them: what the doctor's gap is made of, at every step."""
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-1.0])
    told = Loss({"D": real.sum()}, {"fake": torch.tensor(7.0)}, {"on_real": real, "on_fake": fake, "real": real}).told
    assert {name: float(value) for name, value in told.items()} == {"real": 2.0, "fake": 7.0}


@pytest.mark.parametrize("micro_batch", [None, "micro_batch=4"])
def test_a_report_tells_them(micro_batch: str | None) -> None:
    made = play("r1gan", *([micro_batch] if micro_batch else []))
    turn = made.state.turns[0]

    def silent(scene: object) -> Loss:
        loss = turn.loss(scene)
        return Loss(loss.terms, {}, loss.views)

    batch, now = made.engine.draw(made.state, made.data)
    said, shown = (made.engine.gradient(made.state, t, batch, now).report for t in (turn, turn._replace(loss=silent)))
    assert {"real", "fake"} <= shown.stats.keys()
    for side in ("real", "fake"):
        torch.testing.assert_close(shown.stats[side], said.stats[side])


def test_views_and_updates_are_there_only_when_asked_for() -> None:
    made = play("r1gan")
    looked = []

    def look(state: Any, reports: Any) -> None:
        looked.append((state.now.step, set(reports["D"].views), reports["D"].update is not None))

    look.needs = frozenset({"views", "updates"})
    glimpses = []
    made.run(4, (lambda now: now.step == 3, look), (lambda now: True, lambda s, r: glimpses.append(bool(r["D"].views))))
    views = {"real", "fake", "on_real", "on_fake", "features_real", "features_fake"}
    assert looked == [(3, views, True)]
    assert glimpses == [False, False, True, False]


def test_the_update_that_is_reported_is_the_step_taken() -> None:
    made = play("mlp")
    made.engine.needs = frozenset({"updates"})
    for player in ("D", "G"):
        before = made.weights(player)
        gradient = take_turn(made, player)
        made.engine.move(made.state, player, gradient)
        step = torch.cat([(a - b).flatten() for a, b in zip(before, made.weights(player))]).norm()
        assert torch.allclose(gradient.report.update, step, rtol=1e-4)
        norm = torch.cat([g.flatten() for g in gradient.grads]).norm()
        assert torch.allclose(gradient.report.gradient, norm, rtol=1e-6)


def test_training_leaves_the_caller_s_randomness_alone() -> None:
    made = play("dcgan")
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    made.run(2, (lambda now: True, lambda s, r: torch.rand(5)))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_caller_s_randomness_does_not_reach_training() -> None:
    a, b = (play("mlp", "D.dropout=0.5") for _ in range(2))
    torch.manual_seed(1)
    a.run(2)
    torch.manual_seed(2)
    b.run(2)
    assert same(a.weights(), b.weights())


def test_every_step_play_and_turn_draws_its_own_noise() -> None:
    """Latents of two steps, and of the repeated turns of one step, differ; every batch is new data."""
    made = play("wgan")
    fakes: list[Tensor] = []
    rows: list[Tensor] = []
    made.state.game.G.register_forward_pre_hook(lambda m, args: fakes.append(args[0].clone()))
    take = made.data.take
    made.data.take = lambda *a: (rows.append(b := take(*a)), b)[1]  # type: ignore[method-assign]
    made.run(2)
    index = torch.cat([b.index for b in rows])
    assert torch.equal(index, torch.arange(2 * 5 * 8))
    assert made.state.now.images == 80
    distinct = {tuple(z.flatten().tolist()) for z in fakes}
    assert len(distinct) == 10  # five draws a step: G shares the last one of D
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(made.state.game.latent(9, seed=0)))

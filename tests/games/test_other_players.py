"""Laws of the engine for games of one player, or of others than D and G, over every dynamics that plays them."""

from __future__ import annotations

import pytest
import torch

from gantlet.core.errors import InputError
from gantlet.core.guard import coupled
from helpers import DYNAMICS, OTHER_PLAYERS, Play, Rows, accepts, largest_gap, play, same, tensors

EXACT = Rows(dtype=torch.float64)
PLAYED = [(n, d) for n in OTHER_PLAYERS for d in DYNAMICS if accepts(n, d)]
REFUSED = [(n, d) for n in OTHER_PLAYERS for d in DYNAMICS if not accepts(n, d)]
READS = ["item", "tolist", "nonzero", "__bool__", "__float__", "__int__", "__index__", "numpy", "cpu", "is_nonzero"]


def loners(made: Play) -> list[str]:
    """Changes after which no row looks at another."""
    changes = []
    for net, options in made.recipe["game"].items():
        if isinstance(options, dict):
            changes += [f"{net}.{switch}=false" for switch in ("batch_norm", "spectral") if options.get(switch)]
    return changes + (["persistent=false"] if made.recipe["game"].get("persistent") else [])


@pytest.mark.parametrize("name", OTHER_PLAYERS)
def test_a_turn_moves_the_weights_of_its_player_and_no_others(name: str) -> None:
    for i in range(len(play(name).state.turns)):
        made = play(name)
        turn = made.state.turns[i]
        mine = {id(w) for w in made.state.players[turn.player].weights}
        before = {n: (p, p.detach().clone()) for n, p in made.state.game.named_parameters()}
        batch, now = made.engine.draw(made.state, made.data)
        gradient = made.engine.gradient(made.state, turn, batch, now)
        made.engine.move(made.state, turn.player, gradient)
        moved = {n for n, (p, was) in before.items() if not torch.equal(p, was)}
        assert moved
        assert all(id(before[n][0]) in mine for n in moved)
        assert all(p.grad is None and p.requires_grad for p in made.state.game.parameters())


@pytest.mark.parametrize(("name", "dynamics"), PLAYED)
def test_six_steps_are_three_and_three(name: str, dynamics: str) -> None:
    """Everything that changes is saved: chains, running moments, moves of the past."""
    whole, first = (play(name, f"dynamics={dynamics}").run(n) for n in (4, 2))
    again = play(name, f"dynamics={dynamics}", seed=9)
    again.state.load_state_dict(first.state.state_dict())
    again.run(4)
    a, b = tensors(whole.state.state_dict()), tensors(again.state.state_dict())
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []
    whole.state.check_finite()
    assert not same(whole.weights(), play(name, f"dynamics={dynamics}").weights())


@pytest.mark.parametrize(("name", "dynamics"), REFUSED)
def test_a_dynamics_that_cannot_says_why_and_what_can(name: str, dynamics: str) -> None:
    with pytest.raises(InputError, match=r"use dynamics=|the game has no player 'G'; it has: "):
        play(name, f"dynamics={dynamics}")


@pytest.mark.parametrize("name", OTHER_PLAYERS)
def test_a_scene_that_is_shared_is_the_scene_redone(name: str) -> None:
    shared, redone = (play(name, *loners(play(name)), data=EXACT) for _ in range(2))
    redone.engine.sharing = False
    assert largest_gap(shared.run(3).weights(), redone.run(3).weights()) < 1e-12


@pytest.mark.parametrize("name", OTHER_PLAYERS)
def test_pieces_of_a_batch_are_the_whole_of_it(name: str) -> None:
    changes = [*loners(play(name)), *(["D.dropout=0"] if play(name).recipe["game"].get("D", {}).get("dropout") else [])]
    whole = play(name, *changes, data=EXACT)
    if coupled(whole.state.game):
        pytest.skip(f"rows of {name} depend on each other: {coupled(whole.state.game)[0]}")
    parts = play(name, *changes, "micro_batch=3", data=EXACT)
    assert largest_gap(whole.run(1).weights(), parts.run(1).weights()) < 1e-6


@pytest.mark.parametrize("name", OTHER_PLAYERS)
def test_exact_arithmetic_stays_exact(name: str) -> None:
    made = play(name, data=EXACT)
    for reports in (made.step(), made.step()):
        for report in reports.values():
            assert {t.dtype for t in [*report.terms.values(), *report.stats.values()]} == {torch.float64}


@pytest.mark.parametrize("name", OTHER_PLAYERS)
def test_low_precision_plays_with_terms_in_full(name: str) -> None:
    made = play(name, precision="bf16")
    before = made.weights()
    for _ in range(2):
        for report in made.step().values():
            assert {t.dtype for t in [*report.terms.values(), *report.stats.values()]} == {torch.float32}
    made.state.check_finite()
    assert not same(before, made.weights())


@pytest.mark.parametrize("name", OTHER_PLAYERS)
def test_nothing_leaves_the_device_in_a_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = play(name)
    made.engine.needs = frozenset({"views", "updates"})
    made.step()
    found: list[str] = []
    for read in READS:
        original = getattr(torch.Tensor, read)
        monkeypatch.setattr(
            torch.Tensor,
            read,
            lambda t, *a, read=read, original=original, **k: (found.append(read), original(t, *a))[1],
        )
    made.step()
    made.state.average()
    assert found == []


@pytest.mark.parametrize("name", OTHER_PLAYERS)
def test_latents_and_samples_do_not_know_their_batch(name: str) -> None:
    made = play(name).run(2)
    for game in (made.state.game.eval(), made.state.best_game().eval()):
        z = game.latent(10, seed=3)
        assert z.shape == (10, game.z_dim)
        assert torch.equal(torch.cat([game.latent(4, seed=3), game.latent(6, seed=3, first=4)]), z)
        with torch.no_grad():
            whole, parts = game.generate(z), torch.cat([game.generate(part) for part in z.split([1, 4, 5])])
        assert whole.shape == (10, *made.data.spec.shape)
        assert float((whole - parts).abs().max()) < 1e-4

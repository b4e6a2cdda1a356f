"""Standing statistics: a cumulative mean over seeded samples, and nothing else moves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gantlet
from gantlet.core.errors import InputError
from gantlet.games.classic import Classic
from gantlet.runs.standing import standing
from helpers import POINTS, Play, has_batch_norm, play


class Normed(nn.Module):
    """A batch norm of the latent, and one that nothing passes."""

    z_dim = 2

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.idle, self.drop = nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.Dropout(0.5)

    def forward(self, z: Tensor) -> Tensor:
        kept: Tensor = self.drop(self.norm(3 * z + 1))
        return kept


def normed() -> Classic:
    return Classic(POINTS, G=Normed(), D="mlp")


def statistics(game: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in game.state_dict().items() if "running" in k}


def others(game: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in game.state_dict().items() if "running" not in k}


def test_they_are_the_mean_over_batches() -> None:
    """Of each batch's mean and unbiased variance; the running ones of before do not count."""
    game = normed()
    nn.init.constant_(game.G.norm.running_mean, 40.0)
    assert standing(game, batches=3, batch=8, seed=5) == 2
    batches = [3 * game.latent(8, seed=5, first=8 * i) + 1 for i in range(3)]
    assert torch.allclose(game.G.norm.running_mean, torch.stack([b.mean(0) for b in batches]).mean(0), atol=1e-5)
    assert torch.allclose(game.G.norm.running_var, torch.stack([b.var(0) for b in batches]).mean(0), atol=1e-4)


def test_a_norm_that_nothing_passes_keeps_what_it_had() -> None:
    game = normed()
    nn.init.constant_(game.G.idle.running_mean, 7.0)
    standing(game, batches=2, batch=4, seed=0)
    assert game.G.idle.running_mean.tolist() == [7.0, 7.0]


@pytest.fixture(scope="module")
def played() -> Play:
    return play("sngan-projection").run(2)


def test_nothing_else_of_the_game_moves(played: Play) -> None:
    """Weights, spectral norms, counts, modes and momenta are as before; nor does the game it was averaged from move."""
    game, live = played.state.best_game(), played.state.game
    assert game is not live
    before, kept, running = others(game), live.state_dict(), statistics(game)
    kept = {k: v.clone() for k, v in kept.items()}
    modes = [m.training for m in game.modules()]
    assert standing(game, batches=2, batch=8, seed=0) == 3
    assert all(torch.equal(v, before[k]) for k, v in others(game).items())
    assert all(torch.equal(v, kept[k]) for k, v in live.state_dict().items())
    assert [m.training for m in game.modules()] == modes
    norms = [m for m in game.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(m.momentum == 0.1 for m in norms)
    assert any(not torch.equal(v, running[k]) for k, v in statistics(game).items())


def test_they_follow_the_seed_alone(played: Play) -> None:
    game = played.state.best_game()
    found = []
    for seed in (1, 2, 1):
        standing(game, batches=2, batch=8, seed=seed)
        found.append(statistics(game))
    assert all(torch.equal(found[0][k], found[2][k]) for k in found[0])
    assert any(not torch.equal(found[0][k], found[1][k]) for k in found[0])


def test_with_them_a_generator_makes_what_it_makes_in_training(played: Play) -> None:
    """On the very samples they were taken of, evaluation and training agree; with stale ones they do not."""
    game = played.state.best_game()
    G, z = game.made_of()["G"], game.latent(256, seed=3)
    for norm in (m for m in G.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.reset_running_stats()
    with torch.no_grad():
        stale = G(z)
    standing(game, batches=1, batch=256, seed=3)
    with torch.no_grad():
        settled = G(z)
        for m in G.modules():
            m.training = isinstance(m, nn.BatchNorm2d)
        live = G(z)
        G.eval()
    assert torch.allclose(settled, live, atol=2e-3)
    assert not torch.allclose(stale, live, atol=2e-3)


def test_without_batch_norms_there_is_nothing_to_do() -> None:
    made = play("r1gan").state.game
    assert not has_batch_norm(made)
    assert standing(made, batches=1, batch=2, seed=0) == 0


@pytest.mark.parametrize(("batches", "batch"), [(0, 8), (1, 1)])
def test_too_few_samples_are_refused(batches: int, batch: int) -> None:
    with pytest.raises(InputError, match=f"of {batches} batches of {batch}: use at least 1 of at least 2"):
        standing(normed(), batches=batches, batch=batch, seed=0)


def test_a_run_of_single_rows_ends_with_its_model(tmp_path: Path) -> None:
    """One row alone has no variance: statistics are then of two."""
    sizes = ("G.width=4", "D.width=4", "G.z=4", "batch=1", "standing=2", "sample_every=0", "samples=4")
    run = gantlet.train("dcgan", *sizes, data="digits", out=tmp_path / "a", steps=1, device="cpu")
    assert run.reason == "done" and gantlet.load(run.path).sample(1).shape == (1, 1, 8, 8)

"""Path length: closed forms of linear generators, torch-fidelity's arithmetic, and what has no path."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pair_rows import COUNT, EPSILON, PATHS, far, latents, made
from torch import Tensor, nn

import helpers  # noqa: F401 (importing registers)
from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Loss, Spec, Turn
from gantlet.core.noise import normal, uniform
from gantlet.core.recipe import recipe
from gantlet.core.when import Now
from gantlet.explore.truncation import Truncated
from gantlet.metrics.about import about_of
from gantlet.metrics.diversity import stages_of, unlike
from gantlet.metrics.features import Features, build
from gantlet.metrics.path_length import distance_of, lengths, lerp, path_length, slerp, trimmed

RECORDED = json.loads((Path(__file__).parent / "oracle" / "pairs.json").read_text(encoding="utf-8"))["paths"]


class Plain(Game):
    """A generator and nobody to play against."""

    def __init__(self, net: nn.Module, z: int) -> None:
        super().__init__()
        self.net, self.z_dim = net, z

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"G": [self.net]}

    def turns(self) -> list[Turn]:
        return [Turn("G", "G", lambda scene: Loss({"none": scene.sum()}))]

    def stage(self, batch: Batch, now: Now) -> Any:
        return batch.x

    def made_of(self) -> dict[str, nn.Module]:
        return {"G": self.net}

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        made: Tensor = self.net(z)
        return made


class Mapped(nn.Module):
    """One with a mapping: w is twice z, and the samples are w through a layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def mapping(self, z: Tensor) -> Tensor:
        return 2 * z

    def synthesis(self, w: Tensor, z: Tensor | None = None) -> Tensor:
        made: Tensor = self.layer(w)
        return made

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesis(self.mapping(z))


def linear(z: int = 4, d: int = 3) -> Plain:
    net = nn.Linear(z, d)
    with torch.no_grad():
        net.weight.copy_(normal((z,), d, key=("linear",)))
    return Plain(net, z)


def ends(game: Game, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    z = game.latent(2 * n, seed=seed)
    return z[::2].double(), z[1::2].double()


NONE = torch.zeros(3, 3)  # reals: only their shape matters


# ---- by hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [1e-2, 1e-4])
@pytest.mark.parametrize("where", ["full", "end"])
def test_a_linear_generator_with_lerp(epsilon: float, where: str) -> None:
    """Every path is straight: the length is |A (z1 - z0)|^2 at any t and any epsilon; its mean is 2 |A|^2."""
    game = linear()
    got = path_length(NONE, NONE, model=game, pairs=500, between="lerp", epsilon=epsilon, where=where)
    a = next(game.net.parameters()).detach().double()
    z0, z1 = ends(game, 500)
    want = ((z1 - z0) @ a.T).square().sum(1)
    assert got["untrimmed"] == pytest.approx(float(want.mean()), rel=2e-4)
    assert got["path_length"] == pytest.approx(trimmed(want)[0], rel=2e-4)
    assert got["untrimmed"] == pytest.approx(2 * float(a.square().sum()), rel=0.2)
    assert got["warning"] == ""
    low, high = got["intervals"]["path_length"]
    assert low < got["path_length"] < high


def test_a_linear_generator_with_slerp() -> None:
    """On the unit circle the arc is angle wide and equally fast everywhere: |A l'| = angle for A = 1."""
    game = linear(2, 2)
    with torch.no_grad():
        game.net.weight.copy_(torch.eye(2))  # type: ignore[union-attr, operator]
    angles = torch.tensor([0.3, 1.2, 3.0]).double()
    z0 = torch.tensor([[1.0, 0.0]]).double().repeat(3, 1)
    z1 = torch.stack([angles.cos(), angles.sin()], 1)
    made = lengths(
        lambda z: z, lambda x, y: (x - y).square().sum(1), (z0, z1), torch.rand(3, 1), epsilon=1e-4, way="slerp"
    )
    assert made.tolist() == pytest.approx(angles.square().tolist(), rel=1e-6)


def test_slerp_and_lerp() -> None:
    a, b = torch.randn(2, 50, 7).double()
    for way in (slerp, lerp):
        assert torch.allclose(way(a, b, torch.zeros(50, 1)), a) and torch.allclose(way(a, b, torch.ones(50, 1)), b)
    n = a.norm(dim=1, keepdim=True)
    same = b / b.norm(dim=1, keepdim=True) * n
    assert torch.allclose(slerp(a, same, torch.rand(50, 1)).norm(dim=1, keepdim=True), n)
    half = slerp(a, same, torch.full((50, 1), 0.5).double())
    assert torch.allclose((half * a).sum(1), (half * same).sum(1))
    assert torch.allclose(slerp(a, 2 * a, torch.full((50, 1), 0.5).double()), 1.5 * a)  # no angle: straight
    assert bool(torch.isfinite(slerp(a * 0, b, torch.rand(50, 1))).all())


def test_stages_are_compared_as_for_diversity() -> None:
    class Stages(nn.Module):
        def stages(self, x: Tensor) -> list[Tensor]:
            return [x, x[:, :, ::2, ::2]]

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    seen = Features("Stages", Stages(), 48)
    x, y = torch.rand(2, 5, 3, 4, 4) - 0.5
    stages = stages_of(seen)
    assert stages is not None
    assert distance_of(seen)(x, y).tolist() == pytest.approx(unlike(stages(x), stages(y)).tolist())
    by_hand = torch.nn.functional.normalize(x, dim=1) - torch.nn.functional.normalize(y, dim=1)
    places = by_hand.square().sum(1)
    want = places.mean((1, 2)) + places[:, ::2, ::2].mean((1, 2))
    assert distance_of(seen)(x, y).tolist() == pytest.approx(want.tolist(), rel=1e-5)


def test_features_that_round_to_8_bits_do_not_here() -> None:
    seen = Features("eight", nn.Flatten(), 4, eight_bit=True)
    x = torch.zeros(1, 1, 2, 2)
    assert float(distance_of(seen)(x, x + 1e-4)) == pytest.approx(4e-8, rel=1e-5)
    after = Features("after", nn.Identity(), 4, after=seen)
    assert float(distance_of(after)(x, x + 1e-4)) == pytest.approx(4e-8, rel=1e-5)


def test_the_first_and_the_last_percent_are_left_out() -> None:
    values = torch.arange(201.0).double()
    values[-1] = 1e9
    mean, deviation = trimmed(values[torch.randperm(201)])
    assert mean == 100  # of 2 .. 198
    cut = values.clamp(2, 198)
    assert deviation == pytest.approx(float(cut.std()) * 201 / 197)
    assert trimmed(torch.tensor([3.0, 5.0]).double())[0] == 4


# ---- the oracle ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", PATHS)
def test_torch_fidelity_agrees(way: Any) -> None:
    values = lengths(made, far, latents(), torch.zeros(COUNT, 1), epsilon=EPSILON, way=way)
    want = RECORDED[way]
    assert values[:5].tolist() == pytest.approx(want["first"], rel=2e-6)  # its latents are interpolated in float32
    assert float(values.mean()) == pytest.approx(want["mean"], rel=1e-6)
    assert trimmed(values)[0] == pytest.approx(want["trimmed"], rel=1e-6)
    low, high = values.sort().values[[300 // 100, 297]]
    assert int(((values >= low) & (values <= high)).sum()) == want["kept"]


# ---- laws ---------------------------------------------------------------------------------------------------------


def deep() -> Plain:
    net = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Linear(32, 8), nn.Unflatten(1, (2, 2, 2)))
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(0.5 * normal(tuple(p.shape), 1, key=("deep", i))[0])
    return Plain(net, 6)


def test_batches_and_random_state_do_not_matter() -> None:
    game, x = deep(), torch.zeros(4, 2, 2, 2)
    want = path_length(x, x, model=game, pairs=100)
    before = torch.random.get_rng_state()
    torch.rand(5)
    small = path_length(x, x, model=game, pairs=100, batch=7)
    assert small["path_length"] == pytest.approx(want["path_length"], rel=1e-3)
    torch.random.set_rng_state(before)
    assert path_length(x, x, model=game, pairs=100) == want
    assert torch.equal(torch.random.get_rng_state(), before)
    other = path_length(x, x, model=game, pairs=100, seed=1)
    assert other["path_length"] != want["path_length"]


def test_it_is_measured_in_evaluation_mode_and_leaves_the_mode_alone() -> None:
    game, x = deep(), torch.zeros(4, 2, 2, 2)
    game.train()
    game.net[2].eval()  # type: ignore[index]
    state = {k: v.clone() for k, v in game.state_dict().items()}
    got = path_length(x, x, model=game, pairs=50)
    assert [m.training for m in game.net] == [True, True, False, True, True] and game.training  # type: ignore[union-attr]
    assert all(torch.equal(v, state[k]) for k, v in game.state_dict().items())
    assert got == path_length(x, x, model=game.eval(), pairs=50)


def test_float32_is_enough_at_the_paper_s_epsilon() -> None:
    """Against the same in float64; a hundredth, where the path bends, is farther off."""
    game = deep().eval()
    z = tuple(end.float() for end in ends(game, 200))
    t = uniform((1,), 200, key=("t",))

    def way(z: tuple[Tensor, ...], epsilon: float) -> float:
        with torch.no_grad():
            return float(lengths(game.generate, far, (z[0], z[1]), t, epsilon=epsilon, way="slerp").mean())

    in_32 = {e: way(z, e) for e in (1e-1, 1e-2, 1e-4)}
    game.double()
    exact = way(tuple(end.double() for end in z), 1e-6)
    assert in_32[1e-4] == pytest.approx(exact, rel=1e-3)
    assert abs(in_32[1e-1] - exact) > 10 * abs(in_32[1e-4] - exact)


def test_rough_generators_have_long_paths() -> None:
    class Wave(nn.Module):
        def __init__(self, often: float) -> None:
            super().__init__()
            self.often = nn.Parameter(torch.tensor(often))

        def forward(self, z: Tensor) -> Tensor:
            return torch.sin(self.often * z)

    told = [path_length(NONE, NONE, model=Plain(Wave(k), 3), pairs=300)["path_length"] for k in (0.5, 1.0, 3.0)]
    assert told == sorted(told) and told[2] > 4 * told[1]
    still = path_length(NONE, NONE, model=Plain(Wave(0.0), 3), pairs=50)
    assert still["path_length"] == 0 and still["warning"] == ""


def test_rounding_is_said() -> None:
    """A generator that answers in half precision: at 1e-4 the length is rounding, and the warning says so."""

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))

        def forward(self, z: Tensor) -> Tensor:
            return (self.gain * z).half().float()

    rough = path_length(NONE, NONE, model=Plain(Half(), 3), pairs=200)
    assert "rounding shows" in rough["warning"] and "take a larger one, 0.001" in rough["warning"]
    game = linear(3, 3)
    with torch.no_grad():
        game.net.weight.copy_(torch.eye(3))  # type: ignore[union-attr, operator]
    good = path_length(NONE, NONE, model=game, pairs=200)
    assert rough["path_length"] > 2 * good["path_length"] and good["warning"] == ""
    assert path_length(NONE, NONE, model=Plain(Half(), 3), pairs=200, epsilon=0.1)["path_length"] == pytest.approx(
        good["path_length"], rel=0.1
    )


def test_noise_of_the_generator_s_own_is_the_same_at_both_ends() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))

        def forward(self, z: Tensor) -> Tensor:
            return self.gain * z + torch.randn_like(z)

    game = linear(3, 3)
    with torch.no_grad():
        game.net.weight.copy_(torch.eye(3))  # type: ignore[union-attr, operator]
    plain, noisy = (path_length(NONE, NONE, model=g, pairs=100) for g in (game, Plain(Noisy(), 3)))
    assert noisy["path_length"] == pytest.approx(plain["path_length"], rel=1e-2)


def played(name: str, *changes: str, heard: float) -> Game:
    """A game as it is built, its noise learnt to this strength."""
    tree = recipe(name).override("G.width=8", "G.widest=16", "D.width=8", "D.widest=16", *changes).tree["game"]
    torch.manual_seed(0)
    game: Game = registry.bind("game", tree, total=1)(Spec((1, 16, 16), classes=3)).eval()
    with torch.no_grad():
        for at, p in game.named_parameters():
            if at.endswith(("noise.strength", "loudness")):
                p.fill_(heard)
    return game


@pytest.mark.parametrize("name", ["stylegan2-small", "fastgan"])
def test_noise_that_follows_the_latent_is_no_part_of_a_path(name: str) -> None:
    """A latent moved by a ten-thousandth has other noise: its square over 1e-8 would be all there is."""
    x = torch.zeros(4, 1, 16, 16)
    still, loud = (path_length(x, x, model=played(name, heard=s), pairs=24)["path_length"] for s in (0.0, 0.1))
    assert still / 5 < loud < 5 * still


@pytest.mark.parametrize("changes", [(), ("conditional=true",)])
def test_w_of_a_game_as_it_is_played(changes: tuple[str, ...]) -> None:
    """In w a length is that of the synthesis along a straight line, whoever stands around the network."""
    game = played("stylegan2-small", *changes, heard=0.1)
    got = path_length(torch.zeros(4, 1, 16, 16), NONE, model=game, pairs=12, space="w", where="end")
    net = game.made_of()["G"]
    z, raw = game.latent(24, seed=0), distance_of(build("raw", lambda: Spec((1, 16, 16))))
    with torch.no_grad():
        w = net.net.mapping(z[:, :-1], net.classes_of(z)) if changes else net.mapping(z)
        synthesis = net.net.synthesis if changes else net.synthesis
        want = lengths(synthesis, raw, (w[::2], w[1::2]), torch.zeros(12, 1), epsilon=1e-4, way="lerp")
    assert got["untrimmed"] == pytest.approx(float(want.mean()), rel=1e-2)
    assert got["name"] == "PL-raw-w"


def test_intervals_cover() -> None:
    """Around the trimmed mean of the whole law, of seeds and seeds."""
    game = linear(1, 1)
    with torch.no_grad():
        game.net.weight.fill_(1)  # type: ignore[union-attr, operator]
    z = torch.randn(1_000_000, dtype=torch.float64)
    truth = trimmed(2 * z.square())[0]
    hits = 0
    for seed in range(100):
        got = path_length(z[:3, None], z, model=game, pairs=200, between="lerp", seed=seed, batch=200)
        low, high = got["intervals"]["path_length"]
        hits += low <= truth <= high
    assert hits >= 88


def test_w_is_behind_the_mapping() -> None:
    game = linear()
    game.net = Mapped(game.net)
    a = next(game.net.parameters()).detach().double()
    z0, z1 = ends(game, 300)
    got = path_length(NONE, NONE, model=game, pairs=300, space="w")
    want = (2 * (z1 - z0) @ a.T).square().sum(1)
    assert got["untrimmed"] == pytest.approx(float(want.mean()), rel=2e-4)
    assert (got["between"], got["name"]) == ("lerp", "PL-raw-w")
    assert path_length(NONE, NONE, model=game, pairs=30)["between"] == "slerp"


# ---- bad input ----------------------------------------------------------------------------------------------------


def test_what_has_no_path() -> None:
    with pytest.raises(InputError, match="there is none; evaluate a run or a model"):
        path_length(NONE, NONE)
    with pytest.raises(InputError, match="use space=z"):
        path_length(NONE, NONE, model=linear(), space="w")
    with pytest.raises(InputError, match="this model truncates them; use space=z"):
        whole = Truncated(played("stylegan2-small", heard=0.0), 0.5)
        path_length(NONE, NONE, model=whole, space="w")
    broken = linear()
    with torch.no_grad():
        broken.net.bias.fill_(math.nan)  # type: ignore[union-attr, operator]
    with pytest.raises(InputError, match="NaN or infinite"):
        path_length(NONE, NONE, model=broken)


def test_what_it_says_of_itself() -> None:
    told = about_of(registry.metric.find("path-length").fn)
    assert (told.interval, told.floor, dict(told.scores)) == ("own", False, {"path_length": "lower"})
    got = path_length(NONE, NONE, model=linear(), pairs=10)
    assert (got["pairs"], got["real_count"], got["fake_count"], got["name"]) == (10, 0, 20, "PL-raw-z")
    json.dumps(got, allow_nan=False)
    _, faults = registry.check("metric", {"use": "path-length", "epsilon": 0, "between": "crow", "pairs": 1})
    assert len(faults) == 3

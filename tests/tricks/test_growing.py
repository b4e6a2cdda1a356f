"""Progressive growing: stages and fades follow the images seen, and are saved, averaged and resumed exactly."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.when import Now
from gantlet.games.classic import Classic
from gantlet.nets.growth import Grid, Growth
from gantlet.nets.progan import ProGANCritic, ProGANGenerator
from gantlet.tricks.growing import Growing
from helpers import Play, Rows, play, same, tensors

SIZES = [(1, 16, 16), (3, 17, 31), (2, 4, 5)]
SPEC = Spec((1, 16, 16))
# 8 images a step: 4 x 4 in the first two, fades of four and stages of two from there on
SOON = "tricks.growing={stage_images: 16, fade_images: 32}"


def pair(shape: tuple[int, ...], level: float) -> tuple[ProGANGenerator, ProGANCritic]:
    torch.manual_seed(1)
    G = ProGANGenerator(Spec(shape), z=6, width=4, widest=8)
    D = ProGANCritic(Spec(shape), width=4, widest=8)
    for net in (G, D):
        net.grow().set(level)
    return G, D


def grown(made: Play) -> Growing:
    (trick,) = made.state.game.arena.tricks.values()
    assert isinstance(trick, Growing)
    return trick


def pooled(x: Tensor, times: int = 2) -> Tensor:
    return functional.avg_pool2d(x, times)


def repeated(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")


# ---- what a level means -------------------------------------------------------------------------------------------


def test_levels_follow_the_images_seen() -> None:
    """A stage, then a fade and a stage for each doubling; a pure function."""
    trick = Growing(stage_images=100, fade_images=50)
    seen = [0, 99, 100, 125, 149, 150, 249, 250, 275, 300, 450]
    assert [trick.level(Now(images=n)) for n in seen] == [0, 0, 0, 0.5, 0.98, 1, 1, 1, 1.5, 2, 3]
    at_once = Growing(stage_images=100, fade_images=0)
    assert [at_once.level(Now(images=n)) for n in (99, 100, 199, 200)] == [0, 1, 1, 2]


def level(trick: Growing, step: int) -> float:
    """At batches of eight."""
    return trick.level(Now(step=step, images=8 * step))


def test_lengths_follow_from_the_run() -> None:
    """Two doublings in half of 80 steps: a stage, a fade, a stage, a fade of ten steps each, then the full size."""
    trick = Growing(steps=80)
    trick.grown.append(Growth(2))
    assert [level(trick, n) for n in (0, 1, 9, 15, 20, 29, 35)] == [0, 0, 0, 0.5, 1, 1, 1.5]
    assert level(trick, 40) == pytest.approx(2)
    assert level(trick, 80) >= 2
    longer = Growing(steps=160)
    longer.grown.append(Growth(2))
    assert level(longer, 30) == 0.5  # grows by its new length


@pytest.mark.parametrize("said", [{"stage_images": 40}, {"fade_images": 120}, {"stage_images": 1000}])
def test_one_length_leaves_the_rest_to_the_other(said: dict[str, int]) -> None:
    """Of 160 images a doubling: 40 and 120; a stage that is longer than that leaves nothing to fades."""
    trick = Growing(steps=80, **said)
    trick.grown.append(Growth(2))
    if said == {"stage_images": 1000}:
        assert (level(trick, 79), trick.level(Now(step=125, images=1000))) == (0, 1)
    else:
        assert [level(trick, n) for n in (4, 5 + 15 / 2, 20, 25)] == pytest.approx([0, 0.5, 1, 1])


def test_a_recipe_is_full_grown_in_the_middle_of_its_run() -> None:
    made = play("progan", "steps=20", data=Rows(SPEC))
    made.run(5)
    assert made.state.game.G.growth()[0] < 2
    made.run(11)
    assert made.state.game.G.growth() == made.state.game.arena.critics.critics["D"].growth() == (2, 1.0)


def test_a_run_nobody_knows_the_length_of_must_be_told() -> None:
    for tree in ({"use": "growing"}, {"use": "growing", "stage_images": 100}):
        with pytest.raises(InputError, match="give both, or steps"):
            Classic(SPEC, G="progan", D="progan", tricks={"growing": tree})
    G = ProGANGenerator(SPEC, z=6, width=4, widest=8)
    Growing(stage_images=100, fade_images=0).dress("G", G, SPEC)


def test_a_level_stops_at_the_full_size() -> None:
    growth = Growth(2)
    growth.set(7.5)
    assert growth() == (2, 1.0)
    growth.set(-1)
    assert growth() == (0, 1.0)


@pytest.mark.parametrize("shape", SIZES)
def test_a_fade_begins_as_the_smaller_stage_and_ends_as_the_next(shape: tuple[int, ...]) -> None:
    """G's image and D's verdict are continuous in the level: nothing jumps at either end of a fade."""
    G, D = pair(shape, 0)
    z, x = torch.randn(3, 6), torch.rand(3, *shape) * 2 - 1
    k = G.grid.doublings

    def at(level: float) -> tuple[Tensor, Tensor, Tensor]:
        for net in (G, D):
            net.growth.set(level)
        return G(z), D(D.faded(x)).logits, D.faded(x)

    for stage in range(k):
        before, begun, ended, after = (at(stage + d) for d in (0, 2**-16, 1 - 2**-16, 1))
        assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(before[:2], begun[:2]))
        assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(ended[:2], after[:2]))
        assert not torch.allclose(before[0], after[0], atol=1e-2)


@pytest.mark.parametrize("shape", SIZES)
def test_samples_are_whole_and_made_of_squares(shape: tuple[int, ...]) -> None:
    """At every stage the image has its full size, each of its pixels repeated: pooling it gives nothing away."""
    for stage in range(3):
        G, _ = pair(shape, stage)
        x = G(torch.randn(2, 6))
        top, _ = G.growth()
        times = 2 ** (G.grid.doublings - top)
        assert x.shape == (2, *shape)
        assert torch.allclose(G.grid.squares(G.grid.cells(x, times), times), x, atol=1e-6)


def test_a_generator_in_a_fade_is_the_mixture_of_both_images() -> None:
    G, _ = pair((1, 16, 16), 1.25)
    z = torch.randn(2, 6)
    h = G.start(functional.normalize(z, dim=1) * 6**0.5)
    small = G.blocks[0](repeated(h))
    large = G.blocks[1](repeated(small))
    mixed = 0.75 * repeated(G.paints["1"](small)) + 0.25 * G.paints["2"](large)
    assert torch.allclose(G(z), mixed, atol=1e-5)


def test_a_critic_in_a_fade_is_the_mixture_of_both_readings() -> None:
    _, D = pair((1, 16, 16), 1.25)
    x = torch.randn(2, 1, 16, 16)
    h = 0.25 * D.blocks[1](D.reads["2"](x)) + 0.75 * D.reads["1"](pooled(x))
    assert torch.allclose(D(x).logits, D.head(D.last(D.blocks[0](h))), atol=1e-5)
    real = D.faded(x)
    assert torch.allclose(real, 0.25 * x + 0.75 * repeated(pooled(x)), atol=1e-6)


def test_a_grid_repeats_the_border() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert torch.equal(Grid(2, 3, 1).cells(x, 1)[0, 0], torch.tensor([[0.0, 1, 2, 2], [3, 4, 5, 5]]))
    assert torch.equal(Grid(2, 3, 1).cells(x, 2)[0, 0], torch.tensor([[2.0, 3.5]]))
    image = torch.randn(1, 2, 17, 31)
    grid = Grid(17, 31, 2)
    assert grid.start == (5, 8)
    for times in (1, 2, 4):
        low = grid.cells(image, times)
        assert low.shape == (1, 2, 20 // times, 32 // times)
        assert torch.allclose(grid.cells(grid.squares(low, times), times), low, atol=1e-6)


# ---- as it is played ----------------------------------------------------------------------------------------------


def test_both_players_are_at_the_stage_of_their_images() -> None:
    made = play("progan", SOON, data=Rows(SPEC))
    trick = grown(made)
    seen: list[tuple[int, float, list[tuple[int, float]]]] = []
    for turn in list(made.state.turns):
        i = made.state.turns.index(turn)

        def looked(scene: Any, loss: Any = turn.loss) -> Any:
            seen.append((scene.now.images, trick.level(scene.now), [g() for g in trick.grown]))
            return loss(scene)

        made.state.turns[i] = turn._replace(loss=looked)
    made.run(12)
    levels = [level for _, level, _ in seen]
    assert {0.0, 1.0} < set(levels)
    assert any(0 < level < 1 for level in levels)
    assert levels[-1] > 1
    for _, level, (a, b) in seen:
        assert a == b
        assert a[0] - 1 + a[1] == pytest.approx(level if level else 0)


def test_reals_are_faded_as_well() -> None:
    trick = Growing(stage_images=10, fade_images=10)
    D = ProGANCritic(SPEC, width=4, widest=8)
    trick.dress("D", D, SPEC)
    real, fake = torch.randn(2, 1, 16, 16), torch.randn(2, 1, 16, 16)
    trick.begin(Now(images=13))
    shown, same_fake = trick.judged(real, fake, Now(images=13))
    assert same_fake is fake
    half = repeated(pooled(real))  # pixels of 8 x 8, into which those of 4 x 4 fade
    assert torch.allclose(shown, 0.3 * half + 0.7 * repeated(repeated(pooled(real, 4))), atol=1e-4)
    trick.begin(Now(images=9))
    assert trick.judged(real, fake, Now(images=9))[0] is real


@pytest.mark.parametrize("adversarial", ["relativistic", "non-saturating"])
def test_both_turns_see_the_same_reals(adversarial: str) -> None:
    """In a fade the critic is shown faded reals, once, whether D's turn asks or G's."""
    made = play(
        "progan", SOON, f"adversarial={adversarial}", "penalties={}", "D.minibatch_std=false", data=Rows(SPEC)
    ).run(4)  # fmt: skip
    game, D = made.state.game, made.state.game.arena.critics.critics["D"]
    seen: list[Tensor] = []
    D.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    now = made.state.now
    scene = game.stage(made.data.take(now.images, 8, torch.device("cpu")), now)
    assert 0 < D.growth()[1] < 1
    faded = D.faded(scene.real)
    assert not torch.allclose(faded, scene.real, atol=1e-2)
    game.d_wants(scene)
    assert torch.allclose(seen[0], faded)
    assert torch.equal(seen[1], scene.fake)
    seen.clear()
    game.g_wants(scene)
    assert torch.equal(seen[0], scene.fake)
    assert len(seen) == 1 + (adversarial == "relativistic")
    assert all(torch.allclose(x, faded) for x in seen[1:])


def test_what_has_not_been_reached_does_not_move() -> None:
    made = play("progan", SOON, data=Rows(SPEC))
    game = made.state.game
    before = [p.detach().clone() for p in game.G.blocks[1].parameters()]
    made.run(1)
    assert same(before, game.G.blocks[1].parameters())
    made.run(12)
    assert not any(torch.equal(a, b) for a, b in zip(before, game.G.blocks[1].parameters()) if b.dim() > 1)


@pytest.mark.parametrize("steps", [4, 9])
def test_a_resume_in_a_fade_is_exact(steps: int) -> None:
    """Law 5 in the middle of a fade, averages and samples included."""
    whole, first, again = (play("progan", SOON, data=Rows(SPEC), seed=s) for s in (0, 0, 7))
    whole.run(2 * steps), first.run(steps)
    assert grown(first).level(first.state.now) % 1 > 0
    again.state.load_state_dict(copy.deepcopy(first.state.state_dict()))
    z = first.state.game.latent(3, seed=0)
    assert torch.equal(first.state.best_game().generate(z), again.state.best_game().generate(z))
    again.run(2 * steps)
    a, b = tensors(whole.state.state_dict()), tensors(again.state.state_dict())
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []
    assert torch.equal(whole.state.best_game().generate(z), again.state.best_game().generate(z))


def test_an_average_is_as_grown_as_what_it_averages() -> None:
    made = play("progan", SOON, "average.half_life_images=0", "average.ramp_up=null", data=Rows(SPEC)).run(5)
    z = made.state.game.latent(3, seed=0)
    live, mean = made.state.game.G.eval(), made.state.best_game().G
    assert live.growth() == mean.growth()
    assert 0 < live.growth()[1] < 1
    assert torch.allclose(live(z), mean(z), atol=1e-6)


def test_copies_and_loaded_models_are_as_grown() -> None:
    G, _ = pair((1, 16, 16), 1.25)
    z = torch.randn(2, 6)
    twin = copy.deepcopy(G)
    G.growth.set(0)
    assert twin.growth() == (2, 0.25)
    other, _ = pair((1, 16, 16), 0)
    other.load_state_dict(twin.state_dict())
    for mode in (True, False):
        assert torch.equal(other.train(mode)(z), twin.train(mode)(z))


def test_nothing_else_can_grow() -> None:
    with pytest.raises(InputError, match=r"trick 'growing': D is DCGANCritic, which cannot grow; use progan"):
        play("dcgan", "tricks.growing={}")
    _, faults = registry.check("trick", {"use": "growing", "stage_images": 0, "fade_images": -1})
    assert len(faults) == 2


def test_styles_grow_too() -> None:
    made = play("stylegan", SOON, data=Rows(SPEC)).run(5)
    made.state.check_finite()
    assert isinstance(made.state.game.G.synthesis.growth, nn.Module)
    assert made.state.game.G.synthesis.growth()[0] == 1

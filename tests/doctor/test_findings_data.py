"""Findings of data and of structure: real broken trainings, and windows on either side of each threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sick import R1, Training, begun, each_row, judged, ours, shown
from torch import nn

from gantlet.core.game import Batch, Loss
from gantlet.data.stream import Stream

Break = Callable[[Training], Any]


def well(training: Training) -> None:
    """Nothing is broken."""


# ---- broken data ------------------------------------------------------------------------------------------------------


def stuck(t: Training) -> None:
    """One batch for ever."""
    shown(t, lambda data, first, n: data.take(0, n, torch.device("cpu")))


def sixteen(t: Training) -> None:
    """Sixteen rows over and over, though the set has many."""

    def take(data: Stream, first: int, n: int) -> Batch:
        rows = torch.arange(first, first + n) % 16
        few = data.take(0, 16, torch.device("cpu"))
        return few._replace(x=few.x[rows], y=None, index=rows)

    shown(t, take)


def squashed(t: Training) -> None:
    """Samples end in a tanh, and data reaches to 6."""
    net: Any = t.state.game.G
    forward = net.forward
    net.forward = lambda z: torch.tanh(forward(z))
    each_row(t, lambda x: 6 * x)


# ---- broken networks --------------------------------------------------------------------------------------------------


def normed(t: Training) -> None:
    """Batch norm in the critic, which sees reals and samples in calls of their own."""
    layers: list[nn.Module] = []
    for layer in t.critic.body:
        layers += [layer, nn.BatchNorm1d(32)] if getattr(layer, "out_features", 0) == 32 else [layer]
    t.critic.body = nn.Sequential(*layers)
    t.player("D", list(t.critic.parameters()))


def together(t: Training) -> None:
    """... and in one call."""
    normed(t)
    arena: Any = t.state.game.arena
    pair = arena.pairs["D"]

    def wants(scene: Any) -> Loss:
        (both,) = arena.critics(torch.cat([scene.real, scene.fake.detach()]), now=scene.now, side="real")
        real, fake = both.logits.chunk(2)
        views = {"real": scene.real, "fake": scene.fake, "on_real": real, "on_fake": fake}
        return Loss({"D": pair.d(real, fake)}, {"real": real.mean(), "fake": fake.mean()}, views)

    t.state.turns = [turn._replace(loss=wants) if turn.name == "D" else turn for turn in t.state.turns]


def dead(t: Training) -> None:
    """Biases so low that nothing in the critic's first layer ever fires."""
    nn.init.constant_(t.critic.body[0].bias, -8.0)


def heard(change: Callable[[torch.Tensor], torch.Tensor]) -> Break:
    """G hears something else than its latents."""

    def harm(t: Training) -> None:
        for game in (t.state.game, t.state.best_game()):
            net: Any = game.G
            net.register_forward_pre_hook(lambda module, args: (change(args[0]), *args[1:]))

    return harm


def unmeasured(t: Training) -> None:
    """G's batch norms never measure anything."""
    for module in t.state.game.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 0.0


FROZEN = ("average.half_life_images=1e12", "average.ramp_up=null")
BROKEN: dict[str, tuple[Break, tuple[str, ...], str, str, int]] = {
    "one batch": (stuck, (R1,), "data-stuck", "batches", 50),
    "sixteen rows of many": (sixteen, (R1,), "data-stuck", "batches", 50),
    "sixteen rows": (well, (R1, "data=toy:ring?sigma=0.05&count=16"), "data-stuck", "a set of 16 rows", 50),
    "a hundred times": (lambda t: each_row(t, lambda x: 100 * x), (R1,), "data-scale", "real rows", 50),
    "a hundredth": (lambda t: each_row(t, lambda x: x / 100), (R1,), "data-scale", "real rows", 50),
    "out of reach": (squashed, (R1, "players.G.lr=5e-3"), "range", "real rows", 100),
    "reals beside samples": (together, (), "batch-leak", "D", 100),
    "a norm and a penalty": (normed, (R1,), "batch-leak", "D", 50),
    "dead": (dead, (R1, "D.slope=0"), "dead-units", "D", 50),
    "no latent": (heard(lambda z: 0 * z), (R1,), "latent-ignored", "G", 50),
    "one latent a batch": (heard(lambda z: z[:1].expand_as(z)), (R1,), "latent-ignored", "G", 50),
    "statistics of nothing": (unmeasured, (R1, "G.batch_norm=true"), "norm-gap", "G", 100),
    "an average that rests": (well, (R1, *FROZEN), "average-stale", "average", 100),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_named_first(case: str) -> None:
    harm, changes, name, who, steps = BROKEN[case]
    training = begun(*changes)
    harm(training)
    cause = training.run(steps).cause
    assert cause is not None
    assert (cause.name, cause.sign.who) == (name, who)
    assert cause.remedies


# ---- trainings that are well ------------------------------------------------------------------------------------------

WELL: dict[str, tuple[Break, tuple[str, ...]]] = {
    "as it is": (well, (R1,)),
    "batch norm, and no penalty": (normed, ()),
    "batch norm in G": (well, (R1, "G.batch_norm=true")),
    "statistics of the batch by design": (well, (R1, "tricks.minibatch-stddev={}")),
    "packs": (well, (R1, "tricks.packing.m=2")),
    "rectifiers": (well, (R1, "D.slope=0")),
    "a set of twenty batches": (well, (R1, "data=toy:ring?sigma=0.05&count=1280")),
    "a wide grid": (well, (R1, "data=toy:grid")),
    "an average with a long memory": (well, (R1, "average.ramp_up=null")),
}


@pytest.mark.parametrize("case", WELL)
def test_what_is_by_design_is_no_finding(case: str) -> None:
    harm, changes = WELL[case]
    training = begun(*changes)
    harm(training)
    assert ours(training.run(100)) == []


PICTURES = ("dcgan", "acgan", "wgan-gp", "infogan")


@pytest.mark.parametrize("recipe", PICTURES)
def test_images_and_other_games_raise_no_false_alarm(recipe: str) -> None:
    """Narrow networks, few images a batch: batch norms, labels, codes."""
    narrow = ("G.width=4", "D.width=4", "G.z=16", "batch=8", "data=digits", "precision=float32")
    assert ours(begun(recipe=recipe, preset=narrow).run(50)) == []


# ---- windows by hand --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repeats", "count", "found"),
    [(0.31, 0, "batches"), (0.29, 0, ""), (1.0, 100_000, "batches"), (0.51, 256, "batches"), (0.49, 256, ""),
     (1.0, 64, ""), (1.0, 63, "a set of 63 rows"), (1.0, 1, "a set of 1 row"), (0.2, 63, "")],
)  # fmt: skip
def test_rows_may_come_again_as_often_as_the_set_is_short(repeats: float, count: int, found: str) -> None:
    """In batches of 64."""
    sign = judged("data-stuck", {"D.repeats": repeats}, count=count)
    assert (sign.who if sign else "") == found


@pytest.mark.parametrize(("size", "found"), [(9.9, False), (10.1, True), (0.011, False), (0.009, True), (0.7, False)])
def test_data_has_a_size_near_one(size: float, found: bool) -> None:
    assert bool(judged("data-scale", {"D.real_size": size})) is found


def beyond(outside: float, edge: float, fake: float, real: float) -> dict[str, float]:
    return {"D.outside": outside, "D.edge": edge, "D.fake_size": fake, "D.real_size": real}


@pytest.mark.parametrize(
    ("vitals", "found"),
    [(beyond(0.21, 0.31, 0.9, 1.06), True), (beyond(0.19, 0.31, 0.9, 1.06), False), (beyond(0.21, 0.29, 0.9, 1.06), False),
     (beyond(0.21, 0.31, 1.01, 1.06), False), (beyond(0.8, 0.8, 0.95, 0.96), False)],
)  # fmt: skip
def test_reals_are_out_of_range_only_of_samples_that_are_bounded(vitals: dict[str, float], found: bool) -> None:
    """The last: pictures in black and white, which tanh never quite reaches."""
    assert bool(judged("range", vitals)) is found


@pytest.mark.parametrize(
    ("shares", "found"),
    [((0.9, 0.9, 0.51), True), ((0.9, 0.9, 0.49), False), ((0.9, 0.4, 0.9), False), ((0.9, 0.9), False)],
)
def test_a_bound_below_one_shows_by_what_stays_out_of_reach(shares: tuple[float, ...], found: bool) -> None:
    """In each of three windows of 100 steps half of the reals' values are beyond all samples."""
    vitals = [beyond(share, 0.0, 0.76, 5.4) for share in shares]
    assert bool(judged("range", *vitals, steps=(100, 200, 300))) is found


def told(gap: float, held: float, auc: float) -> dict[str, float]:
    return {"probe.train_fake_gap": gap, "probe.held_gap": held, "probe.held_auc": auc}


@pytest.mark.parametrize(
    ("probe", "found"),
    [(told(0.2, 0.31, 0.57), True), (told(0.2, 0.29, 0.57), False), (told(0.3, 0.36, 0.55), False),
     (told(0.5, 0.45, 0.7), False), (told(-0.3, 0.36, 0.57), True), (told(0.3, -0.36, 0.43), True),
     (told(0.9, -0.36, 0.43), False), (told(0.3, -0.36, 0.45), False), (told(3.0, 2.0, 0.9), False)],
)  # fmt: skip
def test_held_out_rows_are_of_another_kind_where_samples_are_nearer(probe: dict[str, float], found: bool) -> None:
    assert bool(judged("shift", probe, probe, probe)) is found
    begun_far = {**probe, "probe.train_fake_gap": 3.0}  # samples are far from good at first
    assert bool(judged("shift", begun_far, begun_far, probe)) is found
    assert not judged("shift", told(3.0, 0.0, 0.5), told(3.0, 0.0, 0.5), probe)  # once may be chance
    assert not judged("shift", probe, probe)  # too early
    assert not judged(
        "shift", probe, probe, probe, count=600
    )  # seen ten times and more: the critic knows them by heart


def middles(at: float, **more: float) -> dict[str, float]:
    return {"D.real_at.0": 0.0, "D.real_at.1": at, "D.width.0": 1.0, "D.width.1": 2.0,
            "probe.held_at.0": 0.0, "probe.held_at.1": 0.0, "probe.held_count": 192.0, **more}  # fmt: skip


def test_batches_and_held_out_rows_have_one_middle() -> None:
    """192 rows on either side, of width 2: a standard error is 2 sqrt(2 / 192) = 0.204."""
    assert judged("shift", middles(0.83))
    assert not judged("shift", middles(0.80))
    assert not judged("shift", middles(0.83), tree={"balanced": True})
    assert not judged("shift", middles(0.83, **{"probe.held_count": 20.0}))
    assert not judged("shift", middles(0.83), tree={"flip": True})


def test_held_out_classes_are_those_that_are_trained_on() -> None:
    assert judged("shift", {"probe.unseen": 0.03})
    assert not judged("shift", {"probe.unseen": 0.01})


NORM: dict[str, Any] = {"batch_norm": True}
PENALISED: dict[str, Any] = {**NORM, "tree": {"game": {"penalties": {"r1": {"use": "r1", "gamma": 1.0, "every": 1}}}}}
PAIRED: dict[str, Any] = {**NORM, "tree": {"game": {"adversarial": {"use": "relativistic"}}}}
ALONE: dict[str, Any] = {**NORM, "tree": {"game": {"adversarial": {"use": "hinge"}, "penalties": {}}}}


def leaks(leak: float, together: float, alone: float) -> dict[str, float]:
    return {"probe.leak": leak, "D.separation": together, "probe.train_fake_gap": alone}


@pytest.mark.parametrize(
    ("vitals", "about", "found"),
    [(leaks(0.06, 0.5, 0.5), PENALISED, True), (leaks(0.04, 0.5, 0.5), PENALISED, False),
     (leaks(0.06, 0.5, 0.5), PAIRED, True), (leaks(0.06, 0.5, 0.5), ALONE, False), (leaks(0.06, 0.5, 0.5), NORM, False),
     (leaks(0.06, 1.1, 0.3), ALONE, True), (leaks(0.06, 1.1, 0.4), ALONE, False), (leaks(0.06, 0.9, 0.0), ALONE, False),
     (leaks(0.9, 9.0, 0.0), {**PENALISED, "statistic": True}, False), (leaks(0.9, 9.0, 0.0), {}, False)],
)  # fmt: skip
def test_a_verdict_may_depend_on_neighbours_unless_that_does_harm(
    vitals: dict[str, float], about: dict[str, Any], found: bool
) -> None:
    assert bool(judged("batch-leak", vitals, **about)) is found


@pytest.mark.parametrize(
    ("dead", "worst", "who"), [(0.51, 0.6, "G"), (0.49, 0.91, "G"), (0.49, 0.89, ""), (0.0, 0.0, "")]
)
def test_most_units_or_a_whole_layer_must_be_dead(dead: float, worst: float, who: str) -> None:
    sign = judged("dead-units", {"probe.dead.G": dead, "probe.dead_worst.G": worst, "probe.dead_worst.D": 0.5})
    assert (sign.who if sign else "") == who
    assert not judged("dead-units", {"probe.dead.G": 0.0, "probe.dead_worst.G": 0.1}, {"probe.dead_worst.G": worst})


def test_samples_must_have_been_alike_all_along() -> None:
    alike = {"D.diversity": 0.0}
    assert judged("latent-ignored", alike, alike)
    assert not judged("latent-ignored", {"D.diversity": 0.3}, alike)  # a collapse
    nearly = {"D.diversity": 1.9e-3}
    assert not judged("latent-ignored", nearly, nearly)  # small weights at the start
    assert judged("latent-ignored", *[nearly] * 5)
    assert not judged("latent-ignored", *[{"D.diversity": 2.1e-3}] * 5)
    assert judged("latent-ignored", {"D.diversity": 0.5, "probe.latent_response": 0.0})  # labels make the difference


def test_evaluation_must_differ_in_two_probes() -> None:
    assert judged("norm-gap", {"probe.eval_gap": 0.51}, {"probe.eval_gap": 0.51})
    assert not judged("norm-gap", {"probe.eval_gap": 0.9}, {"probe.eval_gap": 0.49})
    assert not judged("norm-gap", {"probe.eval_gap": 0.9})
    mixing = {"tree": {"game": {"G": {"use": "style2", "mixing": 0.9}}}}
    assert not judged("norm-gap", {"probe.eval_gap": 0.9}, {"probe.eval_gap": 0.9}, **mixing)


def average(distance: float, ours: float, live: float = 1.0) -> dict[str, float]:
    return {"probe.average_distance": distance, "probe.average_diversity": ours, "probe.live_diversity": live}


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [(average(0.1, 0.5), average(0.2, 0.500001), True), (average(0.1, 0.5), average(0.2, 0.500002), False),
     (average(0.1, 0.5), average(0.1, 0.5), False), (average(0.01, 0.5), average(0.019, 0.5), False),
     (average(0.1, 0.0), average(0.2, 0.0), False)],
)  # fmt: skip
def test_an_average_rests_where_the_live_weights_do_not(
    before: dict[str, float], now: dict[str, float], found: bool
) -> None:
    """The last: where all samples are alike they cannot show a move."""
    assert bool(judged("average-stale", before, before, now)) is found
    assert not judged("average-stale", before, now)  # two may be equal by chance


def test_an_average_lags_where_its_samples_vary_less_for_long() -> None:
    first, late = average(0.2, 0.2, 0.3), {"steps": (100, 300, 600)}
    assert judged("average-stale", first, average(0.3, 0.55), average(0.31, 0.59), **late)
    assert not judged("average-stale", first, average(0.3, 0.55), average(0.31, 0.59), steps=(50, 100, 300))
    assert not judged("average-stale", first, average(0.3, 0.55), average(0.31, 0.61), **late)
    ill = (average(0.3, 0.5, 0.2), average(0.31, 0.59, 0.2))  # on the live side
    assert not judged("average-stale", first, *ill, **late)

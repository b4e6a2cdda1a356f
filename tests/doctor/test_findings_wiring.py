"""Findings of wiring and of sign: real broken trainings, and windows on either side of each threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sick import OURS, R1, Training, begun, judged, ours

from gantlet.core import registry
from gantlet.doctor import About, Diagnosis, Seen, Window
from gantlet.doctor.finding import DETECTORS

MINE = [d for d in DETECTORS.values() if d.rank in OURS]
Break = Callable[[Training], Any]


# ---- broken trainings -------------------------------------------------------------------------------------------------


def no_rate(player: str) -> Break:
    return lambda t: setattr(t.state.players[player], "lr", 0.0)


def others_optimiser(t: Training) -> None:
    """G's optimiser holds the weights of D."""
    t.state.players["G"].opt = t.state.players["D"].opt


def others_weights(player: str, other: str) -> Break:
    """A player moves the other's weights, and its own are left alone."""
    return lambda t: t.player(player, list(t.state.players[other].weights))


def detached(t: Training) -> None:
    """G's samples are cut off, and something that is zero keeps the graph."""
    net: Any = t.state.game.G
    forward = net.forward
    net.forward = lambda z: (x := forward(z)).detach() + 0 * x


def cut(t: Training) -> None:
    """The first of G's layers is cut off."""
    net: Any = t.state.game.G
    net.body[0].register_forward_hook(lambda module, args, out: out.detach())


def turned(*, d: bool = False, g: bool = False) -> Break:
    def turn(t: Training) -> None:
        arena: Any = t.state.game.arena
        pair = arena.pairs["D"]
        if d:
            arena.pairs["D"] = pair._replace(d=lambda real, fake: pair.d(fake, real))
        if g:
            arena.pairs["D"] = pair._replace(g=lambda fake, real: -pair.g(fake, real))

    return turn


WIRED: dict[str, tuple[Break, str, str, int]] = {
    "G rests": (no_rate("G"), "not-updating", "G", 50),
    "D rests": (no_rate("D"), "not-updating", "D", 50),
    "G's optimiser is D's": (others_optimiser, "not-updating", "G", 50),
    "G moves D": (others_weights("G", "D"), "not-updating", "G", 100),
    "D moves G": (others_weights("D", "G"), "not-updating", "D", 100),
    "G is detached": (detached, "no-gradient", "G", 50),
    "G is cut": (cut, "no-gradient", "G: the first 2 of its weights", 50),
}


@pytest.mark.parametrize("case", WIRED)
def test_what_is_miswired_is_named_first(case: str) -> None:
    harm, name, who, steps = WIRED[case]
    training = begun(R1)
    harm(training)
    cause = training.run(steps).cause
    assert cause is not None
    assert (cause.name, cause.sign.who) == (name, who)
    assert cause.remedies


SIGNS = ["non-saturating", "wasserstein", "relativistic"]  # one of labels, one of means, one of pairs


@pytest.mark.parametrize("loss", SIGNS)
def test_swapped_labels_are_a_fault_of_d_and_a_turned_loss_one_of_g(loss: str) -> None:
    smooth = "penalties.gp.weight=0.1" if loss == "wasserstein" else R1
    for harm, name, who in ((turned(d=True), "cooperative", "D"), (turned(g=True), "diverged-sign", "G")):
        training = begun(
            f"adversarial={loss}", smooth, "players.G.lr=3e-3", "players.D.lr=3e-3"
        )  # fast, so as to be short
        harm(training)
        cause = training.run(100).cause
        assert cause is not None
        assert (cause.name, cause.sign.who) == (name, who)


def test_a_rate_of_zero_is_mended_by_the_option_that_set_it() -> None:
    cause = begun(R1, "players.G.lr=0").run(50).cause
    assert cause is not None
    assert cause.remedies[0].change == ("players.G.lr=0.001",)


# ---- trainings that are well ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", sorted(registry.adversarial.parts))
def test_no_loss_is_taken_for_a_fault(loss: str) -> None:
    energies = ["D=autoencoder"] if registry.adversarial.parts[loss].fn().of_energies else []
    assert ours(begun(R1, f"adversarial={loss}", *energies, "G.hidden=[16]", "D.hidden=[16]").run(100)) == []


HARD = {  # unwell, some of them, but not miswired
    "D far too fast": ("players.D.lr=3e-2", "players.G.lr=1e-4"),
    "G far too fast": ("players.G.lr=2e-2", "players.D.lr=1e-4"),
    "nothing holds D": ("adversarial=wasserstein",),
    "D is tiny": ("D.hidden=[2]",),
    "everything is slow": (R1, "players.D.lr=1e-6", "players.G.lr=1e-6"),
    "weights begin tiny": (R1, "G.init_std=0.02"),
    "told the class": (R1, "conditional=true", "tricks.concat-labels={}"),
}


@pytest.mark.parametrize("case", HARD)
def test_what_is_only_unwell_is_no_fault_of_wiring_or_sign(case: str) -> None:
    held = "adversarial=wasserstein" not in HARD[case]  # which a structure is missing for
    assert ours(begun(*HARD[case]).run(100)) == ([] if held else ["unbounded"])


# ---- windows by hand --------------------------------------------------------------------------------------------------


def still(turn: str, *which: int, of: int, gradient: float = 1.0) -> dict[str, float]:
    at = {f"still_at.{turn}.{k}": 1.0 for k in which}
    return {f"{turn}.still": len(which) / of, f"{turn}.gradient": gradient, **at}


def test_a_gradient_must_be_exactly_zero_and_have_been_so_all_along() -> None:
    never = {"G.still": 1.0, "G.gradient": 0.0}
    assert judged("no-gradient", never, never)
    assert not judged("no-gradient", never, never | {"G.gradient": 1e-30})
    assert not judged("no-gradient", {"G.still": 0.0, "G.gradient": 1e-9}, never)  # it vanished: that is no wire


@pytest.mark.parametrize(
    ("which", "of", "found"),
    [((0, 1), 6, "the first 2"), ((0,), 6, "the first of"), ((0, 1, 5), 6, "the first 2"), ((5,), 6, ""), ((3,), 6, ""),
     ((0, 1, 4, 5, 6, 7), 12, ""), ((4, 5, 6, 7, 8, 9), 10, ""), ((), 6, "")],
)  # fmt: skip
def test_what_is_cut_off_comes_first(which: tuple[int, ...], of: int, found: str) -> None:
    """A last bias of a relativistic critic and the layers of a network that grows are without gradient by right."""
    sign = judged("no-gradient", still("D", *which, of=of), still("D", *which, of=of))
    assert (found in sign.who) if sign and found else not found and sign is None


def test_a_weight_that_once_had_a_gradient_is_not_cut_off() -> None:
    assert not judged("no-gradient", still("D", of=6), still("D", 0, 1, of=6))
    assert not judged("no-gradient", still("D", 0, 1, of=6), still("D", of=6))


def test_no_gradient_leaves_dead_units_and_deaf_generators_to_their_own_findings() -> None:
    cut = still("D", 0, 1, of=6)
    assert judged("no-gradient", cut, cut | {"probe.dead_worst.D": 0.98, "D.diversity": 1e-3})
    assert not judged("no-gradient", cut, cut | {"probe.dead_worst.D": 1.0})
    assert not judged("no-gradient", *[still("G", 0, of=6) | {"D.diversity": 0.0}] * 2)


def rests(update: float, gradient: float) -> dict[str, float]:
    return {"G.still": 0.0, "G.update": update, "G.gradient": gradient, "G.weights": 10.0}


@pytest.mark.parametrize(
    ("update", "gradient", "found"),
    [(0.0, 2e-6, True), (0.0, 5e-7, False), (0.0, 0.0, False),
     (0.9e-8, 2e-3, True), (1.1e-8, 2e-3, False), (0.9e-8, 5e-4, False)],
)  # fmt: skip
def test_weights_rest_where_a_gradient_moves_them_by_nothing(update: float, gradient: float, found: bool) -> None:
    """A gradient that has vanished moves nothing either, and is another finding."""
    assert bool(judged("not-updating", rests(update, gradient))) is found


def test_two_players_of_one_weight_are_told_by_their_norms() -> None:
    def norms(g: float, d: float, made: float) -> dict[str, float]:
        moves = {"D.still": 0.0, "G.still": 0.0, "D.update": 0.1, "G.update": 0.1}
        return {**moves, "D.weights": d, "G.weights": g, "probe.live_diversity": made}

    same = judged("not-updating", norms(5.0, 5.0, 0.4), norms(6.0, 6.0, 0.4))
    assert same is not None and same.who == "G"
    same = judged("not-updating", norms(5.0, 5.0, 0.4), norms(6.0, 6.0, 0.5))
    assert same is not None and same.who == "D"
    assert not judged("not-updating", norms(5.0, 5.0, 0.4), norms(6.0, 6.00001, 0.4))
    assert not judged("not-updating", norms(5.0, 5.0, 0.4))  # one window may be chance
    assert not judged("not-updating", *[norms(5.0 + k, 5.0 + k, 0.4) for k in (0, 1)], players={"D": "P", "G": "P"})


def sides(auc: float, separation: float, d: float, g: float, centre: float = 0.0) -> dict[str, float]:
    return {"D.auc": auc, "D.separation": separation, "D.term.D": d, "G.term.G": g, "D.centre": centre}


BEGAN = sides(0.5, 0.0, 1.386, 0.693, 0.5)


@pytest.mark.parametrize(
    ("last", "found"),
    [(sides(0.09, -1.1, 0.3, 0.05), True), (sides(0.11, -1.1, 0.3, 0.05), False), (sides(0.09, -0.9, 0.3, 0.05), False),
     (sides(0.0, -9.0, 4.0, 0.01), False), (sides(0.0, -9.0, 0.3, 2.0), False)],
)  # fmt: skip
def test_samples_above_reals_are_a_matter_of_sign_only_if_d_gains_by_it(last: dict[str, float], found: bool) -> None:
    """A frozen D loses where G overpowers it."""
    assert bool(judged("cooperative", BEGAN, last)) is found
    assert not judged("cooperative", BEGAN, last, ordered=False)


@pytest.mark.parametrize(
    ("last", "found"),
    [(sides(0.96, 3.1, 0.3, -5.0, 3.1), True), (sides(0.94, 3.1, 0.3, -5.0, 3.1), False),
     (sides(0.96, 2.9, 0.3, -5.0, 3.1), False), (sides(0.96, 3.1, 0.3, -5.0, 2.9), False),
     (sides(0.96, 3.1, 0.3, 5.0, 3.1), False), (sides(0.96, 3.1, 2.0, -5.0, 3.1), False)],
)  # fmt: skip
def test_a_generator_that_runs_away_is_a_matter_of_sign_only_if_it_gains_by_it(
    last: dict[str, float], found: bool
) -> None:
    assert bool(judged("diverged-sign", BEGAN, last)) is found
    assert not judged("diverged-sign", BEGAN, last, ordered=False)


def test_a_loss_that_was_lower_before_is_not_at_its_best() -> None:
    """What swings has both losses low at times, though not at once the lowest."""
    worse = sides(0.0, -5.0, 0.9, 0.05)
    assert not judged("cooperative", BEGAN, sides(0.9, 2.0, 0.1, 3.0), worse)


# ---- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", MINE, ids=lambda d: d.name)
def test_a_detector_says_what_and_why_and_is_silent_of_what_it_has_not_seen(detector: Any) -> None:
    what, why = (detector.detect.__doc__ or "").split("\n\n")[:2]
    assert 40 < len(" ".join(what.split())) <= 240
    assert len(why.split()) > 20
    for windows in ([], [Window(1, 20, {})], [Window(1, 20, {"D.auc": 0.5})] * 9):
        assert detector.detect(Seen(windows, About(critic="D", generator="G"))) is None
        assert detector.detect(Seen(windows, About())) is None


def test_the_log_is_judged_as_the_training_was() -> None:
    training = begun(R1, "players.G.lr=0")
    diagnosis = training.run(100)
    again = Diagnosis.of(diagnosis.about, [Window.of_json(w.to_json()) for w in diagnosis.windows])
    assert again.to_json() == diagnosis.to_json()

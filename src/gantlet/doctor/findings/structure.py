"""Structure: networks that cannot do what play asks of them, whatever they learn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from gantlet.core import registry
from gantlet.core.critics import Adversarial
from gantlet.doctor.finding import Measure, Remedy, Seen, Sign, detects
from gantlet.doctor.remedies import offer

ROLES = ("D", "G")


def turn_of(seen: Seen, role: str) -> str | None:
    return {"D": seen.about.critic, "G": seen.about.generator}[role]


def player_of(seen: Seen, role: str) -> str:
    turn = turn_of(seen, role) or role
    return seen.about.players.get(turn, turn)


# ---- batch leak -------------------------------------------------------------------------------------------------------


def critic_without_norm(seen: Seen, sign: Sign) -> Remedy | None:
    return offer(
        seen, "Take the batch norm out of the critic", "D.batch_norm=false", source="Gulrajani et al. 2017, section 4"
    )


def judge_apart(seen: Seen, sign: Sign) -> Remedy:
    return Remedy(
        "Let the critic judge a row by itself: layer norm, spectral norm or none in place of batch norm. If batch norm must "
        "stay, give it reals and samples in calls of their own, and no penalty on slopes",
        source="Gulrajani et al. 2017, section 4; Chintala et al. 2016, ganhacks",
    )


@detects("structure", critic_without_norm, judge_apart)
def batch_leak(seen: Seen, *, most: float = 0.05, apart: float = 1.0, kept: float = 0.3) -> Sign | None:
    """What the critic says of a row depends on the rows beside it, by a batch norm, where it must not: reals and samples
    share a batch, or its loss wants verdicts of single rows (Gulrajani et al. 2017, section 4).

    Batch norm mixes the statistics of all rows into each of them. If reals and samples go through together, the critic
    reads in them which side a row is on and need not look at the row; and a penalty on the slope at one row, or a loss that
    compares pairs, no longer says what it is meant to.
    """
    about, leak = seen.about, seen.measured("probe.leak")
    if not about.batch_norm or about.statistic or not leak > most:
        return None
    measures = [
        Measure("change of a verdict by its neighbours, in units of the spread", leak, high=most, vital="probe.leak")
    ]
    alone, together = seen.measured("probe.train_fake_gap"), seen.d("separation")
    if together > apart and abs(alone) < kept * together:
        measures.append(Measure("D's advantage when reals and samples come alone", alone, low=kept * together))
        return Sign(
            (*measures, Measure("D's advantage in training", together, vital=f"{about.critic}.separation")),
            _judge(seen),
        )
    return Sign(tuple(measures), _judge(seen)) if row_by_row(seen) else None


def _judge(seen: Seen) -> str:
    return player_of(seen, "D")


def row_by_row(seen: Seen) -> bool:
    """Does the loss want verdicts of single rows: a penalty on their slopes, pairs of a real and a sample?"""
    parts = (seen.about.get("game.penalties") or {}).values()
    return any(isinstance(part, Mapping) and {"gamma", "target"} & part.keys() for part in parts) or any(
        pair.paired for pair in _pairs(seen)
    )


def _pairs(seen: Seen) -> Iterator[Adversarial]:
    tree = seen.about.get("game.adversarial")
    if not isinstance(tree, Mapping):
        return
    for part in [tree] if "use" in tree else tree.values():
        if isinstance(part, Mapping) and part.get("use") in registry.adversarial.parts:
            yield registry.bind("adversarial", dict(part), total=None)()


# ---- dead units -------------------------------------------------------------------------------------------------------


def leak_a_little(seen: Seen, sign: Sign) -> Remedy | None:
    role = next((r for r in ROLES if player_of(seen, r) == sign.who), "D")
    return offer(seen, "Let rectifiers leak", f"{role}.slope=0.2", source="Radford, Metz and Chintala 2016")


def revive(seen: Seen, sign: Sign) -> Remedy:
    return Remedy(
        "Use leaky rectifiers (slope 0.2), begin with biases of 0, and lower the learning rate: a unit that one large step "
        "has pushed below 0 for all rows never comes back",
        source="Maas, Hannun and Ng 2013",
    )


@detects("structure", leak_a_little, revive)
def dead_units(seen: Seen, *, most: float = 0.5, layer: float = 0.9) -> Sign | None:
    """Most units of a network, or nearly a whole layer, answer 0 to every row: they are dead rectifiers, through which
    nothing passes in either direction (SageMaker's debugger has the rule DeadRelu).

    A rectifier that is below 0 for all rows answers 0 and has no gradient, so nothing can bring it back. Such units come of
    biases that begin far below 0, or of one step that was far too large.
    """
    for role in ROLES:
        dead, worst = (min(seen.past(f"probe.{n}.{role}", 2), default=math.nan) for n in ("dead", "dead_worst"))
        if dead > most or worst > layer:
            who = player_of(seen, role)
            return Sign(
                (
                    Measure(f"share of {who}'s rectifiers that are dead", dead, high=most, vital=f"probe.dead.{role}"),
                    Measure("the same of its worst layer", worst, high=layer, vital=f"probe.dead_worst.{role}"),
                ),
                who,
            )
    return None


# ---- latents ----------------------------------------------------------------------------------------------------------


def hand_on_latents(seen: Seen, sign: Sign) -> Remedy:
    return Remedy(
        "Follow z from where it is drawn to the first layer: look for a constant in its place, a seed that is set anew in "
        "every step, weights of 0, a layer that leaves it out, a factor that makes it too small to matter"
    )


@detects("structure", hand_on_latents)
def latent_ignored(seen: Seen, *, exact: float = 1e-6, little: float = 2e-3, patience: int = 300) -> Sign | None:
    """All samples have been one and the same since the start, whatever latent they are made of: the generator does not hear
    its latents.

    A generator is a function of its latent alone. If that is constant on its way in, or is multiplied by zero, there is one
    sample, and nothing it learns gives another. A collapse looks alike but comes later: at the start samples differ.
    """
    since = little if seen.step >= patience else exact  # small weights make samples that are nearly alike for a while
    titles = varieties(seen)
    name = next((name for name in titles if always_below(seen, name, since)), None)
    if name is None:
        return None
    return Sign((Measure(titles[name], seen.measured(name), low=little, vital=name),), player_of(seen, "G"))


def varieties(seen: Seen) -> dict[str, str]:
    """What shows whether samples differ, in words: among themselves, and as their latents do."""
    return {
        f"{seen.about.critic}.diversity": "mean distance of two samples, two reals differing by 1",
        "probe.latent_response": "response of a sample to its latent, two reals differing by 1",
    }


def always_below(seen: Seen, name: str, bound: float) -> bool:
    found = seen.past(name)
    return bool(found) and max(found) < bound


# ---- what is sampled is not what is trained ----------------------------------------------------------------------------


def stand_still(seen: Seen, sign: Sign) -> Remedy | None:
    return offer(
        seen,
        "Measure the saved model's batch norms on whole batches",
        "standing=16",
        source="Brock et al. 2019, appendix",
    )


def generator_without_norm(seen: Seen, sign: Sign) -> Remedy | None:
    return offer(
        seen,
        "Take the batch norm out of the generator",
        "G.batch_norm=false",
        source="Karras et al. 2019; Huang et al. 2024",
    )


def statistics_that_run(seen: Seen, sign: Sign) -> Remedy:
    return Remedy(
        "Give batch norms a momentum of 0.1 rather than 0, and let nothing reset or freeze their running statistics; then "
        "sample in evaluation mode"
    )


@detects("structure", stand_still, generator_without_norm, statistics_that_run, warm=50)
def norm_gap(seen: Seen, *, most: float = 0.5) -> Sign | None:
    """The generator makes other samples in evaluation mode than in training: the running statistics of its batch norms are
    not those of its batches.

    In training a batch norm uses the statistics of the batch, and afterwards those it has kept. Samples, scores and saved
    models come from the second. Statistics that were never updated, or that lag far behind, make another network of it.
    """
    found = seen.past("probe.eval_gap", 2)
    mixes = seen.about.get("game.G.mixing") or 0.0  # two styles a row, in training alone: apart from it on purpose
    if mixes > 0 or len(found) < 2 or min(found) <= most:
        return None
    return Sign(
        (Measure("distance of the two, that of reals being 1", found[-1], high=most, vital="probe.eval_gap"),),
        player_of(seen, "G"),
    )


def follow(seen: Seen, sign: Sign) -> Remedy | None:
    """A half-life that early training cannot outrun."""
    half_life = 20 * seen.about.batch
    return offer(
        seen, "Let the average follow", f"average.half_life_images={max(half_life, 10_000)}", "average.ramp_up=0.1",
        source="Karras et al. 2018, appendix",
    )  # fmt: skip


def update_the_average(seen: Seen, sign: Sign) -> Remedy:
    return Remedy(
        "Move the average after every step, by 1 - decay with a decay below 1, of the same weights that are trained"
    )


@detects("structure", follow, update_the_average, hold=1)  # it asks for several probes itself
def average_stale(
    seen: Seen, *, distance: float = 0.02, moved: float = 3e-6, low: float = 0.6, high: float = 1.7, patience: int = 600
) -> Sign | None:
    """The averaged weights, which are what is sampled and saved, stay behind the live ones: they do not move while those do,
    or make far less varied samples.

    An average of weights is taken because it makes better samples than the weights of any one step. One whose decay is too
    near to 1, or that nobody updates, still holds the start of the training, and everything that is shown comes from there.
    """
    far, ours, live = (seen.past(f"probe.{n}", 3) for n in ("average_distance", "average_diversity", "live_diversity"))
    if min(len(far), len(ours), len(live)) < 3:
        return None
    # at the same latents, where equal weights make equal samples; those that are all alike would not show a move
    still = ours[-1] > 0.01 and max(ours) - min(ours) <= moved * ours[-1]
    frozen = still and far[-1] > distance and max(far) - min(far) > 1e-3 * far[-1]
    # a live side that is itself unwell is no measure
    behind = seen.step >= patience and all(
        f > distance and abs(b - 1) < 0.3 and not low < a / b < high for f, a, b in zip(far[1:], ours[1:], live[1:])
    )
    if not (frozen or behind):
        return None
    return Sign(
        (
            Measure("distance of the average from the live weights", far[-1], vital="probe.average_distance"),
            Measure("diversity of the average's samples", ours[-1], low, high, "probe.average_diversity"),
            Measure("diversity of the live weights' samples", live[-1], vital="probe.live_diversity"),
        ),
        "average",
    )

"""Learning by heart: a critic that knows its reals, a generator that repeats them."""

from __future__ import annotations

from gantlet.doctor import remedies
from gantlet.doctor.finding import Measure, Seen, Sign, detects
from gantlet.doctor.trends import player


@detects(
    "generalisation",
    remedies.augment,
    remedies.damp,
    remedies.lecam,
    remedies.stronger_penalty,
    remedies.instance_noise,
    hold=1,
    warm=100,
)
def overfit(
    seen: Seen, *, lost: float = 0.4, told_apart: float = 0.75, apart: float = 0.4, drift: float = 1.5
) -> Sign | None:
    """The critic knows its training rows by heart: on reals it never saw it loses over 40 % of its advantage over
    fakes, it ranks training rows above them in three pairs of four, and the advantage grows again (Karras et al. 2020, ADA,
    figure 1).

    With few rows, remembering them is easier than learning what reals have in common. Then the critic's advice is about
    single rows, no longer about the data, and samples get worse although its loss looks better and better.
    """
    shares, ranks = seen.past("probe.rv", 2), seen.past("probe.held_auc", 2)
    separated = seen.past("probe.train_fake_gap")  # where it is small, a share of it says nothing
    if min(map(len, (shares, ranks, separated))) < 2:
        return None
    if not (min(separated[-2:]) > apart and min(shares) > lost and min(ranks) > told_apart):
        return None
    # while reals and fakes still come together in its eyes, what it knows by heart does no harm
    least = min(separated)
    if separated[-1] < drift * least:
        return None
    measures = (
        Measure("the critic's advantage that is lost on held-out reals", shares[-1], high=lost, vital="probe.rv"),
        Measure("pairs of which the training row is ranked higher", ranks[-1], high=told_apart, vital="probe.held_auc"),
        Measure("its advantage over fakes", separated[-1], high=drift * max(least, 0.0), vital="probe.train_fake_gap"),
    )
    return Sign(measures, player(seen, seen.about.critic))


@detects("generalisation", remedies.augment, remedies.lecam, remedies.damp, remedies.instance_noise, hold=1, warm=300)
def memorised(seen: Seen, *, nearer: float = 0.75) -> Sign | None:
    """Samples repeat training rows: they are nearer to a training row than to any held-out one far more often than
    fresh reals are (Meehan, Chaudhuri and Dasgupta 2020).

    A generator that is shown the same few rows again and again, by a critic that remembers them, has nothing to gain
    from anything else. More data, or augmentation, which makes the rows look like more, takes the reward for copying
    away.
    """
    shares = seen.past("probe.memorised", 2)
    if len(shares) < 2 or not min(shares) > nearer:
        return None
    share = shares[-1]
    measure = Measure("closeness to training rows (.5 fresh, 1 copies)", share, high=nearer, vital="probe.memorised")
    return Sign((measure,), player(seen, seen.about.generator))

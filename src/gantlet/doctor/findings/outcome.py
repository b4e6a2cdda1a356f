"""What came of it: samples of one kind, far away, with modes missing, with a lattice, or as good as their generator can."""

from __future__ import annotations

import math
import statistics

from gantlet.doctor import remedies
from gantlet.doctor.finding import Measure, Seen, Sign, detects
from gantlet.doctor.settings import narrow
from gantlet.doctor.trends import critic, player, since

_SETTLED = 200  # steps in which a healthy generator's samples may still be one blob
_KINDS = "variety of the samples beside that of reals"


@detects(
    "outcome", remedies.tame_rates, remedies.fewer_critic_steps, remedies.damp, remedies.relativistic, remedies.packing,
    remedies.slower_both, remedies.wider_generator, hold=2, warm=50,
)  # fmt: skip
def collapse(seen: Seen, *, variety: float = 0.8, none: float = 0.02, progress: float = 0.05) -> Sign | None:
    """Samples are of few kinds: they lie less than .8 times as far apart as reals do, and that does not get better
    (mode collapse, Goodfellow 2016, section 5.1.1).

    A generator is rewarded for every single sample, never for their variety: it may put all on what the critic likes
    best, and move on when the critic has learnt better. Losses that compare fakes with reals, or with each other, see
    sameness.
    """
    name = critic(seen, "diversity")
    kinds = seen.now(name)
    measure = Measure(_KINDS, kinds, low=variety, vital=name)
    if kinds < none:
        return Sign((measure._replace(low=none),), player(seen, seen.about.generator))
    past = since(seen, name, 100)
    stays = len(past) > 2 and kinds < max(past[-3:-1]) + progress
    if not (seen.step > _SETTLED and kinds < variety and stays):
        return None
    return Sign((measure,), player(seen, seen.about.generator))


@detects("outcome", remedies.tame_rates, remedies.damp, remedies.slower_both, remedies.relativistic, hold=2, warm=50)
def diverged(seen: Seen, *, spread: float = 3.0, off: float = 10.0) -> Sign | None:
    """Samples have left the data: they lie over 3 times as far apart as reals do, or their middle is 10 of the reals'
    widths away.

    The generator follows the critic's slope to wherever it leads, and far from the data nobody taught the critic
    anything. Steps that are too large, a wrong sign, or a slope that nothing holds down send the samples there.
    """
    kinds, place = seen.d("diversity"), seen.d("centre")
    if not (kinds > spread or place > off):
        return None
    measures = (
        Measure(_KINDS, kinds, high=spread, vital=critic(seen, "diversity")),
        Measure(
            "distance of the samples' middle from that of reals, in widths",
            place,
            high=off,
            vital=critic(seen, "centre"),
        ),
    )
    return Sign(measures, player(seen, seen.about.generator))


@detects("outcome", remedies.relativistic, remedies.damp, remedies.packing, remedies.wider_generator, hold=1, warm=300)
def dropped_modes(seen: Seen, *, left: float = 0.6) -> Sign | None:
    """Some kinds of reals are made no longer: the share of reals with a sample as near as their own neighbours are has
    fallen below 60 % of what it was, twice in a row (Naeem et al. 2020, coverage).

    Samples may look fine one by one, and differ from each other, while whole kinds of data are missing. A critic that
    sees one sample at a time can hardly notice; losses that compare in pairs, and packing, can.
    """
    # how much is covered says first how far training is: only a fall tells that something was lost
    *past, one, last = [math.nan, math.nan, *seen.past("probe.coverage")]
    best = max((v for v in past if not math.isnan(v)), default=math.nan)
    if not max(one, last) < left * best:
        return None
    measure = Measure("share of reals with a sample near by", last, low=left * best, vital="probe.coverage")
    return Sign((measure,), player(seen, seen.about.generator))


@detects("outcome", remedies.smooth_upsampling, hold=1, warm=300)
def checkerboard(seen: Seen, *, decibels: float = 3.0) -> Sign | None:
    """Samples bear a lattice: the frequencies of a grid of 4 pixels stand out over 3 dB more than in reals (Odena,
    Dumoulin and Olah 2016).

    Where a generator enlarges with strided transposed convolutions, some output pixels get more terms than their
    neighbours do, and the pattern repeats. Interpolation followed by a plain convolution treats all pixels alike.
    """
    last = seen.past("probe.checkerboard", 2)
    if len(last) < 2 or not min(last) > decibels:
        return None
    measure = Measure(
        "dB by which a lattice stands out more than in reals", last[-1], high=decibels, vital="probe.checkerboard"
    )
    return Sign((measure,), player(seen, seen.about.generator))


@detects("outcome", remedies.wider_generator, remedies.packing, warm=400)
def capacity(
    seen: Seen, *, variety: float = 0.8, ranks: float = 0.7, swing: float = 4.0, windows: int = 3, steady: float = 0.05
) -> Sign | None:
    """The generator has come to rest short of the data: variety and the critic's rank are steady and neither is as it
    should be, although play is calm; of a very narrow generator, the rank alone.

    A network with too few units cannot make all there is to make. It settles on the best it can, the critic still tells
    its samples from reals, and nothing in how the game is played would change that. It needs more units, or latents.
    """
    name, rank = critic(seen, "diversity"), critic(seen, "auc")
    kinds, ranked = (since(seen, n, _SETTLED)[-windows:] for n in (name, rank))
    if not seen.about.ordered or min(len(kinds), len(ranked)) < windows or not seen.d("gap.z") < swing:
        return None
    slack = 2.0 if (tight := narrow(seen)) else 1.0  # what is known of the recipe asks for less evidence
    calm = max(kinds) - min(kinds) < slack * steady and max(ranked) - min(ranked) < slack * steady
    if not (calm and (tight or max(kinds) < variety) and min(ranked) > ranks):
        return None
    measures = (
        Measure(_KINDS, statistics.fmean(kinds), low=variety, vital=name),
        Measure("pairs that the critic ranks rightly", statistics.fmean(ranked), high=ranks, vital=rank),
    )
    return Sign(measures, player(seen, seen.about.generator))

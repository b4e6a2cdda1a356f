"""How the game is played: players that overshoot, chase each other, explode, or are no match for each other."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from gantlet.doctor import remedies
from gantlet.doctor.finding import Measure, Seen, Sign, detects
from gantlet.doctor.settings import bounded
from gantlet.doctor.trends import before, critic, generator, length, player, rising, since

_SETTLED = 200  # steps in which every game drifts: G begins as one blob that D tells from anything
_DRIFTS = 300  # ... and after which a swing must fall, if it is to come to rest


@detects("dynamics", remedies.softer_penalty, remedies.tame_rates, remedies.slower_critic, hold=3)
def stiff(seen: Seen, *, back: float = 0.3, noise: float = 3.0, again: float = 0.4, rise: float = 0.25) -> Sign | None:
    """The critic's advantage flips from step to step and is back two steps later: a step overshoots what it steps
    towards (Mescheder, Geiger and Nowozin 2018: a penalty converges while learning rate times gamma is below about 2).

    A strong penalty, or a high learning rate, makes a valley with steep walls. One step across lands on the other wall,
    the next one back. The critic spends its steps on that, and what it tells the generator is of no use.
    """
    least = max(back, noise / math.sqrt(max(length(seen), 1)))  # what chance brings about in so few steps
    once, twice = seen.d("gap.acf1"), seen.d("gap.acf2")
    # a drift beneath it lifts both correlations; that the later one is the larger is left only by what flips
    flips = once < -back and twice > least
    if not (flips or (twice > max(again, least) and twice - once > rise)):
        return None
    one = Measure("the critic's advantage, correlated with that one step later", once, -back if flips else None,
                  vital=critic(seen, "gap.acf1"))  # fmt: skip
    two = Measure("the critic's advantage, correlated with that two steps later", twice,
                  high=least if flips else max(again, least), vital=critic(seen, "gap.acf2"))  # fmt: skip
    measures = (one, two) if flips else (two, one)
    return Sign(measures, player(seen, seen.about.critic))


@detects(
    "dynamics",
    remedies.tame_rates,
    remedies.alternate,
    remedies.damp,
    remedies.no_momentum,
    remedies.lookahead,
    remedies.stronger_penalty,
    remedies.slower_both,
    hold=3,
    warm=_DRIFTS,
)
def limit_cycle(seen: Seen, *, chance: float = 4.0, share: float = 0.6, settling: float = 0.5) -> Sign | None:
    """The players circle: the critic's advantage, or the middle of the samples, swings over 4 times as far as
    batches differ by chance and by .6 of the spread of either, comes back, and does not settle (Mescheder, Geiger and
    Nowozin 2018).

    Each player runs from where the other is now. Without damping they go round the solution and never reach it: samples
    jump from mode to mode. A penalty on the critic's slope damps the turn; momentum and simultaneous moves feed it.
    """
    if fake_slope(seen) is not None:  # a slope that grows throws samples about by itself
        return None
    found = [
        m for m in _swings(seen, chance, share) if m.value > (m.high or 0) and not _settles(seen, m.vital, settling)
    ]
    return Sign(tuple(sorted(found, key=lambda m: -m.value))) if found else None


def swings(seen: Seen, chance: float = 4.0, share: float = 0.6) -> float:
    """From where on the critic's advantage swings, in units of what chance does to the difference of two means of n rows."""
    return max(chance, share * math.sqrt(seen.about.batch / 2))


def _swings(seen: Seen, chance: float, share: float) -> Iterator[Measure]:
    """What swings and comes back, in units of what chance does in a batch."""
    gap, rows = critic(seen, "gap"), seen.about.batch
    if seen.about.ordered and seen.now(f"{gap}.acf1") > 0 and _returns(seen, gap):
        yield Measure(
            "swing of the critic's advantage", seen.now(f"{gap}.z"), high=swings(seen, chance, share), vital=f"{gap}.z"
        )
    k = 0
    while (width := seen.d(f"width.{k}")) == width:
        at = critic(seen, f"fake_at.{k}")
        if width > 0 and _returns(seen, at):
            value, most = seen.now(f"{at}.std") / width * math.sqrt(rows), max(chance, share * math.sqrt(rows))
            yield Measure("swing of the samples' middle", value, high=most, vital=critic(seen, "centre.z"))
        k += 1


def _returns(seen: Seen, name: str, most: float = 2.0) -> bool:
    """Is its mean near that of the window before? What drifts steadily is 3.5 of its deviations further by then."""
    return abs(seen.now(name) - before(seen, name)) < most * seen.now(f"{name}.std")


def _settles(seen: Seen, name: str, least: float) -> bool:
    """Has it fallen well below its largest since every game has drifted? Images take far longer to come to rest than
    points do, yet their swing falls from window to window."""
    return seen.now(name) < least * max(since(seen, name, _DRIFTS), default=math.nan)


@detects("dynamics", remedies.amsgrad, remedies.decaying_rates, remedies.slower_both, hold=2, warm=500)
def reinflation(
    seen: Seen, *, growth: float = 2.5, band: float = 0.1, rest: float = 0.1, thrown: float = 1.5, windows: int = 3
) -> Sign | None:
    """Steps grow again although the players had come to rest, gradients under a tenth of their largest: over 2.5 times
    the smallest so far, rising, gradients half as large again, while the critic cannot tell fakes from reals (Reddi et al.
    2018).

    Adam divides a gradient by its recent size. Where gradients have become tiny that size shrinks too, until a small
    disturbance is divided by almost nothing: a burst of large steps out of a good solution.
    """
    if not abs(seen.d("auc") - 0.5) < band:
        return None
    for turn in (seen.about.critic, seen.about.generator):
        name, slope = f"{turn}.update", f"{turn}.gradient"
        values = since(seen, name, _SETTLED)
        if _remembers(seen, player(seen, turn)) or len(values) <= windows or not rising(values[-windows:]):
            continue
        calm = min(
            seen.windows[:-windows], key=lambda w: w.values.get(name, math.inf) if w.last >= _SETTLED else math.inf
        )
        least, flat = calm.values[name], calm.values.get(slope, math.nan)
        rested = flat < rest * max(seen.past(slope), default=0)
        # while gradients go on falling, steps that grow are Adam's memory and throw nothing
        if values[-1] > growth * least > 0 and rested and seen.now(slope) > thrown * flat:
            measures = tuple(
                Measure(f"{what} over {of}", now / then, high=most, vital=vital, unit=then)
                for what, of, now, then, most, vital in (
                    (f"size of {turn}'s steps", "the smallest so far", values[-1], least, growth, name),
                    (f"gradient of {turn}", "what it was then", seen.now(slope), flat, thrown, slope),
                )
            )
            return Sign(measures, player(seen, turn))
    return None


def _remembers(seen: Seen, name: str) -> bool:
    """Does this player's second moment never fall? Then its steps grow as gradients do, and not before."""
    mine = seen.about.get(f"players.{name}") or {}
    return mine.get("use") == "amsgrad" or bool(mine.get("amsgrad"))


@detects(
    "dynamics",
    remedies.penalise_fakes,
    remedies.damp,
    remedies.stronger_penalty,
    remedies.slower_critic,
    hold=1,
    warm=300,
)
def fake_slope(seen: Seen, *, ratio: float = 4.0, growth: float = 1.5) -> Sign | None:
    """The critic is far steeper at fakes than at reals, squared slopes over 4 times as large, and steeper at fakes than it
    was at first: what comes before a training with R1 alone diverges (Huang et al. 2024, R3GAN, section 2.3).

    R1 keeps the critic flat where reals are and says nothing about where fakes are. There the slope, which is all that
    the generator follows, may grow without bound and throws samples about. R2 does for fakes what R1 does for reals.
    """
    last = seen.past("probe.slope_ratio", 2)
    if len(last) < 2 or not (last[1] > ratio and last[0] > ratio / 2):
        return None
    name = generator(seen, "slope.fake")
    now, first = seen.now(name), next(iter(since(seen, name, 0)), math.nan)
    # between separate modes the critic is steep at the few samples there, and flat as a whole: nothing grows
    if not now > growth * first:
        return None
    measures = (
        Measure(
            "squared slope of the critic at fakes over that at reals", last[-1], high=ratio, vital="probe.slope_ratio"
        ),
        Measure("slope at the samples over that at first", now / first, high=growth, vital=name, unit=first),
    )
    return Sign(measures, player(seen, seen.about.critic))


@detects(
    "dynamics",
    remedies.tame_rates,
    remedies.fewer_critic_steps,
    remedies.damp,
    remedies.slower_critic,
    remedies.instance_noise,
    hold=2,
    warm=300,
)
def overpowered(
    seen: Seen, *, ranks: float = 0.87, variety: float = 0.8, off: float = 0.5, progress: float = 0.05
) -> Sign | None:
    """The critic wins and the generator learns nothing from it: it ranks reals above fakes in over 87 % of pairs, while
    samples are of few kinds or in the wrong place and do not get better (Arjovsky and Bottou 2017).

    A critic that learns much faster than the generator separates reals from fakes so well that small moves of a sample
    change nothing. Its loss looks splendid, and there is nothing in it to follow. It has to be slower, or smoother.
    """
    if not (seen.about.ordered and seen.d("auc") > ranks):
        return None
    kinds, place = seen.d("diversity"), seen.d("centre")
    few = kinds < variety and kinds < before(seen, critic(seen, "diversity"), 2) + progress
    wrong = place > off and place > before(seen, critic(seen, "centre"), 2) * (1 - progress)
    if not (few or wrong):
        return None
    measures = (
        Measure("pairs that the critic ranks rightly", seen.d("auc"), high=ranks, vital=critic(seen, "auc")),
        Measure("variety of the samples beside that of reals", kinds, low=variety, vital=critic(seen, "diversity")),
        Measure(
            "distance of the samples' middle from that of reals, in widths",
            place,
            high=off,
            vital=critic(seen, "centre"),
        ),
    )
    return Sign(measures, player(seen, seen.about.critic))


@detects(
    "dynamics",
    remedies.fewer_generator_steps,
    remedies.tame_rates,
    remedies.wider_critic,
    remedies.faster_critic,
    remedies.more_critic_steps,
    hold=2,
    warm=50,
)
def underpowered(
    seen: Seen, *, behind: float = -0.75, blind: float = 0.6, variety: float = 0.5, off: float = 0.75
) -> Sign | None:
    """The critic is no match: it takes fakes for the better ones, or cannot tell them apart although they are of too
    few kinds or in another place than reals.

    A generator that moves faster than the critic learns can satisfy it anywhere, and wanders off to wherever the critic
    was wrong last. The critic has to keep up: more capacity, more steps, or a slower generator.
    """
    if not seen.about.ordered:
        return None
    lead, auc = seen.d("separation"), seen.d("auc")
    kinds, place = seen.d("diversity"), seen.d("centre")
    led = Measure(
        "the critic's advantage, in units of the logits' spread", lead, low=behind, vital=critic(seen, "separation")
    )
    if lead < behind:
        return Sign((led,), player(seen, seen.about.critic))
    there = seen.step >= _SETTLED and not seen.d("gap.z") > swings(seen)  # else they circle, and the mean says little
    if not (there and auc < blind and (kinds < variety or kinds > 1 / variety or place > off)):
        return None
    measures = (
        Measure("pairs that the critic ranks rightly", auc, low=blind, vital=critic(seen, "auc")),
        Measure("variety of the samples beside that of reals", kinds, variety, 1 / variety, critic(seen, "diversity")),
        Measure(
            "distance of the samples' middle from that of reals, in widths",
            place,
            high=off,
            vital=critic(seen, "centre"),
        ),
    )
    return Sign(measures, player(seen, seen.about.critic))


@detects(
    "dynamics", remedies.tame_rates, remedies.damp, remedies.penalty_for_clipping, remedies.slower_both, remedies.amsgrad,
    hold=2, warm=20,
)  # fmt: skip
def exploding(
    seen: Seen, *, jump: float = 10.0, logits: float = 1e3, growth: float = 1.8, windows: int = 3
) -> Sign | None:
    """Slopes grow without bound: a gradient 10 times its median so far, logits over a thousand apart, or a critic that
    nothing bounds, steeper in each of 3 windows (Arjovsky, Chintala and Bottou 2017).

    A steeper critic always scores better: with a Wasserstein loss and nothing that holds its slope down, without any end.
    Where a penalty does, a rate too high for gradients that have long been small is enough. Samples are thrown further by
    every step. Adam hides it from the weights for a while, not from the samples.
    """
    spread = Measure("spread of the logits", seen.d("spread"), high=logits, vital=critic(seen, "spread"))
    if spread.value > logits:
        return Sign((spread,), player(seen, seen.about.critic))
    for turn in (seen.about.critic, seen.about.generator):
        name = f"{turn}.gradient"
        usual = since(seen, name, 100)[:-1]
        if len(usual) > 1 and seen.now(name) > jump * statistics.median(usual) > 0:
            middle = statistics.median(usual)
            ratio = seen.now(name) / middle
            measure = Measure(f"gradient of {turn} over its median so far", ratio, high=jump, vital=name, unit=middle)
            return Sign((measure,), player(seen, turn))
    return None if bounded(seen) else _grows(seen, growth, windows)


def _grows(seen: Seen, growth: float, windows: int) -> Sign | None:
    slope, logits = generator(seen, "slope.fake"), critic(seen, "spread")
    found = [since(seen, name, 100)[-windows:] for name in (slope, logits)]
    if not all(len(v) == windows and rising(v) and v[-1] > growth * v[0] > 0 for v in found):
        return None
    measures = tuple(
        Measure(f"growth of {what} over {windows} windows", v[-1] / v[0], high=growth, vital=name, unit=v[0])
        for what, name, v in (("the slope at fakes", slope, found[0]), ("the logits' spread", logits, found[1]))
    )
    return Sign(measures, player(seen, seen.about.critic))


@detects(
    "dynamics", remedies.non_saturating, remedies.penalty_for_clipping, remedies.tame_rates, remedies.fewer_critic_steps,
    remedies.damp, remedies.relativistic, hold=2, warm=100,
)  # fmt: skip
def vanishing(seen: Seen, *, share: float = 1e-3, ranks: float = 0.95) -> Sign | None:
    """The generator's gradient has vanished: below a thousandth of what it was, at the samples and at the weights,
    while the critic ranks over 95 % of pairs rightly (Arjovsky and Bottou 2017, theorem 2.4).

    The critic is so sure that its loss is flat where the fakes are: whichever way a sample moves, the critic says the
    same. The saturating loss does this by itself. A higher learning rate for the generator would not help: there is no
    slope.
    """
    names = generator(seen, "slope.fake"), generator(seen, "gradient")
    most = [max(seen.past(name), default=0.0) for name in names]
    left = [seen.now(name) / top if top > 0 else math.nan for name, top in zip(names, most)]
    if not (seen.about.ordered and seen.d("auc") > ranks and all(v < share for v in left)):
        return None
    measures = (
        Measure("slope at the samples, of the largest so far", left[0], low=share, vital=names[0], unit=most[0]),
        Measure("gradient of the generator, of the largest so far", left[1], low=share, vital=names[1], unit=most[1]),
        Measure("pairs that the critic ranks rightly", seen.d("auc"), high=ranks, vital=critic(seen, "auc")),
    )
    return Sign(measures, player(seen, seen.about.generator))

"""What the doctor says: a finding as a short paragraph, a diagnosis as a page of text."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Iterable, Sequence

from gantlet.doctor.diagnosis import Diagnosis, Finding
from gantlet.doctor.finding import RANKS, Measure, Remedy
from gantlet.doctor.reading import band, ignorant, loss_of_d, readings, times_outside

WIDEST = 100  # columns: longer lines are hard to read
EARLY = 200  # steps within which a D that is ahead is no news, and before which few findings can have held
TELLING = 2.0  # times beyond the band from which the factor is worth saying
NEAR, HIGH = (
    0.2,
    1.5,
)  # of what a D pays that cannot tell: below is what people call "near 0", above is worse than chance
DISTANCE = 1e-3  # a D that cannot tell pays less: the loss is a distance

LIVE = 2  # remedies that are told while training

Part = tuple[str, str]  # a word for what it is, and the text


# ---- one finding ------------------------------------------------------------------------------------------------------


def paragraph(finding: Finding, diagnosis: Diagnosis, width: int | None = None) -> str:
    """A finding on the terminal, when it is believed: what, by what it shows, since when, why, and what to try.

    Of what may come of something found before only what it is: the other has to be mended first.
    """
    return _block(f"step {finding.believed}: {named(finding)}. {finding.what}", _parts(finding, diagnosis), width)


def _parts(finding: Finding, diagnosis: Diagnosis) -> list[Part]:
    cause = next(iter(diagnosis.holding), finding)
    if rank(cause) < rank(finding):
        return [("seen", seen(finding)), ("first", f"mend `{cause.name}`: this may well come of it")]
    known = [f for f in diagnosis.holding if rank(f) > rank(finding) and f.believed < finding.believed]
    said = ", ".join(f"`{f.name}`" for f in known)
    return [
        ("seen", seen(finding)),
        ("why", finding.why),
        *tries(finding.remedies, LIVE),
        *([("so", f"what was said before may come of it: {said}")] if said else []),
    ]


def rank(finding: Finding) -> int:
    """0 for what is most likely a cause."""
    return RANKS.index(finding.detector.rank)


def named(finding: Finding) -> str:
    """Its name, and whom it is about."""
    return f"{finding.name} ({finding.sign.who})" if finding.sign.who else finding.name


def seen(finding: Finding, now: int | None = None) -> str:
    """The evidence beside its healthy band, and how long it held; `now`: the last step there is."""
    return "; ".join([*(measured(m) for m in finding.sign.measures), held(finding, now)])


def measured(measure: Measure) -> str:
    """`diversity 0.02 (healthy: at least 0.8; 40 times off)`."""
    if math.isnan(measure.value):
        return f"{measure.name}: not a number"
    said, factor = band(measure.low, measure.high), times_outside(measure)
    times = f"{factor:.2g}" if factor < 100 else f"{min(factor, 1000):.0f}"  # nobody reads 8.6e+05 times
    far = f"; {times}{' and more' if factor > 1000 else ''} times off" if factor >= TELLING else ""
    return f"{measure.name} {measure.value:.4g}" + (f" (healthy: {said}{far})" if said else "")


def held(finding: Finding, now: int | None = None) -> str:
    """How long it held, in steps."""
    if finding.first == finding.last:
        return f"at step {finding.first}"
    end = "" if now is None else ", and still" if finding.last >= now else ", not since"
    return f"from step {finding.first} to {finding.last}{end}"


def tries(remedies: Sequence[Remedy], most: int | None = None) -> list[Part]:
    """The remedies in the order in which to try them, the exact options first; `most` of them."""
    found = []
    for i, remedy in enumerate(remedies[:most]):
        source = f" ({remedy.source})" if remedy.source else ""
        options = f"{' '.join(remedy.change)} - " if remedy.change else ""
        found.append(("or" if i else "try", f"{options}{remedy.text}{source}"))
    left = len(remedies) - len(found)
    return [*found, *([("or", f"one of {left} more that `gantlet diagnose` lists")] if left else [])]


# ---- a whole training -------------------------------------------------------------------------------------------------


def report(diagnosis: Diagnosis, width: int | None = None, *, more: str = "") -> str:
    """The diagnosis as text: the cause, what may come of it, what is over, D's loss, the chief vitals; then `more`."""
    now = _step(diagnosis)
    holding = diagnosis.holding
    over = [f for f in diagnosis.ordered if f.last < now]
    blocks = [_block(verdict(diagnosis), [], width)]
    for finding in holding[:1]:
        parts = [("seen", seen(finding, now)), ("why", finding.why), *tries(finding.remedies)]
        blocks.append(_block(finding.what, parts, width))
    if holding[1:]:
        blocks.append("Beside it, and perhaps because of it:\n" + _list(holding[1:], now, width))
    if over:
        blocks.append("Seen before, and over:\n" + _list(over, now, width))
    blocks += [_block(text, [], width) for text in (of_the_loss(diagnosis),) if text]
    lines = [f"- {line}" for line in vitals(diagnosis)]
    if lines:
        blocks.append("\n".join([f"At step {now}:", *(_wrapped(line, "", "  ", width) for line in lines)]))
    blocks += [_block(line, [], width) for line in more.splitlines()]
    return "\n\n".join(blocks)


def verdict(diagnosis: Diagnosis) -> str:
    """In one sentence: is something wrong, and what is the likely cause?"""
    now, holding = _step(diagnosis), diagnosis.holding
    if not diagnosis.windows:
        return "Nothing has been seen yet: vitals are first judged after 20 steps."
    if holding:
        of = KINDS[holding[0].detector.rank]
        return f"Something is wrong. The likely cause: {named(holding[0])}, a fault of {of}."
    if diagnosis.found:
        return f"Nothing is wrong any more at step {now}: what was found before is over."
    early = f" It is early: much shows only after {EARLY} steps." if now < EARLY else ""
    odd = any(not r.inside for r in readings(diagnosis))
    said = " What is called unusual has not held for long, or is no fault by itself." if odd else ""
    return f"Nothing is wrong: no finding up to step {now}.{early}{said}"


KINDS = {
    "non-finite": "arithmetic",
    "wiring": "wiring: what should learn does not, or is not asked to",
    "data": "the data",
    "structure": "the networks' structure",
    "sign": "sign: a player is rewarded for the wrong thing",
    "dynamics": "balance between the players",
    "generalisation": "generalisation: what is learnt by heart",
    "outcome": "outcome: what it came to, whose cause was not seen",
}


def vitals(diagnosis: Diagnosis) -> list[str]:
    """The chief vitals in plain words; what lies outside of where healthy trainings stay says so."""
    return [r.text if r.inside else f"unusual: {r.text}" for r in readings(diagnosis) if r.always or not r.inside]


def of_the_loss(diagnosis: Diagnosis) -> str:
    """Is D's loss normal? Empty where there is no D."""
    loss, blind = loss_of_d(diagnosis), ignorant(diagnosis.about)
    if math.isnan(loss):
        return ""
    cause = next((f"`{f.name}`" for f in diagnosis.holding), "")
    yes = f"The loss does not say; what is wrong is {cause}." if cause else "Nothing speaks against it."
    if math.isnan(blind):
        said = f"{yes} Nobody knows a healthy value of this loss."
    elif abs(blind) < DISTANCE:
        said = (
            f"{yes} This loss is minus the distance that the critic sees between reals and fakes: near 0 is where a good "
            "training ends, and how far it is below depends on the critic's scale."
        )
    else:
        scale = f"A critic that cannot tell reals from fakes pays {blind:.3g}, one that always can about 0."
        said = f"{_beside(loss / blind, cause, _step(diagnosis)) or yes} {scale}"
    return f"Is D's loss of {loss:.3g} normal? {said}"


def _beside(share: float, cause: str, step: int) -> str:
    """The answer where the loss itself is telling: `share` of what a D pays that cannot tell. Empty where it is not."""
    if share > HIGH:
        return f"No: the critic does worse than not to look at all; see {cause}." if cause else (
            "It is high, as the critic does worse than not to look at all; nothing else is wrong yet."
        )  # fmt: skip
    if share > NEAR:
        return ""
    if cause:
        return f"No, near 0 is not normal here: it comes with {cause}. Mend that, not the loss."
    if step < EARLY:
        return "Yes: near 0 is normal so early, when anybody could tell the samples from reals."
    return (
        "Yes, here near 0 is normal: the critic is ahead, and the generator still learns from it. It would not be if "
        "samples became alike, or if the slope that the generator learns from faded; both are watched."
    )


def _step(diagnosis: Diagnosis) -> int:
    return diagnosis.windows[-1].last if diagnosis.windows else 0


# ---- laying out -------------------------------------------------------------------------------------------------------


def _list(findings: Iterable[Finding], now: int, width: int | None) -> str:
    lines = [f"- {named(f)}: {f.what} Seen: {seen(f, now)}." for f in findings]
    return "\n".join(_wrapped(line, "  ", "    ", width) for line in lines)


def _block(head: str, parts: list[Part], width: int | None) -> str:
    """A sentence, and beneath it parts whose texts stand in one column."""
    column = max((len(word) for word, _ in parts), default=0)
    lines = [_wrapped(head, "", "", width)]
    lines += [_wrapped(f"{word:<{column}}  {text}", "  ", " " * (column + 4), width) for word, text in parts if text]
    return "\n".join(lines)


def _wrapped(text: str, first: str, rest: str, width: int | None) -> str:
    """Within the terminal; an option is never broken, so that it can be copied."""
    width = width or min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns - 1)
    wrapper = textwrap.TextWrapper(max(width, 40), first, rest, break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(text)

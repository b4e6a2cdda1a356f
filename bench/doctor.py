"""`gantlet bench doctor [--cell ring,grid/g-hot,digits/hinge-sn/30] [--data FOLDER] [--minutes M]`: is the doctor right?

Trainings broken on purpose and trainings with nothing wrong, each watched by the doctor. A fault counts where the training
is truly broken, a control where it is healthy (doctor_truth). Thresholds were set on ring and strokes; the other sets are
held out, with other seeds. A cell is SET/CASE/SEED and holds the windows that were seen, so that every table is judged anew
with the detectors as they are now; only what is trained is kept. After the cells, what the first remedy of each diagnosis
proposes is trained as well. FOLDER holds mnist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from cells import Cells, Clock, Say
from common import machine, machine_text
from doctor_controls import CONTROLS, ODDITIES
from doctor_faults import FAULTS, Case
from doctor_overhead import overhead
from doctor_play import Bedside, attended
from doctor_scores import Judged, judged
from doctor_sets import BEDS, base, tables
from doctor_table import tell
from doctor_truth import judge_of
from gantlet.core.errors import InputError, nearest
from gantlet.core.recipe import Recipe
from gantlet.doctor.probes import PROBES

RECORD = 1  # raise it when what a window holds changes: kept cells are then measured again
CASES: dict[str, Case] = {**FAULTS, **CONTROLS, **ODDITIES}
QUICK_STEPS = 300
QUICK = (
    "g-frozen", "d-frozen", "detached", "detached-inside", "wrong-weights", "sign-flipped", "labels-swapped", "lr-huge",
    "latent-deaf", "average-frozen", "latent-zero", "loader-stuck", "few-rows", "scale", "dead-critic", "nan",
    "ns-r1-r2", "rp-r1-r2", "ls-r1", "momentum-r1",
)  # fmt: skip
# 60 s each: the dozen that a day's work is most likely to meet, and six ways to be well
ON_MNIST = (
    "g-hot", "d-frozen", "detached", "labels-swapped", "latent-zero", "loader-stuck", "scale", "dead-critic", "wgan-free",
    "gamma-huge", "few-rows", "nan", "ns-r1", "ns-r1-r2", "rp-r1-r2", "ls-r1", "hinge-sn", "lr-decay",
)  # fmt: skip


class One(NamedTuple):
    """A training: of a set, in a way, from a seed; and with what a remedy changes."""

    set: str
    case: str
    seed: int
    quick: bool
    data: str  # the folder that holds mnist
    remedy: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return "/".join([self.set, self.case, str(self.seed), *self.remedy])

    @property
    def recipe(self) -> Recipe:
        case, made = CASES[self.case], base(self.set)
        steps = int((QUICK_STEPS if self.quick else BEDS[self.set].steps) * case.steps)
        return made.override(**case.changes).override(*self.remedy, seed=self.seed, steps=steps)

    @property
    def facts(self) -> dict[str, Any]:
        probes = sorted(f"{p.__module__}.{p.__name__}" for p in PROBES)
        return {"set": self.set, "case": self.case, "recipe": self.recipe.tree, "record": RECORD, "probes": probes}

    def bedside(self) -> Bedside:
        return CASES[self.case].bedside(self.recipe, *tables(self.set, self.data))

    def trained(self) -> dict[str, Any]:
        """The cell."""
        case, bed = CASES[self.case], self.bedside()
        uneven = case.both is not None and case.unit == 1.0
        found = attended(bed, judge_of(self.set, self.data, bed.train, uneven=uneven))
        names = {
            "label": self.label,
            "set": self.set,
            "case": self.case,
            "seed": self.seed,
            "remedy": list(self.remedy),
        }
        return {**names, **found}


def plan(*, quick: bool, data: str | None) -> list[One]:
    """Everything there is to measure; mnist only where its data is."""
    if quick:
        return [One("ring", case, 0, True, "") for case in QUICK]
    return [
        One(name, case, seed, False, data or "")
        for name, bed in BEDS.items()
        if bed.source or data
        for case in (ON_MNIST if name == "mnist" else CASES)
        if _fits(CASES[case], name)
        for seed in bed.fresh.get(case, bed.seeds)[: _most(case)]
    ]


def _most(case: str) -> int | None:
    """How many of a set's seeds a case has: a rate of false alarms of 1 % asks for hundreds of controls."""
    return 2 if case in FAULTS else 4 if case in ODDITIES else None


def _fits(case: Case, name: str) -> bool:
    """Can this set be like that?"""
    return {"": True, "image": BEDS[name].images, "labels": name != "swissroll"}[case.needs]


def chosen(every: Sequence[One], wanted: Sequence[str] | None) -> list[One]:
    """SET, CASE, SET/CASE or SET/CASE/SEED each; InputError for what there is none of."""
    if not wanted:
        return list(every)
    found: list[One] = []
    for word in wanted:
        some = [one for one in every if word in _names(one)]
        if not some:
            known = dict.fromkeys(name for one in every for name in _names(one))
            raise InputError(f"--cell {word}: no such cell; {nearest(word, known)}")
        found += some
    return list(dict.fromkeys(found))


def _names(one: One) -> tuple[str, ...]:
    return one.set, one.case, f"{one.set}/{one.case}", f"{one.set}/{one.case}/{one.seed}"


def measure(
    *, data: str | None = None, quick: bool = False, say: Say = print, cell: Sequence[str] | None = None,
    minutes: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The table as one JSON-able record: every kept training of the plan, judged by the detectors as they are now."""
    cells, clock, every = Cells("doctor"), Clock(minutes), plan(quick=quick, data=data)
    wanted = chosen(every, cell)
    for one in _left(wanted, cells, clock):
        _fill(one, cells, say)
    done = [judged(kept, CASES[one.case]) for one in every if (kept := cells.find(one.facts)) is not None]
    treated = {}
    for one in every:
        again = _treated(one, done)
        if again is None:
            continue
        if one in wanted and not quick and cells.find(again.facts) is None and not clock.over:
            _fill(again, cells, say)
        kept = cells.find(again.facts)
        treated[again.label] = None if kept is None else judged(kept, CASES[one.case]).health
    return {
        "machine": machine(), "of": len(every), "runs": [run._asdict() for run in done], "treated": treated,
        "overhead": overhead(cells, Clock(0) if cell else clock, quick=quick, data=data or "", say=say),
    }  # fmt: skip


def _left(wanted: Sequence[One], cells: Cells, clock: Clock) -> Iterator[One]:
    for one in wanted:
        if not clock.over and cells.find(one.facts) is None:
            yield one


def _fill(one: One, cells: Cells, say: Say) -> None:
    found = cells.keep(one.facts, {**one.trained(), "machine": machine_text(machine())})
    run = judged(found, CASES[one.case])
    say(f"{one.label}: {run.health}, {run.cause or 'nothing found'}{f' at {run.step}' if run.step else ''}, "
        f"{found['seconds']:.0f} s")  # fmt: skip


def _treated(one: One, done: Sequence[Judged]) -> One | None:
    """The training that the first remedy for a broken one proposes; None where no option does it, or where not even a
    training with nothing wrong becomes healthy in the time."""
    run = next((r for r in done if (r.set, r.case, r.seed) == (one.set, one.case, one.seed)), None)
    if not any(r.set == one.set and r.case in CONTROLS and r.health == "healthy" for r in done):
        return None
    if run is None or run.health != "broken" or not run.expected or not run.change or CASES[one.case].code:
        return None
    again = one._replace(remedy=tuple(run.change))
    try:
        again.recipe  # noqa: B018 (refused where the recipe does not take it)
    except InputError:
        return None
    return again


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    return tell(table)

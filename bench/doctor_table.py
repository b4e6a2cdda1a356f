"""The doctor's benchmark as the page's markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from common import machine_text
from doctor_controls import CONTROLS, ODDITIES
from doctor_faults import FAULTS
from doctor_rules import RULES
from doctor_scores import Judged, Say, Score, doctor, named, often, rule, score
from doctor_sets import BEDS, DEV

HEADS = ("who", "runs", "broken", "detected", "exact", "accepted", "healthy", "false alarms", "step", "of visible")
HELD_OUT = "held out"


def tell(table: dict[str, Any]) -> str:
    """Who is right how often, on which sets; then every fault, and every false alarm."""
    runs = [Judged(**run) for run in table["runs"]]
    lines = [f"Machine: {machine_text(table['machine'])}. {len(runs):,} of {table['of']:,} trainings.", ""]
    lines += _rows([HEADS, ["---"] * len(HEADS)])
    groups = _groups(runs)
    for title, some in groups:
        counted = [run for run in some if run.case not in ODDITIES]
        others: dict[str, Say] = {name: rule(name) for name in RULES} if title == groups[0][0] else {}
        says = {"doctor": doctor} | others
        lines += _rows([_row(f"{title}, {who}", score(counted, say)) for who, say in says.items()])
        if title == HELD_OUT:
            lines += _rows([_row(f"{title} with the odd ones, doctor", score(some, doctor))])
    lines += ["", *_notes(runs, table), "", *_faults(runs), "", *_well(runs)]
    return "\n".join(lines)


def _groups(runs: Sequence[Judged]) -> list[tuple[str, list[Judged]]]:
    held = [run for run in runs if run.set not in DEV]
    sets = [(name, [run for run in runs if run.set == name]) for name in BEDS]
    return [(HELD_OUT, held)] * bool(held) + [(name, some) for name, some in sets if some]


def _row(who: str, s: Score) -> list[str]:
    low, high = s.interval
    alarms = f"{s.alarms} ({_share(low)} to {_share(high)})" if s.healthy else ""
    return [
        who, str(s.tried + s.controls), f"{s.faults} of {s.tried}", _share(s.detected), _share(s.exact),
        _share(s.accepted), f"{s.healthy} of {s.controls}", alarms, _number(s.step), _number(s.early),
    ]  # fmt: skip


def _notes(runs: Sequence[Judged], table: dict[str, Any]) -> list[str]:
    lines = []
    for title, some in _groups(runs):
        right, of = named(some)
        keys = {f"{run.set}/{run.case}/{run.seed}" for run in some}
        ends = [h for key, h in table["treated"].items() if "/".join(key.split("/")[:3]) in keys]
        done = [h for h in ends if h is not None]
        lines.append(
            f"- {title}: of {of} trainings broken by code, {right} are found by the right name of the right player; of "
            f"{len(done)} first remedies tried ({len(ends)} propose an option), {done.count('healthy')} made it healthy."
        )
    lines += [
        f"- {one['name']}: a step with the doctor takes {one['median']:.3f} times as long ({one['min']:.3f} to "
        f"{one['max']:.3f}), where one without takes {one['step_ms']:.1f} ms."
        for one in table["overhead"]
    ]
    return lines


def _faults(runs: Sequence[Judged]) -> list[str]:
    heads = [
        "fault",
        "expected",
        "broken",
        "accepted",
        "found on ring and strokes",
        "found on held-out sets",
        "median step",
    ]
    rows = []
    for name, case in FAULTS.items():
        some = [run for run in runs if run.case == name]
        broken = [run for run in some if run.health == "broken"]
        if not some:
            continue
        right = sum(run.cause in (case.expected, *case.accepted) for run in broken)
        steps = sorted(run.step for run in broken if run.step is not None)
        rows.append([
            name, case.expected, f"{len(broken)} of {len(some)}", f"{right} of {len(broken)}",
            often(r for r in broken if r.set in DEV), often(r for r in broken if r.set not in DEV),
            str(steps[len(steps) // 2]) if steps else "",
        ])  # fmt: skip
    return _rows([heads, ["---"] * len(heads), *rows])


def _well(runs: Sequence[Judged]) -> list[str]:
    heads = ["nothing is wrong with", "healthy", "alarms while healthy", "alarms otherwise"]
    rows = []
    for name in (*CONTROLS, *ODDITIES):
        some = [run for run in runs if run.case == name]
        well = [run for run in some if run.health == "healthy"]
        rest = [run for run in some if run.health != "healthy"]
        if some:
            rows.append([name, f"{len(well)} of {len(some)}", *(often(r for r in g if r.cause) for g in (well, rest))])
    return _rows([heads, ["---"] * len(heads), *rows])


def _rows(rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in rows]


def _share(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f} %"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"

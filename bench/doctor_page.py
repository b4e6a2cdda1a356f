"""The findings as docs/doctor.md lists them: `python bench/doctor_page.py` writes that part of the page anew.

Everything is taken from where it is defined: what and why from a detector's docstring, thresholds from its signature, what
to try from its remedies' docstrings. A picture is shown where docs/images/doctor/NAME.png is there.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import gantlet.doctor  # noqa: F401 (importing registers)
from gantlet.doctor.diagnosis import Finding
from gantlet.doctor.finding import DETECTORS, RANKS, Detector, Prescribe, Sign
from gantlet.doctor.words import KINDS

PAGE = Path(__file__).parents[1] / "docs" / "doctor.md"
BEGIN, END = "<!-- findings: written by bench/doctor_page.py -->", "<!-- end of findings -->"


def findings(images: Path) -> str:
    """A table of all, then a section each, causes before consequences."""
    by_rank = {rank: [d for d in DETECTORS.values() if d.rank == rank] for rank in RANKS}
    lines = ["| rank | findings |", "|---|---|"]
    lines += [f"| {rank} | {', '.join(f'[`{d.name}`](#{d.name})' for d in of)} |" for rank, of in by_rank.items() if of]
    for rank, of in by_rank.items():
        lines += [f"\n## {rank[0].upper()}{rank[1:]}\n", f"A fault of {KINDS[rank]}."] if of else []
        for detector in of:
            lines += _section(detector, images)
    return "\n".join(lines)


def _section(detector: Detector, images: Path) -> list[str]:
    name = detector.name
    said = Finding(detector, Sign(()), 0, 0, 0)
    lines = [f"\n### {name}\n", said.what, "", said.why, ""]
    if (images / f"{name}.png").is_file():
        lines += [f"![{name}]({images.parent.name}/{images.name}/{name}.png)", ""]
    tries = [_first(fn) for fn in detector.remedies]
    if tries:
        lines += ["What it proposes, where it applies:", "", *(f"{i}. {text}" for i, text in enumerate(tries, 1)), ""]
    windows = f"{detector.hold} windows in a row" if detector.hold > 1 else "one window"
    warm = f", not before step {detector.warm}" if detector.warm else ""
    limits = ", ".join(f"`{k}` {v}" for k, v in thresholds(detector).items())
    return [*lines, f"Believed after {windows}{warm}." + (f" Thresholds: {limits}." if limits else "")]


def thresholds(detector: Detector) -> dict[str, object]:
    """The options of its signature."""
    parameters = inspect.signature(detector.detect).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _first(fn: Prescribe) -> str:
    """What a remedy says it does; its name where it says nothing."""
    name = getattr(fn, "__name__", "").replace("_", " ")
    return " ".join((inspect.getdoc(fn) or name).split("\n\n")[0].split())


def renewed(text: str, images: Path) -> str:
    """The page with that part written anew."""
    head, _, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{head}{BEGIN}\n\n{findings(images)}\n\n{END}{tail}"


def main() -> None:
    images = PAGE.parent / "images" / "doctor"
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), images), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()

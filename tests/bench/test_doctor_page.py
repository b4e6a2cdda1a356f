"""docs/doctor.md lists the findings as they are."""

from __future__ import annotations

import pytest

import doctor_page
from gantlet.doctor.finding import DETECTORS, RANKS

IMAGES = doctor_page.PAGE.parent / "images" / "doctor"


def test_the_page_says_what_the_detectors_say():
    """`python bench/doctor_page.py` writes it anew."""
    text = doctor_page.PAGE.read_text(encoding="utf-8")
    assert doctor_page.renewed(text, IMAGES) == text


def test_every_finding_has_a_section_and_causes_come_first(tmp_path):
    text = doctor_page.findings(tmp_path)
    headings = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]
    assert sorted(headings) == sorted(DETECTORS)
    ranks = [RANKS.index(DETECTORS[name].rank) for name in headings]
    assert ranks == sorted(ranks)


def test_a_curve_is_shown_where_there_is_one(tmp_path):
    name = next(iter(DETECTORS))
    (tmp_path / "doctor").mkdir()
    (tmp_path / "doctor" / f"{name}.png").write_bytes(b"")
    assert doctor_page.findings(tmp_path / "doctor").count("![") == 1
    assert "![" not in doctor_page.findings(tmp_path / "none")


def test_only_that_part_of_the_page_is_written(tmp_path):
    page = f"before\n{doctor_page.BEGIN}\nold\n{doctor_page.END}\nafter"
    made = doctor_page.renewed(page, tmp_path)
    assert made.startswith("before\n") and made.endswith("\nafter") and "\nold\n" not in made
    assert doctor_page.renewed(made, tmp_path) == made
    with pytest.raises(ValueError, match="the page has no"):
        doctor_page.renewed("nothing", tmp_path)

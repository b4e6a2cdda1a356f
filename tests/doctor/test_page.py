"""The page of a diagnosis: it stands alone, reads without scripts, and draws what the findings name."""

from __future__ import annotations

import html
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import ward
from ward import seen_through

import gantlet.doctor
from gantlet.doctor import diagnosis as diagnosing
from gantlet.doctor.page import ROWS, page, write_page

WORSE, LIKE = {"D.auc": 0.998}, {"D.diversity": 0.02}
VOID = {"meta", "br", "img", "hr", "link", "input"}


@pytest.fixture(autouse=True)
def on_duty(monkeypatch):
    monkeypatch.setattr(diagnosing, "DETECTORS", ward.detectors())


class Reader(HTMLParser):
    """What a browser without scripts shows, whether every tag is closed, and what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.fetched: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [] and reader.faults == []
    return reader


def curves_of(text: str) -> list[dict]:
    found = re.search(r'<script type="application/json" id="curves">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_page_reads_without_scripts():
    said = " ".join("".join(read(page(seen_through({}, WORSE, {**WORSE, **LIKE}), "Diagnosis of a run")).text).split())
    for part in (
        "Diagnosis of a run",
        "The likely cause: strong (D)",
        "the critic's AUC0.998at most 0.95",
        "players.D.lr=0.0001: half the rate of D (Heusel et al. 2017)",
        "from step 200 to 300, and still",
        "G found one that <D> likes & stays there.",
        "Is D's loss of 1.3 normal?",
        "0.6 at step 100, 0.998 at step 300, between 0.6 and 0.998; healthy: at most 0.95 (shaded); the finding began at",
    ):  # fmt: skip
        assert part in said, part


def test_nothing_is_fetched():
    text = page(seen_through(WORSE), "x")
    assert read(text).fetched == []
    assert "default-src 'none'" in html.unescape(text)
    outside = re.sub(r"<script>.*</script>", "", text, flags=re.DOTALL)
    assert "url(" not in outside and "@import" not in outside and "http" not in outside.replace("http-equiv", "")


def test_each_finding_has_the_curves_its_evidence_names():
    made = seen_through({}, WORSE, {**WORSE, **LIKE})
    text = page(made, "x")
    curves = curves_of(text)
    assert [int(i) for i in re.findall(r'data-curve="(\d+)"', text)] == list(range(len(curves))), "each has its place"
    auc = curves[0]
    assert auc == {"name": "D.auc", "steps": [100, 200, 300], "values": [0.6, 0.998, 0.998], "low": None, "high": 0.95,
                   "first": 200}  # fmt: skip
    assert curves[1]["name"] == "D.diversity" and curves[1]["low"] == 0.8 and curves[1]["first"] == 300
    names = [c["name"] for c in curves[2:]]
    assert {"D.auc", "D.diversity", "D.term.D", "G.term.G", "D.gradient", "G.slope.fake"} <= set(names)
    assert all(c["first"] is None for c in curves[2:])


def test_what_healed_is_on_the_page_and_marked():
    text = page(seen_through(LIKE, {}), "x")
    assert (
        text.index("Nothing is wrong any more")
        < text.index("Seen before, and over")
        < text.index('id="alike" class="over"')
    )


def test_values_that_were_not_seen_are_left_out_and_json_stays_json():
    made = seen_through({"D.auc": math.nan}, {}, {"D.gradient": math.nan})
    by_name = {c["name"]: c for c in curves_of(page(made, "x"))}
    assert by_name["D.auc"]["steps"] == [200, 300] and by_name["D.gradient"]["steps"] == [100, 200]
    assert "NaN" not in page(made, "x").split('id="curves">')[1].split("</script>")[0]


def test_a_page_of_nothing_yet():
    text = page(seen_through(), "x")
    assert "Nothing has been seen yet" in "".join(read(text).text) and curves_of(text) == []


def test_a_long_training_has_few_figures_and_all_its_points():
    made = seen_through(*[{"D.auc": 0.5 + i / 1000} for i in range(200)])
    text = page(made, "x")
    auc = next(c for c in curves_of(text) if c["name"] == "D.auc")
    assert len(auc["steps"]) == 200
    table = re.search(r"<summary>figures</summary><table>(.*?)</table>", text)
    assert table is not None and 3 < table[1].count("<tr>") <= ROWS + 2 and "<td>20000</td>" in table[1]


def test_names_cannot_break_out_of_the_page():
    title = "</title><script>alert(1)</script>"
    made = seen_through({"D.term.</script><b>": 1.0})
    text = page(made, title)
    assert "<script>alert" not in text and "<b>" not in text
    assert "D.term.</script><b>" in [c["name"] for c in curves_of(text)]
    read(text)


def test_where_it_is_written(tmp_path):
    made = seen_through({})
    assert write_page(made, "x", tmp_path / "new" / "one.html") == tmp_path / "new" / "one.html"
    folder = write_page(made, "x", tmp_path / "folder")
    assert folder == tmp_path / "folder" / "index.html" and folder.read_text(encoding="utf-8") == page(made, "x")


def test_what_is_not_ours_came_with_its_licence():
    vendor = Path(gantlet.doctor.__file__).parent / "vendor"
    files = {p.name: p.read_text(encoding="utf-8") for p in vendor.iterdir()}
    assert set(files) == {"uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE"}
    assert "MIT License" in files["uPlot.LICENSE"] and "Leon Sorokin" in files["uPlot.LICENSE"]
    version = re.match(r"/\*! https://github.com/leeoniya/uPlot \(v([\d.]+)\) \*/", files["uPlot.iife.min.js"])
    assert version is not None and "</script" not in files["uPlot.iife.min.js"]

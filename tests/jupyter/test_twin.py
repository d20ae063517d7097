"""The static twin: small, well formed, self-contained, and nothing in it runs over its room."""

from __future__ import annotations

import base64
import html.parser
import random
import re
from xml.etree import ElementTree

import pytest

from sparklab.events.facts import JobStarted, RddEdge, StageNode
from sparklab.jupyter.metrics import text_width
from sparklab.jupyter.twin import BYTES_MAX, twin_bundle
from tests.jupyter import sample_facts as facts
from tests.jupyter.models import model_of
from tests.jupyter.test_model import RUNS

SVG = "{http://www.w3.org/2000/svg}"


class Page(html.parser.HTMLParser):
    """What a page holds, as a browser would take it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))


def image(bundle: dict[str, str]) -> tuple[dict[str, str], str]:
    """The attributes of the bundle's image and its SVG."""
    (found,) = [attrs for tag, attrs in Page(bundle["text/html"]).tags if tag == "img"]
    head, data = found["src"].split(",")
    assert head == "data:image/svg+xml;base64"
    return found, base64.b64decode(data).decode()


def twin(name: str, form: str = "panel") -> dict[str, str]:
    return twin_bundle(model_of(RUNS[name](), narrow=True), form, "14 November, 10:42")


@pytest.mark.parametrize("form", ["panel", "strip"])
@pytest.mark.parametrize("name", RUNS)
def test_a_twin_is_one_well_formed_image_of_at_most_60_kb(name: str, form: str) -> None:
    bundle = twin(name, form)
    assert len(bundle["text/html"]) <= BYTES_MAX
    _, svg = image(bundle)
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert {tag for tag, _ in Page(bundle["text/html"]).tags} <= {"style", "img"}


@pytest.mark.parametrize("name", RUNS)
def test_no_text_of_a_twin_leaves_the_card(name: str) -> None:
    _, svg = image(twin(name))
    root = ElementTree.fromstring(svg)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))

    def check(at: ElementTree.Element, left: float, top: float) -> int:
        moved = re.match(r"translate\(([\d.]+) ([\d.]+)\)", at.get("transform", ""))
        if moved:
            left, top = left + float(moved[1]), top + float(moved[2])
        seen = 0
        if at.tag == f"{SVG}text":
            face = "bold" if at.get("font-weight") else "regular"
            long = text_width(at.text or "", float(at.get("font-size", 0)), face)
            x = left + float(at.get("x", 0))
            start = x - {"middle": long / 2, "end": long}.get(at.get("text-anchor", ""), 0)
            assert start >= 0, at.text
            assert start + long <= width, at.text
            assert 0 < top + float(at.get("y", 0)) < height, at.text
            seen = 1
        return seen + sum(check(child, left, top) for child in at)

    assert check(root, 0, 0) > 3


def test_every_name_in_a_node_fits_its_box() -> None:
    story = facts.Story()
    name = "a_transformation_with_a_name_that_goes_on_and_on_and_on"
    rdds = (facts.node(1, name, "a/very/long/path/to/a/program/that/made/it.py:12345", 24),)
    stages = (StageNode(1, "result", -1, 24, (1,), (), False, name),)
    story.add(JobStarted(1, facts.SCOPE, "count", "x", 1, "default", rdds, (), stages))
    model = model_of(story.records, narrow=True)
    (node,) = model["dag"]["nodes"]
    assert "…" in node["n"]
    assert text_width(node["n"], 12, "bold") <= node["w"] - 16
    assert text_width(node["s"], 11) <= node["w"] - 16
    assert name not in image(twin_bundle(model))[1]


def test_a_name_that_looks_like_markup_stays_text() -> None:
    bundle = twin("hostile_names")
    attributes, svg = image(bundle)
    assert [tag for tag, _ in Page(bundle["text/html"]).tags] == ["style", "img"]
    assert set(attributes) <= {"class", "src", "alt", "style"}
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
    assert tags <= {"svg", "defs", "pattern", "rect", "circle", "path", "g", "use", "text"}
    assert 'onerror="alert(1)"' in attributes["alt"]


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    story = facts.Story()
    rdds = (facts.node(1, "a\x00b\x1bc\ud800", "In [1]:1", 3),)
    stages = (StageNode(1, "result", -1, 3, (1,), (), False, "x"),)
    story.add(JobStarted(1, facts.SCOPE, "count", "x", 1, "default", rdds, (), stages))
    ElementTree.fromstring(image(twin_bundle(model_of(story.records, narrow=True)))[1])


def test_the_alternative_text_is_the_headline_and_the_stages() -> None:
    attributes, _ = image(twin("word_count"))
    assert attributes["alt"].startswith("reduceByKey: stage 2 of 3, 14/24")
    assert "Stage 2, 24 tasks after shuffle 2, 3.1 MiB: reduceByKey" in attributes["alt"]
    assert twin("word_count")["text/plain"] == attributes["alt"]


def test_a_picture_that_never_repeats_itself_still_stays_below_60_kb() -> None:
    rnd = random.Random(1)
    story = facts.Story()
    rdds = tuple(facts.node(i, f"step{i}", f"In [1]:{i}", 3000, "MEMORY_ONLY") for i in range(3))
    stages = tuple(StageNode(i, "map", i, 3000, (i,), (i - 1,) if i else (), False, f"step{i}") for i in range(3))
    edges = (RddEdge(0, 1, 0), RddEdge(1, 2, 1))
    story.add(JobStarted(1, facts.SCOPE, "count", "x", 2, "default", rdds, edges, stages))
    for rdd in range(3):
        story.persist(rdd, f"step{rdd}", "In [1]:1", "MEMORY_ONLY", 3000)
        story.store(rdd, [i for i in range(3000) if rnd.random() < 0.5], 1000)
    assert len(twin_bundle(model_of(story.records, narrow=True))["text/html"]) <= BYTES_MAX


def test_the_card_is_opaque_and_names_no_colour_of_a_theme() -> None:
    _, svg = image(twin("word_count"))
    assert 'fill="#ffffff"' in svg
    assert "var(" not in svg
    assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_the_date_stands_at_the_foot() -> None:
    assert ">14 November, 10:42<" in image(twin("word_count"))[1]


def test_a_long_error_and_a_long_cell_name_are_cut_in_the_middle() -> None:
    story = facts.Story(label="In [6]")
    records = facts.failed()
    long = "ValueError: " + "could not convert string to float " * 5
    story.records = [*records[:1], *records[3:-2]]
    story.add(facts.ScopeOpened(facts.SCOPE, "a_program_with_a_long_name_" * 3 + ".py", "and a name of its own " * 4))
    story.records = [*story.records[:1], story.records[-1], *story.records[1:-1]]
    story.add(facts.JobEnded(1, "failed", 0.9, long, 1))
    _, svg = image(twin_bundle(model_of(story.records, narrow=True), date="14 November, 10:42"))
    for text in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        face = "bold" if text.get("font-weight") else "regular"
        assert text_width(text.text or "", float(text.get("font-size", 0)), face) <= 568
    assert "ValueError" in svg
    assert long not in svg

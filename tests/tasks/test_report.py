"""The report: one page that needs no network and hides nothing."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from models.judging.records import Caution
from tasks.files import write_atomically
from tasks.report import sections
from tasks.report.blocks import Section, duration
from tasks.report.figures import FIGURES
from tasks.report.headline import explanation, headline
from tasks.report.page import render_page, write_report
from tasks.report.sections import SECTIONS
from tasks.train import TrainConfig, train_and_judge
from tests.models.tables import make_table

VOID = {"meta", "link", "img", "source", "br", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags close in order; keeps attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def result():
    config = TrainConfig(epochs=2, svm_c=(1.0,), svm_gamma=(0.3,))
    table = make_table(missing=0.1, weights="random", without=("video/resnet50",))
    return train_and_judge(table, config)


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("report")
    assert write_report(result, path / "new") == path / "new" / "index.html"
    return path / "new"


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "index.html").read_text())


def test_page_is_well_formed_and_fetches_nothing(page):
    assert page.open == []
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset"):
            value = attributes.get(name) or ""
            assert not re.match(r"(https?:)?//", value)
    assert not page.all("script")


def test_links_lead_somewhere(page, folder):
    anchors = {attributes.get("id") for _, attributes in page.tags}
    for link in page.all("a"):
        target = link["href"]
        assert target[1:] in anchors if target.startswith("#") else (folder / target).exists()


def test_every_picture_has_words_and_every_table_headers(page):
    assert page.all("img")
    assert all(len(image["alt"]) > 30 for image in page.all("img"))
    assert all(header["scope"] in ("col", "row") for header in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_page_opens_with_the_result_and_its_cautions(page, result):
    assert headline(result) in page.text
    assert "Random weights: audio/wav2vec2, text/minilm" in page.text
    assert "No video at all" in page.text
    assert page.text.index("No video at all") < page.text.index("Weighted averages")


def test_page_names_where_it_comes_from(page, result):
    for wanted in (result.data.snapshot, result.data.store, result.command, result.hardware.cpu):
        assert wanted in page.text
    for key in result.data.keys.values():
        assert key in page.text
    assert "StandardScaler(fused)" in page.text
    assert "Majority baseline" in page.text


def test_figures_are_pictures_of_a_legible_size(folder):
    for name in FIGURES:
        with Image.open(folder / f"{name}.png") as image:
            assert image.format == "PNG"
            assert image.width >= 800


def test_numbers_lie_beside_the_page(folder, result):
    assert json.loads((folder / "results.json").read_text()) == json.loads(
        json.dumps(result.to_json())
    )
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    right = sum(row["emotion"] == row["svm"] for row in rows)
    assert right / 40 == pytest.approx(result.judged["svm"].test.accuracy)


def test_nothing_temporary_stays(folder):
    assert {path.name for path in folder.iterdir()} == {
        "index.html",
        "results.json",
        "predictions.csv",
        *(f"{name}.png" for name in FIGURES),
    }


def test_failed_write_keeps_the_old_file(tmp_path):
    path = write_atomically(tmp_path / "file", b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_markup_in_data_is_shown_not_run(result):
    data = replace(result.data, store="<script>alert(1)</script>")
    caution = Caution(kind="x", message="a <b> & c")
    html = render_page(replace(result, data=data, warnings=(caution,)))
    assert "<script" not in html
    assert "a &lt;b&gt; &amp; c" in html


def test_a_new_section_is_one_line(result, monkeypatch):
    monkeypatch.setitem(SECTIONS, "extra", lambda _: Section(title="Something new"))
    monkeypatch.setitem(SECTIONS, "nothing", lambda _: None)
    page = Page(render_page(result))
    assert "Something new" in page.text
    assert "nothing" not in {attributes.get("id") for _, attributes in page.tags}
    assert sections.SECTIONS is SECTIONS


def test_headline_is_a_plain_sentence(result):
    pattern = (
        r"On 40 test utterances the (SVM|reference network) reaches weighted F1 [01]\.\d\d; "
        r"always answering neutral gives 0\.\d\d\."
    )
    assert re.fullmatch(pattern, headline(result))


def test_no_mistake_is_not_called_certainty(result):
    test = replace(result.judged["svm"].test, accuracy=1.0, rows=60)
    judged = {**result.judged, "svm": replace(result.judged["svm"], test=test)}
    words = explanation(replace(result, judged=judged, winner="svm"))
    assert "up to 5 %" in words


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.44, "0.4 s"), (12.2, "12 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s")]
)
def test_duration(seconds, shown):
    assert duration(seconds) == shown

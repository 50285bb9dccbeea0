"""The report: one page that needs no network and hides nothing."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from meldflow.models.files import write_atomically
from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.common import Layer
from meldflow.models.schema.utterances import SENTIMENT
from meldflow.models.training.result import Attention, Caution, Hard, TrainResult
from meldflow.models.training.run import config_for
from meldflow.tasks.pages import panels
from meldflow.tasks.pages.panels import render
from meldflow.tasks.pages.text import duration, spread
from meldflow.tasks.pages.themes import THEMES
from meldflow.tasks.report.page import (
    explanation,
    folder_of,
    headline,
    load_result,
    record_of,
    render_page,
    write_report,
)
from meldflow.tasks.report.pieces import FIGURES
from meldflow.tasks.watching import training as watching
from meldflow.tasks.watching.artifacts import Artifacts
from tests.models.tables import make_table, train

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

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


SMALL: dict[str, dict[str, Any]] = {
    "official": {"svm_c": (1.0,), "svm_gamma": (0.3,)},
    "leaky-80-20": {},
}
"""Protocol → settings that leave one SVM to fit; the leaky protocol has its own."""


def trained(
    table: FeatureTable, *, protocol: str = "official", epochs: int = 1, **more: Any
) -> TrainResult:
    config = config_for(protocol, "reference", epochs=epochs, **SMALL[protocol])
    return train(table, config, protocol=protocol, **more).result


@pytest.fixture(scope="module")
def result() -> TrainResult:
    """One seed, three modalities of which one is missing, nothing left out."""
    table = make_table(missing=0.1, weights="random", without=("video/resnet50",))
    return trained(table, epochs=2)


@pytest.fixture(scope="module")
def pair() -> FeatureTable:
    table = make_table((42, 14, 28), signal=0.15, without=("video/resnet50",))
    return table.only(("audio", "text"))


@pytest.fixture(scope="module")
def several(pair: FeatureTable) -> TrainResult:
    """Two seeds, two modalities, each left out in turn."""
    return trained(pair, seeds=2, ablations=True)


@pytest.fixture(scope="module")
def leaky(pair: FeatureTable) -> TrainResult:
    return trained(pair, protocol="leaky-80-20")


@pytest.fixture(scope="module")
def sentiment() -> TrainResult:
    """Three classes, one modality."""
    table = make_table((70, 21, 28))
    label = np.array(SENTIMENT.classes)[np.arange(len(table)) % 3]
    return trained(replace(table, label=label, target=SENTIMENT).only(("text",)))


@pytest.fixture(scope="module")
def folder(result: TrainResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report")
    assert write_report(result, path / "new") == path / "new" / "index.html"
    return path / "new"


@pytest.fixture(scope="module")
def both(
    several: TrainResult, leaky: TrainResult, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the reports of both protocols, the wrong one written last; undrawn."""
    path = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        patch.setattr("meldflow.tasks.report.page._write_figures", lambda *_: None)
        write_report(several, path)
        assert write_report(leaky, path) == path / "leaky-80-20" / "index.html"
    return path


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(panels, "_pictures", lambda _: {"light": "", "dark": ""})


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without their pictures, which take seconds to draw."""
    draw_nothing(monkeypatch)


def section(
    anchor: str, result: TrainResult, others: Mapping[str, TrainResult] | None = None
) -> str | None:
    """A section of the page, undrawn; None where the page has none."""
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        html = render_page(result, others)
    found = re.search(rf'<section id="{anchor}".*?</section>', html, re.DOTALL)
    return found and found[0]


class Tables(HTMLParser):
    """Tables by caption, cells as texts without their small print."""

    def __init__(self, html: str | None) -> None:
        super().__init__()
        assert html is not None
        self.found: dict[str, list[list[str]]] = {}
        self.rows: list[list[str]] = []
        self.within: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.within.append(tag)
        if tag == "caption":
            self.rows = []
        elif tag == "tr" and "tbody" in self.within:
            self.rows.append([])
        elif tag in ("th", "td") and "tbody" in self.within:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.within.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.within[-1:] == ["caption"]:
            self.found[data] = self.rows
        elif self.within[-1:] in (["th"], ["td"]) and "tbody" in self.within:
            self.rows[-1][-1] += data


def tables(html: str | None) -> dict[str, list[list[str]]]:
    return Tables(html).found


def numbers(cell: str) -> list[float]:
    """``0.612 ± 0.004`` as numbers."""
    return [float(one) for one in cell.split(" ± ")]


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "index.html").read_text())


def test_page_is_well_formed_and_fetches_nothing(page: Page) -> None:
    assert page.open == []
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset"):
            value = attributes.get(name) or ""
            assert not re.match(r"(https?:)?//", value)
    assert not page.all("script")


def test_links_lead_somewhere(page: Page, folder: Path) -> None:
    anchors = {attributes.get("id") for _, attributes in page.tags}
    for link in page.all("a"):
        target = link["href"] or ""
        assert target[1:] in anchors if target.startswith("#") else (folder / target).exists()


def test_every_picture_has_words_and_every_table_headers(page: Page) -> None:
    assert page.all("img")
    assert all(len(image["alt"] or "") > 30 for image in page.all("img"))
    assert all(header["scope"] in ("col", "row") for header in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_page_opens_with_the_result_and_its_cautions(page: Page, result: TrainResult) -> None:
    assert headline(result) in page.text
    assert "Random weights: audio/wav2vec2, text/minilm" in page.text
    assert "No video at all" in page.text
    assert page.text.index("No video at all") < page.text.index("Weighted averages")


def test_page_names_where_it_comes_from(page: Page, result: TrainResult) -> None:
    for wanted in (result.data.snapshot, result.data.store, result.command, result.hardware.cpu):
        assert wanted in page.text
    for key in result.data.keys.values():
        assert key in page.text
    assert "StandardScaler(fused)" in page.text
    assert "Majority baseline" in page.text


def drawn(result: TrainResult) -> set[str]:
    return {name for name, build in FIGURES.items() if build(result)}


def test_figures_are_pictures_of_a_legible_size(folder: Path, result: TrainResult) -> None:
    assert drawn(result) == set(FIGURES) - {"protocols", "ablations"}
    for name in drawn(result):
        with Image.open(folder / f"{name}.png") as image:
            assert image.format == "PNG"
            assert image.width >= 800
        assert b"<svg" in (folder / f"{name}.svg").read_bytes()[:1000]


def test_figures_are_the_same_bytes_each_time(several: TrainResult) -> None:
    for ending in ("png", "svg"):
        once, again = (render(FIGURES["ablations"](several), ending=ending) for _ in range(2))
        assert once == again
        assert b"<dc:date>" not in once


def test_figures_that_not_every_page_has_are_drawn_light_and_dark(
    several: TrainResult, leaky: TrainResult
) -> None:
    for name, one in (("ablations", several), ("protocols", leaky)):
        light, dark = (render(FIGURES[name](one), theme) for theme in THEMES)
        assert light != dark


def test_numbers_lie_beside_the_page(folder: Path, result: TrainResult) -> None:
    assert load_result(folder / "results.json") == result
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    right = sum(row["emotion"] == row["svm"] for row in rows)
    assert right / 40 == pytest.approx(result.judged["svm"].test.accuracy)


def test_nothing_temporary_stays(folder: Path, result: TrainResult) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "index.html",
        "results.json",
        "predictions.csv",
        *(f"{name}.{ending}" for name in drawn(result) for ending in ("png", "svg")),
    }


def test_figures_of_an_earlier_run_do_not_stay(
    result: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    nothing = dict.fromkeys(FIGURES, lambda _: ())
    monkeypatch.setattr("meldflow.tasks.report.page.FIGURES", nothing)
    for ending in ("png", "svg"):
        (tmp_path / f"ablations.{ending}").write_text("old")
    write_report(result, tmp_path)
    assert not list(tmp_path.glob("ablations.*"))


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "file", b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_markup_in_data_is_shown_not_run(result: TrainResult, undrawn: None) -> None:
    data = replace(result.data, store="<script>alert(1)</script>")
    caution = Caution(kind="x", message="a <b> & c")
    hard = Hard(
        utterance="u", speaker="<i>", text="<script>x</script> é " + "ha" * 200, truth="joy",
        predicted="fear", probability=0.01,
    )  # fmt: skip
    html = render_page(replace(result, data=data, warnings=(caution,), hardest=(hard,)))
    assert "<script" not in html
    assert "&lt;script&gt;x&lt;/script&gt; é haha" in html
    assert "a &lt;b&gt; &amp; c" in html


def test_headline_is_a_plain_sentence(result: TrainResult) -> None:
    pattern = (
        r"On 40 test utterances the (SVM|reference network) reaches weighted F1 [01]\.\d\d; "
        r"always answering neutral gives 0\.\d\d\."
    )
    assert re.fullmatch(pattern, headline(result))


def test_no_mistake_is_not_called_certainty(result: TrainResult) -> None:
    test = replace(result.judged["svm"].test, accuracy=1.0, rows=60)
    judged = {**result.judged, "svm": replace(result.judged["svm"], test=test)}
    seeds = (replace(result.shown, judged=judged),)
    words = explanation(replace(result, seeds=seeds, winner="svm"))
    assert "up to 5 %" in words


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.44, "0.4 s"),
        (12.2, "12 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (90_000, "1 day 1 h"),
    ],
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_one_seed_has_no_table_of_seeds(result: TrainResult) -> None:
    assert [caption.split(",")[0] for caption in tables(section("scores", result))] == [
        "Test",
        "Dev",
    ]


def test_several_seeds_are_told_as_mean_and_deviation(several: TrainResult) -> None:
    found = tables(section("scores", several))
    spreads = {row[0]: row for row in found["Mean ± standard deviation over 2 seeds"]}
    values = [one.judged["svm"].test.weighted_f1 for one in several.seeds]
    mean, sd = numbers(spreads["SVM"][1])
    assert mean == pytest.approx(np.mean(values), abs=6e-4)
    assert sd == pytest.approx(np.std(values, ddof=1), abs=6e-4)
    assert "±" not in " ".join(spreads["Majority baseline"])
    words = r"0\.\d{3} ± \d\.\d{3} \(mean and standard deviation of 2 s"
    assert re.search(words, headline(several))
    assert f"seed {several.shown.seed}, the best of 2 on dev" in explanation(several)


def test_the_seed_on_the_page_is_marked(several: TrainResult) -> None:
    html = section("scores", several) or ""
    marked = re.findall(r'<tr class="strong">\s*<th scope="row">(\d+)<small>', html)
    assert marked == [str(several.shown.seed)]
    (rows,) = (rows for caption, rows in tables(html).items() if "of each seed" in caption)
    assert len(rows) == 2


def test_a_wrong_protocol_says_so_at_first_sight(leaky: TrainResult, undrawn: None) -> None:
    words = headline(leaky)
    assert words.startswith("No result: by a protocol that judges on rows the network was fitted")
    on_test = leaky.shown.beside["test"]["svm"].test.weighted_f1
    assert f"on test the very same models reach {on_test:.2f}" in words
    html = render_page(leaky)
    page = Page(html)
    assert "protocol leaky-80-20, which is wrong" in page.text
    assert re.search(r'class="banner grave"[^>]*>This is no result', html)
    assert "do not quote it" in page.text
    assert "no dev curve" in page.text


def test_a_wrong_protocol_shows_what_its_models_reach_on_test(leaky: TrainResult) -> None:
    found = section("protocols", leaky)
    ((_, own, test),) = (row for row in next(iter(tables(found).values())) if row[0] == "SVM")
    assert float(own) == pytest.approx(leaky.judged["svm"].test.weighted_f1, abs=6e-4)
    assert float(test) == pytest.approx(
        leaky.shown.beside["test"]["svm"].test.weighted_f1, abs=6e-4
    )
    assert len(FIGURES["protocols"](leaky)) == 2
    assert len(FIGURES["training"](leaky)) == 1


def test_protocols_in_one_folder_know_of_each_other(both: Path) -> None:
    for page, link in (
        (both / "index.html", "leaky-80-20/index.html"),
        (both / "leaky-80-20" / "index.html", "../index.html"),
    ):
        found = Page(page.read_text())
        links = {attributes["href"] for attributes in found.all("a")}
        assert link in links
        assert (page.parent / link).exists()
        for words in ("official, on test", "leaky-80-20, on train-20", "leaky-80-20, on test"):
            assert words in found.text


def test_a_page_is_the_same_from_its_record(
    both: Path, several: TrainResult, undrawn: None
) -> None:
    again = load_result(both / "results.json")
    assert again == several
    assert render_page(again) == render_page(several)


def test_other_snapshots_targets_and_damaged_records_are_left_alone(
    both: Path,
    several: TrainResult,
    leaky: TrainResult,
    sentiment: TrainResult,
    tmp_path: Path,
    undrawn: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meldflow.tasks.report.page._write_figures", lambda *_: None)
    whole = (both / "leaky-80-20" / "results.json").read_bytes()
    elsewhere = replace(leaky, data=replace(leaky.data, snapshot="OTHER1"))
    headless = json.loads(whole)
    headless["seeds"][0]["judged"].pop("svm")
    beside = folder_of(tmp_path, "leaky-80-20") / "results.json"
    beside.parent.mkdir()
    for content in (
        b"",
        b"{}",
        whole[: len(whole) // 2],
        json.dumps(headless).encode(),
        record_of(replace(leaky, seeds=())),
        record_of(several),
        record_of(elsewhere),
        record_of(replace(leaky, target="sentiment")),
    ):
        beside.write_bytes(content)
        page = Page(write_report(several, tmp_path).read_text())
        assert "leaky" not in page.text
        assert not (beside.parent / "index.html").exists()
    beside.write_bytes(whole)
    assert "leaky" in write_report(several, tmp_path).read_text()
    assert (beside.parent / "index.html").exists()


def test_what_is_not_a_number_breaks_no_json(result: TrainResult, tmp_path: Path) -> None:
    history = (replace(result.shown.history[0], train_loss=math.nan, dev_loss=math.inf),)
    odd = replace(result, seeds=(replace(result.shown, history=history, best_epoch=1),))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(record_of(odd), parse_constant=refuse)
    (tmp_path / "file").write_bytes(record_of(odd))
    again = load_result(tmp_path / "file")
    assert again is not None
    epoch = again.shown.history[0]
    assert math.isnan(epoch.train_loss)
    assert epoch.dev_loss == math.inf
    assert render(FIGURES["training"](odd))


def test_sentiments_are_called_sentiments(sentiment: TrainResult, undrawn: None) -> None:
    page = Page(render_page(sentiment))
    assert "Sentiment by sentiment" in page.text
    assert "One sentiment against the rest" in page.text
    for word in ("emotion", "surprise", "disgust"):
        assert word not in page.text.lower()
    for name in ("confusion", "per_class", "roc"):
        assert render(FIGURES[name](sentiment))


def test_one_modality_has_all_the_attention(sentiment: TrainResult) -> None:
    assert section("attention", sentiment) is None
    assert FIGURES["attention"](sentiment) == ()


@pytest.mark.parametrize(
    ("names", "weights", "shown"),
    [
        (("audio", "text", "none there"), (0.25, 0.75, 0.0), ("audio", "text")),
        (("audio", "text", "none there"), (0.2, 0.7, 0.1), ("audio", "text", "none there")),
        (("text", "none there"), (0.9, 0.1), None),
    ],
)
def test_attention_leaves_out_what_nobody_looked_at(
    several: TrainResult,
    names: tuple[str, ...],
    weights: tuple[float, ...],
    shown: tuple[str, ...] | None,
) -> None:
    attention = Attention(modalities=names, by_class={"joy": weights})
    found = section(
        "attention",
        replace(several, seeds=(replace(several.shown, attention=attention),)),
    )
    if shown is None:
        assert found is None
    else:
        (rows,) = tables(found).values()
        assert rows == [["joy", *(f"{one:.1%}" for one in weights[: len(shown)])]]


def test_reliability_counts_every_utterance(several: TrainResult) -> None:
    found = tables(section("reliability", several))
    for caption in ("Network, from unsure to sure", "SVM, from unsure to sure"):
        assert sum(int(row[0]) for row in found[caption]) == 28
    assert len(FIGURES["reliability"](several)) == 2
    known = several.judged["svm"].reliability
    assert known is not None
    assert ["SVM", f"{known.error:.3f}"] in [row[:2] for row in next(iter(found.values()))]


def test_ablations_stand_between_the_whole_and_the_majority(
    several: TrainResult, result: TrainResult
) -> None:
    assert section("ablations", result) is None
    ((*rows, last),) = tables(section("ablations", several)).values()
    assert [row[0] for row in rows] == [
        "SVM behind it, audio + text",
        "Network, audio + text",
        "Network, audio",
        "Network, text",
        "SVM alone: audio + text",
    ]
    assert last[0] == "Majority baseline"
    assert last[-1] == "–"
    assert numbers(rows[2][2])[0] == pytest.approx(
        several.ablations[0].test["weighted_f1"].mean, abs=6e-4
    )


def test_every_rival_is_compared(several: TrainResult, undrawn: None) -> None:
    (rows,) = tables(section("comparisons", several)).values()
    assert len(rows) == len(several.comparisons) == 5
    for row, one in zip(rows, several.comparisons, strict=True):
        assert float(row[1].replace("−", "-")) == pytest.approx(one.difference, abs=6e-4)
        assert row[2:4] == [str(one.only_one), str(one.only_other)]


def test_hardest_utterances_are_told_in_their_words(several: TrainResult) -> None:
    (rows,) = tables(section("hardest", several)).values()
    assert [row[0] for row in rows] == [one.utterance for one in several.hardest]
    assert all(text.startswith("line ") for _, _, text, *_ in rows)
    assert section("hardest", replace(several, hardest=())) is None


def test_network_is_summed_up(result: TrainResult, several: TrainResult) -> None:
    summary = section("network", result) or ""
    assert "5,813,255 trainable parameters, 22.18 MiB" in summary
    two = replace(
        several,
        layers=(
            Layer(name="one", kind="LSTM", parameters=3 * 2**18),
            Layer(name="two", kind="Linear", parameters=2**18),
        ),
    )
    (rows,) = tables(section("network", two)).values()
    assert rows == [
        ["one", "786,432", "75.0 %"],
        ["two", "262,144", "25.0 %"],
        ["all", "1,048,576", "100.0 %"],
    ]


def test_durations_add_up(several: TrainResult) -> None:
    slow = replace(several, seconds=500.0, read_seconds=100.0)
    html = section("provenance", slow) or ""
    told = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", html))
    assert told["reading from the store"] == "1 min 40 s"
    assert told["everything"] == "8 min 20 s"
    assert "ablations and the rest" in told


def test_a_page_leads_to_that_of_another_protocol(leaky: TrainResult, several: TrainResult) -> None:
    html = section("protocols", several, {"leaky-80-20/index.html": leaky}) or ""
    words = "See what the wrong protocol “leaky-80-20” gives"
    assert f'<a href="leaky-80-20/index.html">{words}</a>' in html
    assert section("protocols", several) is None


def test_spread_without_seeds_is_a_number(several: TrainResult) -> None:
    assert spread(None) == "–"
    assert "±" in spread(several.over_seeds("svm", "accuracy"))


class Kept:
    """Stands for the artifacts of a flow run."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, str]]] = {}
        self.texts: dict[str, str] = {}

    def table(self, key: str, rows: list[dict[str, str]], words: str = "") -> None:
        self.tables[key] = rows

    def markdown(self, key: str, words: str, description: str = "") -> None:
        self.texts[key] = words


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[TrainResult], Kept]:
    """What a result leaves in the UI, pictures as their words."""

    def show(result: TrainResult) -> Kept:
        kept = Kept()
        watching._show(cast(Artifacts, kept), result, tmp_path / "index.html")
        return kept

    monkeypatch.setattr(watching, "picture", lambda panel: "")
    return show


def test_ui_has_the_same_pieces(shown: Callable[[TrainResult], Kept], several: TrainResult) -> None:
    kept = shown(several)
    assert len(kept.tables[watching.SCORES]) == 3
    assert "±" in kept.tables[watching.SCORES][0]["Weighted F1 on test"]
    assert len(kept.tables[watching.CLASSES]) == 7
    assert len(kept.tables[watching.ABLATIONS]) == 6
    assert len(kept.tables[watching.COMPARISONS]) == 5
    words = kept.texts[watching.REPORT]
    for wanted in ("Confusion matrix", "ROC", "Reliability", "loss", "Attention", "4K7QW2"):
        assert wanted in words
    assert "Note:" in words


def test_ui_says_that_a_wrong_protocol_is_wrong(
    shown: Callable[[TrainResult], Kept], leaky: TrainResult
) -> None:
    kept = shown(leaky)
    assert kept.tables[watching.ABLATIONS] == []
    assert set(kept.tables[watching.SCORES][0]) >= {
        "Weighted F1 on train-20",
        "Weighted F1 on test",
    }
    assert kept.texts[watching.REPORT].startswith("## No result")

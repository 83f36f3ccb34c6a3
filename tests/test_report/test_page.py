"""The page of a report, in a browser: what it says is what was counted, and everything on it can be used."""

from __future__ import annotations

import re
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Keys
from selenium.webdriver.support.ui import Select

from frcnn_cli.data.detections import Detections, ImageResult, Seconds
from frcnn_cli.data.samples import Dataset, ImageRecord, Objects
from frcnn_cli.engine.evaluator import Evaluation
from frcnn_cli.engine.proposal_coverage import CoverageSource
from frcnn_cli.metrics.average_precision import evaluate
from frcnn_cli.metrics.coco import coco_summary
from frcnn_cli.metrics.error_kinds import Kind
from frcnn_cli.report.analysis import analyse
from frcnn_cli.report.cases import worst_cases
from frcnn_cli.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from frcnn_cli.report.classes import curves
from frcnn_cli.report.page import POLICY, Origin, page, write_report
from frcnn_cli.report.pictures import pictures_of

CLASSES = ("cat", "<script>alert(1)</script>", "[红] 狗 \U0001f415", "never\u202e seen")
CAT, SCRIPT, DOG = 1, 2, 3
A, THIRD, FAR = (0, 0, 40, 40), (0, 20, 40, 60), (100, 60, 120, 80)
NAMES = ("a.jpg", 'b "<i>.jpg', "c [bold] 猫.jpg", "d & e.jpg", "f.jpg", "g.jpg")

ROWS = (
    # objects, detections, best IoU of a proposal with each object
    ([(A, CAT)], [(A, 0.9, CAT)], [0.8]),  # found
    ([(A, CAT)], [(A, 0.95, SCRIPT)], [0.7]),  # called something else
    ([(A, SCRIPT), (FAR, SCRIPT)], [(A, 0.9, SCRIPT), (THIRD, 0.7, SCRIPT)], [0.9, 0.3]),  # found; not proposed
    ([(A, DOG)], [(A, 0.9, DOG), (A, 0.8, DOG), (FAR, 0.85, DOG)], [0.9]),  # found, twice, and where nothing is
    ([(THIRD, DOG)], [(A, 0.9, DOG), (THIRD, 0.3, DOG)], [0.6]),  # placed badly; a score too low
    ([], [(A, 0.9, CAT)], []),  # nothing there
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Dataset, Evaluation]:
    """Six images of which everything can be counted by hand, with names as people give them."""
    folder = tmp_path_factory.mktemp("images")
    records, results, covered = [], [], []
    for number, (name, (there, said, cover)) in enumerate(zip(NAMES, ROWS, strict=True)):
        path = folder / name
        Image.new("RGB", (128, 96), (40 * number, 120, 80)).save(path)
        boxes, labels = zip(*there, strict=True) if there else ((), ())
        objects = Objects(
            np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), np.zeros(len(boxes), bool)
        )
        records.append(ImageRecord(path.stem, path, 128, 96, objects))
        boxes, scores, labels = zip(*said, strict=True)
        found = Detections(np.array(boxes, np.float32), np.array(scores), np.array(labels, np.int64)).named(CLASSES)
        results.append(ImageResult(path.stem, path, 128, 96, found, Seconds(0.05, 0.2 + 0.01 * number)))
        covered.append(np.tile(np.array(cover, np.float64), (len(CoverageSource.counts), 1)))
    dataset = Dataset("<b>holiday</b> & test", CLASSES, tuple(records))
    objects = [record.objects for record in records]
    ap = evaluate([result.detections for result in results], objects, len(CLASSES))
    return dataset, Evaluation(ap, tuple(results), tuple(covered), {"backbone": 0.1, "head": 0.05})


@pytest.fixture(scope="module")
def report(measured, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report [1] é") / "index.html"
    write_report(path, *measured, "voc", Origin("run/<model>.safetensors", "test.npz", "--flip-test True"))
    return path


def cell(opened, css: str, row: str, column: int) -> str:
    """What is in a row of a table, by its first cell."""
    for line in opened.all(f"{css} tbody tr"):
        if opened.run("return arguments[0].cells[0].innerText.split('\\n')[0].trim()", line) == row:
            return opened.run("return arguments[0].cells[arguments[1]].innerText.trim()", line, column)
    raise AssertionError(row)


def test_figures_are_what_was_counted(measured, report, open_page):
    opened = open_page(report)
    mean_ap = measured[1].mean_ap
    assert opened.text(".headline b") == f"{100 * mean_ap:.1f}"
    assert opened.text("h1") == "<b>holiday</b> & test"
    assert opened.text(".counts") == "6 images, 6 objects, 4 classes"
    # by hand: cats 1 of 2 found by the first of two; the image without objects has a second detection as sure
    ap = {name: f"{100 * value:.1f}" for name, value in zip(CLASSES, measured[1].ap.ap, strict=True)}
    for name in CLASSES[:3]:
        assert cell(opened, "#classes", name, 3) == ap[name]
    assert cell(opened, "#classes", r"never\u202e seen", 3) == "\N{EN DASH}"
    assert cell(opened, "#classes", CLASSES[SCRIPT - 1], 4) == "50.0"  # what proposals cover
    analysis = analyse(*measured, "voc")
    for kind, row in ((Kind.LOCALISATION, "Localisation"), (Kind.DUPLICATE, "Duplicate"), (Kind.MISSED, "Missed")):
        assert cell(opened, "#errors .kinds", row, 2) == f"{100 * analysis.gain(kind):+.1f}".replace("-", "\u2212")
        assert cell(opened, "#errors .kinds", row, 4) == str(analysis.counts[:, kind].sum())
    assert cell(opened, "#confusion", "cat", 2) == "1"
    assert cell(opened, "#time", "proposals", 2) == "50.0"
    assert cell(opened, "#time", "backbone", 2) == f"{1000 * 0.225 * 0.1 / 0.225:.1f}"
    assert opened.errors() == []
    assert opened.requests() == []


def test_the_area_under_a_curve_is_the_average_precision(measured):
    """Of rankings with many false positives, some of them above, between and below the objects."""
    random = np.random.default_rng(3)
    dataset, _ = measured
    boxes = np.array([(0, 0, 20, 20), (40, 0, 60, 20), (0, 50, 20, 70), (70, 50, 90, 70)], np.float32)
    records, results = [], []
    for place in range(60):
        record = dataset.records[place % 6]
        found = np.concatenate([boxes[random.random(4) < 0.7], np.tile([100.0, 0, 120, 20], (9, 1))])
        scores, labels = random.random(len(found)), random.integers(1, 4, len(found))
        records.append(
            ImageRecord(str(place), record.path, 128, 96, Objects(boxes, np.array([1, 2, 2, 3]), np.zeros(4, bool)))
        )
        results.append(
            ImageResult(str(place), record.path, 128, 96, Detections(found, scores, labels), Seconds(None, 0.1))
        )
    ap = evaluate([result.detections for result in results], [record.objects for record in records], 4)
    many = Evaluation(ap, tuple(results), tuple([None] * 60))
    drawn = str(curves(analyse(Dataset("many", CLASSES, tuple(records)), many, "voc")))
    paths = dict(re.findall(r'<g class="curve" data-class="(\d)">.*?<path d="([^"]*)"', drawn))
    assert sorted(paths) == ["1", "2", "3"]
    for label, path in paths.items():
        x, area, y = LEFT, 0.0, 0.0
        for step, value in re.findall(r"([VH])([\d.]+)", path):
            if step == "V":
                y = HEIGHT - BOTTOM - float(value)
            else:
                area, x = area + y * (float(value) - x), float(value)
        area /= (WIDTH - LEFT - RIGHT) * (HEIGHT - TOP - BOTTOM)
        assert area == pytest.approx(ap.ap[int(label) - 1], abs=0.002)


def test_what_users_wrote_is_shown_as_it_is(report, open_page):
    opened = open_page(report)
    text = opened.run("return document.body.innerText")
    for name in (*CLASSES[:3], r"never\u202e seen", *NAMES[1:], "run/<model>.safetensors", "--flip-test True"):
        assert name in text, name
    assert opened.run("return document.querySelectorAll('body b i, main script, h1 b, i').length") == 0


def test_pictures_are_filtered_by_class_and_kind(measured, report, open_page):
    opened = open_page(report)
    cases = worst_cases(analyse(*measured, "voc"))
    assert len(opened.all(".case")) == len(cases)
    for kind in Kind:
        if kind is Kind.CORRECT:
            continue
        opened.click(f".filters [data-kind='{int(kind)}']")  # alone
        mine = [case for case in cases if case.kind == kind]
        assert len(opened.all(".case")) == len(mine), kind
        assert opened.text("#shown") == (
            f"{len(mine)} of {len(mine)} picture{'s' * (len(mine) != 1)}" if mine else "No such picture."
        )
        opened.click(f".filters [data-kind='{int(kind)}']")  # the last one off brings all back
    Select(opened.find("#class")).select_by_visible_text("cat")
    titles = [element.text for element in opened.all(".case b")]
    assert sorted(titles) == ["<script>alert(1)</script> 0.95", "cat 0.90", "cat missed"]
    assert len(opened.all(".curve.chosen")) == 1
    assert opened.text("#curve-name").startswith("cat: AP ")
    opened.click(f".filters [data-kind='{int(Kind.MISSED)}']")
    assert [element.text for element in opened.all(".case b")] == ["cat missed"]
    assert "taken for another class" in opened.text(".case")
    assert opened.errors() == []


def test_a_cell_of_the_errors_leads_to_its_pictures(report, open_page):
    opened = open_page(report)
    link = opened.find(f"a[data-class='{DOG}'][data-kind='{int(Kind.DUPLICATE)}']")
    opened.run("arguments[0].focus()", link)
    opened.press(Keys.ENTER)
    assert [element.text for element in opened.all(".case b")] == [f"{CLASSES[DOG - 1]} 0.80"]
    assert opened.run("return location.hash") == "#cases"


def test_one_picture_by_keyboard(report, open_page):
    opened = open_page(report)
    first = opened.find(".case")
    opened.run("arguments[0].focus()", first)
    opened.press(Keys.ENTER)
    assert opened.find("dialog").get_attribute("open")
    about = opened.text("#about")
    assert "There: " in about
    assert "Said: " in about
    opened.press(Keys.ARROW_RIGHT)
    assert opened.text("#about") != about
    opened.press(Keys.ARROW_LEFT)
    assert opened.text("#about") == about
    opened.press(Keys.ESCAPE)
    assert not opened.find("dialog").get_attribute("open")
    assert opened.run("return document.activeElement === arguments[0]", first)
    assert opened.errors() == []


def test_the_confusion_at_another_score(measured, report, open_page):
    opened = open_page(report)
    analysis = analyse(*measured, "voc")
    for place in (2, 4, 0):
        Select(opened.find("#level")).select_by_value(str(place))
        shown = opened.run(
            "return [...document.querySelectorAll('#confusion tbody tr')]"
            ".map((row) => [...row.cells].slice(1).map((cell) => Number(cell.innerText)))"
        )
        assert shown == analysis.confusion[place].tolist()


def test_classes_are_sorted_by_any_column(measured, report, open_page):
    opened = open_page(report)

    def names() -> list[str]:
        return [element.text.replace(r"\u202e", "\u202e") for element in opened.all("#classes tbody th")]

    objects = measured[1].ap.num_objects
    opened.click("#classes thead th:nth-child(2) button")
    assert [int(objects[CLASSES.index(name)]) for name in names()] == sorted(objects, reverse=True)
    opened.click("#classes thead th:nth-child(2) button")
    assert [int(objects[CLASSES.index(name)]) for name in names()] == sorted(objects)
    assert opened.find("#classes thead th:nth-child(2)").get_attribute("aria-sort") == "ascending"
    assert opened.all("#classes [aria-sort='ascending'], #classes [aria-sort='descending']") != []


def test_themes(report, open_page):
    def background(opened) -> str:
        return opened.run("return getComputedStyle(document.body).backgroundColor")

    light, dark = background(open_page(report)), background(open_page(report, dark=True))
    assert light != dark
    opened = open_page(report)
    opened.click("#theme")
    assert background(opened) == dark
    assert background(open_page(report)) == dark  # it is remembered
    opened.click("#theme")
    assert background(opened) == light
    opened.run("localStorage.clear()")


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_on_its_background(report, open_page, dark):
    """WCAG's contrast of 4.5 between each text and what it stands on, heat and all."""
    opened = open_page(report, dark=dark)
    assert opened.faint_texts() == []


@pytest.mark.parametrize("width", [360, 768])
def test_it_fits_narrow_screens(report, open_page, width):
    opened = open_page(report, width, 800)
    assert not opened.scrolls_sideways()
    for css in ("#theme", "#class", ".case"):
        assert opened.find(css).is_displayed()
    sizes = opened.run(
        "return [...document.querySelectorAll('.plot text')].map((t) => t.getBoundingClientRect().height)"
    )
    assert min(size for size in sizes if size) > 9


def test_print(report, open_page, tmp_path):
    opened = open_page(report, media="print", dark=True)
    assert opened.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not opened.find("nav").is_displayed()
    assert len(opened.all(".case", visible=True)) > 5
    opened.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_every_picture_and_control_has_a_name(report, open_page):
    opened = open_page(report)
    assert (
        opened.run(
            "return [...document.querySelectorAll('svg[role=img]')].filter((e) => !e.getAttribute('aria-label')).length"
        )
        == 0
    )
    assert (
        opened.run(
            "return [...document.querySelectorAll('svg:not([role=img])')].filter((e) => e.ariaHidden !== 'true').length"
        )
        == 0
    )
    named = (
        "return [...document.querySelectorAll('button, select, a')].filter((e) => !(e.innerText || e.ariaLabel).trim()"
    )
    assert opened.run(f"{named} && !e.closest('dialog')).length") == 0
    alternative = opened.find(".case svg").get_attribute("aria-label")
    assert any(name in alternative for name in NAMES)


def test_the_file_is_all_there_is(report, tmp_path, open_page):
    text = report.read_text(encoding="utf-8")
    assert list(report.parent.iterdir()) == [report]
    assert not re.search(r"""(src|href)=["']?(https?:|//)""", text)
    assert POLICY in unescape(text)
    elsewhere = shutil.copy(report, tmp_path / "moved.html")
    assert open_page(elsewhere).errors() == []


def test_pictures_stop_where_there_is_no_more_room(measured):
    analysis = analyse(*measured, "voc")
    cases = worst_cases(analysis)
    one = len(pictures_of(analysis, cases[:1])[0][0]["src"])
    pictures, shown = pictures_of(analysis, cases, budget=one + 1)
    assert len(pictures) == 2
    assert {case["picture"] for case in shown} == {0, 1}
    assert [len(part) for part in pictures_of(analysis, cases, budget=0)] == [0, 0]


def test_cases_go_round_the_classes_and_kinds(measured):
    cases = worst_cases(analyse(*measured, "voc"))
    seen = [(case.label, case.kind) for case in cases]
    assert len(set(seen[: len(set(seen))])) == len(set(seen))
    assert len(worst_cases(analyse(*measured, "voc"), most=3)) == 3


def test_an_image_that_has_gone_is_left_out(measured, tmp_path):
    analysis = analyse(*measured, "voc")
    first = worst_cases(analysis)[0]
    path = analysis.dataset.records[first.image].path
    aside = path.rename(tmp_path / "aside.jpg")
    try:
        pictures, _ = pictures_of(analysis, worst_cases(analysis))
        assert path.name not in {picture["name"] for picture in pictures}
    finally:
        shutil.move(aside, path)


def test_coco_s_numbers_are_there_too(measured, tmp_path, open_page):
    dataset, evaluation = measured
    coco = coco_summary(evaluation.detections, [record.objects for record in dataset.records], len(CLASSES))
    path = tmp_path / "coco.html"
    write_report(path, dataset, Evaluation(coco.classes, evaluation.results, evaluation.covered, {}, coco), "coco",
                 Origin("model", "file"))  # fmt: skip
    opened = open_page(path)
    assert opened.text(".headline b") == f"{100 * coco.numbers['AP']:.1f}"
    shown = [element.text.split() for element in opened.all(".coco > div")]
    assert [name for name, _ in shown] == list(coco.numbers)
    assert opened.errors() == []


def test_a_model_that_proposes_its_own_and_data_without_objects(measured, tmp_path, open_page):
    dataset, evaluation = measured
    none = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    records = tuple(ImageRecord(r.id, r.path, r.width, r.height, none) for r in dataset.records)
    empty = Dataset("no objects", CLASSES, records)
    ap = evaluate(evaluation.detections, [none] * len(records), len(CLASSES))
    path = tmp_path / "empty.html"
    bare = Evaluation(ap, evaluation.results, tuple([None] * len(records)))
    write_report(path, empty, bare, "voc", Origin("model", "the model's own"))
    opened = open_page(path)
    assert opened.text(".headline b") == "\N{EN DASH}"
    assert opened.all("#proposals") == []
    assert "no object that counts" in opened.text(".findings")
    assert opened.errors() == []
    nothing = Evaluation(evaluate([], [], 4), ())
    assert "<h1>" in page(analyse(Dataset("nothing", CLASSES, ()), nothing, "voc"), Origin("model", "file"))

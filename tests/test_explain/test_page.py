"""The page in a browser: every control, and the numbers on it beside those computed here in another way."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from selenium.webdriver import Keys
from torch.nn import functional as F
from torchvision.ops import nms
from torchvision.ops import roi_pool as torchvision_roi_pool

from frcnn_cli.engine.detector import BUNDLED_MODEL
from frcnn_cli.explain.page import page_of
from frcnn_cli.explain.sections import SECTIONS, backward, boxes, compression, loss
from frcnn_cli.explain.subject import Subject
from frcnn_cli.explain.words import Words

HIDDEN = "[data-state]:not([data-on])"


class Made(NamedTuple):
    """A page, and what it is about."""

    path: object
    subject: Subject


def make(photographs, folder, name: str, language: str) -> Made:
    subject = Subject.of(photographs / "JPEGImages" / f"{name}.jpg", BUNDLED_MODEL)
    path = folder / f"{name}.html"
    path.write_text(page_of(subject, Words.load(language)), encoding="utf-8")
    return Made(path, subject)


@pytest.fixture(scope="module")
def made(photographs, tmp_path_factory) -> Made:
    """The page of a photograph with six objects, in English."""
    return make(photographs, tmp_path_factory.mktemp("page"), "dog_bicycle", "en")


@pytest.fixture
def page(made, open_page):
    return open_page(made.path)


@pytest.fixture(scope="module")
def korean(photographs, tmp_path_factory) -> Made:
    """That of another photograph, in Korean."""
    return make(photographs, tmp_path_factory.mktemp("page"), "chair", "ko")


def values(page, prefix: str) -> dict[str, float]:
    """The numbers whose names begin so, as far as they are to be seen."""
    script = f"""return [...document.querySelectorAll('[data-name^="{prefix}"]')]
        .filter(e => !e.closest('{HIDDEN}')).map(e => [e.dataset.name, e.dataset.value || e.getAttribute('value')])"""
    return {name: float(value) for name, value in page.run(script)}


def value(page, name: str) -> str:
    return page.find(f'[data-name="{name}"]').get_attribute("value")


def roi_on_the_map(subject: Subject, number: int) -> list[int]:
    """x1, y1, x2, y2 in whole cells, halves rounded up."""
    box = (subject.rois[number] * subject.input[1]).tolist()
    return [math.floor(corner / subject.backbone.stride + 0.5) for corner in box]


def pooled_by_hand(plane: np.ndarray, corners: list[int], bins: int = 7) -> np.ndarray:
    """RoI pooling of one channel in plain loops."""
    x1, y1, x2, y2 = corners
    width, height = np.float32(max(x2 - x1 + 1, 1)), np.float32(max(y2 - y1 + 1, 1))
    result = np.zeros((bins, bins))
    for row in range(bins):
        for column in range(bins):
            top, bottom = (math.floor(row * (height / bins)) + y1, math.ceil((row + 1) * (height / bins)) + y1)
            left, right = (math.floor(column * (width / bins)) + x1, math.ceil((column + 1) * (width / bins)) + x1)
            cells = plane[max(top, 0) : bottom, max(left, 0) : right]
            result[row, column] = cells.max() if cells.size else 0
    return result


def test_it_is_one_file_of_its_own(made, page):
    assert made.path.stat().st_size < 10e6
    assert page.errors() == []
    assert page.requests() == []
    assert [section.get_attribute("id") for section in page.all("main > section")] == list(SECTIONS)


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_in_both_themes(made, open_page, dark):
    page = open_page(made.path, width=390, height=844, dark=dark)
    assert page.scrolls_sideways() is False
    colour = page.run("return getComputedStyle(document.body).backgroundColor")
    assert colour == ("rgb(18, 22, 29)" if dark else "rgb(255, 255, 255)")
    right = "e => e.getBoundingClientRect().right"
    assert page.run(f"return Math.max(...[...document.querySelectorAll('p, figcaption, svg')].map({right}))") <= 390


def test_on_paper_it_is_light_and_without_controls(made, open_page, tmp_path):
    page = open_page(made.path, dark=True, media="print")
    assert page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    shown = "e => getComputedStyle(e).display != 'none'"
    assert page.run(f"return [...document.querySelectorAll('input, nav')].some({shown})") is False


def test_every_figure_and_control_has_words(page):
    assert page.run("return [...document.querySelectorAll('svg:not(.store)')].every(e => e.ariaLabel.length > 8)")
    assert page.run("return [...document.querySelectorAll('input')].every(e => e.labels.length == 1)")
    assert page.run("const ids = [...document.querySelectorAll('[id]')].map(e => e.id);"
                    "return new Set(ids).size == ids.length")  # fmt: skip
    assert page.run("return [...document.querySelectorAll('a')].every(a => document.querySelector(a.hash))")


def test_each_section_names_functions_that_are_there(page):
    for name in SECTIONS:
        functions = page.all(f"#{name} .by li")
        assert functions, name
        assert page.all(f"#{name} .formula math")
        assert page.all(f"#{name} figure svg")


SLIDER = """const [slider] = arguments, group = slider.dataset.controls;
return [slider.parentElement.querySelector("output").innerText, slider.getAttribute("aria-valuetext"),
    [...new Set([...document.querySelectorAll(`[data-group="${group}"][data-on]`)].map(e => e.dataset.state))]]"""
"""What a slider says, to eyes and to ears, and the states that are shown of its group."""


def test_every_slider_shows_its_states_by_the_keyboard(page):
    sliders = page.all("input[type=range]")
    seen = [slider.get_attribute("data-controls") for slider in sliders]
    assert set(seen) == {"merge", "roi", "channel", "shared", "lambda", "images", "nms", "rank"}
    for slider in sliders:
        last = int(slider.get_attribute("max"))
        slider.send_keys(Keys.HOME)
        texts = [page.run(SLIDER, slider)[0]]
        for number in range(last):
            slider.send_keys(Keys.ARROW_RIGHT)
            text, spoken, on = page.run(SLIDER, slider)
            assert spoken == text
            assert on == [str(number + 1)]
            texts.append(text)
        assert len(set(texts)) == last + 1
    assert page.errors() == []


def test_a_roi_is_chosen_by_a_click_everywhere(page, made):
    smallest = page.all(".pick")[-1]
    number = smallest.get_attribute("data-choice")
    smallest.click()
    assert page.run("return [...document.querySelectorAll('[data-controls=roi]')].map(e => e.value)") == [number] * 2
    assert page.text("#pooling .control output").startswith(f"{int(number) + 1}: ")
    assert all(name.startswith(f"pooled-{number}-") for name in values(page, "pooled-"))


@pytest.mark.parametrize("steps", [0, 3, 19])
def test_pooled_numbers_are_those_of_plain_loops(page, made, steps):
    page.find("[data-controls=roi]").send_keys(Keys.HOME, *[Keys.ARROW_RIGHT] * steps)
    found = values(page, "pooled-")
    assert len(found) == 49
    channel = int(next(iter(found)).split("-")[2])
    expected = pooled_by_hand(made.subject.features[0, channel].numpy(), roi_on_the_map(made.subject, steps))
    numbers = np.array([[found[f"pooled-{steps}-{channel}-{i}-{j}"] for j in range(7)] for i in range(7)])
    np.testing.assert_allclose(numbers, expected, rtol=1e-6)


def test_the_gradient_is_that_of_torchvision(page, made):
    subject = made.subject
    a, b, channel = map(int, value(page, "backward-pair").split())
    rois = subject.input_rois(subject.rois[[a, b]])
    back = backward.go_back(subject)
    x = subject.features.clone().requires_grad_()
    y = torchvision_roi_pool(x, rois, 7, 1 / 8)
    y.retain_grad()
    logits, deltas = subject.model.head(y)
    truth = torch.from_numpy(subject.objects.boxes)
    total = torch.zeros(())
    for i, (box, u) in enumerate(zip(subject.rois[[a, b]], back.labels, strict=True)):
        total = total - logits[i].log_softmax(0)[u] / 2
        if u:
            target = truth[boxes.iou(box[None], truth)[0].argmax()]
            v = torch.cat(((target[:2] + target[2:] - box[:2] - box[2:]) / 2 / (box[2:] - box[:2]),
                           torch.log((target[2:] - target[:2]) / (box[2:] - box[:2]))))  # fmt: skip
            total = total + F.huber_loss(deltas[i, u - 1], v, reduction="sum", delta=1.0) / 2
    total.backward()

    upstream = values(page, "upstream-")
    for r in range(2):
        numbers = [[upstream[f"upstream-{r}-{i}-{j}"] for j in range(7)] for i in range(7)]
        np.testing.assert_allclose(numbers, y.grad[r, channel].numpy(), rtol=1e-3, atol=1e-8)
    sums, grads = {}, {}
    slider = page.find("[data-controls=shared]")
    slider.send_keys(Keys.HOME)
    for _ in range(int(slider.get_attribute("max")) + 1):
        sums |= values(page, "sum-")
        grads |= values(page, "autograd-")
        slider.send_keys(Keys.ARROW_RIGHT)
    assert len(sums) == int(slider.get_attribute("max")) + 1
    for name, total_of_cell in sums.items():
        cell = int(name.removeprefix("sum-"))
        expected = float(x.grad[0, channel].flatten()[cell])
        assert total_of_cell == pytest.approx(expected, rel=1e-3)
        assert grads[f"autograd-{cell}"] == pytest.approx(expected, rel=1e-3)
    assert float(value(page, "difference")) < 1e-6 * float(x.grad.abs().max())


def test_the_loss_is_that_of_plain_python(page, made):
    foreground, background = loss.examples(made.subject)
    assert foreground.overlap >= 0.5 > background.overlap
    mean, std = (made.subject.checkpoint.training[key] for key in ("target_mean", "target_std"))
    (x1, y1, x2, y2), (g1, h1, g2, h2) = foreground.box.tolist(), foreground.truth.tolist()
    w, h = x2 - x1, y2 - y1
    v = [(g1 + g2 - x1 - x2) / 2 / w, (h1 + h2 - y1 - y2) / 2 / h, math.log((g2 - g1) / w), math.log((h2 - h1) / h)]
    cls = {}
    for name, example in (("foreground", foreground), ("background", background)):
        z = example.logits.tolist()
        cls[name] = -math.log(math.exp(z[example.label]) / sum(map(math.exp, z)))
    bbox = 0.0
    for i, axis in enumerate("xywh"):
        d = float(foreground.predicted[i]) - (v[i] - mean[i]) / std[i]
        smooth = 0.5 * d * d if abs(d) < 1 else abs(d) - 0.5
        assert values(page, f"smooth-{axis}") == pytest.approx({f"smooth-{axis}": smooth}, rel=1e-3, abs=1e-5)
        bbox += smooth
    slider = page.find("[data-controls=lambda]")
    slider.send_keys(Keys.HOME)
    for weight in (0, 0.5, 1, 2):
        expected = {"foreground": cls["foreground"] + weight * bbox, "background": cls["background"]}
        expected["mean"] = sum(expected.values()) / 2
        found = values(page, "loss-")
        assert found == pytest.approx({f"loss-{k}-{weight:g}": x for k, x in expected.items()}, rel=1e-3)
        slider.send_keys(Keys.ARROW_RIGHT)


def test_energies_and_parameters_are_those_of_numpys_svd(page, made):
    head = made.subject.model.head
    slider = page.find("[data-controls=rank]")
    slider.send_keys(Keys.HOME)
    singular, shapes = {}, {}
    for name in ("fc6", "fc7"):
        layer = getattr(head, name)
        left, right = (part.weight.detach().double().numpy() for part in (layer.second, layer.first))
        # Those of the product of two thin matrices are those of their small triangular factors.
        small = np.linalg.qr(left, mode="r") @ np.linalg.qr(right.T, mode="r").T
        singular[name], shapes[name] = np.linalg.svd(small, compute_uv=False), (len(left), right.shape[1])
    for share in compression.SHARES:
        kept, after = values(page, "energy-"), values(page, "after-")
        for name, s in singular.items():
            t = max(round(len(s[s > 1e-6 * s[0]]) * share), 1)
            expected = (s[:t] ** 2).sum() / (s**2).sum()
            assert kept[f"energy-{name}-{t}"] == pytest.approx(expected, rel=1e-5)
            assert after[f"after-{name}-{t}"] == t * sum(shapes[name])
        slider.send_keys(Keys.ARROW_RIGHT)


def test_scores_at_the_full_rank_are_the_model_s(made):
    subject = made.subject
    layers = [compression.layer_of(name, getattr(subject.model.head, name)) for name in ("fc6", "fc7")]
    scores = compression.scores_at(subject, layers)
    pooled = torchvision_roi_pool(subject.features, subject.input_rois(subject.rois), 7, 1 / 8)
    with torch.no_grad():
        expected = subject.model.head(pooled)[0].softmax(dim=1)
    torch.testing.assert_close(scores[-1], expected, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(scores[0], expected, atol=1e-2)


def test_suppression_keeps_what_torchvision_keeps(page, made):
    found = boxes.suppress(made.subject)
    assert found.kept == nms(found.boxes, found.scores, 0.3).tolist()
    name = made.subject.checkpoint.classes[found.label - 1]
    assert f"{len(found.kept)} boxes of “{name}” are kept, the same" in page.text("#boxes")
    gone = [i for removed in found.removed for i, _ in removed]
    assert sorted(gone + found.kept) == list(range(len(found.scores)))


def test_counts_of_the_methods(page, made):
    adds = values(page, "adds-")
    assert adds["adds-R-CNN"] > adds["adds-SPPnet"] > adds["adds-Faster R-CNN"] > adds["adds-Fast R-CNN"]
    rpn = 60 * 80 * (9 * 128 * 512 + 512 * 6 * 9)
    assert adds["adds-Faster R-CNN"] - adds["adds-Fast R-CNN"] == rpn
    assert adds["adds-R-CNN"] % len(made.subject.proposals) == 0
    slider = page.find("[data-controls=images]")
    slider.send_keys(Keys.END)
    assert values(page, "against-") == {"against-128": 64}


def test_a_pixel_outside_the_field_changes_nothing(page, made):
    """Of a corner of the photograph that is outside, and of one inside."""
    subject = made.subject
    x1, y1, x2, y2 = map(int, value(page, "field").split())
    areas = (subject.rois[:, 2:] - subject.rois[:, :2]).prod(dim=1)
    roi = subject.input_rois(subject.rois[areas.argmin()][None])
    pixels = subject.input[0][None].clone()
    before = torchvision_roi_pool(subject.features, roi, 7, 1 / 8)
    pixels[..., (y1 + y2) // 2, (x1 + x2) // 2] += 3
    outside = torch.ones(pixels.shape[2:], dtype=torch.bool)
    outside[y1:y2, x1:x2] = False
    with torch.no_grad():
        inside_changed = torchvision_roi_pool(subject.backbone(pixels), roi, 7, 1 / 8)
        pixels = torch.where(outside, 0.0, subject.input[0][None])
        outside_changed = torchvision_roi_pool(subject.backbone(pixels), roi, 7, 1 / 8)
    assert not torch.allclose(inside_changed, before, atol=1e-6)
    torch.testing.assert_close(outside_changed, before, rtol=1e-4, atol=1e-4)


def test_another_photograph_in_korean(korean, open_page):
    page = open_page(korean.path, width=390, height=844)
    assert page.find("html").get_attribute("lang") == "ko"
    assert page.errors() == []
    assert page.requests() == []
    assert page.scrolls_sideways() is False
    titles = [heading.text for heading in page.all("h2")]
    assert titles == [f"{i + 1}. {Words.load('ko').tables[name]['title']}" for i, name in enumerate(SECTIONS)]
    assert "배경" in page.text("#loss")
    page.find("[data-controls=roi]").send_keys(Keys.ARROW_RIGHT)
    found = values(page, "pooled-1-")
    channel = int(next(iter(found)).split("-")[2])
    expected = pooled_by_hand(korean.subject.features[0, channel].numpy(), roi_on_the_map(korean.subject, 1))
    assert list(found.values()) == pytest.approx(expected.flatten().tolist(), rel=1e-6)


def test_the_photograph_is_the_photograph(made, page, photographs, tmp_path):
    """What the page shows has its colours."""
    page.screenshot(tmp_path / "screen.png")
    rect = page.run("const r = document.querySelector('#boxes figure svg use').getBoundingClientRect();"
                    "window.scrollTo(0, r.top + scrollY); return [r.left, r.width, r.height]")  # fmt: skip
    page.screenshot(tmp_path / "screen.png")
    left, width, height = rect
    with Image.open(tmp_path / "screen.png") as image:
        seen = np.asarray(
            image.convert("RGB").crop((round(left), 0, round(left + width), round(height))).resize((8, 6))
        )
    original = np.asarray(Image.fromarray(made.subject.image).resize((8, 6)))
    assert np.abs(seen.astype(int) - original).mean() < 25

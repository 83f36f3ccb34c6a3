"""The curves of a run: read from its log, drawn in the right place, also of a run that has hardly begun."""

from __future__ import annotations

import numpy as np
import pytest

from frcnn_cli.data.images import load_image
from frcnn_cli.drawing.training_plot import running_mean
from frcnn_cli.engine.training_log import draw_curves, read_curves
from frcnn_cli.errors import DataError

HEADER = "iteration,loss,loss_cls,loss_bbox,lr,val_mAP\n"
BBOX, MAP = (213, 94, 0), (0, 158, 115)


def write_log(folder, *rows: str) -> None:
    (folder / "log.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))


def height_of(picture: np.ndarray, color: tuple[int, int, int], last_row: int = 1000) -> float:
    """Mean row of the pixels of a colour, but for the legend's, which are in the upper right."""
    found = (picture[:last_row] == color).all(axis=-1)
    found[: picture.shape[0] // 8, picture.shape[1] // 2 :] = False
    return np.flatnonzero(found.any(axis=1)).mean()


def test_a_higher_loss_lies_higher(tmp_path):
    heights = []
    for bbox in (0.2, 0.4, 0.6):
        write_log(tmp_path, *(f"{i},2,1,{bbox},0.1," for i in range(1, 9)))
        draw_curves(tmp_path)
        picture = load_image(tmp_path / "curves.png")
        assert picture.shape == (600, 800, 3)
        heights.append(height_of(picture, BBOX))
    assert heights[0] > heights[1] > heights[2]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=2)


def test_a_measurement_adds_a_panel(tmp_path):
    write_log(tmp_path, "1,2,1,1,0.1,", "2,2,1,1,0.1,", "2,,,,,0.25", "3,2,1,1,0.1,", "3,,,,,0.5")
    assert draw_curves(tmp_path) == tmp_path / "curves.png"
    picture = load_image(tmp_path / "curves.png")
    assert picture.shape == (800, 800, 3)
    rows = np.flatnonzero((picture == MAP).all(axis=-1).any(axis=1))
    assert rows.min() > 500  # in the lowest panel
    columns = [np.flatnonzero((picture[row] == MAP).all(axis=-1)).mean() for row in (rows[4], rows[-4])]
    assert columns[0] > columns[1]  # the higher one is the later one


@pytest.mark.parametrize("rows", [["1,2,1,1,0.1,"], ["1,0,0,0,0.1,", "1,,,,,0"]])
def test_a_single_iteration(tmp_path, rows):
    write_log(tmp_path, *rows)
    draw_curves(tmp_path)
    assert load_image(tmp_path / "curves.png").std() > 5


def test_what_is_read(tmp_path):
    write_log(tmp_path, "20,2.5,1.5,1,0.1,", "40,2,1,1,0.01,", "40,,,,,0.25")
    curves = read_curves(tmp_path / "log.csv")
    assert {name: (list(a), list(b)) for name, (a, b) in curves.items()} == {
        "loss": ([20, 40], [2.5, 2]), "loss_cls": ([20, 40], [1.5, 1]), "loss_bbox": ([20, 40], [1, 1]),
        "lr": ([20, 40], [0.1, 0.01]), "val_mAP": ([40], [0.25]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "no such file"),
        (HEADER, "nothing is logged yet"),
        ("", "nothing is logged yet"),
        ("iteration,loss\none,2\n", "not the log of a run ("),
        ("a,b\n1,2\n", "not the log of a run ("),
        ("iteration,loss\n1,2,3\n", "not the log of a run ("),
    ],
)
def test_no_log(tmp_path, content, fault):
    if content is not None:
        (tmp_path / "log.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        draw_curves(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'log.csv'}: {fault}")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "curves.png").exists()


def test_a_full_disk_leaves_the_older_plot(tmp_path, full_disk):
    write_log(tmp_path, "1,2,1,1,0.1,")
    before = draw_curves(tmp_path).read_bytes()
    with full_disk(1000), pytest.raises(DataError, match=r"curves\.png: cannot be written"):
        draw_curves(tmp_path)
    assert (tmp_path / "curves.png").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"log.csv", "curves.png"}


def test_running_mean():
    values = np.random.default_rng(0).normal(size=50)
    for length in (0, 1, 2, 5, 200):
        half = length // 2
        expected = [values[max(i - half, 0) : i + half + 1].mean() for i in range(50)]
        assert running_mean(values, length) == pytest.approx(expected)

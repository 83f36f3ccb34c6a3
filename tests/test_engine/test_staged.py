"""SVMs, their hard negatives and the regression of boxes, against plain NumPy in float64 and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.optimize import minimize
from sklearn.linear_model import Ridge

from frcnn_cli.data.samples import ImageRecord, Objects
from frcnn_cli.engine.learners.sppnet import LEARNER as SPPNET
from frcnn_cli.engine.staged.box_regression import BoxFitting, ridge
from frcnn_cli.engine.staged.features import FeatureStore, Regions, describe
from frcnn_cli.engine.staged.log import StageLog
from frcnn_cli.engine.staged.svm import BIAS, MEAN_NORM, Mining, fit_svm, mean_norm


def dual_svm(positives: np.ndarray, negatives: np.ndarray, c: float) -> tuple[np.ndarray, float]:
    """The SVM's dual, solved in float64 as a problem in a box: hinge loss, 2 C on positives, a bias of 10."""
    x = np.concatenate((positives, negatives)).astype(np.float64)
    y = np.repeat((1.0, -1.0), (len(positives), len(negatives)))
    z = y[:, None] * np.column_stack((x, np.full(len(x), BIAS)))
    most = np.where(y > 0, 2 * c, c)

    def value(alpha: np.ndarray) -> tuple[float, np.ndarray]:
        w = alpha @ z
        return 0.5 * w @ w - alpha.sum(), z @ w - 1

    found = minimize(value, np.zeros(len(x)), jac=True, bounds=[(0, bound) for bound in most], method="L-BFGS-B",
                     options={"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-10})  # fmt: skip
    w = found.x @ z
    return w[:-1], w[-1] * BIAS


@pytest.mark.parametrize("c", [0.001, 0.1])
def test_an_svm_is_that_of_its_dual(c):
    generator = np.random.default_rng(0)
    positives, negatives = generator.normal(1, 2, (20, 5)), generator.normal(-1, 2, (60, 5))
    weights, offset = fit_svm(positives, negatives, c)
    expected, expected_offset = dual_svm(positives, negatives, c)
    assert weights == pytest.approx(expected, abs=2e-3 * np.abs(expected).max())
    assert offset == pytest.approx(expected_offset, abs=5e-3)


@pytest.mark.parametrize(("count", "width"), [(30, 6), (6, 30)])
def test_ridge_is_scikit_learn_s_with_few_features_and_with_many(count, width):
    generator = np.random.default_rng(1)
    x, y = generator.normal(3, 1, (count, width)), generator.normal(0, 1, (count, 4))
    weights, offset = ridge(x.astype(np.float32), y, 7.0)
    oracle = Ridge(alpha=7.0).fit(x.astype(np.float32).astype(np.float64), y)
    assert weights == pytest.approx(oracle.coef_.T, abs=1e-10)
    assert offset == pytest.approx(oracle.intercept_, abs=1e-10)


def test_ridge_of_two_points_by_hand():
    """x = -1, 1 with y = 0, 4: slope 4 / (2 + lambda), through the mean."""
    weights, offset = ridge(np.array([[-1.0], [1.0]]), np.array([[0.0], [4.0]]), 2.0)
    assert (weights.item(), offset.item()) == (pytest.approx(1.0), pytest.approx(2.0))


# --- features on the disk

CLASSES = 2


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    """Six images of random features: an object of either class in each, and 40 proposals of either overlap."""
    generator = np.random.default_rng(2)
    records = tuple(
        ImageRecord(str(i), Path(f"{i}.jpg"), 100, 100, Objects(np.zeros((0, 4)), np.zeros(0), np.zeros(0, bool)))
        for i in range(6)
    )
    made = FeatureStore(tmp_path / "features", records, "a model", "some data")
    for number in range(6):
        labels = np.array([1, 2, *[0] * 40])
        centres = np.array([[4, 0, 0], [0, 4, 0], *[[0, 0, 0]] * 40])
        corners = generator.uniform(0, 60, (42, 2))
        near = np.arange(2, 12)
        made.write(number, Regions(
            boxes=np.column_stack((corners, corners + 30)).astype(np.float32),
            fc7=(centres + generator.normal(0, 1.2, (42, 3))).astype(np.float32),
            objects=labels,
            overlaps=generator.uniform(0, 0.6, (42, CLASSES)).astype(np.float32),
            near=near,
            pooled=generator.normal(0, 1, (10, 4)).astype(np.float32),
            labels=np.full(10, 1),
            deltas=generator.normal(0, 1, (10, 4)).astype(np.float32),
        ))  # fmt: skip
    return made


def mined(mining: Mining) -> Mining:
    while not mining.finished:
        mining.step()
    return mining


def by_hand(store: FeatureStore, c: float) -> list[tuple[set[tuple[int, int]], np.ndarray]]:
    """The rule of R-CNN's code, a negative at a time: (the hard ones in the end, the weights) of each class."""
    scale, results = MEAN_NORM / mean_norm(store), []
    for index in range(CLASSES):
        images = [store.read(number, "fc7", "objects", "overlaps") for number in range(6)]
        positives = np.stack([fc7[objects == index + 1][0] * scale for fc7, objects, _ in images])
        cache: dict[tuple[int, int], np.ndarray] = {}
        weights, offset = np.zeros(3), 0.0
        for number, (fc7, objects, overlaps) in enumerate(images):
            for row in range(len(fc7)):
                negative = objects[row] == 0 and overlaps[row, index] < 0.3
                feature = fc7[row].astype(np.float64) * scale
                if negative and (number == 0 or feature @ weights + offset > -1.0001):
                    cache[number, row] = feature
            if number in (0, 5):
                weights, offset = dual_svm(positives, np.stack(list(cache.values())), c)
                cache = {place: x for place, x in cache.items() if x @ weights + offset >= -1.2}
        results.append((set(cache), weights * scale))
    return results


def test_hard_negatives_are_those_of_the_rule(store):
    mining = mined(Mining(store, CLASSES, 0.01))
    weights, _ = mining.result()
    for own, found, (places, expected) in zip(mining.examples, weights, by_hand(store, 0.01), strict=True):
        assert {tuple(place) for place in own.places.tolist()} == places
        assert found == pytest.approx(expected, abs=5e-3 * np.abs(expected).max())
        assert 0 < len(places) < 6 * 40


def test_mining_that_was_stopped_goes_on_to_the_same(store):
    whole = mined(Mining(store, CLASSES, 0.01)).result()
    first = Mining(store, CLASSES, 0.01)
    for _ in range(3):
        first.step()
    second = Mining(store, CLASSES, 0.01)
    second.load(first.state())
    assert second.done == 3
    for a, b in zip(mined(second).result(), whole, strict=True):
        assert np.array_equal(a, b)


def test_a_negative_beside_a_harder_one_is_dropped_by_sppnet():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 5], [50, 0, 60, 10]], np.float32)
    assert sorted(SPPNET.select(boxes, np.array([0.1, 0.5, 0.0, -2.0]))) == [1, 2, 3]


def fitted(fitting: BoxFitting) -> BoxFitting:
    while not fitting.finished:
        fitting.step()
    return fitting


def test_boxes_of_a_class_are_fitted_to_its_near_proposals(store):
    weights, offsets = fitted(BoxFitting(store, CLASSES, 1000.0)).result()
    parts = [store.read(number, "pooled", "deltas") for number in range(6)]
    pooled, deltas = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
    scale = MEAN_NORM / np.linalg.norm(pooled, axis=1).mean()
    oracle = Ridge(alpha=1000.0).fit(pooled * scale, deltas)
    assert weights[:4] == pytest.approx(oracle.coef_ * scale, abs=1e-5)
    assert offsets[:4] == pytest.approx(oracle.intercept_, abs=1e-5)
    assert not weights[4:].any()  # nothing is near the second class
    assert not offsets[4:].any()


def test_a_fitting_of_boxes_that_was_stopped_goes_on_to_the_same(store):
    whole = fitted(BoxFitting(store, CLASSES, 1000.0)).result()
    first = BoxFitting(store, CLASSES, 1000.0)
    first.step()
    assert len(first.state()["offsets"]) == 1
    second = BoxFitting(store, CLASSES, 1000.0)
    second.load(first.state())
    assert second.done == 1
    for a, b in zip(fitted(second).result(), whole, strict=True):
        assert np.array_equal(a, b)


def test_features_of_another_model_or_other_data_are_refused(store, fault_of):
    assert "features of another model" in fault_of(FeatureStore, store.folder, store.records, "b", "some data")
    assert "features of other data" in fault_of(FeatureStore, store.folder, store.records, "a model", "more data")
    assert FeatureStore(store.folder, store.records, "a model", "some data").missing == []


def test_what_is_kept_of_an_image_by_hand(noise_image):
    """Two objects of class 1 and 3 and a crowd; proposals beside, near, within the crowd, and elsewhere."""
    import torch

    boxes = np.array([[0, 0, 10, 10], [20, 0, 40, 10], [60, 60, 80, 80]], np.float32)
    objects = Objects(boxes, np.array([1, 3, 2]), np.zeros(3, bool), np.array([False, False, True]))
    record = ImageRecord("a", noise_image("a.png", 100, 100), 100, 100, objects)
    proposals = np.array([[0, 0, 10, 8], [0, 0, 10, 5], [60, 60, 70, 80], [90, 90, 99, 99]], np.float32)

    def extract(image, boxes):
        for rows in torch.arange(len(boxes)).split(4):
            yield rows, boxes[rows, :1] + 100, boxes[rows, 2:3]

    found = describe(record, proposals, 3, 0.6, extract)
    assert found.objects.tolist() == [1, 3, 0, 0, 0, 0]
    assert found.fc7[:, 0].tolist() == [10, 40, 10, 10, 70, 99]
    assert found.overlaps[2:].tolist() == [[pytest.approx(0.8), 0, 0], [0.5, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert (found.near.tolist(), found.labels.tolist(), found.pooled.tolist()) == ([2], [1], [[100]])
    assert found.deltas[0].tolist() == pytest.approx([0, 0.125, 0, np.log(10 / 8)])


# --- files that say what no stage wrote


def rewrite(path: Path, names: Callable[[dict[str, np.ndarray]], object], **metadata: str) -> None:
    """Change a file's arrays in place."""
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = file.metadata()
    names(arrays)
    save_file(arrays, path, metadata={**about, **metadata})


SPOILT = {
    "a missing array": (lambda a: a.pop("overlaps"), "overlaps"),
    "fewer rows": (lambda a: a.update(fc7=a["fc7"][:-1]), "fc7 is F32 [41, 3]"),
    "another width": (lambda a: a.update(fc7=np.zeros((42, 4), np.float32)), "fc7 is F32 [42, 4]"),
    "no rows and columns": (lambda a: a.update(fc7=np.zeros(42, np.float32)), "fc7 is F32 [42]"),
    "other classes": (lambda a: a.update(overlaps=np.zeros((42, 9), np.float32)), "overlaps is F32 [42, 9]"),
    "numbers for labels": (lambda a: a.update(objects=a["objects"].astype(np.float32)), "objects is F32 [42]"),
    "labels for numbers": (lambda a: a.update(fc7=a["fc7"].astype(np.int64)), "fc7 is I64 [42, 3]"),
    "not a number": (lambda a: a["fc7"].fill(np.nan), "numbers that are not finite"),
    "a class that there is not": (lambda a: a["objects"].fill(7), "objects of no class"),
    "less than no class": (lambda a: a["objects"].fill(-1), "objects of no class"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_features_that_no_stage_wrote_are_refused(store, fault_of, kind):
    spoil, fault = SPOILT[kind]
    anew = FeatureStore(store.folder, store.records, "a model", "some data", CLASSES)
    anew.read(2, "fc7")
    rewrite(store.path(3), spoil)
    said = fault_of(lambda: anew.read(3, "objects", "fc7"))
    assert said.startswith(f"{store.path(3)}: missing or damaged (")
    assert fault in said


def test_features_of_another_image_are_refused(store, fault_of):
    store.path(2).replace(store.path(3))
    assert "(of another image); delete it" in fault_of(store.read, 3, "fc7")


@pytest.mark.parametrize(
    "changes",
    [
        {"done": np.array([7])}, {"done": np.array([-1])}, {"done": np.array([1.5])}, {"done": np.array([], np.int64)},
        {"0.places": np.array([[5, 0]])}, {"0.places": np.array([[0, 42]])}, {"0.places": np.array([[0, -1]])},
        {"0.places": np.array([[0, 1]] * 2)}, {"0.places": np.array([0, 1])}, {"0.places": np.array([[0.0, 1.0]])},
        {"1.weights": np.zeros(4)}, {"1.weights": np.full(3, np.nan)}, {"1.rest": np.array([0.0])},
        {"1.rest": np.array([np.inf, 0])}, {"1.rest": np.array([0.0, -1])}, {"1.rest": np.array([[0.0, 1], [0, 1]])},
        {"1.rest": None}, {"done": None},
    ],
    ids=range(18),
)  # fmt: skip
def test_mining_that_was_never_stopped_so_is_refused(store, changes):
    first = Mining(store, CLASSES, 0.01)
    for _ in range(3):
        first.step()
    state = {name: value for name, value in (first.state() | changes).items() if value is not None}
    with pytest.raises((KeyError, TypeError, ValueError)):
        Mining(store, CLASSES, 0.01).load(state)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000, "[]]", "7", "[[1, 2]]", '{"svm": 7}', '{"svm": {"seconds": "1", "cpu": "2"}}',
        '{"svm": {"seconds": NaN, "cpu": 0}}', '{"svm": {"seconds": 1e400, "cpu": 0}}',
        '{"svm": {"seconds": -1, "cpu": 0}}',
        '{"svm": {"seconds": true, "cpu": 0}}', '{"svm": {"seconds": 1, "cpu": 1, "bytes": "many"}}',
    ],
    ids=range(11),
)  # fmt: skip
def test_stages_that_no_run_has_are_refused(tmp_path, fault_of, content):
    (tmp_path / "stages.json").write_text(content)
    assert fault_of(StageLog, tmp_path).startswith(f"{tmp_path / 'stages.json'}: not the stages of a run (")

"""Mini-batches: every draw follows from the seed and the batch's number; RoIs stay on what they were drawn around."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from frcnn_cli.core.backbones import NORMALISATIONS
from frcnn_cli.core.sampling import SamplingConfig
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals.npz import ProposalFile, write_proposals
from frcnn_cli.data.samples import ImageRecord, Objects
from frcnn_cli.engine.batches import Batch, Scales, TrainingBatches, repeat_factors, target_statistics
from frcnn_cli.engine.distributed import ALONE, Processes
from frcnn_cli.errors import DataError

NO_OBJECTS = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))


@pytest.fixture
def batches(tiny_dataset, tiny_proposals):
    """Make batches of the small data set; keywords replace what is usual."""

    def make(
        records=tiny_dataset.records,
        flip=0.5,
        seed=0,
        images=2,
        rois=32,
        scales=((80, 120), 160),
        jitter=0.0,
        processes=ALONE,
        **sampling,
    ):
        sampling = SamplingConfig(images_per_batch=images, rois_per_batch=rois, **sampling)
        return TrainingBatches(
            tuple(records),
            tiny_proposals,
            NORMALISATIONS["half"],
            sampling,
            Scales(*scales),
            flip,
            seed,
            colour_jitter=jitter,
            processes=processes,
        )

    return make


def assert_same(a: Batch, b: Batch) -> None:
    assert a.image_ids == b.image_ids
    for name in ("images", "rois", "labels", "deltas"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name


def placeless(count: int, tall=()) -> list[ImageRecord]:
    """Records whose images need not exist."""
    objects = Objects(np.array([[1, 1, 9, 9]], np.float32), np.array([1]), np.array([False]))
    return [
        ImageRecord(str(i), None, *((50, 70) if i in tall else (70, 50)), objects)  # type: ignore[arg-type]
        for i in range(count)
    ]


def test_a_number_gives_the_same_batch_again(batches):
    for number in (0, 3, 17):
        assert_same(batches()[number], batches()[number])


def test_seed_and_number_matter(batches):
    first = batches()[0]
    assert any(batches()[0].image_ids != batches(seed=seed)[0].image_ids for seed in range(1, 6))
    same_images = next(b for i in range(1, 40) if (b := batches()[i]).image_ids == first.image_ids)
    assert not torch.equal(same_images.rois, first.rois)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 on forking beside threads
def test_workers_give_the_same_batches(batches):
    ours = batches()
    loader = DataLoader(ours, sampler=range(2, 6), batch_size=None, num_workers=2, multiprocessing_context="fork")
    for number, batch in zip(range(2, 6), loader, strict=True):
        assert_same(batch, ours[number])


def test_processes_make_the_parts_of_a_batch(batches):
    """Put together again, they are the batch: the same draws, and the same padding."""
    for number in range(4):
        whole = batches(images=4, jitter=0.2)[number]
        for rank in range(2):
            part = batches(images=4, jitter=0.2, processes=Processes(rank, 2))[number]
            assert part.image_ids == whole.image_ids[rank::2]
            assert torch.equal(part.images, whole.images[rank::2])
            mine = whole.rois[:, 0] % 2 == rank
            assert torch.equal(part.rois[:, 0] * 2 + rank, whole.rois[mine, 0])
            assert torch.equal(part.rois[:, 1:], whole.rois[mine, 1:])
            assert torch.equal(part.labels, whole.labels[mine])
            assert torch.equal(part.deltas, whole.deltas[mine])


def test_an_image_that_has_changed_since_it_was_read(batches, tiny_dataset):
    record = replace(tiny_dataset.records[0], path=tiny_dataset.records[1].path)
    with pytest.raises(DataError, match=rf"{record.path}: no longer {record.width} x {record.height} pixels"):
        batches([record], images=1)[0]


def test_what_a_batch_holds(batches, tiny_dataset):
    by_id = {record.id: record for record in tiny_dataset.records}
    ours = batches()
    for number in range(5):
        batch = ours[number]
        assert batch.images.shape[:2] == (2, 3)
        assert batch.images.dtype == torch.float32
        assert len(batch.rois) == len(batch.labels) == len(batch.deltas)
        for index, image_id in enumerate(batch.image_ids):
            labels = batch.labels[batch.rois[:, 0] == index]
            assert len(labels) == 16
            assert 1 <= (labels > 0).sum() <= 4
            assert set(labels.tolist()) - {0} <= set(by_id[image_id].objects.labels.tolist())
        assert (batch.deltas[batch.labels == 0] == 0).all()


def test_scaled_rois_lie_in_their_scaled_image(batches, tiny_dataset):
    by_id = {record.id: record for record in tiny_dataset.records}
    seen = set()
    ours = batches()
    for number in range(12):
        batch = ours[number]
        assert (batch.rois[:, 1:] >= 0).all()
        assert (batch.rois[:, 3:] > batch.rois[:, 1:3]).all()
        for index, image_id in enumerate(batch.image_ids):
            record = by_id[image_id]
            boxes = batch.rois[batch.rois[:, 0] == index, 1:]
            sizes = []
            for short in (80, 120):
                scale = min(short / min(record.width, record.height), 160 / max(record.width, record.height))
                sizes.append((round(record.width * scale), round(record.height * scale)))
            # what lies beyond the image is padding: zeros, which no normalised row of a photograph is made of
            width = int(batch.images[index].abs().sum(dim=(0, 1)).nonzero().max()) + 1
            height = int(batch.images[index].abs().sum(dim=(0, 2)).nonzero().max()) + 1
            assert (width, height) in sizes
            assert boxes[:, 2].max() <= width
            assert boxes[:, 3].max() <= height
            seen.add(sizes.index((width, height)))
    assert seen == {0, 1}


def test_mirrored_rois_show_the_same_pixels(batches, tiny_dataset):
    """The same draw without and with mirroring: pictures mirror each other, and the RoIs move along."""
    for record in tiny_dataset.records[:4]:
        plain = batches([record], flip=0.0, images=1, scales=((record.height,), 10_000))[0]
        mirrored = batches([record], flip=1.0, images=1, scales=((record.height,), 10_000))[0]
        width = plain.images.shape[3]
        assert torch.equal(mirrored.images, plain.images.flip(3))
        _, x1, y1, x2, y2 = plain.rois.unbind(dim=1)
        expected = torch.stack((width - x2, y1, width - x1, y2), dim=1)
        torch.testing.assert_close(mirrored.rois[:, 1:], expected, atol=1e-3, rtol=0)
        assert torch.equal(mirrored.labels, plain.labels)
        signs = torch.tensor([-1.0, 1, 1, 1])
        torch.testing.assert_close(mirrored.deltas, plain.deltas * signs, atol=1e-4, rtol=1e-4)


def test_colour_jitter_changes_the_colours_alone(batches, tiny_dataset):
    ours, jittered = batches(images=1), batches(images=1)
    jittered.colour_jitter = 0.3
    a, b = ours[0], jittered[0]
    assert a.image_ids == b.image_ids
    assert not torch.equal(a.images, b.images)
    assert_same(b, jittered[0])
    assert_same(replace(b, images=a.images), a)
    assert torch.corrcoef(torch.stack((a.images.flatten(), b.images.flatten())))[0, 1] > 0.95  # mirrored alike


def test_pixels_are_those_of_the_photograph(batches, tiny_dataset):
    record = next(r for r in tiny_dataset.records if r.id == "horses")
    scale = min(record.width, record.height)
    batch = batches([record], flip=0.0, images=1, scales=((scale,), 10_000))[0]
    expected = (load_image(record.path).transpose(2, 0, 1) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(batch.images[0].numpy(), expected, atol=1e-5)


def test_ground_truth_stays_on_its_object(batches, tiny_dataset):
    """Applying the deltas to a foreground RoI gives the object's box, in the scaled (and mirrored) image."""
    by_id = {record.id: record for record in tiny_dataset.records}
    ours = batches(flip=0.5)
    checked = 0
    for number in range(4):
        batch = ours[number]
        for roi, label, delta in zip(batch.rois, batch.labels, batch.deltas, strict=True):
            if label == 0:
                continue
            record = by_id[batch.image_ids[int(roi[0])]]
            x1, y1, x2, y2 = roi[1:].double()
            dx, dy, dw, dh = delta.double()
            w, h = (x2 - x1) * dw.exp(), (y2 - y1) * dh.exp()
            cx, cy = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
            found = torch.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
            truth = torch.from_numpy(record.objects.boxes[record.objects.labels == int(label)]).double()
            sizes = [
                min(s / min(record.width, record.height), 160 / max(record.width, record.height)) for s in (80, 120)
            ]
            candidates = []
            for scale in sizes:
                scaled = truth * torch.tensor(
                    [round(record.width * scale) / record.width, round(record.height * scale) / record.height] * 2
                )
                flipped = scaled.clone()
                flipped[:, [0, 2]] = round(record.width * scale) - scaled[:, [2, 0]]
                candidates += [scaled, flipped]
            distance = (torch.cat(candidates) - found).abs().max(dim=1).values.min()
            assert distance < 0.01
            checked += 1
    assert checked > 15


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 13), size=st.integers(1, 5), tall=st.sets(st.integers(0, 12)), epoch=st.integers(0, 50))
def test_an_epoch_shows_an_image_once(count, size, tall, epoch):
    ours = TrainingBatches(
        tuple(placeless(count, tall)),
        None,  # type: ignore[arg-type]
        NORMALISATIONS["half"],
        SamplingConfig(size, size),
        Scales(),
        0.5,
        0,
    )
    chosen = ours._epoch(epoch)
    assert len(chosen) == ours.batches_per_epoch == max(count // size, 1)
    assert all(len(batch) == size for batch in chosen)
    times = Counter(image for batch in chosen for image in batch)
    if count >= size:
        assert set(times.values()) == {1}
    else:
        assert set(times) == set(range(count))
        assert max(times.values()) - min(times.values()) <= 1


def labelled(*images: str) -> tuple[ImageRecord, ...]:
    """An image a string, with an object of class 1 for every a in it, of class 2 for every b, ..."""
    records = []
    for name in images:
        labels = np.array([ord(letter) - ord("a") + 1 for letter in name])
        objects = Objects(np.array([[1, 1, 9, 9]] * len(name), np.float32), labels, np.zeros(len(name), bool))
        records.append(ImageRecord(name, None, 70, 50, objects))  # type: ignore[arg-type]
    return tuple(records)


def test_repeat_factors_by_hand():
    """Of 8 images all show a, two b, one c (twice): shares 1, 1/4, 1/8."""
    images = labelled("a", "a", "a", "a", "a", "ab", "abaa", "acc")
    for balance, b, c in ((0.0, 1, 1), (0.125, 1, 1), (0.5, 2**0.5, 2), (1.0, 2, 8**0.5)):
        assert repeat_factors(images, balance).tolist() == pytest.approx([1] * 5 + [b, b, c])
    assert repeat_factors(labelled("b", "bc", "b", "b"), 1.0).tolist() == [1, 2, 1, 1]  # the rarest class counts


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text("abcd", min_size=1, max_size=3), min_size=1, max_size=12),
    st.floats(0, 1),
    st.integers(0, 50),
)
def test_an_epoch_shows_an_image_about_as_often_as_its_factor(names, balance, epoch):
    records = labelled(*names)
    config = (NORMALISATIONS["half"], SamplingConfig(1, 1), Scales(), 0.5, 0)
    ours = TrainingBatches(records, None, *config, balance=balance)  # type: ignore[arg-type]
    factors = repeat_factors(records, balance)
    times = Counter(image for batch in ours._epoch(epoch) for image in batch)
    assert sum(times.values()) == ours.batches_per_epoch == int(factors.sum())
    for image, factor in enumerate(factors.tolist()):
        assert int(factor) <= times[image] <= int(factor) + (factor > int(factor))


def test_fractions_of_a_repeat_come_up_as_often_as_they_should():
    """A class in one of eight images, balance 0.28125: sqrt(0.28125 * 8) = 1.5 times; the epochs differ."""
    records = labelled("ab", *"a" * 7)
    config = (NORMALISATIONS["half"], SamplingConfig(1, 1), Scales(), 0.5, 0)
    extra = [*records, *labelled("ac")]  # two images of factor 1.5 and more, for one place
    ours = TrainingBatches(tuple(extra), None, *config, balance=0.25)  # type: ignore[arg-type]
    assert ours.repeats.tolist() == pytest.approx([1.5] + [1] * 7 + [1.5])
    times = Counter(image for epoch in range(100) for batch in ours._epoch(epoch) for image in batch)
    assert times[0] + times[8] == 300
    assert abs(times[0] - times[8]) < 40  # 4 standard deviations of 100 throws of a coin, twice


@pytest.mark.parametrize(("count", "tall"), [(3, {0}), (5, {4}), (5, {0, 1, 2}), (7, set())])
def test_no_image_is_left_out_of_every_epoch(batches, count, tall):
    ours = batches(placeless(count, tall))
    seen = Counter(image for epoch in range(60) for batch in ours._epoch(epoch) for image in batch)
    assert set(seen) == set(range(count))
    expected = 60 * (count // 2 * 2) / count
    assert min(seen.values()) > 0.75 * expected


def test_upright_images_keep_together(batches):
    ours = batches(placeless(8, tall={1, 3, 4, 6}))
    for epoch in range(10):
        for batch in ours._epoch(epoch):
            assert len({ours.records[i].height > ours.records[i].width for i in batch}) == 1
    mixed = batches(placeless(8, tall={1, 3, 4}))
    kinds = [len({mixed.records[i].height > mixed.records[i].width for i in b}) for b in mixed._epoch(0)]
    assert sorted(kinds) == [1, 1, 1, 2]


def test_a_data_set_smaller_than_a_batch_repeats_its_images(batches, tiny_dataset):
    batch = batches(tiny_dataset.records[:1], images=3, rois=24)[0]
    assert batch.image_ids == (tiny_dataset.records[0].id,) * 3
    assert batch.images.shape[0] == 3
    assert set(batch.rois[:, 0].tolist()) == {0.0, 1.0, 2.0}


def test_region_wise_batches(batches, tiny_dataset):
    """Each RoI is from another image (as long as there are so many), a quarter of them foreground."""
    by_id = {record.id: record for record in tiny_dataset.records}
    ours = batches(images=8, rois=8)
    for number in range(4):
        batch = ours[number]
        assert len(set(batch.image_ids)) == 8
        assert batch.rois[:, 0].tolist() == list(range(8))
        assert (batch.labels > 0).sum() == 2
        for label, image_id in zip(batch.labels.tolist(), batch.image_ids, strict=True):
            assert label in {0, *by_id[image_id].objects.labels.tolist()}


def test_an_image_may_be_in_any_place(batches):
    """Places differ in whether they give foreground; upright images must not always be in the last ones."""
    ours = batches(placeless(10, tall={0, 1}), images=8, rois=8)
    places = {batch.index(0) for epoch in range(100) for batch in ours._epoch(epoch) if 0 in batch}
    assert places == set(range(8))


def test_parts_of_a_batch(batches):
    batch = batches(images=5, rois=40)[0]
    parts = list(batch.parts(2))
    assert [len(part.images) for part in parts] == [2, 2, 1]
    rois = [part.rois + torch.tensor((2.0 * i, 0, 0, 0, 0)) for i, part in enumerate(parts)]
    whole = (torch.cat(rois), *(torch.cat([getattr(part, name) for part in parts]) for name in ("labels", "deltas")))
    ids = tuple(image_id for part in parts for image_id in part.image_ids)
    assert_same(Batch(torch.cat([part.images for part in parts]), *whole, ids), batch)
    (same,) = batch.parts(5)
    assert_same(same, batch)


def test_images_without_objects_are_left_out(batches, tiny_dataset):
    bare = [replace(record, objects=NO_OBJECTS) for record in tiny_dataset.records[:9]]
    ours = batches([*bare, tiny_dataset.records[9]])
    assert [record.id for record in ours.records] == [tiny_dataset.records[9].id]
    with pytest.raises(DataError, match="none has an object"):
        batches(bare)


def test_images_without_objects_give_background_where_it_starts_at_0(batches, tiny_dataset):
    bare = [replace(record, objects=NO_OBJECTS) for record in tiny_dataset.records[:5]]
    records = [*bare, *tiny_dataset.records[5:]]
    ours = batches(records, background_iou=(0.0, 0.5))
    assert ours.records == tuple(records)
    without = {record.id for record in bare}
    seen = set()
    for number in range(ours.batches_per_epoch):
        batch = ours[number]
        for index, image_id in enumerate(batch.image_ids):
            labels = batch.labels[batch.rois[:, 0] == index]
            assert len(labels) == 16
            assert bool((labels > 0).any()) == (image_id not in without)
            seen.add(image_id)
    assert seen == {record.id for record in records}
    with pytest.raises(DataError, match="none has an object"):
        batches(bare, background_iou=(0.0, 0.5))


def test_rois_of_a_batch_add_up(batches):
    """30 RoIs of 4 images: 7 or 8 of each."""
    for number in range(3):
        images = batches(images=4, rois=30)[number].rois[:, 0].tolist()
        assert sorted(Counter(images).values()) == [7, 7, 8, 8]


def crowded(record: ImageRecord, crowd: list[bool]) -> ImageRecord:
    """The record, with some of its objects as crowds."""
    objects, flags = record.objects, np.array(crowd)
    return replace(record, objects=Objects(objects.boxes.copy(), objects.labels, flags, flags))


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_crowds_are_neither_foreground_nor_background(batches, tiny_dataset, flip):
    """Mirrored with the image; what overlaps an object is learnt all the same."""
    record = next(record for record in tiny_dataset.records if len(record.objects) > 1)
    with_crowd = crowded(record, [True] + [False] * (len(record.objects) - 1))
    options = {"flip": flip, "images": 1, "rois": 2000, "background_iou": (0.0, 0.5)}
    plain, batch = batches([record], **options)[0], batches([with_crowd], **options)[0]
    x1, y1, x2, y2 = record.objects.boxes[0].tolist()
    x1, x2 = (record.width - x2, record.width - x1) if flip else (x1, x2)
    crowd = [value * batch.images.shape[3] / record.width for value in (x1, y1, x2, y2)]
    assert len(inside(plain.rois[plain.labels == 0, 1:], crowd)) > 0
    assert len(inside(batch.rois[batch.labels == 0, 1:], crowd)) == 0
    assert 0 < (batch.labels > 0).sum() < (plain.labels > 0).sum()

    with_crowd.objects.boxes[0] = (0, 0, record.width, record.height)
    everywhere = batches([with_crowd], **options)[0]
    assert len(everywhere.labels) > 0
    assert (everywhere.labels > 0).all()


def inside(boxes: torch.Tensor, crowd: list[float]) -> torch.Tensor:
    """The boxes that lie in a region by clearly more than half of their area."""
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    width = x2.clamp(max=crowd[2]) - x1.clamp(min=crowd[0])
    height = y2.clamp(max=crowd[3]) - y1.clamp(min=crowd[1])
    return boxes[width.clamp(min=0) * height.clamp(min=0) > 0.55 * (x2 - x1) * (y2 - y1)]


def test_an_image_that_shows_crowds_alone_is_one_without_objects(batches, tiny_dataset):
    first, second = tiny_dataset.records[:2]
    alone = crowded(first, [True] * len(first.objects))
    assert [record.id for record in batches([alone, second]).records] == [second.id]
    assert len(batches([alone, second], background_iou=(0.0, 0.5)).records) == 2
    with pytest.raises(DataError, match="none has an object"):
        batches([alone])


def test_crowds_and_images_without_objects_in_what_is_counted(tiny_dataset, tiny_proposals):
    """Crowds are no examples of their class; an image without objects comes up once."""
    bare, (a, b) = labelled("a", "ab"), labelled("ab", "a")
    some = (*bare, crowded(a, [False, True]), crowded(b, [True]))
    assert repeat_factors(some, 1.0).tolist() == pytest.approx([(4 / 3) ** 0.5, 2, (4 / 3) ** 0.5, 1])
    record = next(record for record in tiny_dataset.records if len(record.objects) > 1)
    with_crowd = crowded(record, [True] + [False] * (len(record.objects) - 1))
    without = replace(with_crowd, objects=with_crowd.objects.without_crowds())
    bare = replace(record, objects=NO_OBJECTS)
    for iou in (0.5, 0.0):
        expected = target_statistics((without,), tiny_proposals, iou)
        for records in ((with_crowd,), (without, bare)):
            found = target_statistics(records, tiny_proposals, iou)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert not torch.equal(target_statistics((record,), tiny_proposals, iou)[0], expected[0])


def test_narrow_images_can_be_convolved(tmp_path, noise_image, tiny_dataset):
    """20 x 3000 at a long side of 1000 is 7 pixels high: less than AlexNet's and VGG16's layers can halve."""
    from frcnn_cli.core.model import Architecture, FastRCNN

    path = noise_image("narrow.png", 3000, 20)
    objects = Objects(np.array([[10, 0, 600, 20]], np.float32), np.array([1]), np.array([False]))
    record = ImageRecord("narrow", path, 3000, 20, objects)
    file = tmp_path / "p.npz"
    write_proposals(file, {"narrow": np.array([[0, 0, 3000, 20.0]])}, {"sizes": {"narrow": (3000, 20)}})
    ours = TrainingBatches(
        (record,), ProposalFile(file), NORMALISATIONS["half"], SamplingConfig(1, 8), Scales((600,), 1000), 0.5, 0
    )
    batch = ours[0]
    assert batch.rois[:, 4].max() <= 7
    logits, deltas = FastRCNN(Architecture("alexnet", 2, 2, 8))(batch.images, batch.rois)
    assert logits.isfinite().all()
    assert deltas.isfinite().all()


def hand_targets(records, proposals) -> np.ndarray:
    """The regression targets of all foreground boxes, one at a time, in float64."""
    rows = []
    for record in records:
        truth = record.objects.boxes.astype(np.float64)
        for box in [*truth, *proposals.get(record.id, record.width, record.height).astype(np.float64)]:
            best, match = -1.0, None
            for gt in truth:
                w = min(box[2], gt[2]) - max(box[0], gt[0])
                h = min(box[3], gt[3]) - max(box[1], gt[1])
                both = max(w, 0) * max(h, 0)
                union = (box[2] - box[0]) * (box[3] - box[1]) + (gt[2] - gt[0]) * (gt[3] - gt[1]) - both
                if both / union > best:
                    best, match = both / union, gt
            if best >= 0.5:
                pw, ph, gw, gh = box[2] - box[0], box[3] - box[1], match[2] - match[0], match[3] - match[1]
                shift = ((match[0] + gw / 2 - box[0] - pw / 2) / pw, (match[1] + gh / 2 - box[1] - ph / 2) / ph)
                rows.append((*shift, np.log(gw / pw), np.log(gh / ph)))
    return np.array(rows)


def test_target_statistics_equal_a_loop_by_hand(tiny_dataset, tiny_proposals):
    mean, std = target_statistics(tiny_dataset.records, tiny_proposals, 0.5)
    targets = hand_targets(tiny_dataset.records, tiny_proposals)
    assert len(targets) > 100
    np.testing.assert_allclose(mean.numpy(), targets.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(std.numpy(), targets.std(axis=0), atol=1e-5)


def test_target_statistics_of_targets_that_agree_can_be_divided_by(tmp_path):
    objects = Objects(np.array([[0, 0, 40, 40]], np.float32), np.array([1]), np.array([False]))
    record = ImageRecord("a", tmp_path / "a.jpg", 100, 100, objects)
    path = tmp_path / "p.npz"
    write_proposals(path, {"a": np.array([[60, 60, 80, 80.0]])}, {"sizes": {"a": (100, 100)}})
    mean, std = target_statistics((record,), ProposalFile(path), 0.5)
    assert mean.tolist() == [0.0] * 4
    assert (std > 0.005).all()


def test_target_statistics_without_an_object(tiny_dataset, tiny_proposals):
    bare = tuple(replace(record, objects=NO_OBJECTS) for record in tiny_dataset.records)
    with pytest.raises(DataError, match="no image has an object"):
        target_statistics(bare, tiny_proposals, 0.5)

"""VOC's XML as people have it: other folders, other names, other encodings, and what is not quite right with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from frcnn_cli.data.formats.voc import VOC_CLASSES, load_voc
from frcnn_cli.data.samples import Dataset
from frcnn_cli.errors import DataError, DatasetFaults

BOX = (11, 21, 30, 40)


def an_image(path: Path, colour: str = "gray", size: tuple[int, int] = (100, 80)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def an_xml(
    path: Path, name: str = "dog", box=BOX, size: str = "", filename: str = "", encoding: str = "utf-8", count: int = 1
) -> None:
    tags = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    declared = f"<?xml version='1.0' encoding='{encoding}'?>"
    an_object = f"<object><name>{name}</name><bndbox>{tags}</bndbox></object>"
    text = f"{declared}<annotation><filename>{filename}</filename>{size}{an_object * count}</annotation>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def a_list(root: Path, text: str, split: str = "train", encoding: str = "utf-8") -> None:
    (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    (root / "ImageSets" / "Main" / f"{split}.txt").write_bytes(text.encode(encoding))


def a_voc(root: Path, *names: str, listed: str | None = None) -> None:
    """Images of these names in VOC's folders, each with a dog; all in the list, unless another is given."""
    for name in names:
        an_image(root / "JPEGImages" / name)
        an_xml((root / "Annotations" / name).with_suffix(".xml"))
    a_list(root, "\n".join(Path(name).stem for name in names) if listed is None else listed)


def ids_of(dataset: Dataset) -> list[str]:
    return [record.id for record in dataset.records]


def faults_of(root: Path, split: str = "train", **wanted) -> list[str]:
    with pytest.raises(DatasetFaults) as caught:
        load_voc(root, split, **wanted)
    return [line.replace(f"{root}/", "") for line in caught.value.faults]


def error_of(root: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        load_voc(root, split)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(root), "ROOT")


class TestLists:
    def test_a_blank_and_a_number_may_belong_to_the_name(self, tmp_path):
        a_voc(tmp_path, "photo 1.jpg", "photo.jpg", "other.jpg", listed="photo 1\nphoto\nother -1\n")
        assert ids_of(load_voc(tmp_path, "train")) == ["photo 1", "photo", "other"]

    @pytest.mark.parametrize(
        "line",
        [
            "a1.jpg",
            "/data/old/set3/JPEGImages/a1.jpg",
            "C:\\data\\a1.jpg",
            "JPEGImages/a1.jpg",
            "A1",
            '"a1"',
            "a1.xml",
            "a1.png 1",
        ],
    )
    def test_however_it_is_written_it_is_the_same_image(self, tmp_path, line):
        a_voc(tmp_path, "a1.jpg", listed=line)
        (record,) = load_voc(tmp_path, "train").records
        assert (record.id, record.path) == ("a1", tmp_path / "JPEGImages" / "a1.jpg")

    def test_the_same_image_by_two_names_is_there_twice(self, tmp_path):
        a_voc(tmp_path, "a1.jpg", listed="a1\nA1.JPG")
        assert faults_of(tmp_path) == ["ImageSets/Main/train.txt: line 2: A1.JPG is already in line 1"]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_encodings_and_line_ends(self, tmp_path, encoding):
        a_voc(tmp_path, "猫.jpg", "b.jpg")
        a_list(tmp_path, "猫\r\nb\r\n", encoding=encoding)
        assert ids_of(load_voc(tmp_path, "train")) == ["猫", "b"]

    @pytest.mark.parametrize("suffix", [".bmp", ".JPG", ".Jfif", ".webp", ".gif", ".tif", ".jp2", ".ppm"])
    def test_any_suffix_of_an_image(self, tmp_path, suffix):
        a_voc(tmp_path, f"a1{suffix}")
        assert load_voc(tmp_path, "train").records[0].path.suffix == suffix

    def test_two_files_of_one_id_are_said(self, tmp_path):
        a_voc(tmp_path, "a1.jpg", "a2.jpg")
        for name in ("a1.png", "a2.png"):
            an_image(tmp_path / "JPEGImages" / name)
        dataset = load_voc(tmp_path, "train")
        assert [record.path.name for record in dataset.records] == ["a1.jpg", "a2.jpg"]
        assert dataset.notes == ("images of which there are several files: 2; read is a1.jpg, not a1.png ...",)

    def test_the_annotation_tells_which_file_it_is(self, tmp_path):
        a_voc(tmp_path, "a1.jpg")
        an_image(tmp_path / "JPEGImages" / "a1.png")
        an_xml(tmp_path / "Annotations" / "a1.xml", filename="C:\\x\\A1.png")
        dataset = load_voc(tmp_path, "train")
        assert (dataset.records[0].path.name, dataset.notes) == ("a1.png", ())

    def test_one_annotation_is_not_that_of_two_images(self, tmp_path):
        for camera in ("camA", "camB"):
            an_image(tmp_path / "JPEGImages" / camera / "1.jpg")
        an_xml(tmp_path / "Annotations" / "1.xml")
        a_list(tmp_path, "camA/1\ncamB/1")
        assert faults_of(tmp_path) == ["Annotations/1.xml: the annotation of camA/1 and of camB/1; whose is it?"]

    def test_images_in_folders_and_annotations_without(self, tmp_path):
        an_image(tmp_path / "JPEGImages" / "camA" / "1.jpg")
        an_xml(tmp_path / "Annotations" / "1.xml")
        a_list(tmp_path, "camA/1")
        assert ids_of(load_voc(tmp_path, "train")) == ["camA/1"]


class TestFolders:
    def test_one_folder_without_lists_is_one_list(self, tmp_path):
        for name in ("b", "a"):
            an_image(tmp_path / f"{name}.jpg")
            an_xml(tmp_path / f"{name}.xml")
        (tmp_path / "classes.txt").write_text("dog")
        for split in ("train", "trainval", "test"):
            dataset = load_voc(tmp_path, split)
            assert ids_of(dataset) == ["a", "b"]
            assert dataset.name == tmp_path.name

    def test_another_split_of_it_is_not_the_same_in_silence(self, tmp_path):
        an_image(tmp_path / "a.jpg")
        an_xml(tmp_path / "a.xml")
        assert error_of(tmp_path, "val") == (
            "ROOT: no lists (ImageSets/Main) and no folder 'val', so there is no such split"
        )

    def test_what_has_no_partner_is_a_fault(self, tmp_path):
        an_image(tmp_path / "a.jpg")
        an_image(tmp_path / "b.jpg")
        an_xml(tmp_path / "a.xml")
        an_xml(tmp_path / "c.xml")
        assert faults_of(tmp_path) == ["b.xml: no such annotation", "c.xml: no image of this name"]

    def test_folders_of_splits(self, tmp_path):
        for folder in ("train", "valid"):
            for name in ("a", "b"):
                an_image(tmp_path / folder / f"{name}.jpg")
                an_xml(tmp_path / folder / f"{name}.xml")
        assert ids_of(load_voc(tmp_path, "train")) == ["train/a", "train/b"]
        dataset = load_voc(tmp_path, "val")
        assert ids_of(dataset) == ["valid/a", "valid/b"]
        assert dataset.name == f"{tmp_path.name} val"
        assert len(load_voc(tmp_path, "trainval")) == 4
        assert error_of(tmp_path, "test") == "ROOT: no folder of the split 'test' (splits there are: train, valid)"
        an_xml(tmp_path / "valid" / "c.xml")
        assert len(load_voc(tmp_path, "train")) == 2
        assert faults_of(tmp_path, "val") == ["valid/c.xml: no image of this name"]

    def test_folders_of_images_and_annotations_without_lists(self, tmp_path):
        an_image(tmp_path / "images" / "a.png")
        an_xml(tmp_path / "annotations" / "a.xml")
        assert load_voc(tmp_path, "train").records[0].path == tmp_path / "images" / "a.png"

    def test_annotations_in_a_folder_beside_that_of_the_images(self, tmp_path):
        for name in ("a", "b"):
            an_image(tmp_path / "photos" / f"{name}.jpg")
            an_xml(tmp_path / "labels" / f"{name}.xml")
        assert ids_of(load_voc(tmp_path, "train")) == ["photos/a", "photos/b"]

    def test_they_are_not_those_of_an_image_elsewhere(self, tmp_path):
        """Two images of a name, and an annotation beside one of them."""
        for folder in ("day", "night"):
            an_image(tmp_path / folder / "a.jpg")
        an_xml(tmp_path / "day" / "a.xml")
        assert faults_of(tmp_path) == ["night/a.xml: no such annotation"]
        (tmp_path / "night" / "a.jpg").rename(tmp_path / "night" / "b.jpg")
        assert faults_of(tmp_path) == ["night/b.xml: no such annotation"]

    def test_a_file_is_no_folder(self, tmp_path):
        a_voc(tmp_path, "a.jpg")
        where = tmp_path / "ImageSets" / "Main" / "train.txt"
        assert error_of(where) == "ROOT: a file; the folder of the data set is wanted"

    def test_segments_are_not_taken_for_the_images(self, tmp_path):
        an_image(tmp_path / "SegmentationClass" / "a.png")
        an_xml(tmp_path / "Annotations" / "a.xml")
        a_list(tmp_path, "a")
        assert faults_of(tmp_path) == ["JPEGImages/a.jpg: no such image (nor as .jpeg or .png)"]

    @pytest.mark.parametrize("above", ["", "VOCdevkit"])
    def test_the_root_of_a_devkit(self, tmp_path, above):
        a_voc(tmp_path / above / "VOC2007", "a.jpg")
        assert load_voc(tmp_path, "train").name == "VOC2007 train"
        a_voc(tmp_path / above / "VOC2012", "a.jpg")
        message = error_of(tmp_path)
        assert message.startswith("ROOT: several VOC folders are below it (")
        assert message.endswith(f"): name one, as {Path('ROOT', above, 'VOC2012')}")

    def test_a_folder_of_photographs_only(self, tmp_path):
        an_image(tmp_path / "a.jpg")
        assert error_of(tmp_path) == "ROOT: neither lists of images (ImageSets/Main) nor annotations (.xml) in it"


class TestAnnotations:
    @pytest.mark.parametrize(
        ("encoding", "name"),
        [
            ("gb2312", "狗"), ("gbk", "狗"), ("gb18030", "狗"), ("big5", "狗"), ("shift_jis", "犬"), ("euc-kr", "개"),
            ("windows-1252", "é"), ("iso-8859-1", "é"), ("koi8-r", "кот"), ("utf-16", "狗"), ("utf-8-sig", "狗"),
        ],
    )  # fmt: skip
    def test_the_encoding_that_it_declares(self, tmp_path, encoding, name):
        an_image(tmp_path / "a.jpg")
        an_xml(tmp_path / "a.xml", name, encoding=encoding)
        if encoding == "utf-8-sig":
            (tmp_path / "a.xml").write_bytes((tmp_path / "a.xml").read_bytes().replace(b"utf-8-sig", b"utf-8"))
        assert load_voc(tmp_path, "train").classes == (name,)

    def test_an_encoding_that_is_none(self, tmp_path):
        an_image(tmp_path / "a.jpg")
        an_xml(tmp_path / "a.xml")
        (tmp_path / "a.xml").write_bytes((tmp_path / "a.xml").read_bytes().replace(b"'utf-8'", b"'klingon'"))
        assert faults_of(tmp_path) == ["a.xml: cannot be read (unknown encoding: klingon)"]

    @pytest.mark.parametrize("text", ["0", "", " 0 ", "-1"])
    def test_a_size_of_nothing_is_not_stated(self, tmp_path, text):
        an_image(tmp_path / "a.jpg")
        an_xml(tmp_path / "a.xml", size=f"<size><width>{text}</width><height>{text}</height></size>")
        assert load_voc(tmp_path, "train").records[0].width == 100

    @pytest.mark.parametrize(("width", "fault"), [("100.0", None), (" 100\n", None), ("1e2", None), ("99.5", "size")])
    def test_a_size_in_any_spelling(self, tmp_path, width, fault):
        an_image(tmp_path / "a.jpg")
        an_xml(tmp_path / "a.xml", size=f"<size><width>{width}</width><height>80</height></size>")
        if fault:
            assert faults_of(tmp_path) == ["a.xml: <size> is not two whole numbers: '99.5', '80'"]
        else:
            assert load_voc(tmp_path, "train").records[0].width == 100

    @pytest.mark.parametrize("size", ["nan", "inf", "1e999"])
    def test_a_size_that_is_no_number_of_pixels(self, tmp_path, size):
        an_image(tmp_path / "a.jpg")
        an_xml(tmp_path / "a.xml", size=f"<size><width>{size}</width><height>80</height></size>")
        assert faults_of(tmp_path) == [f"a.xml: <size> is not two whole numbers: '{size}', '80'"]

    def test_an_image_without_an_annotation_may_have_no_object(self, tmp_path):
        a_voc(tmp_path, "a.jpg", "b.jpg")
        (tmp_path / "Annotations" / "b.xml").unlink()
        assert faults_of(tmp_path) == ["Annotations/b.xml: no such annotation"]
        dataset = load_voc(tmp_path, "train", unannotated_empty=True)
        assert [len(record.objects) for record in dataset.records] == [1, 0]

    @pytest.mark.parametrize(
        ("box", "expected"),
        [
            ((-2, 21, 60, 40), [0, 20, 60, 40]),
            ((50, 21, 103, 40), [49, 20, 100, 40]),
            ((11, 1, 30, 83), [10, 0, 30, 80]),
        ],
    )
    def test_a_box_that_is_nearly_inside_is_clipped_and_counted(self, tmp_path, box, expected):
        a_voc(tmp_path, "a.jpg", "b.jpg")
        an_xml(tmp_path / "Annotations" / "a.xml", box=box, count=2)
        dataset = load_voc(tmp_path, "train")
        assert dataset.records[0].objects.boxes.tolist() == [expected, expected]
        assert dataset.notes == ("2 boxes leave their image by a little and are clipped",)
        assert len(faults_of(tmp_path, strict=True)) == 2

    def test_a_box_that_is_not_nearly_inside_is_a_fault(self, tmp_path):
        a_voc(tmp_path, "a.jpg")
        an_xml(tmp_path / "Annotations" / "a.xml", box=(50, 21, 110, 40))
        (fault,) = faults_of(tmp_path)
        assert fault.endswith("box (50, 21, 110, 40) lies outside the image (100 x 80)")

    @pytest.mark.parametrize("box", [(0.1, 0.2, 0.5, 0.6), (0, 0, 0.25, 1), (0.0, 0.5, 1.0, 1.0)])
    def test_fractions_are_said_to_be_such(self, tmp_path, box):
        a_voc(tmp_path, "a.jpg")
        an_xml(tmp_path / "Annotations" / "a.xml", box=box)
        (fault,) = faults_of(tmp_path)
        assert "looks like fractions of the image's size; pixels are wanted" in fault

    @pytest.mark.parametrize("box", [(1, 1, 1, 1), (0, 0, 1, 1), (0.5, 0.5, 1.5, 1.5)])
    def test_a_box_of_one_pixel_is_none_of_fractions(self, tmp_path, box):
        a_voc(tmp_path, "a.jpg")
        an_xml(tmp_path / "Annotations" / "a.xml", box=box)
        assert len(load_voc(tmp_path, "train").records[0].objects) == 1


class TestClasses:
    def test_a_set_of_some_of_voc_s_names_has_these(self, tmp_path):
        a_voc(tmp_path / "pets", "a.jpg", "b.jpg")
        an_xml(tmp_path / "pets" / "Annotations" / "a.xml", "person")
        assert load_voc(tmp_path / "pets", "train").classes == ("dog", "person")
        assert load_voc(tmp_path / "pets", "train", classes=VOC_CLASSES).classes == VOC_CLASSES

    @pytest.mark.parametrize(("count", "official"), [(9, False), (10, True), (20, True)])
    def test_half_of_them_are_voc_s_own(self, tmp_path, count, official):
        names = VOC_CLASSES[:count]
        a_voc(tmp_path / "set", *(f"{name}.jpg" for name in names))
        for name in names:
            an_xml(tmp_path / "set" / "Annotations" / f"{name}.xml", name)
        assert load_voc(tmp_path / "set", "train").classes == (VOC_CLASSES if official else names)

    def test_so_are_those_of_voc_s_own_folder(self, tmp_path):
        a_voc(tmp_path / "VOC2012", "a.jpg")
        assert load_voc(tmp_path / "VOC2012", "train").classes == VOC_CLASSES
        an_xml(tmp_path / "VOC2012" / "Annotations" / "a.xml", "unicorn")
        assert load_voc(tmp_path / "VOC2012", "train").classes == ("unicorn",)

    @pytest.mark.parametrize("name", ["__background__", "__BACKGROUND__", "_background_"])
    def test_the_background_is_none(self, tmp_path, name):
        a_voc(tmp_path, "a.jpg", "b.jpg")
        an_xml(tmp_path / "Annotations" / "a.xml", name)
        fault = f"class {name!r}: the background is no class of objects"
        assert faults_of(tmp_path) == [f"Annotations/a.xml: object 1 ({name}): {fault}"]
        with pytest.raises(DataError, match="leave it out of the list"):
            load_voc(tmp_path, "train", classes=[name, "dog"])

    def test_those_that_differ_in_case_only(self, tmp_path):
        a_voc(tmp_path, "a.jpg", "b.jpg", "c.jpg")
        an_xml(tmp_path / "Annotations" / "a.xml", "Dog")
        assert faults_of(tmp_path) == [
            "classes that differ in case only: 'Dog' (1 objects) and 'dog' (2 objects); "
            "if they are several, name --classes"
        ]
        assert load_voc(tmp_path, "train", classes=["Dog", "dog"]).classes == ("Dog", "dog")
        assert faults_of(tmp_path, classes=["dog"]) == [
            "Annotations/a.xml: object 1 (Dog): unknown class 'Dog' (there is 'dog')"
        ]

    def test_an_accent_is_the_same_however_it_is_written(self, tmp_path):
        a_voc(tmp_path, "a.jpg", "b.jpg")
        an_xml(tmp_path / "Annotations" / "a.xml", "caf\u00e9")
        an_xml(tmp_path / "Annotations" / "b.xml", "cafe\u0301")
        assert load_voc(tmp_path, "train").classes == ("caf\u00e9",)
        assert load_voc(tmp_path, "train", classes=["cafe\u0301"]).classes == ("caf\u00e9",)

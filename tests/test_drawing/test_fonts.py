"""Fonts by the characters that they have; the one for Chinese is made here, of squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from frcnn_cli.data.detections import Detections
from frcnn_cli.drawing import fonts as fonts_module
from frcnn_cli.drawing.boxes import draw_detections
from frcnn_cli.drawing.fonts import Fonts, system_fonts
from frcnn_cli.errors import DataError


def make_font(path: Path, characters: str) -> Path:
    """A font in which each character is a square of its size."""
    pen = TTGlyphPen(None)
    for number, point in enumerate(((0, 0), (0, 800), (800, 800), (800, 0))):
        (pen.lineTo if number else pen.moveTo)(point)
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"u{ord(character):04X}" for character in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(character): f"u{ord(character):04X}" for character in characters})
    builder.setupGlyf({name: TTGlyphPen(None).glyph() if name == ".notdef" else square for name in names})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (900, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)
    return path


LATIN = "".join(map(chr, range(32, 127)))


@pytest.fixture
def no_system_fonts(tmp_path, monkeypatch) -> Path:
    """The folder of the only fonts that the system has: none yet."""
    folder = tmp_path / "share" / "fonts"
    monkeypatch.setattr(fonts_module, "system_fonts", lambda: tuple(folder.glob("*.ttf")))
    fonts_module._best.cache_clear()
    yield folder
    fonts_module._best.cache_clear()


def picture(name: str, fonts: Fonts) -> np.ndarray:
    image = np.full((120, 160, 3), 128, np.uint8)
    found = Detections(np.array([[20, 40, 120, 100]]), np.array([0.5]), np.array([1]))
    return draw_detections(image, found, [name], fonts)


def test_plain_names_and_those_of_many_scripts_lack_nothing(no_system_fonts):
    assert Fonts().missing(["cat", "Kätzchen", "кот", "γάτα", "قطة", "חתול", "a\u200db c"]) == ""


def test_what_no_font_has_is_said_once_and_in_order(no_system_fonts):
    assert Fonts().missing(["猫 cat", "犬", "猫犬"]) == "猫犬"


def test_a_system_font_is_found_by_its_characters(no_system_fonts):
    before = picture("猫", Fonts())
    make_font(no_system_fonts / "other.ttf", LATIN + "虎")
    make_font(no_system_fonts / "squares.ttf", LATIN + "猫犬")
    fonts_module._best.cache_clear()
    fonts = Fonts()
    assert fonts.missing(["猫 cat", "犬"]) == ""
    assert fonts.find("猫 0.50", 12).getname()[0] == "Squares"
    assert fonts.find("cat 0.50", 12).getname()[0] != "Squares"
    assert (picture("猫", fonts) != before).any()


def test_a_font_that_is_named_is_used_where_it_has_the_characters(no_system_fonts, tmp_path):
    path = make_font(tmp_path / "mine.ttf", LATIN + "猫")
    fonts = Fonts(path)
    assert fonts.find("cat 0.50", 12).getname()[0] == "Squares"
    assert fonts.find("кот 0.50", 12).getname()[0] != "Squares"
    assert fonts.missing(["猫", "犬"]) == "犬"
    plain, squares = picture("cat", Fonts()), picture("cat", fonts)
    assert (plain != squares).any()


def test_files_that_are_no_fonts(tmp_path):
    (tmp_path / "letter.ttf").write_text("a letter")
    for name, fault in (("gone.ttf", "no such file"), ("letter.ttf", "not a font that can be read"), (".", "folder")):
        with pytest.raises(DataError, match=fault) as caught:
            Fonts(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))


def test_the_system_s_fonts_are_files_of_fonts():
    assert all(path.suffix in fonts_module.SUFFIXES for path in system_fonts())


@pytest.mark.parametrize("name", ["two\nlines", "猫", "\u0e01\u0e34", "x" * 300])
def test_names_that_are_hard_to_draw(no_system_fonts, name):
    """A plate is drawn for each, and within the image: a long name is shortened."""
    plain = picture("", Fonts())
    assert (picture(name, Fonts()) != plain).any()

"""Fonts by the characters that they have: Pillow's for ASCII, matplotlib's DejaVu Sans, then those of the system."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ImageFont

from frcnn_cli.errors import DataError
from frcnn_cli.files import reading

if TYPE_CHECKING:  # matplotlib is imported for texts that need it
    from matplotlib.ft2font import FT2Font

SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")

_UNSEEN = ("Cc", "Cf", "Mn", "Zs", "Zl", "Zp")
"""Categories of characters that may have no glyph: controls, joiners, marks that shape others, blanks."""


class Fonts:
    """Finds a font for a text.

    Args:
        preferred: a font file, which is used for all texts that it has the characters of.

    Raises:
        DataError: there is no such file, or it is no font.
    """

    def __init__(self, preferred: Path | None = None) -> None:
        self._preferred = preferred
        if preferred is not None:
            with reading(preferred):
                known = _opens(preferred)
            if not known:
                raise DataError(f"{preferred}: not a font that can be read")

    def find(self, text: str, size: int) -> ImageFont.FreeTypeFont:
        """The first font that has all characters of a text, or the one that has most of them.

        Args:
            text: in one line.
            size: of capitals with their tails, in pixels.
        """
        path = self.path(text)
        return _default(size) if path is None else _open(path, size)

    def path(self, text: str) -> Path | None:
        """The file of the font for a text in one line; None for Pillow's own."""
        return self._path(frozenset(text))

    def missing(self, texts: Iterable[str]) -> str:
        """The characters of texts that will be drawn as boxes, each once, in their order."""
        found: dict[str, None] = {}
        for text in texts:
            path = self.path(text)
            if path is not None:
                found |= dict.fromkeys(character for character in text if not _has(path, character))
        return "".join(found)

    def _path(self, characters: frozenset[str]) -> Path | None:
        """The file of the font for characters; None for Pillow's own."""
        if self._preferred is None and all(character.isascii() for character in characters):
            return None
        return _best(characters, self._preferred)


@lru_cache(maxsize=1024)
def _best(characters: frozenset[str], preferred: Path | None) -> Path:
    best, most = None, -1
    for path in _candidates(preferred):
        count = sum(_has(path, character) for character in characters)
        if count > most:
            best, most = path, count
        if most == len(characters):
            break
    assert best is not None  # matplotlib's is always there
    return best


def _candidates(preferred: Path | None) -> Iterator[Path]:
    if preferred is not None:
        yield preferred
    yield _dejavu()
    yield from system_fonts()


@lru_cache(maxsize=1)
def _dejavu() -> Path:
    """Of Latin, Greek, Cyrillic, Arabic, Hebrew, Armenian, Georgian and many signs."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@lru_cache(maxsize=1)
def system_fonts() -> tuple[Path, ...]:
    """The fonts that are installed here, upright and regular ones first."""
    home = Path.home() if "HOME" in os.environ or sys.platform == "win32" else Path("/nonexistent")
    folders = {
        "win32": (
            Path(os.environ.get("WINDIR", r"C:\Windows"), "Fonts"),
            home / "AppData/Local/Microsoft/Windows/Fonts",
        ),
        "darwin": (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"),
    }.get(sys.platform, (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), _data_home(home) / "fonts"))
    paths = (path for folder in (*folders, home / ".fonts") for path in folder.rglob("*") if path.suffix in SUFFIXES)
    styles = ("bold", "italic", "oblique", "light", "thin", "black", "mono", "serif-")
    return tuple(sorted(paths, key=lambda path: (sum(style in path.name.lower() for style in styles), str(path))))


def _data_home(home: Path) -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")


def _has(path: Path, character: str) -> bool:
    """Whether a font has a glyph of a character, or need not have one."""
    if unicodedata.category(character) in _UNSEEN:
        return True
    font = _glyphs(path)
    return font is not None and font.get_char_index(ord(character)) > 0


@lru_cache(maxsize=512)
def _glyphs(path: Path) -> FT2Font | None:
    """The font for asking what it has; None where it cannot be drawn with."""
    from matplotlib.ft2font import FT2Font

    try:
        return FT2Font(os.fspath(path)) if _opens(path) else None
    except (OSError, RuntimeError):
        return None


def _opens(path: Path) -> bool:
    """Whether Pillow can draw with a font; of pictures in one size, such as emoji, it cannot in another."""
    try:
        ImageFont.truetype(os.fspath(path), 20)
    except OSError:
        return False
    return True


@lru_cache(maxsize=256)
def _open(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(os.fspath(path), size)


@lru_cache(maxsize=64)
def _default(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # what it gives whenever a size is asked for
    return font


DEFAULT_FONTS = Fonts()

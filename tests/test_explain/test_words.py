"""The files of words: the same keys and the same {names} in every language, and each of them used."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import frcnn_cli.explain
from frcnn_cli.explain.sections import SECTIONS
from frcnn_cli.explain.words import Words, languages, shown

FOLDER = Path(frcnn_cli.explain.__file__).parent
ENGLISH = Words.load("en").tables
KEYS = [(section, key) for section, table in ENGLISH.items() for key in table]
OTHERS = [language for language in languages() if language != "en"]


def names(text: str) -> list[str]:
    return sorted(re.findall(r"{(\w+)}", text))


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == [], text

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append(f"{tag} {attributes}")
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_there_are_english_and_korean():
    assert languages()[:2] == ("en", "ko")
    assert set(ENGLISH) == {"page", *SECTIONS}


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_has_every_key_with_the_same_names_and_markup(language):
    tables = Words.load(language).tables
    assert {section: list(table) for section, table in tables.items()} == {
        section: list(table) for section, table in ENGLISH.items()
    }
    for section, key in KEYS:
        ours, theirs = ENGLISH[section][key], tables[section][key]
        assert set(names(ours)) == set(names(theirs)), (section, key)
        assert sorted(Tags(ours).tags) == sorted(Tags(theirs).tags), (section, key)


def test_korean_is_written_in_korean():
    same = {"smooth L1", "IoU ≥ 0.7", "RoI", "RoI {roi}", "λ", "fc6", "fc7", "1"}
    for section, table in Words.load("ko").tables.items():
        for key, text in table.items():
            assert re.search("[가-힣]", text) or text in same, (section, key)


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_is_used(section, key):
    file = "page" if section == "page" else f"sections/{section}"
    sources = (FOLDER / f"{file}.py").read_text() + (FOLDER / "section.py").read_text()
    made = {"_alt": "{key}_alt"}.get(key[-4:], "{key}")  # names that are put together
    stem = key.rstrip("0123").removesuffix("_alt")
    assert re.search(rf"[\"'](?:{key}\b|{stem}{{)", sources) or (made in sources and f'"{stem}"' in sources)


def test_values_are_put_in_as_text():
    words = Words("en", {"a": {"b": "<b>{name}</b> {count}"}})
    assert words.say("a", "b", name="<i>", count=1234) == "<b>&lt;i&gt;</b> 1,234"
    with pytest.raises(KeyError):
        words.say("a", "b", name="only")


def test_numbers_as_readers_see_them():
    values = [0, 12345, 0.5, -0.25, 3.14159, 98765.4, 0.0004, 12.34]
    minus = "\N{MINUS SIGN}"
    assert [shown(value) for value in values] == [
        "0", "12,345", "0.500", f"{minus}0.250", "3.14", "98,765", "0.0004", "12.3",
    ]  # fmt: skip

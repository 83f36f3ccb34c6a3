"""One self-contained page: the sections' words and figures, the palette, and a script that shows what is chosen."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from string import Template

import cv2

from frcnn_cli.engine.detectors import DETECTORS
from frcnn_cli.explain.figures import photo_scale
from frcnn_cli.explain.palette import DARK, LIGHT, jpeg, variables
from frcnn_cli.explain.section import Section
from frcnn_cli.explain.sections import SECTIONS
from frcnn_cli.explain.subject import Subject
from frcnn_cli.explain.svg import PHOTO
from frcnn_cli.explain.words import Words
from frcnn_cli.progress import Track, silent

FINER = 1.6
"""Pixels of the photograph a unit of a figure, for screens that have more than one."""


def explain(path: Path, weights: Path, language: str = "en", track: Track = silent) -> str:
    """The page of a photograph and a model, as HTML.

    Args:
        path: of the photograph.
        weights: a checkpoint.
        language: one of `words.languages`.
        track: shows progress over the sections.

    Raises:
        DataError: the photograph or the checkpoint cannot be read.
    """
    words = Words.load(language)
    subject = Subject.of(path, weights)
    return page_of(subject, words, track)


def page_of(subject: Subject, words: Words, track: Track = silent) -> str:
    """The page of what was looked at."""
    sections = [_written(name, subject, words) for name in track(SECTIONS, total=len(SECTIONS))]
    links = "".join(f'<li><a href="#{part.name}">{part.title}</a></li>' for part in sections)
    body = "".join(
        f'<section id="{part.name}"><h2>{i + 1}. {part.title}</h2>{"".join(part.blocks)}</section>'
        for i, part in enumerate(sections)
    )
    folder = files("frcnn_cli.explain")
    kind = DETECTORS[subject.checkpoint.kind].title
    width, height = subject.size
    intro = words.say("page", "intro", name=subject.name, width=width, height=height, kind=kind,
                      backbone=getattr(subject.checkpoint.architecture, "backbone", kind))  # fmt: skip
    return Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
        language=words.language,
        title=words.say("page", "title", name=subject.name),
        light=variables(LIGHT),
        dark=variables(DARK),
        style=(folder / "page.css").read_text(encoding="utf-8"),
        script=(folder / "page.js").read_text(encoding="utf-8"),
        photo=_photo(subject),
        heading=words.say("page", "heading"),
        intro=intro,
        found=_found(subject, words),
        legend=words.say("page", "legend"),
        skip=words.say("page", "skip"),
        contents=words.say("page", "contents"),
        links=links,
        body=body,
        foot=words.say("page", "foot"),
    )


def _written(name: str, subject: Subject, words: Words) -> Section:
    section = Section(name, words)
    if SECTIONS[name].applies(subject):
        SECTIONS[name].write(section, subject)
    else:
        kind = DETECTORS[subject.checkpoint.kind].title
        section.add(f'<p class="note">{words.say("page", "not_applicable", kind=kind)}</p>')
    return section


def _found(subject: Subject, words: Words) -> str:
    if not len(subject.found):
        return words.say("page", "nothing_found")
    found = ", ".join(
        f"{name} {score:.2f}" for name, score in zip(subject.found.names, subject.found.scores, strict=True)
    )
    return words.say("page", "found", found=found)


def _photo(subject: Subject) -> str:
    """The photograph, once, for all figures that use it."""
    scale = photo_scale(subject)
    width, height = (side * scale for side in subject.size)
    fine = min(FINER * scale, 1.0)
    size = (max(round(subject.size[0] * fine), 1), max(round(subject.size[1] * fine), 1))
    pixels = cv2.resize(subject.image, size, interpolation=cv2.INTER_AREA) if fine < 1 else subject.image
    return (
        f'<svg width="0" height="0" class="store" aria-hidden="true"><defs><image id="{PHOTO}" href="{jpeg(pixels)}" '
        f'width="{width:g}" height="{height:g}" preserveAspectRatio="none"/></defs></svg>'
    )

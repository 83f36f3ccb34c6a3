"""Whether proposals that were kept are still those of the pictures, and were made as is wanted now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from frcnn_cli.data.items import Item
from frcnn_cli.errors import DataError
from frcnn_cli.files import fingerprint

if TYPE_CHECKING:
    from frcnn_cli.data.proposals import Proposals

EARLIER = {"search_size": 400, "smallest": 16}
"""What files of earlier versions were made with, and do not say."""


def with_sizes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of proposals, with what earlier versions left out."""
    missing = EARLIER.keys() - settings.keys() if "search" in settings else ()
    return {**settings, **{name: EARLIER[name] for name in sorted(missing)}}


def changed_pictures(proposals: Proposals, images: Iterable[Item]) -> list[str]:
    """The ids of images whose files are not those that the proposals were made of, as far as the proposals say."""
    pictures = proposals.meta.get("pictures", {})
    changed = []
    for image in images:
        before = pictures.get(image.id)
        with suppress(DataError):  # a file that cannot be read is another fault
            if before is not None and before != list(fingerprint(image.path)):
                changed.append(image.id)
    return changed


def told_of_changes(proposals: Proposals, images: Iterable[Item]) -> list[str]:
    """A line about the pictures that have changed, or none."""
    changed = changed_pictures(proposals, images)
    if not changed:
        return []
    pictures = "1 picture has" if len(changed) == 1 else f"{len(changed)} pictures have"
    return [f"{proposals.path}: {pictures} changed since the proposals were made, such as {changed[0]}; make them anew"]


def check_made_as(proposals: Proposals, wanted: Mapping[str, Any]) -> None:
    """Refuse proposals that were made otherwise than is asked for, as far as they say how.

    Args:
        proposals: opened.
        wanted: settings by their names in a proposal file, those alone that were asked for.

    Raises:
        DataError: one of them differs.
    """
    made = with_sizes(proposals.meta)
    for name in wanted:
        if name in made and made[name] != wanted[name]:
            option = f"--{name.replace('_', '-')}"
            raise DataError(
                f"{proposals.path}: made with {option} {made[name]}, not {wanted[name]}; "
                "leave the option out, or name another file"
            )

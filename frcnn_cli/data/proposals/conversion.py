"""From one format of proposal files to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from frcnn_cli.data.proposals import Proposals, write_images
from frcnn_cli.data.proposals.npz import ImageProposals
from frcnn_cli.errors import UsageError


def convert_proposals(
    source: Proposals,
    output: Path,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    coco_ids: Mapping[str, int | str] = MappingProxyType({}),
) -> int:
    """Write proposals in the format that the suffix of `output` says.

    Args:
        source: an opened file, whose settings are kept where both formats hold them.
        output: the file to write.
        sizes: {image id: (width, height)} of the images to take over; None for all, where the source has sizes.
        coco_ids: what COCO calls them, for detectron2's format.

    Returns:
        The number of boxes.

    Raises:
        UsageError: there are no sizes, or the suffix is unknown.
        DataError: the source lacks an image or has boxes that do not fit it, or the file cannot be written.
    """
    if sizes is None:
        sizes = source.meta.get("sizes")
    if sizes is None:
        raise UsageError(f"{source.path}: holds no image sizes; name the images, or give a data set")
    count = 0

    def images() -> Iterator[ImageProposals]:
        nonlocal count
        for image_id, (width, height) in sizes.items():
            boxes = source.get(image_id, width, height)
            count += len(boxes)
            picture = source.meta.get("pictures", {}).get(image_id)
            yield ImageProposals(image_id, boxes, width, height, coco_ids.get(image_id), picture)

    of_the_file = ("format", "version", "sizes", "pictures")
    settings = {name: value for name, value in source.meta.items() if name not in of_the_file}
    write_images(output, images(), settings or {"converted_from": source.path.name})
    return count

"""How images are searched where nobody has made proposals before."""

from __future__ import annotations

import numpy as np
import pytest

from frcnn_cli.data.images import load_image
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.sources import SEARCHES
from frcnn_cli.engine.sources.search import DetectionSearch, ProposalConfig, SearchSource
from frcnn_cli.errors import UsageError
from proposals import selective_search


@pytest.fixture(scope="module")
def image(photographs):
    return load_image(photographs / "JPEGImages" / "dog_bicycle.jpg")


def test_detectors_search_smaller_images_for_as_many_proposals_as_they_look_at(image):
    found = SearchSource().boxes(image)
    np.testing.assert_array_equal(found, selective_search(image, "fast", 1000, search_size=320, smallest=13))
    assert len(found) == DetectionConfig.max_proposals


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ProposalConfig(), {"max_proposals": 2000}),
        (DetectionSearch("single", 50), {"mode": "single", "max_proposals": 50, "search_size": 320, "smallest": 13}),
        (DetectionSearch(search_size=200, smallest=30), {"max_proposals": 1000, "search_size": 200, "smallest": 30}),
    ],
)
def test_what_is_asked_for_is_what_is_searched(image, config, expected):
    np.testing.assert_array_equal(SearchSource(config).boxes(image), selective_search(image, **expected))


@pytest.mark.parametrize("config", [ProposalConfig, DetectionSearch])
def test_a_search_with_a_size_of_its_own_is_told_none(config, image, monkeypatch):
    asked = {}

    def toy(image, max_proposals, seed, *, threads=None):
        asked.update(max_proposals=max_proposals, seed=seed)
        return np.array([[0, 0, 5, 5]], np.float32)

    toy.version = 1
    monkeypatch.setitem(SEARCHES, "toy", toy)
    assert SearchSource(config("toy", 7)).boxes(image).tolist() == [[0, 0, 5, 5]]
    assert asked == {"max_proposals": 7, "seed": 0}
    for name in ("search_size", "smallest"):
        with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} 77: not for --mode toy"):
            SearchSource(config("toy", **{name: 77}))

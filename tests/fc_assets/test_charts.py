"""Pictures of counts: well-formed whatever is counted, and small."""

import base64
import re
from xml.etree import ElementTree

from fc_assets import charts

_IMAGE = re.compile(r"!\[([^\[\]]*)\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)")


def _drawn(markdown: str) -> list[str]:
    """The texts of a picture, in order."""
    image = _IMAGE.fullmatch(markdown)
    assert image is not None, markdown
    root = ElementTree.fromstring(base64.b64decode(image[2]))
    return [element.text or "" for element in root.iter() if element.tag.endswith("text")]


def test_values_are_counted_most_frequent_first() -> None:
    assert charts.counted(["a", None, "b", "b", True]) == {"b": 2, "a": 1, "none": 1, "True": 1}


def test_a_picture_shows_every_count_and_says_them_to_who_cannot_see() -> None:
    picture = charts.bars({"cache_and_reuse": 12, "none": 3})
    assert _drawn(picture) == ["cache_and_reuse", "12", "none", "3"]
    assert picture.startswith("![cache_and_reuse 12, none 3](")


def test_bars_are_as_long_as_their_counts() -> None:
    image = _IMAGE.fullmatch(charts.bars({"a": 4, "b": 1, "c": 0}))
    assert image is not None
    widths = re.findall(r'<rect [^>]*width="(\d+)"', base64.b64decode(image[2]).decode())
    assert [4 * int(width) for width in widths[1:]] == [int(widths[0]), 0]


def test_labels_of_others_are_no_markup_and_no_orders() -> None:
    hostile = "<script>&\"']](javascript:x)\x1b[2J\ud800"
    name, count = _drawn(charts.bars({hostile: 1}))
    assert name.startswith("<script>&\"']](javascript:x)")
    assert "\x1b" not in name
    assert count == "1"


def test_a_picture_of_very_much_is_small_and_loses_nothing() -> None:
    drawn = _drawn(picture := charts.bars({f"{n} {'long' * 500}": 10 for n in range(1000)}))
    assert len(picture) < 8_000
    assert len(drawn) == 2 * charts.BARS
    assert sum(map(int, drawn[1::2])) == 10_000
    assert drawn[-2] == "others"

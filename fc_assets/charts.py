"""Counts as small pictures for Dagster's web interface: SVG in a data URI, in Markdown.

What is counted is declared with each table. A picture has a few kB, whatever there is to count.
"""

import base64
import collections
import html
import re
from collections.abc import Iterable, Mapping

from fc_assets import texts

#: Of one picture.
BARS = 24
_LABEL = 38
_ROW, _LEFT, _WIDTH, _RIGHT = 18, 250, 240, 70
_COLOUR = "#4f43dd"
#: What the text of an image cannot have without being taken for more.
_MARKUP = re.compile(r"[^\w. -]")


def counted(values: Iterable[object]) -> dict[str, int]:
    """How often each value comes, most frequent first; what is null is `none`."""
    counts = collections.Counter("none" if value is None else str(value) for value in values)
    return dict(counts.most_common())


def bars(counts: Mapping[str, int]) -> str:
    """A Markdown image of counts in their order, the last of too many together as `others`."""
    shown = list(counts.items())
    if len(shown) > BARS:
        others = sum(count for _, count in shown[BARS - 1 :])
        shown = [*shown[: BARS - 1], ("others", others)]
    most = max((count for _, count in shown), default=0) or 1
    rows = [
        f'<rect y="{_ROW * n + 3}" width="{_WIDTH * count / most:.0f}"/>'
        f'<text x="-6" y="{_ROW * n + 13}" text-anchor="end">{html.escape(_label(name))}</text>'
        f'<text x="{_WIDTH * count / most + 5:.0f}" y="{_ROW * n + 13}">{count}</text>'
        for n, (name, count) in enumerate(shown)
    ]
    width, height = _LEFT + _WIDTH + _RIGHT, _ROW * len(rows) + 2
    # White below, since the interface may be dark and a picture does not know.
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f"<style>rect{{height:13px;fill:{_COLOUR}}}text{{font:12px sans-serif}}</style>"
        f'<path fill="#fff" d="M0 0h{width}v{height}H0z"/>'
        f'<g transform="translate({_LEFT})">{"".join(rows)}</g></svg>'
    )
    said = ", ".join(f"{_MARKUP.sub('', _label(name))} {count}" for name, count in shown)
    return f"![{said}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _label(name: str) -> str:
    text = texts.storable(texts.printable(" ".join(name.split())))
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"

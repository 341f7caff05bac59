"""The dataset card and its pictures, made from what the manifest counts; no data is read."""

import collections
import html
import importlib.resources
import re
from collections.abc import Iterable, Mapping

import jinja2

from fc_assets import texts
from fc_assets.formulacode.files import CARD, SPEEDUPS, Month, Withdrawal, schema
from fc_assets.tables import FORMULACODE

_BAR, _ROW, _LABEL = 300, 20, 230
_FOLDER = "pictures"
_DIFFICULTIES = ("easy", "medium", "hard")
#: Columns by picture, with the order of values that have one, and what is shown.
_PICTURES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "classification": ((), "Kind of optimization"),
    "difficulty": (_DIFFICULTIES, "Difficulty"),
    "speedup": (SPEEDUPS, "Measured gain of the best benchmark, of verified records"),
}


def files(
    name: str, months: Mapping[str, Month], withdrawn: Iterable[Withdrawal], version: str
) -> dict[str, bytes | None]:
    """The card and its pictures by path; of nothing there is no picture."""
    filled = {label: month for label, month in months.items() if month.records}
    counts = {column: _total(filled, column) for column in ("repository", "license", "verdict")}
    pictures = {}
    for column, (order, title) in _PICTURES.items():
        if total := _total(filled, column):
            path = f"{_FOLDER}/{column}.svg"
            pictures[path] = title, _bars(title, _ordered(total, order)).encode()
    template = jinja2.Environment(autoescape=False, keep_trailing_newline=True)
    template.filters["plain"] = plain
    text = (
        importlib.resources.files("fc_assets.formulacode")
        .joinpath("README.md.jinja")
        .read_text("utf-8")
    )
    card = template.from_string(text).render(
        name=name,
        months=filled,
        counts=counts,
        pictures={path: title for path, (title, _) in pictures.items()},
        records=sum(len(month.records) for month in filled.values()),
        withdrawn=sorted(withdrawn, key=lambda w: w.task_id),
        version=version,
        columns=[c for c in FORMULACODE.all_columns if c.name in schema().names],
    )
    return {CARD: card.encode(), **{path: svg for path, (_, svg) in pictures.items()}}


def is_picture(path: str) -> bool:
    return path.startswith(f"{_FOLDER}/")


def plain(text: object) -> str:
    """Text of others as Markdown shows it: one line, neither markup nor HTML."""
    line = " ".join(texts.printable(str(text)).split())
    return re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", html.escape(line, quote=False))


def _total(months: Mapping[str, Month], column: str) -> dict[str, int]:
    total: collections.Counter[str] = collections.Counter()
    for month in months.values():
        total.update(month.counts.get(column, {}))
    return dict(total)


def _ordered(total: Mapping[str, int], order: tuple[str, ...]) -> list[tuple[str, int]]:
    """Values in their order, or the most frequent first."""
    if order:
        return [(value, total[value]) for value in order if value in total]
    return sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))


def _bars(title: str, values: list[tuple[str, int]]) -> str:
    """Horizontal bars, as an SVG in colours for light and dark pages."""
    most, height = max(count for _, count in values), _ROW * len(values)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABEL + _BAR + 60}" height="{height}" '
        'font-family="sans-serif" font-size="12" fill="#808080">',
        f"<title>{html.escape(title)}</title>",
    ]
    for index, (value, count) in enumerate(values):
        top, width = index * _ROW, max(1, round(_BAR * count / most))
        lines += [
            f'<text x="{_LABEL - 8}" y="{top + 14}" text-anchor="end">{_shown(value)}</text>',
            f'<rect x="{_LABEL}" y="{top + 3}" width="{width}" height="{_ROW - 6}" '
            'fill="#4c8eda"/>',
            f'<text x="{_LABEL + width + 6}" y="{top + 14}">{count}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _shown(value: str) -> str:
    line = " ".join(texts.printable(value).split())
    return html.escape(line if len(line) <= 34 else line[:33] + "…")

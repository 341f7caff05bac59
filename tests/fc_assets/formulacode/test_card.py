"""The card: what it counts, that it can be read by machines, and that others' text stays text."""

import datetime
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any

import yaml

from fc_assets.formulacode import card, files
from fc_assets.formulacode.files import Month, Withdrawal
from tests.fc_assets.formulacode import material

_HOSTILE = "|<script>alert(1)</script>](http://x) `*_\n# x\x1b[31m"


def _months(**rows: list[dict[str, Any]]) -> dict[str, Month]:
    """By label, its hyphen written as `_`."""
    return {
        label.removeprefix("m").replace("_", "-"): files.month(
            "formulacode@2026-01", material.WHEN, files.table(found)
        )
        for label, found in rows.items()
    }


def _card(
    months: dict[str, Month], withdrawn: Iterable[Withdrawal] = ()
) -> tuple[str, dict[str, Any], dict[str, bytes | None]]:
    """Text, YAML and all files."""
    made = card.files("o/data", months, withdrawn, "formulacode@2026-02.1")
    text = (made["README.md"] or b"").decode()
    _, front, body = text.split("---\n", 2)
    return body, yaml.safe_load(front), made


def test_configurations_are_all_months_each_month_and_what_is_verified() -> None:
    months = _months(m2026_01=material.rows(1), m2026_02=material.rows(2, 3, verdict=None))
    body, front, made = _card(months)
    assert {c["config_name"]: c["data_files"] for c in front["configs"]} == {
        "default": "data/*.parquet",
        "2026-01": "data/2026-01.parquet",
        "2026-02": "data/2026-02.parquet",
        "verified": "verified/*.parquet",
    }
    assert "| 2026-01 | 1 | 1 | `formulacode@2026-01` | 2026-01-15 |" in body
    assert "| 2026-02 | 2 | 0 |" in body
    assert "Records: 3, of 1 repositories; measured to be faster: 1." in body
    assert 'load_dataset("o/data", "2026-02")' in body
    pictures = {path for path in made if path != "README.md"}
    assert pictures == {
        f"pictures/{name}.svg" for name in ("classification", "difficulty", "speedup")
    }
    assert all(f"]({path})" in body for path in pictures)


def test_what_is_not_there_is_not_offered() -> None:
    _, front, made = _card(_months(m2026_01=material.rows(1, verdict=None), m2026_02=[]))
    assert [c["config_name"] for c in front["configs"]] == ["default", "2026-01"]
    assert "pictures/speedup.svg" not in made
    body, front, made = _card({})
    assert "configs" not in front
    assert list(made) == ["README.md"]
    assert "Records: 0" in body


def test_pictures_show_values_in_their_order() -> None:
    rows = [*material.rows(1, difficulty="hard", best=30.0), *material.rows(2, 3, best=1.3)]
    *_, made = _card(_months(m2026_01=rows))
    texts = {}
    for path, content in made.items():
        if path.endswith(".svg"):
            root = ET.fromstring(content or b"")
            texts[path] = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts["pictures/difficulty.svg"] == ["easy", "2", "hard", "1"]
    assert texts["pictures/speedup.svg"] == ["to 1.5x", "2", "to 100x", "1"]
    assert texts["pictures/classification.svg"] == ["use_better_algorithm", "3"]


def test_what_others_wrote_is_neither_markup_nor_an_order_to_a_terminal() -> None:
    rows = material.rows(1, license=_HOSTILE, classification=_HOSTILE)
    when = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    body, _, made = _card(
        _months(m2026_01=rows), [Withdrawal("O-x__r-9", _HOSTILE, when, "2026-01")]
    )
    assert "<script" not in body
    assert "\x1b" not in body
    shown = [line for line in body.splitlines() if "alert" in line]
    assert len(shown) == 2
    for line in shown:
        plain = line.replace("\\|", "")
        assert plain.count("|") in (3, 4)
        assert "](" not in line
        assert line.startswith("| ")
    ET.fromstring(made["pictures/classification.svg"] or b"")

"""Which Pythons are tried, in which order, and which declaration each is owed to."""

import datetime

import pytest

from fc_assets.packages import python
from fc_assets.packages.metadata import Project

_ALL = ["3.14", "3.13", "3.12", "3.11", "3.10"]
_DAY = datetime.date(2026, 1, 1)


def _classified(*minors: str) -> tuple[str, ...]:
    return tuple(f"Programming Language :: Python :: {minor}" for minor in minors)


@pytest.mark.parametrize(
    ("project", "date", "tried"),
    [
        (Project("."), _DAY, {"date": _ALL}),
        (Project("."), datetime.date(2023, 1, 1), {"date": ["3.11", "3.10"]}),
        (Project("."), datetime.date(2022, 10, 24), {"date": ["3.11", "3.10"]}),
        (Project("."), datetime.date(2022, 10, 23), {"date": ["3.10"]}),
        (Project("."), datetime.date(2018, 1, 1), {}),
        (Project(".", requires_python=">=3.12"), _DAY, {"date": _ALL[:3]}),
        (Project(".", requires_python="<3.12"), _DAY, {"requires-python": ["3.11", "3.10"]}),
        (Project(".", requires_python="==3.12.*"), _DAY, {"requires-python": ["3.12"]}),
        (Project(".", requires_python=">=3.12,!=3.14.1"), _DAY, {"date": _ALL[:3]}),
        (Project(".", requires_python="==3.12.1"), _DAY, {}),
        (Project(".", requires_python=">=99"), _DAY, {}),
        (Project(".", requires_python="nonsense"), _DAY, {"date": _ALL}),
        (
            Project(".", classifiers=_classified("3", "3.11", "3.12", "3 :: Only")),
            _DAY,
            {"classifiers": ["3.12", "3.11"], "date": ["3.14", "3.13", "3.10"]},
        ),
        (
            Project(".", classifiers=_classified("3.11", "3.14"), requires_python="<3.13"),
            _DAY,
            {"classifiers": ["3.11"], "requires-python": ["3.12", "3.10"]},
        ),
        (
            Project(".", classifiers=_classified("3.13"), asv_pythons=("3.10", "3.13")),
            _DAY,
            {"classifiers": ["3.13"], "asv": ["3.10"], "date": ["3.14", "3.12", "3.11"]},
        ),
        (
            Project(".", asv_pythons=("3.10",), requires_python="==3.11.*"),
            _DAY,
            {"requires-python": ["3.11"]},
        ),
    ],
)
def test_the_newest_declared_python_of_that_day_comes_first(
    project: Project, date: datetime.date, tried: dict[str, list[str]]
) -> None:
    expected = [python.Candidate(v, source) for source, some in tried.items() for v in some]
    assert python.candidates(project, date, _ALL) == expected


def test_no_python_is_the_last_one() -> None:
    known = [f"3.{minor}" for minor in range(40, 7, -1)]
    found = python.candidates(Project("."), datetime.date(2100, 1, 1), known)
    assert [candidate.version for candidate in found] == known
    found = python.candidates(Project("."), datetime.date(2029, 12, 1), known)
    assert found[0].version == "3.18"

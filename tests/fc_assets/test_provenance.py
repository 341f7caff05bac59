"""Which code the rows of a month are said to rest on, whatever a run kept of earlier ones."""

import dataclasses
import datetime
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from fc_assets import fingerprint, work
from fc_assets.fingerprint import Fingerprint
from fc_assets.lock_files import Code, Lock, LockFiles
from fc_assets.provenance import Provenance
from fc_assets.tables import PACKAGES, Table
from fc_resources.errors import PermanentError, TransientError
from fc_resources.ledger import Ledger
from fc_resources.living import Worker
from fc_resources.warehouse import Warehouse

JANUARY = datetime.date(2026, 1, 1)
_OLD = Code.of(Fingerprint("1-old", {"fc_assets.packages.asset.packages": "0"}))
_TABLE = dataclasses.replace(PACKAGES, columns=PACKAGES.columns[:3])


@dataclasses.dataclass
class _Home:
    """A home in which a tiny stage runs in place of `packages`."""

    path: Path

    def __post_init__(self) -> None:
        self.ledger = Ledger(f"sqlite:///{self.path / 'ledger.sqlite'}")
        self.warehouse = Warehouse(self.path / "warehouse.duckdb")
        self.locks = LockFiles(self.path)

    def run(
        self,
        items: Iterable[work.Item[str] | work.Unlisted],
        *,
        anew: bool = False,
        do: "Callable[[str], work.Answer] | None" = None,
        writes: bool = True,
        run_id: str = "run",
    ) -> None:
        """As `materialize.run` and the IO manager do."""
        tables: list[Table] = [_TABLE]
        runner = work.Work(self.ledger, self.warehouse, 1.0)
        provenance = Provenance(self.locks, self.ledger, tables, [JANUARY], run_id)
        outcome = runner.run(
            _TABLE,
            [(JANUARY, [*items])],
            do or _answer,
            force=anew,
            worker=Worker(_TABLE.name, run_id),
        )
        outcome = provenance.noted(outcome, {JANUARY} if anew else ())
        if writes:
            self.warehouse.replace(_TABLE.name, outcome.rows[_TABLE.name])

    def lock(self) -> Lock | None:
        """The lock, if it tells of what the ledger knows."""
        lock = self.locks.read(_TABLE.name, JANUARY)
        state = self.ledger.progress().get((_TABLE.name, JANUARY))
        return lock if lock and lock.tells_of(state) else None

    def code(self) -> str | None:
        lock = self.lock()
        return lock and lock.code.version

    def made_by_old_code(self) -> None:
        """What was known so far was made by another version."""
        lock = self.locks.read(_TABLE.name, JANUARY)
        assert lock is not None
        self.locks.write(_TABLE.name, JANUARY, dataclasses.replace(lock, code=_OLD))


def _answer(sha: str) -> work.Answer:
    return work.Answer([{"owner": "o", "repo": "r", "sha": sha}])


def _items(*shas: str) -> list[work.Item[str]]:
    return [work.Item(f"o/r@{sha}", sha, sha) for sha in shas]


@pytest.fixture
def home(tmp_path: Path) -> _Home:
    return _Home(tmp_path)


@pytest.fixture
def today() -> str:
    return fingerprint.of("packages").version


def test_a_month_made_at_once_rests_on_the_code_that_made_it(home: _Home, today: str) -> None:
    home.run(_items("a", "b"))
    lock = home.lock()
    assert lock is not None
    assert (lock.code.version, lock.run) == (today, "run")
    assert lock.code.definitions == fingerprint.of("packages").definitions
    assert lock.output == home.ledger.progress()[_TABLE.name, JANUARY].version


def test_answers_that_were_kept_rest_on_the_code_that_made_them(home: _Home, today: str) -> None:
    home.run(_items("a"))
    home.made_by_old_code()
    home.run(_items("a", "b"), run_id="second")
    assert home.code() == "1-old"
    home.run(_items("c"), run_id="third")  # nothing is left of them
    assert home.code() == today


def test_answers_of_a_run_that_was_not_written_are_kept_with_their_code(
    home: _Home, today: str
) -> None:
    home.run(_items("a"), writes=False)
    assert home.code() == today
    home.run(_items("a", "b"))
    assert home.code() == today


def test_a_month_is_not_said_to_be_of_todays_code_since_a_killed_run_began_it(home: _Home) -> None:
    home.run(_items("a"), writes=False)
    home.made_by_old_code()
    home.run(_items("a", "b"))
    assert home.code() == "1-old"


def test_a_month_made_anew_is_of_todays_code(home: _Home, today: str) -> None:
    home.run(_items("a", "b"))
    home.made_by_old_code()
    home.run(_items("a", "b"), anew=True)
    assert home.code() == today


@pytest.mark.parametrize("error", [TransientError("later"), PermanentError("never")])
def test_what_could_not_be_made_anew_stays_of_the_old_code(home: _Home, error: Exception) -> None:
    home.run(_items("a", "b"))
    home.made_by_old_code()

    def fails_for_b(sha: str) -> work.Answer:
        if sha == "b":
            raise error
        return _answer(sha)

    home.run(_items("a", "b"), anew=True, do=fails_for_b)
    assert home.code() == "1-old"


def test_a_month_without_a_lock_is_of_code_that_nobody_knows(home: _Home) -> None:
    home.run(_items("a"))
    (home.path / "locks" / "packages" / "2026-01.lock").unlink()
    home.run(_items("a", "b"))
    lock = home.lock()
    assert lock is not None
    assert lock.code == Code()


def test_a_lock_is_not_believed_after_a_crash_between_write_and_lock(home: _Home) -> None:
    home.run(_items("a"))
    before = home.locks.read(_TABLE.name, JANUARY)
    assert before is not None
    home.run(_items("a", "b"))
    home.locks.write(_TABLE.name, JANUARY, before)
    assert home.lock() is None


def test_a_lock_that_cannot_be_written_does_not_fail_the_month(
    home: _Home, caplog: pytest.LogCaptureFixture
) -> None:
    (home.path / "locks").mkdir()
    (home.path / "locks" / _TABLE.name).write_text("a file")
    home.run(_items("a"))
    assert home.ledger.progress()[_TABLE.name, JANUARY].state == "written"
    assert "no lock of packages 2026-01-01" in caplog.text

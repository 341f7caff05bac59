"""What rows are made from while a run makes them: which code they rest on, noted in lock files.

A month of which finished items were kept rests on the code of its last lock, however few they are;
one that has no lock that tells of it, on code that nobody knows.
"""

import dataclasses
import datetime
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fc_assets import fingerprint, lock_files, plan
from fc_assets.lock_files import Code, Lock, LockFiles
from fc_assets.tables import STAGES, Table
from fc_assets.work import Outcome
from fc_resources.ledger import Ledger
from fc_resources.warehouse import Rows

_log = logging.getLogger(__name__)
_Key = tuple[str, datetime.date]


class Provenance:
    """Locks of some months of a stage's tables, from the beginning of a run of them."""

    def __init__(
        self,
        locks: LockFiles,
        ledger: Ledger,
        tables: Sequence[Table],
        months: Sequence[datetime.date],
        run_id: str,
    ) -> None:
        self._locks, self._ledger, self._run_id = locks, ledger, run_id
        self._stage = tables[0].stage
        self._code = Code.of(fingerprint.of(STAGES[self._stage].name))
        states = ledger.progress()
        #: Of each month the last result before this run, and the code that these rest on.
        self._before: dict[_Key, tuple[int, Code]] = {}
        for key in [(table.name, month) for table in tables for month in months]:
            count, last = ledger.version(*key)
            lock = locks.read(*key)
            tells = lock is not None and lock.tells_of(states.get(key))
            self._before[key] = last, lock.code if lock and tells else Code()
            if not tells and not count:
                # A run that is killed before it writes leaves results: this tells by which code.
                self._write(key, None, self._code, {})

    def noted(self, outcome: Outcome, anew: Collection[datetime.date]) -> Outcome:
        """The outcome, with rows that bring their locks along; months `anew` were made in full."""
        complete = {m.month for m in outcome.months if not m.failed and not m.unknown}
        rows = {
            name: self._noted(name, rows, complete & {*anew}) for name, rows in outcome.rows.items()
        }
        return dataclasses.replace(outcome, rows=rows)

    def _noted(self, table: str, rows: Rows, fresh: Collection[datetime.date]) -> Rows:
        # Found out before the write: after it another run may have gone on.
        codes = {m: self._code if m in fresh else self._rests_on((table, m)) for m in rows.months}

        def written(version: Any) -> None:
            rows.written(version)
            states = self._ledger.progress()
            for month, code in codes.items():
                state = states[table, month]
                self._write((table, month), state.version, code, state.inputs)

        return dataclasses.replace(rows, written=written)

    def _rests_on(self, key: _Key) -> Code:
        """The code of this run, unless answers from before it are still part of the month."""
        last, before = self._before[key]
        return before if self._ledger.results(*key, last) else self._code

    def _write(self, key: _Key, output: str | None, code: Code, inputs: Mapping[str, str]) -> None:
        tables = {table.name for table in plan.READS[self._stage]}
        lock = Lock(
            output,
            code,
            {name: version for name, version in inputs.items() if name in tables},
            {name: value for name, value in inputs.items() if name not in tables},
            lock_files.tools(self._stage),
            self._run_id,
            datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        try:
            self._locks.write(*key, lock)
        except OSError as error:  # what was made is no worse for it, and its code not known
            _log.warning("no lock of %s %s: %s", *key, error.strerror)

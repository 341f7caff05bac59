"""Tables of the ledger: what is stored, not what it means to anybody (`ledger` says that)."""

from typing import Any

import sqlalchemy as sa

METADATA = sa.MetaData()
_KEY = ("table_name", "month", "item")
#: Numbers that only grow; SQLite counts only in its own integers.
_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _name(length: int) -> sa.String:
    """What is compared: by its bytes, in every database."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


class _Text(sa.TypeDecorator[str]):
    """Text of anybody's; PostgreSQL has no NUL in it."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value.replace("\0", "\ufffd") if value else value


#: What an answer of a model took.
TOOK = ("input_tokens", "cached_tokens", "output_tokens", "dollars", "seconds")
hook_cache = sa.Table(
    "hook_cache",
    METADATA,
    sa.Column("seq", _SEQ, primary_key=True),
    sa.Column("table_name", _name(64), nullable=False),
    sa.Column("month", sa.Date, nullable=False),
    sa.Column("item", _name(512), nullable=False),
    sa.Column("digest", _name(64), nullable=False),
    sa.Column("result", _name(64), nullable=False),
    sa.Column("row_count", sa.Integer, nullable=False),
    sa.Column("payload", sa.LargeBinary),
    sa.Column("unknown", _Text),
    sa.Column("note", _Text),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint(*_KEY),
    # A number must not come back after a deletion: versions are compared by it.
    sqlite_autoincrement=True,
)
failures = sa.Table(
    "runner_failures",
    METADATA,
    sa.Column("table_name", _name(64), primary_key=True),
    sa.Column("month", sa.Date, primary_key=True),
    sa.Column("item", _name(512), primary_key=True),
    sa.Column("kind", _name(16), nullable=False),
    sa.Column("error", _Text, nullable=False),
    sa.Column("traceback", _Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
)
progress = sa.Table(
    "runner_progress",
    METADATA,
    sa.Column("table_name", _name(64), primary_key=True),
    sa.Column("month", sa.Date, primary_key=True),
    sa.Column("state", _name(16), nullable=False),
    sa.Column("run_id", _name(64), nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),
    sa.Column("skipped", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("unknown", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("inputs", _Text, nullable=False),
    sa.Column("version", _name(64)),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
)
pauses = sa.Table(
    "pauses",
    METADATA,
    sa.Column("name", _name(128), primary_key=True),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("reason", _Text, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
)
#: Months of which a limit left something to do, and when it is over.
put_off = sa.Table(
    "put_off",
    METADATA,
    sa.Column("table_name", _name(64), primary_key=True),
    sa.Column("month", sa.Date, primary_key=True),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("reason", _Text, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("retries", sa.Integer, nullable=False),
)
#: Items to try with the scripts (`recipe`) that worked for the item `cause`; each only once.
neighbors = sa.Table(
    "neighbors",
    METADATA,
    sa.Column("month", sa.Date, primary_key=True),
    sa.Column("item", _name(512), primary_key=True),
    sa.Column("recipe", _name(64), primary_key=True),
    sa.Column("cause", _name(512), nullable=False),
    sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("settled_at", sa.DateTime(timezone=True)),
)
http_cache = sa.Table(
    "http_cache",
    METADATA,
    sa.Column("key", _name(64), primary_key=True),
    sa.Column("etag", _Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("stored_at", sa.Float, nullable=False),
)
#: What language models were asked and what it cost: a row an answer, dollars null if no price is
#: known. `stage` and `item` say for what; `month` is the item's, known once it is recorded.
usage = sa.Table(
    "usage",
    METADATA,
    sa.Column("seq", _SEQ, primary_key=True),
    sa.Column("stage", _name(64), nullable=False),
    sa.Column("item", _name(512), nullable=False),
    sa.Column("model", _name(256), nullable=False),
    sa.Column("input_tokens", sa.Integer, nullable=False),
    sa.Column("cached_tokens", sa.Integer, nullable=False),
    sa.Column("output_tokens", sa.Integer, nullable=False),
    sa.Column("dollars", sa.Float),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("month", sa.Date),
    sa.Index("usage_item", "stage", "item"),
    # Sums by stage and month are read from it alone: of 460,000 answers 0.1 s, else 2 s.
    sa.Index("usage_month", "stage", "month", *TOOK),
)
#: What models answered, so that the same question is not paid for twice.
answers = sa.Table(
    "answers",
    METADATA,
    sa.Column("key", _name(64), primary_key=True),
    sa.Column("answer", _Text, nullable=False),
    sa.Column("stored_at", sa.Float, nullable=False),
)
#: Runs that are at work on a table, known to be alive until then.
workers = sa.Table(
    "workers",
    METADATA,
    sa.Column("worker", _name(512), primary_key=True),
    sa.Column("table_name", _name(64), nullable=False),
    sa.Column("run_id", _name(64), nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)
#: Items that a worker is about to finish, and nobody else begins while it is alive.
claims = sa.Table(
    "claims",
    METADATA,
    sa.Column("table_name", _name(64), primary_key=True),
    sa.Column("month", sa.Date, primary_key=True),
    sa.Column("item", _name(512), primary_key=True),
    sa.Column("worker", _name(512), nullable=False, index=True),
)
file_format = sa.Table("format", METADATA, sa.Column("version", sa.Integer, primary_key=True))

"""Tables of the ledger: what is stored, not what it means to anybody (`ledger` says that)."""

import sqlalchemy as sa

METADATA = sa.MetaData()
_KEY = ("table_name", "month", "item")

hook_cache = sa.Table(
    "hook_cache",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("table_name", sa.String(64), nullable=False),
    sa.Column("month", sa.Date, nullable=False),
    sa.Column("item", sa.String(512), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("result", sa.String(64), nullable=False),
    sa.Column("row_count", sa.Integer, nullable=False),
    sa.Column("payload", sa.LargeBinary),
    sa.Column("unknown", sa.Text),
    sa.Column("note", sa.Text),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint(*_KEY),
    # A number must not come back after a deletion: versions are compared by it.
    sqlite_autoincrement=True,
)
failures = sa.Table(
    "runner_failures",
    METADATA,
    sa.Column("table_name", sa.String(64), primary_key=True),
    sa.Column("month", sa.Date, primary_key=True),
    sa.Column("item", sa.String(512), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("traceback", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
)
progress = sa.Table(
    "runner_progress",
    METADATA,
    sa.Column("table_name", sa.String(64), primary_key=True),
    sa.Column("month", sa.Date, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),
    sa.Column("skipped", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("unknown", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("version", sa.String(64)),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
)
pauses = sa.Table(
    "pauses",
    METADATA,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
)
#: Months of which a limit left something to do, and when it is over.
put_off = sa.Table(
    "put_off",
    METADATA,
    sa.Column("table_name", sa.String(64), primary_key=True),
    sa.Column("month", sa.Date, primary_key=True),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("retries", sa.Integer, nullable=False),
)
#: Items to try with the scripts (`recipe`) that worked for the item `cause`; each only once.
neighbors = sa.Table(
    "neighbors",
    METADATA,
    sa.Column("month", sa.Date, primary_key=True),
    sa.Column("item", sa.String(512), primary_key=True),
    sa.Column("recipe", sa.String(64), primary_key=True),
    sa.Column("cause", sa.String(512), nullable=False),
    sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("settled_at", sa.DateTime(timezone=True)),
)
http_cache = sa.Table(
    "http_cache",
    METADATA,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("etag", sa.String(256), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("stored_at", sa.Float, nullable=False),
)
#: What language models were asked and what it cost: a row an answer, dollars null if no price is
#: known. `stage` and `item` say for what.
usage = sa.Table(
    "usage",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("stage", sa.String(64), nullable=False),
    sa.Column("item", sa.String(512), nullable=False),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("input_tokens", sa.Integer, nullable=False),
    sa.Column("cached_tokens", sa.Integer, nullable=False),
    sa.Column("output_tokens", sa.Integer, nullable=False),
    sa.Column("dollars", sa.Float),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
)
#: What models answered, so that the same question is not paid for twice.
answers = sa.Table(
    "answers",
    METADATA,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("stored_at", sa.Float, nullable=False),
)
file_format = sa.Table("format", METADATA, sa.Column("version", sa.Integer, primary_key=True))

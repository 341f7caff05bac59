"""The `formulacode` asset: images to a registry if there is one, then a version of the dataset."""

import contextlib
import dataclasses
import datetime
import functools
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from fc_assets import fingerprint, materialize, months, texts, work
from fc_assets.candidate_containers import toolbox
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.formulacode import files, publication, records, standing, tasks
from fc_assets.formulacode.files import Month
from fc_assets.formulacode.images import Images
from fc_assets.formulacode.records import Rules, Task
from fc_assets.options import Options
from fc_assets.tables import FORMULACODE
from fc_resources.dataset import Dataset
from fc_resources.docker import Docker
from fc_resources.errors import TransientError, one_line
from fc_resources.git import Mirrors
from fc_resources.ledger import Ledger
from fc_resources.registry import Registry
from fc_resources.settings import Settings
from fc_resources.uv import Uv
from fc_resources.warehouse import Rows

_log = logging.getLogger(__name__)

#: Every month is published on its third day or so; the others make no such promise.
_MONTHLY = dg.FreshnessPolicy.time_window(
    fail_window=datetime.timedelta(days=40), warn_window=datetime.timedelta(days=35)
)


@dg.asset(
    partitions_def=materialize.MONTHS,
    pool="docker",
    freshness_policy=_MONTHLY,
    code_version=fingerprint.of("formulacode").version,
    backfill_policy=dg.BackfillPolicy.multi_run(1),
    ins={
        table.name: dg.AssetIn(metadata={"columns": list(columns)})
        for table, columns in tasks.COLUMNS.items()
    },
    group_name="publication",
    owners=[materialize.OWNER],
    kinds={"python", "parquet"},
    description=FORMULACODE.doc,
    metadata=materialize.metadata(FORMULACODE),
)
def formulacode(
    context: dg.AssetExecutionContext,
    candidate_prs: pa.RecordBatchReader,
    pull_requests: pa.RecordBatchReader,
    pr_classifications: pa.RecordBatchReader,
    candidate_containers: pa.RecordBatchReader,
    packages: pa.RecordBatchReader,
    repositories: pa.RecordBatchReader,
    runner: dg.ResourceParam[work.Work],
    settings: dg.ResourceParam[Settings],
    mirrors: dg.ResourceParam[Mirrors],
    docker: dg.ResourceParam[Docker],
    uv: dg.ResourceParam[Uv],
    dataset: dg.ResourceParam[Dataset],
    options: dg.ResourceParam[Options],
) -> Rows:
    wanted = materialize.wanted(context)
    inputs = {
        "candidate_prs": candidate_prs,
        "pull_requests": pull_requests,
        "pr_classifications": pr_classifications,
        "candidate_containers": candidate_containers,
        "packages": packages,
        "repositories": repositories,
    }
    tables = {name: months.split(reader, wanted) for name, reader in inputs.items()}
    state = publication.look(dataset)
    decided, kept = [], {}
    for month, candidates, refused in tasks.of_months(tables):
        rules = state.rules(settings, months.label(month))
        found = records.decide(candidates, rules)
        for task, fate in standing.fates(found, refused, rules).items():
            for log in (context.log, _log):  # of the run, and of the terminal
                log.warning("%s: %s", months.label(month), texts.printable(f"{task} {fate}"))
        kept |= standing.rows(dataset, state, month, found)
        decided.append((month, rules, found, standing.due(found, refused, rules)))
    every = [task for _, _, found, _ in decided for task in found if task.reason is None]
    git = mirrors.with_local(options.git(settings))
    images = images_of(every, settings, git, docker, uv, again=options.force)
    outcome = materialize.run(
        context,
        runner,
        options,
        FORMULACODE,
        [(month, items(found, rules)) for month, rules, found, _ in decided],
        functools.partial(publish, images=images, kept=kept),
        settings=settings,
        concurrency=2,  # a container each
    )
    published = []
    for month, _, _, expected in decided:
        rows = runner.rows(FORMULACODE, month)
        with putting_off(runner.ledger, month):
            version = release(dataset, month, rows, expected, images)
        if version is not None:
            published.append(version)
            context.log.info(f"{months.label(month)} is {version.version} of {dataset.name}")
    context.add_asset_metadata(
        {"dataset": dataset.name, "versions": [version.version for version in published]},
        asset_key=FORMULACODE.name,
    )
    return marked(outcome.rows[FORMULACODE.name], published)


def images_of(
    found: Sequence[Task],
    settings: Settings,
    mirrors: Mirrors,
    docker: Docker,
    uv: Uv,
    *,
    again: bool,
) -> Images | None:
    """What publishes the images of these tasks, if there is a registry."""
    registry = Registry.of(settings)
    if registry is None:
        return None
    candidates = [Candidate.of(t.candidate, t.environment) for t in found if t.environment]
    make = functools.partial(toolbox.tools, settings, mirrors, docker, uv, candidates)
    return Images(registry, docker, functools.cache(make), again)


@contextlib.contextmanager
def putting_off(ledger: Ledger, month: datetime.date) -> Iterator[None]:
    """Have a month wait for the end of a limit that keeps it from being published."""
    try:
        yield
    except TransientError as error:
        if error.until is not None:
            limit = error.until, one_line(error, 1000)
            ledger.put_off(FORMULACODE.name, month, limit, progressed=False, done=False)
        raise


def release(
    dataset: Dataset,
    month: datetime.date,
    rows: Iterable[Mapping[str, Any]],
    due: Collection[str],
    images: Images | None,
) -> Month | None:
    """Publish the records of a month whose images the registry has; its version.

    Of those that are `due` none may go. A new one without an image waits.
    """
    kept = list(rows)
    if images is not None:
        # One that was kept from before there was a registry has no digest.
        kept = [row for row in kept if row["image_digest"] and images.has(row)]
    return publication.publish(dataset, months.label(month), files.table(kept), due)


def items(found: Sequence[Task], rules: Rules) -> list[work.Item[tuple[Task, Rules]]]:
    """Every task of a month, with and without an obstacle.

    Whether the registry has the images, and the dataset what stays, is seen at every run.
    """
    return [
        work.Item(
            work.key_of(task.candidate),
            (task, rules),
            records.digest(task, rules),
            again=task.stays or (task.reason is None and rules.registry is not None),
            sure=task.reason is not None,
        )
        for task in found
    ]


def publish(
    item: tuple[Task, Rules], images: Images | None, kept: Mapping[str, Mapping[str, Any]]
) -> work.Answer:
    """The record of a task, its image pushed and verified first; none where something stands
    against it. What stays as it was published is in `kept`.

    Raises `TransientError` when the registry cannot be asked: the record waits for it.
    """
    task, rules = item
    if task.stays:
        return work.Answer([kept[task.task_id]])
    if task.reason is not None:
        return work.Answer([], note=task.reason)
    digest = images.publish(task) if images is not None else None
    return work.Answer([records.record(task, rules, digest)])


def marked(rows: Rows, published: Sequence[Month]) -> Rows:
    """The rows with the time at which the dataset's version with them was made."""
    when = {task: month.published_at for month in published for task in month.records}

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in rows.batches():
            told: list[dict[str, Any]] = batch.to_pylist()
            yield FORMULACODE.batch(
                [{**row, "published_at": when.get(row["task_id"])} for row in told]
            )

    return dataclasses.replace(rows, batches=batches)

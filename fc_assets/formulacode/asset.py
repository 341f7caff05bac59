"""The `formulacode` asset: images to a registry if one is configured, records to the dataset."""

import datetime
import functools
import importlib.resources
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import jinja2
import pyarrow as pa
import pyarrow.compute as pc

from fc_assets import materialize, months, work
from fc_assets.formulacode.records import Task, publish
from fc_assets.options import Options
from fc_assets.tables import (
    CANDIDATE_CONTAINERS,
    CANDIDATE_PRS,
    FORMULACODE,
    PACKAGES,
    PR_CLASSIFICATIONS,
    PULL_REQUESTS,
    REPOSITORIES,
)
from fc_resources.dataset_folder import DatasetFolder
from fc_resources.docker import Docker
from fc_resources.settings import Settings
from fc_resources.warehouse import Rows

_PR = ["partition_month", "owner", "repo", "issue_number"]
#: What of each table a record is made of.
_COLUMNS = {
    CANDIDATE_PRS: [
        *_PR,
        *("merged_at", "merge_commit_sha", "statement", "leak_suspected", "reason", "extractor"),
    ],
    PULL_REQUESTS: [*_PR, "patch", "diff_source"],
    PR_CLASSIFICATIONS: [*_PR, "category", "difficulty", "classifier", "is_performance"],
    CANDIDATE_CONTAINERS: [
        *_PR,
        *("sha", "base_sha", "python_version", "origin", "sandbox", "image"),
    ],
    PACKAGES: ["partition_month", "owner", "repo", "sha", "pins"],
    REPOSITORIES: ["partition_month", "owner", "repo", "license"],
}
Monthly = Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]]


@dg.asset(
    partitions_def=materialize.MONTHS,
    backfill_policy=dg.BackfillPolicy.multi_run(1),
    ins={
        table.name: dg.AssetIn(metadata={"columns": columns}) for table, columns in _COLUMNS.items()
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
    docker: dg.ResourceParam[Docker],
    dataset: dg.ResourceParam[DatasetFolder],
    options: dg.ResourceParam[Options],
) -> Rows:
    wanted = materialize.wanted(context)
    outcome = materialize.run(
        context,
        runner,
        options,
        FORMULACODE,
        items(
            months.split(candidate_prs, wanted),
            months.split(pull_requests, wanted),
            months.split(pr_classifications, wanted),
            months.split(candidate_containers, wanted),
            months.split(packages, wanted),
            months.split(repositories, wanted),
            settings.fc_registry,
        ),
        functools.partial(publish, docker=docker, registry=settings.fc_registry),
        settings=settings,
    )
    rows = outcome.rows[FORMULACODE.name]
    paths = export(rows, dataset)
    context.add_asset_metadata({"files": [str(path) for path in paths]}, asset_key=FORMULACODE.name)
    return rows


def items(
    candidates: Monthly,
    pull_requests: Monthly,
    classifications: Monthly,
    containers: Monthly,
    environments: Monthly,
    repositories: Monthly,
    registry: str | None,
) -> Iterator[tuple[datetime.date, list[work.Item[Task]]]]:
    """Every performance pull request of the month with all that is known about it."""
    for parts in zip(
        candidates,
        pull_requests,
        classifications,
        containers,
        environments,
        repositories,
        strict=True,
    ):
        month = parts[0][0]
        rows, *others = (
            {work.key_of({"issue_number": None, "sha": None, **row}): row for row in part}
            for _, part in parts
        )
        pulls, verdicts, built, environment, tracked = others
        found = []
        for key, row in rows.items():
            name = f"{row['owner']}/{row['repo']}"
            task = Task(
                row,
                pulls[key],
                verdicts[key],
                built.get(key),
                environment.get(f"{name}@{row['merge_commit_sha']}"),
                tracked[name],
            )
            found.append(work.Item(key, task, work.digest(vars(task), registry)))
        yield month, found


def export(rows: Rows, dataset: DatasetFolder) -> list[Any]:
    """Write the months' records, sorted, and a README for the whole folder."""
    table = pa.Table.from_batches(list(rows.batches()), FORMULACODE.schema)
    table = table.sort_by([(name, "ascending") for name in FORMULACODE.key])
    paths = []
    for month in rows.months:
        of_month = pc.field("partition_month") == pa.scalar(month)
        paths.append(dataset.write(months.label(month), table.filter(of_month)))
    card = (
        importlib.resources.files("fc_assets.formulacode")
        .joinpath("README.md.jinja")
        .read_text("utf-8")
    )
    template = jinja2.Environment(autoescape=False).from_string(card)
    counts = dataset.counts()
    dataset.describe(template.render(counts=counts, columns=FORMULACODE.all_columns) + "\n")
    return [path for path in paths if path is not None]

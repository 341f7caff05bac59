"""Every table, declared once: columns, types, documentation, keys and what a row refers to.

Arrow schema, Dagster column schema, blocking checks, the data dictionary and the dataset card all
come from here. How rows are computed is in the folder of each stage.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from fc_resources.errors import PermanentError

_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = pa.list_(pa.string())
_PR = ("owner", "repo", "issue_number")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column; `required` values are never null, `bulky` ones stay out of previews."""

    name: str
    type: pa.DataType
    doc: str
    required: bool = False
    bulky: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A table: `key` is unique within it, `refers` maps own columns to those of `upstream`.

    `made_of` maps other own columns, separated by blanks, to the `table.column` they are computed
    from, `table.*` for the same name; what comes from outside is not in it. `chart` is the column
    whose values are counted in a picture.
    """

    name: str
    stage: int
    doc: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    upstream: "Table | None" = None
    refers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    made_of: Mapping[str, str] = dataclasses.field(default_factory=dict)
    chart: str | None = None

    @functools.cached_property
    def all_columns(self) -> tuple[Column, ...]:
        month = Column("partition_month", pa.date32(), "First day of the month, UTC.", True)
        return (month, *self.columns)

    @functools.cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(c.name, c.type) for c in self.all_columns])

    @functools.cached_property
    def lineage(self) -> dict[str, list[tuple[str, str]]]:
        """Own columns, and the table and column of each that they come from."""
        found: dict[str, list[tuple[str, str]]] = {}
        if self.upstream is not None:
            same = {"partition_month": "partition_month", **self.refers}
            found = {mine: [(self.upstream.name, theirs)] for mine, theirs in same.items()}
        for names, sources in self.made_of.items():
            for name in names.split():
                pairs = (source.split(".") for source in sources.split())
                found[name] = [
                    (table, name if theirs == "*" else theirs) for table, theirs in pairs
                ]
        return found

    @property
    def preview(self) -> list[str]:
        return [c.name for c in self.columns if not c.bulky]

    def is_required(self, column: Column) -> bool:
        return column.required or column.name in self.key

    def batch(self, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        """Rows as Arrow; `PermanentError` for undeclared columns, wrong types, lacking values."""
        names = set(self.schema.names)
        for row in rows:
            unknown = row.keys() - names
            if unknown:
                raise PermanentError(f"{self.name} has no column {', '.join(sorted(unknown))}")
            for column in self.all_columns:
                if self.is_required(column) and row.get(column.name) is None:
                    raise PermanentError(f"{self.name}.{column.name} has no value")
        try:
            return pa.RecordBatch.from_pylist(list(rows), self.schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise PermanentError(f"{self.name}: {error}") from error


def _pr_columns() -> tuple[Column, ...]:
    return (
        Column("owner", pa.string(), "Owner of the repository on GitHub, such as numpy."),
        Column("repo", pa.string(), "Name of the repository."),
        Column("issue_number", pa.int64(), "Number of the pull request."),
    )


REPOSITORIES = Table(
    "repositories",
    1,
    "A tracked repository as it was that month.",
    ("owner", "repo"),
    (
        *_pr_columns()[:2],
        Column(
            "origin",
            pa.string(),
            "Who named it: the `offline` source, code `search`, or an earlier month (`known`).",
            True,
        ),
        Column("aliases", _TEXTS, "Other names, owner/name, it was asked for under.", True),
        Column("description", pa.string(), "One-line description; null when not known."),
        Column("primary_language", pa.string(), "As GitHub sees it; null when not known."),
        Column("stars", pa.int64(), "Stargazers when it was looked up; null when not known."),
        Column("topics", _TEXTS, "Topics on GitHub; null when not known."),
        Column("license", pa.string(), "SPDX identifier; null when not known."),
        Column("default_branch", pa.string(), "Default branch; null when not known."),
        Column("created_at", _TIME, "Creation of the repository; null when not known."),
        Column("archived", pa.bool_(), "Whether it is archived; null when not known."),
        Column(
            "asv_configs",
            _TEXTS,
            "Paths of ASV's configurations on the default branch; null when not looked for.",
        ),
    ),
)

_CHANGE = pa.struct([("path", pa.string()), ("additions", pa.int64()), ("deletions", pa.int64())])

_EVENT = pa.struct(
    [
        ("kind", pa.string()),  # comment, review or reference
        ("author", pa.string()),
        ("created_at", _TIME),
        ("body", pa.string()),
        ("reference", pa.string()),  # owner/name#number of what refers to it
        ("is_pull_request", pa.bool_()),
    ]
)

PULL_REQUESTS = Table(
    "pull_requests",
    2,
    "A merged pull request, in the month of its merge.",
    _PR,
    (
        *_pr_columns(),
        Column("title", pa.string(), "Title as written.", True),
        Column("body", pa.string(), "Description as written, possibly empty.", True, bulky=True),
        Column("labels", _TEXTS, "Names of its labels.", True),
        Column("author", pa.string(), "Login of its author; null if gone or not known."),
        Column("created_at", _TIME, "When it was opened; null when not known."),
        Column("merged_at", _TIME, "When it was merged; decides the month.", True),
        Column(
            "merge_commit_sha",
            pa.string(),
            "The commit that brought it in; null when GitHub does not name one.",
        ),
        Column("base_sha", pa.string(), "First parent of the merge commit; null when not known."),
        Column("head_sha", pa.string(), "Head of the pull request; null when not known."),
        Column(
            "patch",
            pa.string(),
            "Diff from base to merge commit; null: see diff_source.",
            bulky=True,
        ),
        Column(
            "diff_source",
            pa.string(),
            "`git`, `source` or `api`; without a diff `too_large`, `gone` or `unreachable`.",
            True,
        ),
        Column(
            "files",
            pa.list_(_CHANGE),
            "Changed files; line counts null if binary.",
            True,
            bulky=True,
        ),
        Column("additions", pa.int64(), "Lines added over all text files.", True),
        Column("deletions", pa.int64(), "Lines removed over all text files.", True),
        Column("passes_prefilter", pa.bool_(), "Whether it is worth judging.", True),
        Column("prefilter_reason", pa.string(), "Why it passes or not.", True),
        Column(
            "events",
            pa.list_(_EVENT),
            "Its first 250 comments, reviews and references; null when not known.",
            bulky=True,
        ),
        Column("event_count", pa.int64(), "How many there are; null when not known."),
        Column("origin", pa.string(), "Where the row came from: `offline` or `github`.", True),
    ),
    REPOSITORIES,
    {"owner": "owner", "repo": "repo"},
)

PR_CLASSIFICATIONS = Table(
    "pr_classifications",
    3,
    "The verdict on one pull request that passed the pre-filter.",
    _PR,
    (
        *_pr_columns(),
        Column("merged_at", _TIME, "When it was merged.", True),
        Column("merge_commit_sha", pa.string(), "The commit that brought it in.", True),
        Column("is_performance", pa.bool_(), "Whether its purpose is better performance.", True),
        Column("category", pa.string(), "Kind of optimization; null unless performance."),
        Column("difficulty", pa.string(), "`easy`, `medium`, `hard`; null unless performance."),
        Column("confidence", pa.float64(), "From 0 to 1, as the classifier states it.", True),
        Column("reasoning", pa.string(), "What the verdict rests on.", True),
        Column("category_reasoning", pa.string(), "What the category rests on, if a model judged."),
        Column(
            "classifier", pa.string(), "Who judged, with version: `rules/1`, or the model.", True
        ),
    ),
    PULL_REQUESTS,
    {name: name for name in _PR},
    {
        "merged_at merge_commit_sha": "pull_requests.*",
        "is_performance category difficulty confidence reasoning category_reasoning": (
            "pull_requests.title pull_requests.body pull_requests.labels pull_requests.files "
            "pull_requests.patch"
        ),
    },
    chart="category",
)

PACKAGES = Table(
    "packages",
    4,
    "The pinned environment of one performance pull request's merge commit.",
    ("owner", "repo", "sha"),
    (
        *_pr_columns()[:2],
        Column("sha", pa.string(), "The merge commit."),
        Column("base_sha", pa.string(), "Its first parent, which a container checks out.", True),
        Column("project_name", pa.string(), "Name of the distribution; null when not declared."),
        Column("project_root", pa.string(), "Folder of the packaging metadata, `.` for the top."),
        Column("asv_config", pa.string(), "Path of the ASV configuration; null without one."),
        Column("python_version", pa.string(), "Minor version it is built with, such as 3.12."),
        Column(
            "interpreter_source",
            pa.string(),
            "What named that version: requires-python, classifiers, asv or date (the newest then).",
        ),
        Column("requirements", _TEXTS, "What was declared for building and running.", True),
        Column("dropped", _TEXTS, "Declared but not used, each with the reason.", True),
        Column("system_packages", _TEXTS, "Libraries outside the Python index, as declared.", True),
        Column("pins", _TEXTS, "`name==version` lines; null when they could not be found."),
        Column("cutoff", _TIME, "Releases after it were not considered; null for no cutoff."),
        Column("exempt", _TEXTS, "Packages of the harness the cutoff did not hold for.", True),
        Column(
            "can_install",
            pa.bool_(),
            "Whether wheels of the pins install for that Python on Linux x86-64; null if unknown.",
        ),
        Column("reason", pa.string(), "Why there are no pins or they do not install."),
        Column(
            "unsatisfiable",
            pa.string(),
            "`cutoff` if there are pins only without one or with `exempt`, `always` if never.",
        ),
        Column("attempts", _TEXTS, "Builds, Pythons and cutoffs as tried, and outcomes.", True),
        Column(
            "built_with",
            pa.string(),
            "Minor version a build told the dependencies with; null if files told them.",
        ),
        Column("notes", _TEXTS, "Yanked pins, and newer releases without a fitting wheel.", True),
        Column(
            "inputs",
            pa.string(),
            "SHA-256 of repository, requirements, Pythons and day; resolved once a run if equal.",
        ),
        Column("resolver", pa.string(), "Version of the rules.", True),
        Column("uv_version", pa.string(), "Version of uv.", True),
        Column("resolved_at", _TIME, "When it was resolved.", True),
        Column("log", pa.string(), "What uv and builds said.", True, bulky=True),
    ),
    PR_CLASSIFICATIONS,
    {"owner": "owner", "repo": "repo", "sha": "merge_commit_sha"},
    # Of a commit, all else is told by its files.
    {
        "base_sha project_name project_root asv_config python_version interpreter_source "
        "requirements dropped system_packages pins cutoff exempt can_install reason "
        "unsatisfiable": "pr_classifications.merge_commit_sha"
    },
    chart="python_version",
)

_COMMENT = pa.struct([("author", pa.string()), ("created_at", _TIME), ("body", pa.string())])
_ISSUE = pa.struct(
    [
        ("repository", pa.string()),  # owner/name
        ("number", pa.int64()),
        ("depth", pa.int64()),  # 1 if the pull request names it, 2 if such an issue does
        ("title", pa.string()),
        ("body", pa.string()),
        ("author", pa.string()),  # user_1, the same in all texts of the row
        ("created_at", _TIME),
        ("comments", pa.list_(_COMMENT)),
    ]
)
_LEAK = pa.struct([("kind", pa.string()), ("what", pa.string())])
_CUT = pa.struct([*_LEAK, ("text", pa.string())])

_PROBLEM = "pull_requests.title pull_requests.body pull_requests.merged_at"
_SOLUTION = "pull_requests.patch pull_requests.events"

CANDIDATE_PRS = Table(
    "candidate_prs",
    5,
    "The deconstructed problem statement of one performance pull request.",
    _PR,
    (
        *_pr_columns(),
        Column("merged_at", _TIME, "When it was merged.", True),
        Column("merge_commit_sha", pa.string(), "The commit that brought it in.", True),
        Column(
            "linked_issues",
            pa.list_(pa.int64()),
            "Numbers of the issues that were used; see `issues` for their repositories.",
            True,
        ),
        Column(
            "issues",
            pa.list_(_ISSUE),
            "Linked issues as they were before the merge, without names of people.",
            bulky=True,
        ),
        Column("left_out", _TEXTS, "What of linked issues was not used, and why.", bulky=True),
        Column(
            "initial_observations",
            pa.string(),
            "What was observed, as extracted; null if nothing.",
            bulky=True,
        ),
        Column(
            "triage",
            pa.string(),
            "What looking for the cause brought, as extracted; null if nothing.",
            bulky=True,
        ),
        Column(
            "solution_overview",
            pa.string(),
            "How it was solved, as extracted; never shown to a solver.",
            bulky=True,
        ),
        Column(
            "solution_observations",
            pa.string(),
            "What the solution brought, as extracted; never shown to a solver.",
            bulky=True,
        ),
        Column(
            "observations",
            pa.string(),
            "The problem side as shown, without what leaked; null if none.",
            bulky=True,
        ),
        Column(
            "solution",
            pa.string(),
            "All that tells the solution and that the problem was compared to; never shown.",
            bulky=True,
        ),
        Column(
            "statement",
            pa.string(),
            "The rendered problem; null when nothing was found.",
            bulky=True,
        ),
        Column(
            "leak_suspected", pa.bool_(), "Whether the statement seems to tell the solution.", True
        ),
        Column(
            "leaks",
            pa.list_(_LEAK),
            "Evidence of that: `identifier`, `sentence`, `figure` or `link`, and which.",
            bulky=True,
        ),
        Column("cut", pa.list_(_CUT), "Parts left out of the problem, and why.", bulky=True),
        Column("reason", pa.string(), "Why there is no statement, or what seems to leak."),
        Column("extractor", pa.string(), "Who extracted, with version: `rules/2`.", True),
        Column(
            "rendering",
            pa.string(),
            "Versions of the search for issues, the leak check and the template.",
        ),
        Column(
            "unknown",
            pa.string(),
            "What could not be found out about linked issues; tried again by the next run.",
        ),
        Column("asked", pa.string(), "SHA-256 of what decided which issues were asked for."),
        Column("inputs", pa.string(), "SHA-256 of what was extracted from, and by whom."),
    ),
    PR_CLASSIFICATIONS,
    {name: name for name in _PR},
    {
        "merged_at merge_commit_sha": "pull_requests.*",
        "linked_issues issues left_out": _PROBLEM,
        "initial_observations triage": _PROBLEM,
        "solution_overview solution_observations": f"{_PROBLEM} pull_requests.events",
        "observations statement leak_suspected leaks cut reason": f"{_PROBLEM} {_SOLUTION}",
        "solution": f"{_PROBLEM} pull_requests.events",
    },
    chart="leak_suspected",
)

_CHECK = pa.struct([("check", pa.string()), ("outcome", pa.string()), ("evidence", pa.string())])
_SCRIPT = pa.struct([("name", pa.string()), ("content", pa.string())])
_TIMING = pa.struct([("check", pa.string()), ("seconds", pa.float64())])
_BENCHMARK = pa.struct([("benchmark", pa.string()), ("seconds", pa.float64())])
_SPEEDUP = pa.struct(
    [
        ("benchmark", pa.string()),
        *((name, pa.float64()) for name in ("base_s", "patched_s", "ratio")),
        *((name, pa.float64()) for name in ("ci_low", "ci_high", "p")),
    ]
)

_ENVIRONMENT = (
    "packages.project_name packages.project_root packages.asv_config packages.python_version "
    "packages.pins packages.system_packages"
)

CANDIDATE_CONTAINERS = Table(
    "candidate_containers",
    6,
    "A verified build context and what was measured in it.",
    _PR,
    (
        *_pr_columns(),
        Column("merged_at", _TIME, "When the pull request was merged; null in older rows."),
        Column("sha", pa.string(), "The merge commit that solves the task.", True),
        Column("base_sha", pa.string(), "The commit that is checked out.", True),
        Column("python_version", pa.string(), "Minor version inside.", True),
        Column("scripts", pa.list_(_SCRIPT), "The build context.", True, bulky=True),
        Column(
            "origin", pa.string(), "Whose scripts: `stock`, `user`, `repair`, or an agent's.", True
        ),
        Column(
            "step",
            pa.string(),
            "How they were found: cache, similar, stock, repair or agent; null in older rows.",
        ),
        Column("sandbox", pa.string(), "Where it was verified: `docker` or `process`.", True),
        Column("image", pa.string(), "Local image of the pull request; null without Docker."),
        Column(
            "image_bytes", pa.int64(), "What it adds to the images that others share; null so too."
        ),
        Column(
            "checks", pa.list_(_CHECK), "Every check: passed, failed or not_run.", True, bulky=True
        ),
        Column(
            "benchmarks",
            pa.list_(_BENCHMARK),
            "Finite times of one quick round, seconds.",
            True,
            bulky=True,
        ),
        Column("seconds", pa.float64(), "Wall time of building and checking.", True),
        Column("timings", pa.list_(_TIMING), "Wall time of each check.", bulky=True),
        Column(
            "verdict",
            pa.string(),
            "Whether the solution is `faster`, `not_faster` or `unknown`; null if not measured.",
        ),
        Column("verdict_reason", pa.string(), "Why the verdict is unknown."),
        Column("benchmarks_run", pa.int64(), "Benchmarks with a time in every round."),
        Column("improved", pa.int64(), "Of those, significantly faster with the solution."),
        Column("regressed", pa.int64(), "Of those, significantly slower with the solution."),
        Column("rounds", pa.int64(), "Rounds measured at the base commit, and as many after."),
        Column("speedup", pa.float64(), "Geometric mean of base by solution time, of all run."),
        Column("speedup_low", pa.float64(), "Lower end of its 99 % confidence interval."),
        Column("speedup_high", pa.float64(), "Upper end of its 99 % confidence interval."),
        Column("best_benchmark", pa.string(), "The benchmark that gained most."),
        Column("best", pa.float64(), "Its base by solution time."),
        Column("best_low", pa.float64(), "Lower end of its interval: 99 % for all run at once."),
        Column("best_high", pa.float64(), "Upper end of its interval."),
        Column("best_p", pa.float64(), "Its p, Mann-Whitney U corrected by Holm for all run."),
        Column("machine", pa.string(), "Processor of the machine that measured."),
        Column("speedups", pa.list_(_SPEEDUP), "Each benchmark run.", bulky=True),
    ),
    CANDIDATE_PRS,
    {name: name for name in _PR},
    {
        "merged_at": "candidate_prs.*",
        "sha base_sha python_version": "packages.*",
        "scripts": _ENVIRONMENT,
        "image image_bytes checks benchmarks": f"{_ENVIRONMENT} packages.base_sha",
        "verdict benchmarks_run improved regressed rounds speedup speedup_low speedup_high "
        "best_benchmark best best_low best_high best_p speedups": (
            f"{_ENVIRONMENT} packages.base_sha packages.sha"
        ),
    },
    chart="verdict",
)

ERROR_LOGS = Table(
    "error_logs",
    6,
    "One attempt at a container, successful or not.",
    (*_PR, "attempt"),
    (
        *_pr_columns(),
        Column("attempt", pa.int64(), "From 1, in the order tried."),
        Column("step", pa.string(), "cache, similar, stock, repair, agent; null in older rows."),
        Column("about", pa.string(), "Whose scripts they are, or what was added to them."),
        Column("origin", pa.string(), "Who wrote the scripts that were tried.", True),
        Column("sandbox", pa.string(), "Where: `docker` or `process`.", True),
        Column(
            "failure_stage",
            pa.string(),
            "Script or check that failed, or environment, agent, rate_limited; null on success.",
        ),
        Column("returncode", pa.int64(), "Exit code of what failed; null on success."),
        Column("timed_out", pa.bool_(), "Whether the limit of time was met.", True),
        Column("cause", pa.string(), "The line of the log that tells the cause; null on success."),
        Column("log", pa.string(), "The end of the log.", True, bulky=True),
        Column("scripts", pa.list_(_SCRIPT), "The scripts tried.", True, bulky=True),
        Column("checks", pa.list_(_CHECK), "Every check: passed, failed or not_run.", bulky=True),
        Column("seconds", pa.float64(), "Wall time.", True),
        Column("timings", pa.list_(_TIMING), "Wall time of each check.", bulky=True),
        Column("tokens", pa.int64(), "What an agent's session took, with its last attempt."),
        Column("dollars", pa.float64(), "Its price, if the agent tells one."),
        Column("tool_calls", pa.int64(), "Its calls of tools."),
        Column("rate_limit_reset_at", _TIME, "When the limit it met ends, if it told."),
    ),
    CANDIDATE_PRS,
    {name: name for name in _PR},
    {"scripts failure_stage cause log checks": f"{_ENVIRONMENT} packages.base_sha"},
    chart="failure_stage",
)

#: Of `candidate_containers`, as a record repeats them.
MEASURED = (
    *("verdict", "benchmarks_run", "improved", "regressed", "rounds"),
    *("speedup", "speedup_low", "speedup_high"),
    *("best_benchmark", "best", "best_low", "best_high", "best_p", "machine"),
)

FORMULACODE = Table(
    "formulacode",
    7,
    "A published record of the dataset.",
    _PR,
    (
        *_pr_columns(),
        Column("task_id", pa.string(), "Identifier, such as numpy__numpy-123.", True),
        Column("gt_hash", pa.string(), "The merge commit with the reference solution.", True),
        Column("base_commit", pa.string(), "The commit a solver starts from.", True),
        Column("date", _TIME, "When the pull request was merged.", True),
        Column("instructions", pa.string(), "The problem statement.", True, bulky=True),
        Column("classification", pa.string(), "Kind of optimization.", True),
        Column("difficulty", pa.string(), "`easy`, `medium` or `hard`.", True),
        Column("container_name", pa.string(), "Name for a container of this task.", True),
        Column("image_name", pa.string(), "Image with tag; null if verified without Docker."),
        Column("image_digest", pa.string(), "Digest in the registry; null when not pushed."),
        Column("patch", pa.string(), "The reference solution.", True, bulky=True),
        Column("patch_id", pa.string(), "SHA-256 of the patch without blanks and line numbers."),
        Column("python_version", pa.string(), "Minor version inside the container.", True),
        Column("pins", _TEXTS, "The environment.", True, bulky=True),
        Column("system_packages", _TEXTS, "Libraries outside the Python index.", bulky=True),
        Column("license", pa.string(), "SPDX identifier of the repository; null when not known."),
        Column("sandbox", pa.string(), "Where it was verified: `docker` or `process`.", True),
        Column("checks", pa.list_(_CHECK), "Every check that verified it.", bulky=True),
        Column(
            "benchmarks",
            pa.list_(_BENCHMARK),
            "Times of one quick round at the base commit, seconds.",
            bulky=True,
        ),
        *(column for column in CANDIDATE_CONTAINERS.columns if column.name in MEASURED),
        Column("classifier", pa.string(), "Who judged.", True),
        Column("extractor", pa.string(), "Who extracted the problem statement.", True),
        Column("rendering", pa.string(), "Versions of leak check and template of the statement."),
        Column("resolver", pa.string(), "Version of what found the environment."),
        Column("uv_version", pa.string(), "Version of uv that pinned it."),
        Column("origin", pa.string(), "Whose scripts built the container.", True),
        Column("step", pa.string(), "How the scripts were found: cache, similar, stock, ..."),
        Column("pipeline", pa.string(), "Version of the pipeline that made the record."),
        Column(
            "published_at",
            _TIME,
            "When the month's version with it was made; only here, null when it is in none.",
        ),
    ),
    CANDIDATE_PRS,  # what is published stays when its container is lost
    {name: name for name in _PR},
    {
        "task_id container_name": (
            "candidate_prs.owner candidate_prs.repo candidate_prs.issue_number"
        ),
        "gt_hash": "candidate_containers.sha",
        "base_commit": "candidate_containers.base_sha",
        "date": "candidate_prs.merged_at",
        "instructions": "candidate_prs.statement",
        "extractor rendering": "candidate_prs.*",
        "classification": "pr_classifications.category",
        "difficulty classifier": "pr_classifications.*",
        "patch": "pull_requests.*",
        "patch_id": "pull_requests.patch",
        "image_name image_digest": "candidate_containers.image",
        f"python_version sandbox checks benchmarks origin step {' '.join(MEASURED)}": (
            "candidate_containers.*"
        ),
        "pins system_packages resolver uv_version": "packages.*",
        "license": "repositories.*",
    },
    chart="partition_month",
)

TABLES = (
    REPOSITORIES,
    PULL_REQUESTS,
    PR_CLASSIFICATIONS,
    PACKAGES,
    CANDIDATE_PRS,
    CANDIDATE_CONTAINERS,
    ERROR_LOGS,
    FORMULACODE,
)
#: The main table of each stage, in order.
STAGES = {table.stage: table for table in TABLES if table is not ERROR_LOGS}

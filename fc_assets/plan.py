"""What each stage reads and depends on, and whether a month of it has anything left to do.

One place for assets, which record it, and for `--resume` and `--dry-run`, which compare it; it
does not know Dagster, so that finding nothing to do takes no longer than it has to.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence

from fc_assets import months
from fc_assets.candidate_containers import stock
from fc_assets.candidate_containers.repairs import SYNTHESIZER
from fc_assets.candidate_prs import extractor, rendering
from fc_assets.options import Options
from fc_assets.packages import RESOLVER
from fc_assets.pr_classifications import classifier
from fc_assets.pull_requests.prefilter import PREFILTER
from fc_assets.tables import (
    CANDIDATE_CONTAINERS,
    CANDIDATE_PRS,
    PACKAGES,
    PR_CLASSIFICATIONS,
    PULL_REQUESTS,
    REPOSITORIES,
    STAGES,
    TABLES,
    Table,
)
from fc_resources.errors import UsageError
from fc_resources.ledger import Progress
from fc_resources.llm import backend
from fc_resources.settings import Settings

READS: Mapping[int, tuple[Table, ...]] = {
    1: (),
    2: (REPOSITORIES,),
    3: (PULL_REQUESTS,),
    4: (PR_CLASSIFICATIONS,),
    5: (PR_CLASSIFICATIONS, PULL_REQUESTS),
    6: (CANDIDATE_PRS, PACKAGES),
    7: (
        CANDIDATE_PRS,
        PULL_REQUESTS,
        PR_CLASSIFICATIONS,
        CANDIDATE_CONTAINERS,
        PACKAGES,
        REPOSITORIES,
    ),
}
#: Stages whose months are costly, so that each takes a run of its own, and the table whose items
#: make them so.
_COSTLY = {6: CANDIDATE_PRS, 7: CANDIDATE_CONTAINERS}

States = Mapping[tuple[str, datetime.date], Progress]


def parameters(stage: int, options: Options, settings: Settings) -> dict[str, str]:
    """What besides upstream tables decides a stage's rows, as text to compare."""
    source = options.offline(settings)
    origins: dict[str, object] = {
        "offline_source": source.version if source else "",
        "github": settings.fc_github_url if settings.github_tokens else "",
    }
    found = backend(settings)
    model = found and found.name
    agent = options.coding_agent(settings) if stage == 6 else None
    values = {
        1: {**origins, "min_stars": options.min_stars},
        2: {**origins, "prefilter": PREFILTER},
        3: {"classifier": classifier(model)},
        4: {
            "resolver": RESOLVER,
            "python_versions": settings.fc_python_versions,
            "base_image": settings.fc_base_image,
        },
        5: {**origins, "extractor": extractor(model), "rendering": rendering()},
        6: {
            "tasks_per_repo": options.tasks_per_repo,
            "verification": settings.verification,
            "scripts": stock.version(settings.scripts),
            "synthesizer": SYNTHESIZER,
            "agent": agent.name if agent else "none",
        },
        7: {"registry": settings.fc_registry},
    }
    return {name: str(value) for name, value in values[stage].items()}


def of_month(given: Mapping[str, str], month: datetime.date) -> dict[str, str]:
    """Parameters of a month: what GitHub tells of one that is not over holds for a day."""
    until = months.until(month) if given.get("github") else None
    return {**given, **({"merged_until": until.isoformat()} if until else {})}


def check_origins(
    stage: int, month: datetime.date, states: States, given: Mapping[str, str]
) -> None:
    """`UsageError` for a month that came from GitHub or a model that cannot be asked now.

    Made again without it, the month would lose all that only GitHub knows, or what was paid for.
    """
    state = states.get((STAGES[stage].name, month))
    if state is None:
        return
    if state.version and state.inputs.get("github") and given.get("github") == "":
        raise UsageError(
            f"{STAGES[stage].name} {months.label(month)} was made with GitHub; set GH_TOKENS, or "
            "FC_HOME to another folder"
        )
    for name in ("classifier", "extractor"):
        before, now = state.inputs.get(name, "rules/"), given.get(name, "")
        # What a run that was stopped got from a model was paid for as well.
        some = state.version or state.done + state.skipped
        if some and now.startswith("rules/") and not before.startswith("rules/"):
            raise UsageError(
                f"{STAGES[stage].name} {months.label(month)} was last made with {before}; set its "
                "model again (DSPY_MODEL), or FC_HOME to another folder"
            )


def inputs(
    stage: int, month: datetime.date, states: States, given: Mapping[str, str]
) -> dict[str, str | None]:
    """Versions of everything a month of a stage is computed from; None for what is not written."""
    upstream: dict[str, str | None] = dict(of_month(given, month))
    for table in READS[stage]:
        state = states.get((table.name, month))
        upstream[table.name] = state.version if state else None
    return upstream


def missing(stage: int, month: datetime.date, states: States) -> Table | None:
    """The first upstream table that has not been written for the month."""
    for table in READS[stage]:
        state = states.get((table.name, month))
        if state is None or state.version is None:
            return table
    return None


def is_cheap(stage: int) -> bool:
    """Whether the stage takes many months in one run."""
    return stage not in _COSTLY


def is_light(stage: int, month: datetime.date, states: States) -> bool:
    """Whether a month may share a run with its neighbours: a cheap stage, or nothing to work on."""
    work = _COSTLY.get(stage)
    if work is None:
        return True
    state = states.get((work.name, month))
    return state is not None and state.total == 0


def nothing_left(
    stages: Iterable[int],
    wanted: Sequence[datetime.date],
    states: States,
    options: Options,
    settings: Settings,
) -> bool:
    """Whether every month of every stage is done."""
    return all(
        left(stage, month, states, given) is None
        for stage in stages
        for given in [parameters(stage, options, settings)]
        for month in wanted
    )


def left(stage: int, month: datetime.date, states: States, given: Mapping[str, str]) -> str | None:
    """Why a month of a stage would run, in a few words, or None when nothing is left to do."""
    state = states.get((STAGES[stage].name, month))
    if state is None:
        return "never run"
    unwritten = [
        table.name
        for table in TABLES
        if table.stage == stage and _state(states, table, month) != "written"
    ]
    if unwritten and state.state == "written":
        return f"{', '.join(unwritten)} not written"
    if state.state != "written":
        unfinished = state.total - state.done - state.skipped
        return f"{state.state}, {unfinished} of {state.total} items left"
    if state.failed or state.unknown:
        return f"{state.failed + state.unknown} items to try again"
    wanted = inputs(stage, month, states, given)
    names = sorted(wanted.keys() | state.inputs.keys())
    changed = [name for name in names if state.inputs.get(name) != wanted.get(name)]
    return f"changed: {', '.join(changed)}" if changed else None


def _state(states: States, table: Table, month: datetime.date) -> str | None:
    state = states.get((table.name, month))
    return state.state if state else None

"""What each stage reads and depends on, besides its code.

One place for assets, which record it, and for `why`, which compares it; it does not know Dagster,
so that finding nothing to do takes no longer than it has to.
"""

import datetime
from collections.abc import Collection, Mapping

from fc_assets import months
from fc_assets.candidate_containers import stock
from fc_assets.candidate_containers.repairs import SYNTHESIZER
from fc_assets.candidate_prs import extractor, rendering
from fc_assets.formulacode import RECORDS
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

#: How `classifier` and `extractor` begin where no model is asked.
RULES = "rules/"

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
        7: {
            "registry": settings.fc_registry,
            "dataset": settings.fc_dataset,
            "licenses": settings.fc_licenses,
            "records": RECORDS,
        },
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
        before, now = state.inputs.get(name, RULES), given.get(name, "")
        # What a run that was stopped got from a model was paid for as well.
        some = state.version or state.done + state.skipped
        if some and now.startswith(RULES) and not before.startswith(RULES):
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


def missing(
    stage: int,
    month: datetime.date,
    states: States,
    coming: Collection[tuple[str, datetime.date]] = (),
) -> Table | None:
    """The first upstream table that has not been written for the month and is not `coming`."""
    for table in READS[stage]:
        state = states.get((table.name, month))
        if (state is None or state.version is None) and (table.name, month) not in coming:
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

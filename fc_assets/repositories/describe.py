"""The row of a repository in a month, or why it has none."""

from fc_assets import months, work
from fc_assets.repositories.discovery import Repository
from fc_assets.texts import storable

#: GitHub's primary language of libraries that Python imports and ASV measures.
_LANGUAGES = ("Python", "Cython", "Jupyter Notebook")


def describe(found: Repository, min_stars: int, decide_anew: bool = False) -> work.Answer:
    """A row, unless the repository is none to be tracked in that month.

    A month that has it keeps it, unless asked to `decide_anew`.
    """
    reason = None if found.tracked and not decide_anew else left_out(found, min_stars)
    return work.Answer([], note=reason) if reason else work.Answer([_row(found)])


def left_out(found: Repository, min_stars: int) -> str | None:
    """Why a repository is not tracked in its month; None if it is.

    The user's own offline source is not asked for language or configuration.
    """
    node, start = found.github, months.window(found.month)[0]
    if found.gone:
        return "gone from GitHub, or private"
    stars = found.offline.get("stars") if node is None else node["stargazerCount"]
    if stars is not None and stars < min_stars:
        return f"{stars} stars, fewer than {min_stars}"
    if node is None:
        return None
    archived, created = months.moment(node["archivedAt"]), months.moment(node["createdAt"])
    if node["isPrivate"]:
        return "private"
    if node["isFork"]:
        return "a fork"
    if node["isDisabled"]:
        return "disabled"
    # One archived since could still merge in this month.
    if node["isArchived"] and (archived is None or archived < start):
        return "archived" if archived is None else f"archived on {archived:%Y-%m-%d}"
    if created is not None and months.month_of(created) > found.month:
        return f"created on {created:%Y-%m-%d}, after the month"
    language = (node["primaryLanguage"] or {}).get("name")
    if found.origin != "offline" and language not in _LANGUAGES:
        return f"its primary language is {language or 'not known'}"
    return None


def _row(found: Repository) -> dict[str, object]:
    owner, _, repo = found.name.partition("/")
    row = {"owner": owner, "repo": repo, "origin": found.origin, "aliases": sorted(found.aliases)}
    if found.github is None:
        names = ("description", "stars", "topics", "license", "default_branch", "archived")
        own = {name: found.offline.get(name) for name in names}
        return {**row, **own, "created_at": months.moment(found.offline.get("created_at"))}
    node = found.github
    return {
        **row,
        "description": node["description"] and storable(node["description"]),
        "primary_language": (node["primaryLanguage"] or {}).get("name"),
        "stars": node["stargazerCount"],
        "topics": [topic["topic"]["name"] for topic in node["repositoryTopics"]["nodes"]],
        "license": (node["licenseInfo"] or {}).get("spdxId"),
        "default_branch": (node["defaultBranchRef"] or {}).get("name"),
        "created_at": months.moment(node["createdAt"]),
        "archived": node["isArchived"],
        "asv_configs": sorted(found.asv_configs),
    }

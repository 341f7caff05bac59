"""From what was extracted to the statement a solver reads; asks nobody, so it can be done again.

All of it rests on columns of the row and on the diff: another template, or another leak check,
costs no request and no token.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jinja2

from fc_assets import candidate_prs
from fc_assets.candidate_prs import leaks, rules
from fc_assets.candidate_prs.sides import LONGEST, Sides, shortened

NO_ISSUE = "no linked issue from before the merge"
NO_PROBLEM = "nothing about the problem in the linked issues"
#: Pieces of evidence that are stored, and characters of what was cut.
_MOST, _SHOWN = 50, 500


def template() -> jinja2.Template:
    """The template of the rendered statement."""
    # Markdown, not HTML; the values are text of others and are never parsed as templates.
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)
    return environment.from_string(candidate_prs.template_text())


def compose(
    row: Mapping[str, Any], title: str, body: str, patch: str | None, template: jinja2.Template
) -> dict[str, Any]:
    """The columns that follow from the extracted ones of `row`: the statement, or why not.

    `title` and `body` are the pull request's, without names of people.
    """
    sides = Sides(*(row[field.name] or "" for field in dataclasses.fields(Sides)))
    solution = _solution(row, sides, title, body, patch)
    found: dict[str, Any] = {
        "observations": None,
        "solution": shortened("\n\n".join(solution.texts), 3 * LONGEST) or None,
        "statement": None,
        "leak_suspected": False,
        "leaks": [],
        "cut": [],
        "reason": NO_PROBLEM if row["issues"] else NO_ISSUE,
        "rendering": candidate_prs.rendering(),
    }
    problem = (sides.initial_observations, sides.triage)
    whole = "\n\n".join(part for part in problem if part)
    if not _says(whole):
        return found
    parts = [leaks.cut(part, solution) for part in problem]
    cuts = [cut for _, out in parts for cut in out]
    shown = [rest.strip() for rest, _ in parts]
    if cuts and not leaks.says_something("\n\n".join(shown), whole):
        # Without them it would say nothing: shown whole, and marked.
        shown, evidence, cuts = list(problem), [cut.leak for cut in cuts], []
    else:
        evidence = [leak for part in shown for leak in leaks.find_all(part, solution)]
    evidence = list(dict.fromkeys(evidence))
    found |= {
        "observations": "\n\n".join(part for part in shown if part),
        "statement": template.render(
            repo=row["repo"], initial_observations=shown[0], triage=shown[1]
        ),
        "leak_suspected": bool(evidence),
        "leaks": [dataclasses.asdict(leak) for leak in evidence[:_MOST]],
        "cut": [
            {**dataclasses.asdict(cut.leak), "text": cut.text[:_SHOWN]} for cut in cuts[:_MOST]
        ],
        "reason": _reason(evidence),
    }
    return found


def _solution(
    row: Mapping[str, Any], sides: Sides, title: str, body: str, patch: str | None
) -> leaks.Solution:
    """What was extracted as the solution, and what rules see as such in the pull request.

    An extractor that took the solution for the problem would have nothing to be compared to.
    """
    _, told, measured = rules.of_pull_request(title, body)
    texts = dict.fromkeys(
        text for text in (sides.solution_overview, sides.solution_observations) if text
    )
    texts |= dict.fromkeys(t for t in (*told, *measured) if not any(t in known for known in texts))
    return leaks.Solution.of(row, list(texts), patch)


def _says(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _reason(evidence: "list[leaks.Leak]") -> str | None:
    if not evidence:
        return None
    shown = [f"{leak.kind} {' '.join(leak.what.split())[:80]}" for leak in evidence[:5]]
    more = [f"and {len(evidence) - 5} more"] if len(evidence) > 5 else []
    return "; ".join([*shown, *more])

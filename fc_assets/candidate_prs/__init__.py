"""Stage 5: the problem a pull request solves, told without its solution.

Versions of what a stored statement rests on are here, where finding nothing to do stays cheap.
"""

import functools
import hashlib
import importlib.resources

#: The embedded extractor.
RULES = "rules/3"
#: What a model is told.
PROMPT = "extract/1"
#: Which issues are taken, and what of them is kept.
LINKS = "issues/2"
#: How a statement is compared to the solution, and what is done about it.
LEAKS = "leaks/2"
TEMPLATE = "statement.md.jinja"


def extractor(llm_name: str | None) -> str:
    """Who extracts, with version: the model of that name, or the rules without one."""
    return f"{llm_name}; {PROMPT}" if llm_name else RULES


def template_text() -> str:
    """The template of statements."""
    return importlib.resources.files(__name__).joinpath(TEMPLATE).read_text("utf-8")


@functools.cache
def rendering() -> str:
    """Version of all else that a statement rests on: changes with the template."""
    digest = hashlib.sha256(template_text().encode()).hexdigest()
    # Rules see to what is shown whoever extracted.
    return f"{LINKS}; {RULES}; {LEAKS}; statement {digest[:12]}"

"""Stage 3: which pull requests improve performance, and how."""

RULES = "rules/1"
#: Raised when the questions to a model change.
_QUESTIONS = "judge/1"


def classifier(model: str | None) -> str:
    """Who judges, with version, as it is stored with a verdict: a model by name, or the rules."""
    return RULES if model is None else f"{model}; {_QUESTIONS}"

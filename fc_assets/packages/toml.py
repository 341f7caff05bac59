"""TOML as an answer or the reason why not; what its tables mean is the readers' business."""

import tomllib
from typing import Any


def parse(text: str) -> dict[str, Any] | str:
    """The document, or one sentence on what is wrong with it."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        return "nested too deeply"
    except ValueError as error:
        # Also integers of more digits than Python converts.
        return str(error)

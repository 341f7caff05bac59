"""Text of others as stores, terminals and models can take it; what it means is for each stage."""

import re

#: Characters of source code a token stands for, on average.
CHARACTERS_PER_TOKEN = 4

#: Halves of a pair that stand alone: JSON may hold them, no encoding can.
_SURROGATES = re.compile("[\ud800-\udfff]")


#: What a terminal takes for orders, and what turns the direction of reading.
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text without what a terminal would obey; lines and tabs stay."""
    return _CONTROLS.sub("\ufffd", text)


def storable(text: str | None) -> str:
    """The text without NUL and lone surrogates, which neither DuckDB nor PostgreSQL keeps."""
    return _SURROGATES.sub("\ufffd", (text or "").replace("\0", "\ufffd"))

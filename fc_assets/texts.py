"""Text of others as stores can keep it; what it means is the business of each stage."""

import re

#: Halves of a pair that stand alone: JSON may hold them, no encoding can.
_SURROGATES = re.compile("[\ud800-\udfff]")


def storable(text: str | None) -> str:
    """The text without NUL and lone surrogates, which neither DuckDB nor PostgreSQL keeps."""
    return _SURROGATES.sub("\ufffd", (text or "").replace("\0", "\ufffd"))

"""Which line of a log tells why a script failed, and whether that was the script's fault."""

import re

_OUTAGE = re.compile(
    r"temporary failure (in name resolution|resolving)|could not resolve|network is unreachable|"
    r"name or service not known|no route to host|(read|operation) timed out|unable to connect to|"
    r"too many requests|http error (429|50[0234])|error decoding response body|"
    r"connection (timed out|refused|reset)|dns error|error sending request|tls handshake|"
    r"failed to fetch|no space left on device|50[0234] (bad gateway|service unavailable|server)",
    re.IGNORECASE,
)
#: Lines that name what is missing; compilers and pip print more general ones after them.
_MISSING = re.compile(
    r"fatal error: |No module named|command not found|Unable to locate package|"
    r"No matching distribution|Unknown branch",
)
_ERROR = re.compile(
    r"^(\s*(E:|error:|fatal:|ERROR:)|.*\b(\w*Error|Exception)\b:|.*: (fatal )?error:|.*not found)",
    re.IGNORECASE,
)


def outage(log: str) -> str | None:
    """The line that says the outside world was missing: no answer about the pull request."""
    return next((line.strip() for line in log.splitlines() if _OUTAGE.search(line)), None)


def cause(log: str) -> str:
    """The last line that names something missing, else that looks like an error, else the last."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    # ASV says only that there was an error, after the error.
    lines = [line for line in lines if not line.startswith("·")] or lines
    missing = [line for line in lines if _MISSING.search(line)]
    errors = [line for line in lines if _ERROR.match(line)]
    return (missing or errors or lines or ["no output"])[-1][:500]

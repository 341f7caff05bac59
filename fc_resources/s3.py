"""Where a service that speaks S3 is and who asks it, as boto3 finds out.

`AWS_ENDPOINT_URL`, and for credentials its usual order: variables, `AWS_PROFILE` and its files, the
machine's role.
"""

import functools
import os
from typing import Any

from fc_resources.errors import UsageError


def _boto3() -> Any:
    try:
        import boto3
    except ModuleNotFoundError:
        raise UsageError("s3:// needs boto3; pip install 'formulacode-data[cluster]'") from None
    return boto3


def client(path_style: bool | None) -> Any:
    """Buckets are in the path or in the host's name; if not said, as the service is known to do."""
    boto3 = _boto3()
    import botocore.config

    style = {None: "auto", True: "path", False: "virtual"}[path_style]
    config = botocore.config.Config(
        retries={"mode": "standard", "total_max_attempts": 5},
        connect_timeout=10,
        read_timeout=60,
        s3={"addressing_style": style},
        user_agent_extra="formulacode-data",
    )
    # A session of its own: the default one keeps the first credentials it finds.
    return boto3.Session().client("s3", config=config)


def duckdb_settings() -> dict[str, str]:
    """What DuckDB calls the credentials that boto3 finds at this moment; nothing if it finds none.

    Those of a role or a login last for an hour or so, and are renewed where boto3 found them.
    """
    variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    session = _session(frozenset(variables.items()))
    found = session.get_credentials()
    if found is None:
        return {}
    known = found.get_frozen_credentials()
    return {
        "s3_access_key_id": known.access_key,
        "s3_secret_access_key": known.secret_key,
        "s3_session_token": known.token or "",
        **({"s3_region": session.region_name} if session.region_name else {}),
    }


@functools.lru_cache(maxsize=1)
def _session(variables: frozenset[tuple[str, str]]) -> Any:
    """It looks for credentials once, and renews what it found."""
    return _boto3().Session()

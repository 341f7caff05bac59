"""Where a service that speaks S3 is and who asks it, as boto3 finds out.

`AWS_ENDPOINT_URL`, and for credentials its usual order: variables, `AWS_PROFILE` and its files, the
machine's role.
"""

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


def tell_environment() -> None:
    """Put the credentials that boto3 finds where DuckDB looks for them, which is there only."""
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return
    session = _boto3().Session()
    found = session.get_credentials()
    if found is None:
        return
    known = found.get_frozen_credentials()
    told = {
        "AWS_ACCESS_KEY_ID": known.access_key,
        "AWS_SECRET_ACCESS_KEY": known.secret_key,
        "AWS_SESSION_TOKEN": known.token,
        "AWS_REGION": session.region_name,
    }
    os.environ.update({name: value for name, value in told.items() if value})

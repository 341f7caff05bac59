"""Docker's containers as tests look for them."""

from typing import Any


def labelled(client: Any, key: str, value: object) -> list[Any]:
    """All containers with a label.

    One that appears or goes meanwhile may be listed and not be found: it is left out, where
    docker-py's default is an error.
    """
    filters = {"label": f"{key}={value}"}
    return client.containers.list(all=True, filters=filters, ignore_removed=True)


def of_home(client: Any, home: object) -> list[Any]:
    """All containers that processes of a home made."""
    return labelled(client, "org.formulacode.home", home)

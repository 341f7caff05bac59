"""GitHub's published GraphQL schema, read once per process.

`make` puts it beside the interpreter; it comes from the npm package `@octokit/graphql-schema`.
"""

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import graphql

PATH = Path(sys.prefix) / "github.graphql"


@functools.cache
def load() -> graphql.GraphQLSchema:
    return graphql.build_schema(PATH.read_text(), assume_valid=True)


def checked(kind: str, values: Mapping[str, Any], also: str = "") -> Mapping[str, Any]:
    """The same values; `TypeError` when one is no field of that type, so typing errors show."""
    known = load().type_map[kind]
    assert isinstance(known, graphql.GraphQLObjectType)
    if unknown := values.keys() - known.fields.keys() - {"__typename", also}:
        raise TypeError(f"{kind} has no {', '.join(sorted(unknown))}")
    return values

"""GraphQL as GitHub executes it: its real schema over plain dicts, with its limits and errors.

Costs and limits are those of docs.github.com/graphql/overview/resource-limitations. Whatever this
cannot answer faithfully ends in `invalid_queries`.
"""

import base64
import binascii
import dataclasses
import datetime
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import graphql

from tests.fakes import github_schema
from tests.fakes.github_wire import Answer, Request, graphql_limit_exceeded, of_json

if TYPE_CHECKING:
    from tests.fakes.github import GitHub

_MAX_PAGE = 100
_MAX_RESULTS = 1_000
_MAX_NODES = 500_000
_MAX_IDS = 100
_COUNTS = ("totalCount", "issueCount")
_CONNECTED = ("Repository", "PullRequest", "Issue", "Commit", "PullRequestReview")
_Info = graphql.GraphQLResolveInfo
#: Where data fails on its own, with which type and message.
Broken = tuple[tuple[str | int, ...], str | None, str]


class _Refused(Exception):
    """An error of one field, with GitHub's `type`."""

    def __init__(self, kind: str | None, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Unsupported(Exception):
    """GitHub could answer it, this fake cannot."""


@dataclasses.dataclass(frozen=True)
class _Context:
    fake: "GitHub"
    token: str | None
    cost: int
    nodes: int


def prepare() -> None:
    """Read the schema before the first request has to wait for it."""
    _schema()


def answer(fake: "GitHub", request: Request, broken: Broken | None = None) -> Answer:
    """Validate, weigh, charge and execute the query of a request."""

    def rates() -> dict[str, str]:
        return fake.budgets.headers(request.token, "graphql")

    def invalid(errors: Sequence[graphql.GraphQLError]) -> Answer:
        messages = "; ".join(error.message for error in errors)
        fake.invalid_queries.append(f"{messages}\n{request.query}")
        return of_json(200, {"errors": [_formatted(error) for error in errors]}, rates())

    if request.query is None:
        message = "A query attribute must be specified and must be a string."
        return invalid([graphql.GraphQLError(message)])
    document, errors = _parsed(request.query)
    if errors or document is None:
        return invalid(errors)
    nodes, cost = _weigh(document, request.operation, request.variables)
    if not fake.budgets.take(request.token, "graphql", cost):
        return graphql_limit_exceeded(rates())
    if nodes > _MAX_NODES:
        message = (
            f"This query requests up to {nodes:,} possible nodes which exceeds the maximum limit "
            f"of {_MAX_NODES:,}."
        )
        error = {"type": "MAX_NODE_LIMIT_EXCEEDED", "message": message}
        return of_json(200, {"errors": [error]}, rates())
    result = graphql.execute(
        _schema(),
        document,
        context_value=_Context(fake, request.token, cost, nodes),
        variable_values=request.variables,
        operation_name=request.operation,
        field_resolver=_field,
        type_resolver=_type,
        middleware=[_breaking(*broken)] if broken else None,
        is_awaitable=lambda value: False,
    )
    assert isinstance(result, graphql.ExecutionResult)
    errors = result.errors or []
    if errors and not any(error.path for error in errors):
        return invalid(errors)
    for error in errors:
        if not isinstance(error.original_error, _Refused):
            fake.invalid_queries.append(f"{error.message} at {error.path}\n{request.query}")
    found: dict[str, Any] = {"data": result.data}
    if errors:
        found["errors"] = [_formatted(error) for error in errors]
    return of_json(200, found, rates())


def operation_name(query: str) -> str | None:
    """Name of the first operation of a query, if it has one and can be read."""
    document, _ = _parsed(query)
    operations = _operations(document) if document else []
    return operations[0].name.value if operations and operations[0].name else None


@functools.cache
def _schema() -> graphql.GraphQLSchema:
    schema = github_schema.load()
    for kind, fields in _RESOLVERS.items():
        known = schema.type_map[kind]
        assert isinstance(known, graphql.GraphQLObjectType)
        for name, resolver in fields.items():
            known.fields[name].resolve = resolver
    for kind in _CONNECTED:
        known = schema.type_map[kind]
        assert isinstance(known, graphql.GraphQLObjectType)
        for field in known.fields.values():
            if "first" in field.args and field.resolve is None:
                field.resolve = _connection
    return schema


@functools.lru_cache(maxsize=256)
def _parsed(
    query: str,
) -> tuple[graphql.DocumentNode | None, Sequence[graphql.GraphQLError]]:
    try:
        document = graphql.parse(query)
    except graphql.GraphQLSyntaxError as error:
        return None, [error]
    return document, graphql.validate(_schema(), document)


def _operations(document: graphql.DocumentNode) -> list[graphql.OperationDefinitionNode]:
    known = document.definitions
    return [node for node in known if isinstance(node, graphql.OperationDefinitionNode)]


def _weigh(
    document: graphql.DocumentNode, operation: str | None, variables: Mapping[str, Any]
) -> tuple[int, int]:
    """Possible nodes, and points: the requests all connections take, divided by 100."""
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, graphql.FragmentDefinitionNode)
    }
    named = (
        node
        for node in _operations(document)
        if operation is None or (node.name and node.name.value == operation)
    )
    chosen = next(named, None)
    if chosen is None:
        return 0, 1
    defaults = {
        node.variable.name.value: graphql.value_from_ast_untyped(node.default_value)
        for node in chosen.variable_definitions
        if node.default_value
    }
    values = {**defaults, **variables}

    def walk(node: graphql.Node, parents: int) -> tuple[int, int]:
        nodes = requests = 0
        selected: graphql.SelectionSetNode | None = getattr(node, "selection_set", None)
        for child in selected.selections if selected else ():
            inside = parents
            if isinstance(child, graphql.FragmentSpreadNode):
                child = fragments[child.name.value]
            elif isinstance(child, graphql.FieldNode) and child.arguments:
                given = {
                    argument.name.value: graphql.value_from_ast_untyped(argument.value, values)
                    for argument in child.arguments
                }
                size = given.get("first") or given.get("last")
                if isinstance(size, int):
                    inside, requests = parents * size, requests + parents
                    nodes += inside
                elif child.name.value == "nodes" and isinstance(given.get("ids"), list):
                    inside = parents * len(given["ids"])
                    nodes += inside
            more_nodes, more_requests = walk(child, inside)
            nodes, requests = nodes + more_nodes, requests + more_requests
        return nodes, requests

    nodes, requests = walk(chosen, 1)
    return nodes, max(1, (requests + 50) // 100)


def _formatted(error: graphql.GraphQLError) -> dict[str, Any]:
    kind = getattr(error.original_error, "kind", None)
    found: dict[str, Any] = {"type": kind} if kind else {}
    if error.path:
        found["path"] = error.path
    if error.locations:
        found["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    return {**found, "message": error.message}


def _breaking(path: tuple[str | int, ...], kind: str | None, message: str) -> Callable[..., Any]:
    """Middleware that fails one field, or one item of a list."""
    *head, last = path

    def middleware(resolve: Callable[..., Any], source: Any, info: _Info, **args: Any) -> Any:
        here = info.path.as_list()
        if here == [*head, last]:
            raise _Refused(kind, message)
        value = resolve(source, info, **args)
        if here == head and isinstance(last, int):
            value = list(value)
            value[last] = _Refused(kind, message)
        return value

    return middleware


def _type(value: Any, info: _Info, abstract: Any) -> str:
    return value["__typename"]


def _field(source: Any, info: _Info, **args: Any) -> Any:
    try:
        return source[info.field_name]
    except (KeyError, TypeError):
        raise _Unsupported(f"the fake has no {info.parent_type.name}.{info.field_name}") from None


def _connection(source: Any, info: _Info, **args: Any) -> dict[str, Any]:
    if unknown := args.keys() - {"first", "last", "after", "orderBy"}:
        raise _Unsupported(f"the fake does not know {info.field_name}({', '.join(unknown)})")
    return _page(_field(source, info), info, args)


def _page(items: Sequence[Any], info: _Info, args: Mapping[str, Any]) -> dict[str, Any]:
    """A page of a list; nothing but counting goes without its size."""
    name, size = info.field_name, args.get("first")
    side = "first" if size is not None or args.get("last") is None else "last"
    size = args.get(side)
    if size is None:
        selected = info.field_nodes[0].selection_set
        for node in selected.selections if selected else ():
            if isinstance(node, graphql.FieldNode) and node.name.value in _COUNTS:
                continue
            raise _Refused(
                "MISSING_PAGINATION_BOUNDARIES",
                "You must provide a `first` or `last` value to properly paginate the "
                f"`{name}` connection.",
            )
        size = 0
    if not 0 <= size <= _MAX_PAGE:
        raise _Refused(
            "EXCESSIVE_PAGINATION",
            f"Requesting {size} records on the `{name}` connection exceeds the `{side}` limit of "
            f"{_MAX_PAGE} records.",
        )
    start = _offset(args["after"]) if args.get("after") is not None else 0
    if side == "last":
        start = max(start, len(items) - size)
    nodes = items[start : start + size]
    cursors = [_cursor(start + index + 1) for index in range(len(nodes))]
    return {
        "nodes": nodes,
        "edges": [{"cursor": at, "node": node} for at, node in zip(cursors, nodes, strict=True)],
        "totalCount": len(items),
        "filteredCount": len(items),
        "pageCount": len(nodes),
        "pageInfo": {
            "hasNextPage": start + len(nodes) < len(items),
            "hasPreviousPage": start > 0,
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
        },
    }


def _cursor(position: int) -> str:
    return base64.b64encode(b"cursor:%d" % position).decode()


def _offset(cursor: str) -> int:
    try:
        return int(base64.b64decode(cursor, validate=True).removeprefix(b"cursor:"))
    except (binascii.Error, ValueError):
        message = f"`{cursor}` does not appear to be a valid cursor."
        raise _Refused("INVALID_CURSOR_ARGUMENTS", message) from None


def _search(source: Any, info: _Info, query: str, type: str, **args: Any) -> dict[str, Any]:
    if type not in ("ISSUE", "ISSUE_ADVANCED"):
        raise _Unsupported(f"the fake does not search {type}")
    try:
        found = info.context.fake.search(query)
    except ValueError as error:
        raise _Unsupported(str(error)) from None
    others = ("codeCount", "discussionCount", "repositoryCount", "userCount", "wikiCount")
    page = _page(found[:_MAX_RESULTS], info, args)
    return {**page, **dict.fromkeys(others, 0), "issueCount": len(found)}


def _repository(
    source: Any, info: _Info, owner: str, name: str, followRenames: bool = True
) -> dict[str, Any]:
    full = f"{owner}/{name}"
    found = info.context.fake.find(full, follow=followRenames)
    if found is None:
        message = f"Could not resolve to a Repository with the name '{full}'."
        raise _Refused("NOT_FOUND", message)
    return found


def _node(source: Any, info: _Info, id: str) -> dict[str, Any]:
    found = _by_id(info, id)
    if isinstance(found, _Refused):
        raise found
    return found


def _nodes(source: Any, info: _Info, ids: list[str]) -> list[Any]:
    if len(ids) > _MAX_IDS:
        raise _Refused(
            "ARGUMENT_LIMIT",
            f"You may not provide more than {_MAX_IDS} node ids; you provided {len(ids)}.",
        )
    return [_by_id(info, node_id) for node_id in ids]


def _by_id(info: _Info, node_id: str) -> Any:
    found = info.context.fake.node(node_id)
    message = f"Could not resolve to a node with the global id of '{node_id}'."
    return _Refused("NOT_FOUND", message) if found is None else found


def _rate_limit(source: Any, info: _Info, dryRun: bool = False) -> dict[str, Any]:
    context = info.context
    limit, remaining, reset = context.fake.budgets.window(context.token, "graphql")
    at = datetime.datetime.fromtimestamp(int(reset) + 1, datetime.UTC)
    return {
        "cost": context.cost,
        "limit": limit,
        "nodeCount": context.nodes,
        "remaining": remaining,
        "resetAt": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "used": limit - remaining,
    }


def _numbered(what: str, kinds: tuple[str, ...]) -> Callable[..., Any]:
    def resolve(source: Any, info: _Info, number: int) -> Any:
        found = info.context.fake.numbered(source, number)
        if found is None or found["__typename"] not in kinds:
            message = f"Could not resolve to {what} with the number of {number}."
            raise _Refused("NOT_FOUND", message)
        return found

    return resolve


def _object(source: Any, info: _Info, expression: str | None = None, oid: Any = None) -> Any:
    """A file or a folder out of `files`, the same at every revision."""
    revision, colon, path = (expression or "").partition(":")
    if not revision or oid is not None:
        raise _Unsupported("the fake finds objects by expression only")
    files = source["files"]
    known = {"id": f"{source['id']}_{path}", "oid": f"{source['databaseId']:040x}"}
    if not colon:
        return {"__typename": "Commit", **known}
    if path in files:
        text = files[path] if isinstance(files, Mapping) else ""
        size = len(text.encode())
        blob = {"__typename": "Blob", "text": text, "byteSize": size, "isBinary": False}
        return {**blob, "isTruncated": False, **known}
    folder = path.rstrip("/") + "/"
    inside = not path or any(file.startswith(folder) for file in files)
    return {"__typename": "Tree", **known} if inside else None


def _timeline(source: Any, info: _Info, itemTypes: Any = None, **args: Any) -> dict[str, Any]:
    items = _field(source, info)
    if itemTypes is not None:
        kinds = {"".join(part.title() for part in kind.split("_")) for kind in itemTypes}
        items = [item for item in items if item["__typename"] in kinds]
    if since := args.pop("since", None):
        items = [item for item in items if item["createdAt"] >= since]
    if unknown := args.keys() - {"first", "last", "after"}:
        raise _Unsupported(f"the fake does not know timelineItems({', '.join(unknown)})")
    return _page(items, info, args)


_RESOLVERS: dict[str, dict[str, Callable[..., Any]]] = {
    "Query": {
        "node": _node,
        "nodes": _nodes,
        "rateLimit": _rate_limit,
        "repository": _repository,
        "search": _search,
    },
    "Repository": {
        "issue": _numbered("an Issue", ("Issue",)),
        "issueOrPullRequest": _numbered("an issue or pull request", ("Issue", "PullRequest")),
        "object": _object,
        "pullRequest": _numbered("a PullRequest", ("PullRequest",)),
    },
    "Issue": {"timelineItems": _timeline},
    "PullRequest": {"timelineItems": _timeline},
}

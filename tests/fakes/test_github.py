"""The loopback GitHub against its wire formats, with a client that knows nothing of ours."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import samples
from tests.fakes import github, github_faults
from tests.fakes.github_data import comment, cross_reference, review
from tests.fakes.github_wire import Fault

pytestmark = pytest.mark.github

SEARCH = """
query Merged($query: String!, $after: String, $first: Int = 100) {
  rateLimit { cost remaining resetAt nodeCount }
  search(query: $query, type: ISSUE, first: $first, after: $after) {
    issueCount
    pageInfo { hasNextPage endCursor }
    nodes { ...Found }
  }
}
fragment Found on PullRequest {
  number
  author { login __typename }
  mergedAt
  mergeCommit { oid parents(first: 2) { nodes { oid } } }
  labels(first: 10) { nodes { name } }
  files(first: 2) { totalCount pageInfo { hasNextPage endCursor } nodes { path additions } }
  repository { nameWithOwner }
}
"""


@pytest.fixture
def fake() -> Iterator[github.GitHub]:
    with github.GitHub() as running:
        yield running


@pytest.fixture
def client(fake: github.GitHub) -> Iterator[httpx.Client]:
    headers = {"Authorization": "Bearer ghp_one"}
    with httpx.Client(base_url=fake.url, headers=headers) as running:
        yield running


def ask(client: httpx.Client, text: str, /, **variables: Any) -> dict[str, Any]:
    response = client.post("/graphql", json={"query": text, "variables": variables})
    assert response.status_code == 200
    return response.json()


def merged(client: httpx.Client, query: str, **variables: Any) -> dict[str, Any]:
    return ask(client, SEARCH, query=f"is:pr is:merged {query}", **variables)["data"]["search"]


def test_rows_of_an_offline_source_come_back_as_pull_requests(
    fake: github.GitHub, client: httpx.Client
) -> None:
    table = "| File | Lines Added | Lines Removed | Total Changes |\n|---|---|---|---|\n"
    files = "".join(f"| r/{name}.py | 3 | 1 | 4 |\n" for name in "abc")
    offset = "2026-01-15T13:00:00+01:00"
    row = samples.pull_request(7, file_change_summary=table + files, pr_merged_at=offset)
    fake.fill([row])
    [found] = merged(client, "repo:o/r")["nodes"]
    assert found == {
        "number": 7,
        "author": None,
        "mergedAt": "2026-01-15T12:00:00Z",
        "mergeCommit": {"oid": f"{7:040x}", "parents": {"nodes": [{"oid": "b" * 40}]}},
        "labels": {"nodes": [{"name": "perf"}]},
        "files": {
            "totalCount": 3,
            "pageInfo": {"hasNextPage": True, "endCursor": "Y3Vyc29yOjI="},
            "nodes": [{"path": f"r/{name}.py", "additions": 3} for name in "ab"],
        },
        "repository": {"nameWithOwner": "o/r"},
    }
    diff = client.get(
        f"/repos/o/r/commits/{7:040x}", headers={"Accept": "application/vnd.github.diff"}
    )
    assert diff.text == row["original_patch"]


def test_a_search_counts_all_but_gives_a_thousand(
    fake: github.GitHub, client: httpx.Client
) -> None:
    fake.repository("o/r")
    for number in range(1, 1_051):
        fake.pull_request("o/r", number, createdAt=f"2026-01-01T00:{number // 60:02}:00Z")
    found = merged(client, "repo:o/r sort:created-asc")
    numbers = [node["number"] for node in found["nodes"]]
    while found["pageInfo"]["hasNextPage"]:
        after = found["pageInfo"]["endCursor"]
        found = merged(client, "repo:o/r sort:created-asc", after=after)
        numbers += [node["number"] for node in found["nodes"]]
    assert numbers == list(range(1, 1_001))
    assert found["issueCount"] == 1_050


def test_a_merge_window_includes_both_ends(fake: github.GitHub, client: httpx.Client) -> None:
    fake.repository("o/r")
    fake.repository("o/other")
    for number, second in enumerate(("09", "10", "20", "21")):
        fake.pull_request("o/r", number, mergedAt=f"2026-01-31T23:59:{second}Z")
        fake.pull_request("o/other", number, mergedAt=f"2026-01-31T23:59:{second}Z")
    fake.pull_request("o/r", 5, mergedAt=None)
    window = "merged:2026-01-31T23:59:10Z..2026-01-31T23:59:20Z"
    query = f"""{{
        a: search(query: "repo:o/r is:pr is:merged {window}", type: ISSUE, first: 100) {{
            nodes {{ ... on PullRequest {{ number }} }}
        }}
        b: search(query: "repo:o/other is:pr {window}", type: ISSUE) {{ issueCount }}
    }}"""
    data = ask(client, query)["data"]
    assert sorted(node["number"] for node in data["a"]["nodes"]) == [1, 2]
    assert data["b"] == {"issueCount": 2}


def test_repositories_are_found_by_former_names_but_not_searched(
    fake: github.GitHub, client: httpx.Client
) -> None:
    fake.repository("o/r", files=["benchmarks/asv.conf.json"], repositoryTopics=["fast"])
    sha = fake.pull_request("o/r", 1)["mergeCommit"]["oid"]
    fake.diffs[sha] = b"diff --git a/x b/x\n"
    fake.rename("o/r", "new/name")
    found = ask(
        client,
        """{
        repository(owner: "O", name: "r") {
            nameWithOwner
            primaryLanguage { name }
            licenseInfo { spdxId }
            repositoryTopics(first: 5) { nodes { topic { name } } }
            there: object(expression: "HEAD:benchmarks/asv.conf.json") { __typename oid }
            missing: object(expression: "HEAD:asv.conf.json") { __typename }
            issueOrPullRequest(number: 1) { __typename ... on PullRequest { number } }
        }
        strict: repository(owner: "o", name: "r", followRenames: false) { name }
        }""",
    )
    repository = found["data"]["repository"]
    assert repository["nameWithOwner"] == "new/name"
    assert repository["there"]["__typename"] == "Blob"
    assert repository["missing"] is None
    assert repository["issueOrPullRequest"] == {"__typename": "PullRequest", "number": 1}
    assert repository["repositoryTopics"] == {"nodes": [{"topic": {"name": "fast"}}]}
    assert found["data"]["strict"] is None
    [error] = found["errors"]
    assert (error["type"], error["path"]) == ("NOT_FOUND", ["strict"])
    assert error["message"] == "Could not resolve to a Repository with the name 'o/r'."
    assert merged(client, "repo:o/r")["issueCount"] == 0
    diffs = {"Accept": "application/vnd.github.diff"}
    moved = client.get(f"/repos/o/r/commits/{sha}", headers=diffs)
    assert moved.status_code == 301
    assert client.get(moved.headers["Location"], headers=diffs).content == fake.diffs[sha]


def test_timelines_hold_what_was_asked_for(fake: github.GitHub, client: httpx.Client) -> None:
    fake.repository("o/r")
    issue = fake.issue("o/r", 2, title="Slow")
    items = [comment("One", author="pre-commit[bot]"), review(), cross_reference(issue)]
    pull = fake.pull_request("o/r", 1, timelineItems=items)
    query = """query($id: ID!) { node(id: $id) { ... on PullRequest {
        timelineItems(first: 10, itemTypes: [ISSUE_COMMENT, CROSS_REFERENCED_EVENT]) {
            totalCount
            nodes {
                ... on IssueComment { body author { __typename login } }
                ... on CrossReferencedEvent { source { ... on Issue { number title } } }
            }
        }
    } } }"""
    found = ask(client, query, id=pull["id"])["data"]["node"]["timelineItems"]
    assert found["totalCount"] == 2
    assert found["nodes"] == [
        {"body": "One", "author": {"__typename": "Bot", "login": "pre-commit"}},
        {"source": {"number": 2, "title": "Slow"}},
    ]
    fake.vanish("o/r")
    assert ask(client, query, id=pull["id"])["errors"][0]["type"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("selection", "kind"),
    [
        ("labels { nodes { name } }", "MISSING_PAGINATION_BOUNDARIES"),
        ("labels(first: 101) { totalCount }", "EXCESSIVE_PAGINATION"),
        ('labels(first: 1, after: "x") { totalCount }', "INVALID_CURSOR_ARGUMENTS"),
    ],
)
def test_page_sizes_are_refused_at_the_field(
    fake: github.GitHub, client: httpx.Client, selection: str, kind: str
) -> None:
    fake.repository("o/r")
    fake.pull_request("o/r", 1)
    query = '{ repository(owner: "o", name: "r") { pullRequest(number: 1) { number %s } } }'
    found = ask(client, query % selection)
    [error] = found["errors"]
    assert error["type"] == kind
    assert error["path"] == ["repository", "pullRequest", "labels"]
    assert found["data"]["repository"]["pullRequest"] == {"number": 1, "labels": None}


def test_points_are_charged_by_the_documented_formula(
    fake: github.GitHub, client: httpx.Client
) -> None:
    # The example of GitHub's documentation: 5,101 requests, 51 points.
    labels = "nodes { labels(first: 60) { totalCount } }"
    inner = f"nodes {{ issues(first: 50) {{ {labels} }} }}"
    query = f"query {{ viewer {{ repositories(first: 100) {{ {inner} }} }} }}"
    ask(client, query)
    limits = client.get("/rate_limit").json()["resources"]
    assert limits["graphql"]["used"] == 51
    too_many = query.replace("100", "$n").replace("query", "query($n: Int = 100)")
    answer = ask(client, too_many.replace("first: 50", "first: 90"))
    assert answer["errors"][0]["type"] == "MAX_NODE_LIMIT_EXCEEDED"
    assert "up to 549,100 possible nodes" in answer["errors"][0]["message"]


def test_a_query_the_schema_forbids_is_kept(fake: github.GitHub, client: httpx.Client) -> None:
    found = ask(client, '{ search(query: "", type: ISSUE, first: 1) { mergedAt } }')
    assert "data" not in found
    assert found["errors"][0]["locations"]
    assert len(fake.invalid_queries) == 1


def test_budgets_run_out_and_start_anew(fake: github.GitHub, client: httpx.Client) -> None:
    query = "{ rateLimit { remaining cost } }"
    fake.budget("ghp_one", "graphql", 1, 0.2)
    assert ask(client, query)["data"]["rateLimit"] == {"remaining": 0, "cost": 1}
    refused = client.post("/graphql", json={"query": query})
    assert refused.json()["errors"][0]["type"] == "RATE_LIMITED"
    assert refused.headers["x-ratelimit-remaining"] == "0"
    time.sleep(0.2)
    assert ask(client, query)["data"]["rateLimit"]["remaining"] == 4_999
    fake.revoke("ghp_one")
    denied = client.post("/graphql", json={"query": query})
    assert (denied.status_code, denied.json()["message"]) == (401, "Bad credentials")
    assert fake.requests[-1].status == 401


def test_code_search_pages_filters_and_stops(fake: github.GitHub, client: httpx.Client) -> None:
    fake.repository("o/fork", isFork=True)
    path = "benchmarks/asv.conf.json"
    fake.code = [
        {"repository": f"o/r{number}", "path": path, "size": number} for number in range(40)
    ]
    fake.code += [{"repository": "o/fork", "path": path, "size": 39}]
    fake.code += [{"repository": "o/r1", "path": "setup.py", "size": 39}]
    query = "filename:asv extension:json path:benchmarks size:5..39"
    first = client.get("/search/code", params={"q": query})
    found = first.json()
    assert (found["total_count"], found["incomplete_results"]) == (35, False)
    assert len(found["items"]) == 30
    assert found["items"][0]["path"] == path
    assert found["items"][0]["repository"]["full_name"] == "o/r5"
    assert first.headers["x-ratelimit-resource"] == "code_search"
    assert first.headers["x-ratelimit-remaining"] == "9"
    known = {"If-None-Match": first.headers["ETag"]}
    again = client.get("/search/code", params={"q": query}, headers=known)
    assert (again.status_code, again.headers["x-ratelimit-remaining"]) == (304, "9")
    rest = client.get(first.links["next"]["url"]).json()
    assert [item["repository"]["full_name"] for item in rest["items"]] == [
        f"o/r{number}" for number in range(35, 40)
    ]
    sized = client.get("/search/code", params={"q": "size:>38 fork:true"}).json()
    assert sized["total_count"] == 3
    deep = client.get("/search/code", params={"q": query, "per_page": 100, "page": 11})
    assert (deep.status_code, deep.json()["status"]) == (422, "422")


@pytest.mark.parametrize(("status", "code"), [(406, "too_large"), (422, None), (404, None)])
def test_diffs_that_cannot_be_had(
    fake: github.GitHub, client: httpx.Client, status: int, code: str | None
) -> None:
    fake.repository("o/r")
    fake.diffs["a" * 40] = status
    response = client.get(
        f"/repos/o/r/commits/{'a' * 40}", headers={"Accept": "application/vnd.github.diff"}
    )
    assert response.status_code == status
    assert response.json().get("errors", [{"code": None}])[0]["code"] == code


def test_faults_replace_the_next_matching_answers(
    fake: github.GitHub, client: httpx.Client
) -> None:
    query = "{ rateLimit { cost } }"

    def post() -> httpx.Response:
        return client.post("/graphql", json={"query": query})

    fake.fault(github_faults.status(502), times=2, when=lambda request: request.method == "POST")
    assert client.get("/rate_limit").status_code == 200
    assert [post().status_code for _ in range(3)] == [502, 502, 200]
    fake.fault(github_faults.secondary(7))
    limited = post()
    assert (limited.status_code, limited.headers["Retry-After"]) == (403, "7")
    assert "x-ratelimit-reset" not in limited.headers
    fake.fault(github_faults.truncated())
    assert post().text == '{"data":{"rateLi'
    fake.fault(github_faults.truncated(drop=True))
    with pytest.raises(httpx.RemoteProtocolError):
        post()
    fake.fault(github_faults.primary_rest(60, 429))
    assert post().headers["x-ratelimit-remaining"] == "0"
    fake.fault(github_faults.garbage())
    with pytest.raises((UnicodeDecodeError, json.JSONDecodeError)):
        post().json()
    assert fake.invalid_queries == []


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (github_faults.timed_out(), 502, "Something went wrong while executing your query."),
        (github_faults.unauthorized(), 401, "Bad credentials"),
        (github_faults.primary_graphql(60), 200, "RATE_LIMITED"),
        (github_faults.secondary(None, 200), 200, "You have exceeded a secondary rate limit."),
        (github_faults.stall(0.1), 200, "resetAt"),
    ],
)
def test_faults_say_what_github_says(
    fake: github.GitHub, client: httpx.Client, fault: Fault, status: int, said: str
) -> None:
    fake.fault(fault)
    response = client.post("/graphql", json={"query": "{ rateLimit { resetAt } }"})
    assert response.status_code == fake.requests[0].status == status
    assert said in response.text


def test_partial_data_is_null_as_the_schema_says(fake: github.GitHub, client: httpx.Client) -> None:
    fake.repository("o/r")
    for number in (1, 2):
        fake.pull_request("o/r", number)
    fake.fault(github_faults.partial(("search", "nodes", 1)))
    fake.fault(github_faults.partial(("search", "nodes", 0, "files"), "RESOURCE_LIMITS_EXCEEDED"))
    fake.fault(github_faults.partial(("search", "pageInfo")))
    variables = {"query": "repo:o/r is:pr"}
    whole, files, nothing = (ask(client, SEARCH, **variables) for _ in range(3))
    assert [node and node["number"] for node in whole["data"]["search"]["nodes"]] == [2, None]
    [error] = whole["errors"]
    assert error["path"] == ["search", "nodes", 1]
    assert error["message"].startswith("Something went wrong while executing your query.")
    assert "type" not in error
    assert files["data"]["search"]["nodes"][0]["files"] is None
    assert files["errors"][0]["type"] == "RESOURCE_LIMITS_EXCEEDED"
    # `search` and its `pageInfo` are not nullable, so the null rises to the top.
    assert nothing["data"] is None


def test_a_mistyped_field_is_refused_when_the_data_is_built(fake: github.GitHub) -> None:
    fake.repository("o/r")
    with pytest.raises(TypeError, match="PullRequest has no merged_at"):
        fake.pull_request("o/r", 1, merged_at="2026-01-01T00:00:00Z")


def _one(fake: github.GitHub) -> None:
    fake.repository("o/r")
    fake.pull_request("o/r", 1)


def _ask_nonsense() -> None:
    headers = {"Authorization": "token ghp_two"}
    with (
        github.elsewhere(_one, tokens=["ghp_two"]) as url,
        httpx.Client(base_url=url, headers=headers) as client,
    ):
        assert merged(client, "repo:o/r")["issueCount"] == 1
        ask(client, "{ nonsense }")


def test_it_serves_from_a_process_of_its_own() -> None:
    with pytest.raises(AssertionError, match="nonsense"):
        _ask_nonsense()

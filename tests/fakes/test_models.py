"""The loopback models as DSPy's own client sees them: what it reads, raises and accounts for."""

import concurrent.futures
import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

import dspy
import httpx
import pytest
from dspy.utils import exceptions

from tests.fakes import models, models_faults
from tests.fakes.models_wire import Fault, Reply, Request

OPENAI = "openai/gpt-4o-mini"
ANTHROPIC = "anthropic/claude-sonnet-4-5"
VALUES = {"verdict": True, "reason": "The loop became one call.", "unasked": 1}
#: In seconds, and what `slow` and `dripping` are measured against.
TIMEOUT = 0.3

#: Without the fallback to JSON, which is a second request of its own.
CHAT = dspy.ChatAdapter(use_json_adapter_fallback=False)

both = pytest.mark.parametrize("name", [OPENAI, ANTHROPIC])


class Judge(dspy.Signature):
    """Say whether it became faster."""

    title: str = dspy.InputField()
    verdict: bool = dspy.OutputField()
    reason: str = dspy.OutputField(desc="1. `not_a_field` (str): why")


@pytest.fixture(autouse=True)
def _bundled_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    # Else the first call fetches today's price list from the network.
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "true")


@pytest.fixture
def fake() -> Iterator[models.Models]:
    with models.Models(lambda request: VALUES if request.fields else "OK") as running:
        yield running


def client(fake: models.Models, name: str, **options: Any) -> dspy.LM:
    """One that talks to the fake natively, without a cache and without a second try."""
    settings = {"api_base": fake.api_base, "api_key": "sk-1", "timeout": TIMEOUT}
    off = {"cache": False, "num_retries": 0, "engine": "lm15"}
    return dspy.LM(name, **{**settings, **off, **options})


def judge(lm: dspy.LM, adapter: dspy.Adapter = CHAT) -> Any:
    with dspy.context(lm=lm, adapter=adapter):
        return dspy.Predict(Judge)(title="Cache the result")


def accounts(fake: models.Models) -> tuple[int, int]:
    return fake.input_tokens, fake.output_tokens


def told(lm: dspy.LM) -> tuple[int, int]:
    """What the client says it used, over all it got an answer to."""
    usages = [entry["usage"] for entry in lm.history]
    return (
        sum(usage.get("prompt_tokens", 0) for usage in usages),
        sum(usage.get("completion_tokens", 0) for usage in usages),
    )


@both
@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()])
def test_an_answer_comes_in_the_form_the_adapter_asks_for(
    fake: models.Models, name: str, adapter: dspy.Adapter
) -> None:
    lm = client(fake, name)
    with dspy.track_usage() as tracker:
        found = judge(lm, adapter)
    assert found.toDict() == {"verdict": True, "reason": VALUES["reason"]}
    [request] = fake.requests
    assert (request.key, request.status) == ("sk-1", 200)
    assert (request.model, request.fields) == (name.partition("/")[2], ("verdict", "reason"))
    assert "Cache the result" in request.user
    assert "Say whether it became faster." in request.system
    assert (request.response_format is not None) == isinstance(adapter, dspy.JSONAdapter)
    assert fake.answered == 1
    assert accounts(fake) == told(lm)
    used = tracker.get_total_tokens()[name]
    assert (used["prompt_tokens"], used["completion_tokens"]) == accounts(fake)
    assert lm.history[0]["cost"] > 0
    assert lm.history[0]["response_model"] == request.model
    assert fake.invalid_requests == []


RATE, BILLING = exceptions.LMRateLimitError, exceptions.LMBillingError
AUTH, INVALID = exceptions.LMAuthError, exceptions.LMInvalidRequestError
SERVER, TRANSPORT = exceptions.LMServerError, exceptions.LMTransportError
UNREADABLE, CONTEXT = exceptions.LMProviderError, exceptions.ContextWindowExceededError
NO_MODEL, UNEXPECTED = exceptions.LMUnsupportedModelError, exceptions.LMUnexpectedError


@both
@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        (models_faults.rate_limited(), RATE, 429),
        (models_faults.payment_required(), BILLING, 402),
        (models_faults.unauthorized(), AUTH, 401),
        (models_faults.forbidden(), AUTH, 403),
        (models_faults.context_exceeded(), CONTEXT, 400),
        (models_faults.server_error(), SERVER, 500),
        (models_faults.proxy(502), SERVER, 502),
        (models_faults.proxy(504), exceptions.LMTimeoutError, 504),
        (models_faults.proxy(200), UNREADABLE, 200),
        (models_faults.redirect("http://127.0.0.1:1/v1"), UNREADABLE, 307),
        (models_faults.invalid_json(), UNREADABLE, 200),
        (models_faults.body(b""), UNREADABLE, 200),
        (models_faults.body(b"\xff\xfe{"), UNREADABLE, 200),
        # Not a provider's error for DSPy, and without a status.
        (models_faults.body(b"null"), UNEXPECTED, None),
        (models_faults.slow(TIMEOUT + 0.2), TRANSPORT, None),
        (models_faults.cut(), TRANSPORT, None),
        (models_faults.cut(0), TRANSPORT, None),
    ],
)
def test_faults_are_raised_as_a_type_with_a_status(
    fake: models.Models, name: str, fault: Fault, kind: type[Exception], status: int | None
) -> None:
    fake.fault(fault)
    lm = client(fake, name)
    with dspy.track_usage() as tracker, pytest.raises(exceptions.LMError) as caught:
        judge(lm)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.retry_after is None
    assert (status is None) == (caught.value.request_id is None)
    assert len(fake.requests) == 1
    assert (fake.answered, lm.history, tracker.get_total_tokens()) == (0, [], {})
    assert judge(lm).verdict is True


@pytest.mark.parametrize(
    ("name", "fault", "kind", "status", "code"),
    [
        (OPENAI, models_faults.no_quota(), BILLING, 429, "insufficient_quota"),
        # DSPy does not know this one for what it is: only the words tell.
        (ANTHROPIC, models_faults.no_quota(), INVALID, 400, "invalid_request_error"),
        (OPENAI, models_faults.unknown_model(), NO_MODEL, 404, "model_not_found"),
        (ANTHROPIC, models_faults.unknown_model(), INVALID, 404, "not_found_error"),
        (OPENAI, models_faults.overloaded(), SERVER, 503, "server_error"),
        (ANTHROPIC, models_faults.overloaded(), SERVER, 529, "overloaded_error"),
        (ANTHROPIC, models_faults.content_filter(), INVALID, 400, "invalid_request_error"),
    ],
)
def test_providers_differ(
    fake: models.Models, name: str, fault: Fault, kind: type[Exception], status: int, code: str
) -> None:
    fake.fault(fault)
    with pytest.raises(exceptions.LMProviderError) as caught:
        judge(client(fake, name))
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.provider_code) == (status, code)


@both
def test_only_a_retry_after_is_read_as_one(fake: models.Models, name: str) -> None:
    fake.fault(models_faults.rate_limited(7))
    fake.fault(models_faults.rate_limited(0.5, reset_s=20))
    fake.fault(models_faults.rate_limited(reset_s=20))
    errors: list[Any] = []
    for _ in range(3):
        with pytest.raises(RATE) as caught:
            judge(client(fake, name))
        errors.append(caught.value)
    assert [error.retry_after for error in errors] == [7.0, 0.5, None]
    # The other headers come with the error, unread.
    assert any(header.endswith("-reset-requests") for header in errors[2].rate_limit_headers) or (
        "anthropic-ratelimit-requests-reset" in errors[2].rate_limit_headers
    )


@both
@pytest.mark.parametrize("adapter", [CHAT, dspy.JSONAdapter()])
@pytest.mark.parametrize(
    "fault",
    [
        models_faults.empty(),
        models_faults.refuses(),
        models_faults.says("I think so."),
        models_faults.without_field("verdict"),
        models_faults.wrong_types(),
    ],
)
def test_an_answer_that_does_not_parse_is_paid_for(
    fake: models.Models, name: str, adapter: dspy.Adapter, fault: Fault
) -> None:
    fake.fault(fault, times=math.inf)
    lm = client(fake, name)
    with dspy.track_usage() as tracker, pytest.raises(exceptions.AdapterParseError):
        judge(lm, adapter)
    assert fake.answered == len(lm.history) == 1
    assert told(lm) == accounts(fake)
    used = tracker.get_total_tokens()[name]
    assert (used["prompt_tokens"], used["completion_tokens"]) == accounts(fake)


def test_the_chat_adapter_asks_again_in_json_on_its_own(fake: models.Models) -> None:
    fake.fault(models_faults.says("I think so."))
    lm = client(fake, OPENAI)
    assert judge(lm, dspy.ChatAdapter()).verdict is True
    assert [request.wants_json for request in fake.requests] == [False, True]
    assert fake.answered == len(lm.history) == 2
    assert told(lm) == accounts(fake)


@pytest.mark.parametrize(
    ("name", "fault", "end", "parts"),
    [
        (OPENAI, models_faults.refuses(), "stop", ["refusal"]),
        (ANTHROPIC, models_faults.refuses(), "content_filter", ["text"]),
        (OPENAI, models_faults.content_filter(), "content_filter", ["text"]),
        (OPENAI, models_faults.too_long(), "length", ["text"]),
        (ANTHROPIC, models_faults.too_long(), "length", ["text"]),
    ],
)
def test_why_it_stopped_is_only_in_the_history(
    name: str, fault: Fault, end: str, parts: list[str]
) -> None:
    with models.Models(lambda request: "Some words") as fake:
        fake.fault(fault)
        lm = client(fake, name)
        lm("Hello")
        response = lm.history[0]["response"]
        assert response.finish_reason == end
        assert [part.type for part in response.message.parts] == parts
        assert told(lm) == accounts(fake)


@both
@pytest.mark.parametrize("adapter", [CHAT, dspy.JSONAdapter()])
def test_half_an_answer_can_look_like_a_whole_one(
    fake: models.Models, name: str, adapter: dspy.Adapter
) -> None:
    fake.fault(models_faults.too_long())
    lm = client(fake, name)
    # The JSON is repaired and the marker at the end is not looked for.
    found = judge(lm, adapter).reason
    assert VALUES["reason"].startswith(found)
    assert found != VALUES["reason"]
    assert lm.history[0]["response"].finish_reason == "length"


@both
@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()])
def test_odd_values_arrive_as_they_are(
    fake: models.Models, name: str, adapter: dspy.Adapter
) -> None:
    fake.fault(models_faults.extra_fields())
    fake.fault(models_faults.nul_bytes())
    fake.fault(models_faults.huge())
    lm = client(fake, name, timeout=5)
    extra, nul, huge = (judge(lm, adapter) for _ in range(3))
    assert set(extra.toDict()) == {"verdict", "reason"}
    assert nul.reason == "T\x00he loop became one call."
    assert len(huge.reason) == 1_000_000
    assert told(lm) == accounts(fake)


@both
def test_a_timeout_is_between_bytes_not_in_all(fake: models.Models, name: str) -> None:
    fake.fault(models_faults.dripping(0.1))
    start = time.monotonic()
    lm = client(fake, name, timeout=0.25)
    assert judge(lm).verdict is True
    assert time.monotonic() - start > 0.5
    assert told(lm) == accounts(fake)


@both
def test_an_answer_that_came_too_late_is_on_nobodys_account(fake: models.Models, name: str) -> None:
    fake.fault(models_faults.slow(0.4))
    with pytest.raises(TRANSPORT):
        judge(client(fake, name, timeout=0.1))
    time.sleep(0.4)
    assert (fake.answered, fake.requests[0].status) == (0, 200)


def streamed(lm: dspy.LM) -> Any:
    """The last of what DSPy yields while the answer comes in pieces."""
    with dspy.context(lm=lm, adapter=CHAT):
        listener = dspy.streaming.StreamListener("reason")
        run: Any = dspy.streamify(
            dspy.Predict(Judge), stream_listeners=[listener], async_streaming=False
        )
        *pieces, last = run(title="Cache the result")
    assert len(pieces) > 1
    return last


@both
def test_streams(fake: models.Models, name: str) -> None:
    lm = client(fake, name)
    assert streamed(lm).reason == VALUES["reason"]
    assert fake.requests[0].streams
    assert fake.answered == 1
    assert told(lm) == accounts(fake)


@both
@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        (models_faults.cut(), TRANSPORT, None),
        (models_faults.unfinished(), exceptions.LMStreamAssemblyError, None),
        (models_faults.failing_stream(), SERVER, None),
        (models_faults.rate_limited(3), RATE, 429),
    ],
)
def test_streams_that_break(
    fake: models.Models, name: str, fault: Fault, kind: type[Exception], status: int | None
) -> None:
    fake.fault(fault)
    lm = client(fake, name)
    with pytest.raises(Exception) as caught:  # noqa: PT011 (in groups, one within the other)
        streamed(lm)
    error: Any = caught.value
    while hasattr(error, "exceptions"):
        [error] = error.exceptions
    assert (type(error), error.status) == (kind, status)
    assert (fake.answered, lm.history) == (0, [])


def portkey(fake: models.Models, key: str) -> dspy.LM:
    """The one way to send headers of one's own without LiteLLM: a provider declared to DSPy."""
    access = dspy.lm15.AccessPolicy(
        provider="fake-portkey", base_url=fake.api_base, headers=(("x-portkey-api-key", key),)
    )
    definition = dspy.lm15.ProviderDefinition.chat(
        access, compat=dspy.lm15.OpenAIChatCompat(), placeholder_key="unused"
    )
    namespaces = ("openai",)
    dspy.lm15.register_provider(definition, metadata_namespaces=namespaces, replace=True)
    try:
        return dspy.LM("fake-portkey/gpt-4o-mini", cache=False, num_retries=0, engine="lm15")
    finally:
        dspy.lm15.unregister_provider("fake-portkey")


def test_a_gateway_wants_its_own_header() -> None:
    with models.Models(lambda request: VALUES, portkey=["pk-1"]) as fake:
        lm = portkey(fake, "pk-1")
        assert judge(lm, dspy.JSONAdapter()).verdict is True
        assert fake.requests[0].key == "pk-1"
        assert lm.history[0]["cost"] > 0
        for other in (portkey(fake, "pk-2"), client(fake, OPENAI)):
            with pytest.raises(AUTH) as caught:
                judge(other)
            assert caught.value.status == 401
            assert "Portkey Error: Invalid API Key" in str(caught.value)
        fake.revoke("pk-1")
        with pytest.raises(AUTH):
            judge(lm)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("chat/completions", {"messages": []}, "you must provide a model parameter"),
        ("chat/completions", {"model": "x"}, "Missing required parameter: 'messages'."),
        ("chat/completions", {"model": "x", "messages": []}, "Invalid 'messages': empty array."),
        ("chat/completions", {"model": "x", "messages": "y"}, "Invalid type for 'messages'"),
        ("chat/completions", {"model": "x", "messages": [], "system": ""}, "Unrecognized"),
        ("chat/completions", {"model": "x", "messages": [{"role": "me"}]}, "Invalid value: 'me'."),
        ("chat/completions", [], "We could not parse the JSON body"),
        ("messages", {"max_tokens": 1, "messages": []}, "model: Field required"),
        ("messages", {"model": "x", "messages": []}, "max_tokens: Field required"),
        ("messages", {"model": "x", "max_tokens": 1}, "messages: Field required"),
        ("messages", {"model": "x", "max_tokens": 1, "messages": []}, "at least one message"),
        ("messages", {"model": "x", "max_tokens": 0, "messages": []}, "greater than or equal to"),
        ("messages", {"model": "x", "max_tokens": 1, "messages": [], "n": 1}, "n: Extra inputs"),
        (
            "messages",
            {"model": "x", "max_tokens": 1, "messages": [{"role": "system", "content": "y"}]},
            'Unexpected role "system".',
        ),
    ],
)
def test_a_wrong_shape_is_refused_as_the_provider_refuses_it(
    fake: models.Models, path: str, body: Any, said: str
) -> None:
    headers = {"Authorization": "Bearer sk-1", "x-api-key": "sk-1"}
    versioned = headers | {"anthropic-version": "2023-06-01"}
    headers = versioned if path == "messages" else headers
    response = httpx.post(f"{fake.api_base}/{path}", json=body, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert said in response.json()["error"]["message"]
    assert len(fake.invalid_requests) == 1


def test_an_unknown_address_key_or_version_is_refused(fake: models.Models) -> None:
    known = {"x-api-key": "sk-1"}
    body = {"model": "x", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
    found = httpx.post(f"{fake.api_base}/messages", json=body, headers=known)
    assert (found.status_code, found.json()["error"]["message"]) == (
        400,
        "anthropic-version: header is required",
    )
    found = httpx.post(f"{fake.url}/chat/completions", json=body)
    assert (found.status_code, found.json()["error"]["message"]) == (
        404,
        "Invalid URL (POST /chat/completions)",
    )
    found = httpx.post(f"{fake.api_base}/chat/completions", json=body)
    assert found.status_code == 401
    assert "You didn't provide an API key." in found.text
    found = httpx.post(f"{fake.api_base}/messages", json=body, headers={"x-api-key": "sk-2"})
    assert found.json()["error"] == {"type": "authentication_error", "message": "invalid x-api-key"}
    with pytest.raises(AUTH) as caught:
        judge(client(fake, OPENAI, api_key="sk-secret-of-mine"))
    assert caught.value.provider_code == "invalid_api_key"
    assert "secret" not in str(caught.value)


def test_models_are_listed_and_others_are_not_found() -> None:
    with models.Models(models=["gpt-4o-mini", "claude-sonnet-4-5"]) as fake:
        openai = {"Authorization": "Bearer sk-1"}
        anthropic = {"x-api-key": "sk-1", "anthropic-version": "2023-06-01"}
        for headers in (openai, anthropic):
            listed = httpx.get(f"{fake.api_base}/models", headers=headers).json()["data"]
            assert [model["id"] for model in listed] == ["gpt-4o-mini", "claude-sonnet-4-5"]
        one = httpx.get(f"{fake.api_base}/models/gpt-4o-mini", headers=openai)
        assert one.json()["object"] == "model"
        assert httpx.get(f"{fake.api_base}/models/x", headers=openai).status_code == 404
        assert client(fake, OPENAI)("Hello") == ["OK"]
        with pytest.raises(NO_MODEL):
            client(fake, "openai/gpt-5-nano-of-nobody")("Hello")


def test_faults_choose_their_requests(fake: models.Models) -> None:
    fake.fault(models_faults.says("second"), after=1)
    fake.fault(models_faults.says("chosen"), when="special", times=math.inf)
    lm = client(fake, OPENAI)
    found = [lm(text)[0] for text in ("a", "special", "b", "special", "c")]
    assert found == ["OK", "second", "OK", "chosen", "OK"]
    assert fake.answered == 5


def test_the_test_may_say_a_reply_or_a_fault() -> None:
    def answer(request: Request) -> models.Said:
        return models_faults.server_error() if "fail" in request.user else Reply("x", "length")

    with models.Models(answer) as fake:
        lm = client(fake, OPENAI)
        assert lm("go") == ["x"]
        with pytest.raises(SERVER):
            lm("fail")


def test_a_test_that_forgets_a_field_is_told(fake: models.Models) -> None:
    with models.Models(lambda request: {"verdict": True}) as forgetful:
        with pytest.raises(SERVER):
            judge(client(forgetful, OPENAI))
        assert "has no ['reason']" in forgetful.invalid_requests[0]


@both
def test_what_came_from_the_providers_cache_is_input_at_another_price(name: str) -> None:
    def answer(request: Request) -> models.Said:
        return Reply("x", cached_tokens=1_000 if "again" in request.user else 0)

    with models.Models(answer) as fake:
        lm = client(fake, name)
        lm("once " * 1_000)
        lm("again " * 1_000)
        assert told(lm) == accounts(fake)
        details = [entry["usage"]["prompt_tokens_details"] for entry in lm.history]
        assert sum(detail["cached_tokens"] for detail in details) == fake.cached_tokens == 1_000
        first, second = (entry["cost"] for entry in lm.history)
        inputs = [entry["usage"]["prompt_tokens"] for entry in lm.history]
        assert second / inputs[1] < first / inputs[0]


@both
def test_accounts_agree_when_many_ask_at_once(fake: models.Models, name: str) -> None:
    lm = client(fake, name, timeout=5)
    fake.fault(models_faults.says("No fields."), after=5, times=10)
    fake.fault(models_faults.rate_limited(), after=10, times=10)

    def ask(number: int) -> dspy.LM:
        # A copy has a history of its own and shares the connections.
        own = lm.copy()
        with contextlib.suppress(exceptions.AdapterParseError, RATE):
            judge(own)
        return own

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        copies = list(pool.map(ask, range(64)))
    assert len(fake.requests) == 64
    assert fake.answered == sum(len(own.history) for own in copies) == 54
    assert tuple(map(sum, zip(*map(told, copies), strict=True))) == accounts(fake)
    assert lm.history == []


def test_each_call_can_be_accounted_for_before_its_answer_is_parsed(fake: models.Models) -> None:
    entries: list[dict[str, Any]] = []

    class Accounted(dspy.LM):
        def update_history(self, entry: dict[str, Any]) -> None:
            """Instead of DSPy's own, which keeps ten thousand prompts for the whole process."""
            entries.append(entry)

    fake.fault(models_faults.says("No fields."))
    options = {"api_key": "sk-1", "cache": False, "num_retries": 0, "engine": "lm15"}
    lm = Accounted(OPENAI, api_base=fake.api_base, **options)
    with pytest.raises(exceptions.AdapterParseError):
        judge(lm)
    judge(lm)
    assert [entry["usage"]["prompt_tokens"] for entry in entries] == [
        request.usage.input_tokens for request in fake.requests if request.usage
    ]
    assert all(entry["cost"] > 0 for entry in entries)
    assert lm.history == []

"""Lines of the four tools, as they were recorded or as they are documented."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc_resources.coding_agents.claude import ClaudeEvents
from fc_resources.coding_agents.codex import CodexEvents
from fc_resources.coding_agents.events import Events
from fc_resources.coding_agents.gemini import GeminiEvents
from fc_resources.coding_agents.qwen import QwenEvents

ALL = [ClaudeEvents, CodexEvents, GeminiEvents, QwenEvents]


def read(events: Events, *found: Any) -> Events:
    for event in found:
        events.line(json.dumps(event))
    return events


def limit_info(**info: Any) -> dict[str, Any]:
    return {"type": "rate_limit_event", "rate_limit_info": info}


def result(**more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 10, "output_tokens": 2, "cache_read_input_tokens": 4}
    given = {"type": "result", "subtype": "success", "is_error": False, "usage": usage}
    return given | {"result": "Done."} | more


def test_claude_tells_of_its_limits_in_health_too() -> None:
    at = time.time() + 3600
    for healthy in ("allowed", "allowed_warning"):
        event = limit_info(status=healthy, resetsAt=at, rateLimitType="five_hour")
        assert read(ClaudeEvents(), event).limited is None
    paid = limit_info(status="rejected", resetsAt=at, isUsingOverage=True)
    assert read(ClaudeEvents(), paid).limited is None
    rejected = limit_info(status="rejected", resetsAt=at, rateLimitType="seven_day")
    events = read(ClaudeEvents(), rejected)
    assert events.limited
    assert events.limited.reset_at == at
    # The result that follows tells no time.
    text = "You've hit your limit"
    read(events, result(is_error=True, api_error_status=429, result=text))
    assert events.limited.reset_at == at
    assert events.message == text


def test_claude_fails_with_the_subtype_of_success() -> None:
    text = "API Error: Request rejected (429)"
    events = read(ClaudeEvents(), result(is_error=True, api_error_status=429, result=text))
    assert events.failed
    assert events.limited
    assert events.limited.reset_at is None


def test_claude_repeats_the_usage_of_a_message() -> None:
    def part(content: dict[str, Any], output: int, number: str = "msg_1") -> dict[str, Any]:
        usage = {"input_tokens": 3, "cache_creation_input_tokens": 5, "output_tokens": output}
        usage |= {"cache_read_input_tokens": 100}
        message = {"id": number, "content": [content], "usage": usage}
        return {"type": "assistant", "message": message}

    text = {"type": "text", "text": "I look."}
    tool = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}
    events = read(ClaudeEvents(), part(text, 1), part(tool, 7), part(tool, 7))
    assert (events.input_tokens, events.cached_tokens, events.output_tokens) == (108, 100, 7)
    assert events.tool_calls == 1
    read(events, part({**tool, "id": "toolu_2"}, 1, "msg_2"))
    assert (events.input_tokens, events.output_tokens) == (216, 8)
    assert events.dollars is None
    read(events, result(total_cost_usd=0.5))
    assert (events.input_tokens, events.cached_tokens, events.output_tokens) == (14, 4, 2)
    assert events.dollars == 0.5
    assert events.message == "Done."


@pytest.mark.parametrize("status", [401, 403])
def test_claude_is_refused(status: int) -> None:
    failed = result(is_error=True, api_error_status=status, result="Failed to authenticate")
    assert read(ClaudeEvents(), failed).refused


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ("You\u2019ve hit your usage limit. Upgrade to Pro or try again at 7:49 AM.", True),
        ("You\u2019ve hit your usage limit. Visit the page or try again later.", False),
    ],
)
def test_codex_tells_limits_in_words(text: str, is_told: bool) -> None:
    failed = {"type": "turn.failed", "error": {"message": text}}
    events = read(CodexEvents(), {"type": "error", "message": text}, failed)
    assert events.limited
    assert (events.limited.reset_at is not None) == is_told
    assert events.message == text


def test_codex_notes_the_exact_time(tmp_path: Path) -> None:
    day = tmp_path / ".codex" / "sessions" / "2026" / "11" / "21"
    day.mkdir(parents=True)
    at = int(time.time()) + 5400
    windows = {
        "primary": {"used_percent": 100.0, "window_minutes": 300, "resets_at": at},
        "secondary": {"used_percent": 40.0, "window_minutes": 10080, "resets_at": at + 86_400},
    }
    total = {"input_tokens": 500, "cached_input_tokens": 100, "output_tokens": 9}
    payload = {"type": "token_count", "info": {"total_token_usage": total}, "rate_limits": windows}
    notes = [{"type": "session_meta", "payload": {}}, {"type": "event_msg", "payload": payload}]
    lines = "\n".join(json.dumps({"timestamp": "x", **note}) for note in notes)
    (day / "rollout-1.jsonl").write_text(f"{lines}\n")
    events = CodexEvents()
    events.look(tmp_path)
    assert events.limited is None, "a window that is used up is no limit yet"
    assert (events.input_tokens, events.cached_tokens, events.output_tokens) == (500, 100, 9)
    read(events, {"type": "error", "message": "You\u2019ve hit your usage limit. Try again later."})
    events.look(tmp_path)
    assert events.limited
    assert events.limited.reset_at == at


def test_codex_goes_on_after_an_error() -> None:
    usage = {"input_tokens": 24763, "cached_input_tokens": 24448, "output_tokens": 122}
    item = {"id": "item_1", "type": "command_execution", "command": "ls"}
    events = read(
        CodexEvents(),
        {"type": "error", "message": "Reconnecting... 1/5 (stream disconnected)"},
        {"type": "item.started", "item": item},
        {"type": "item.completed", "item": item},
        {"type": "item.completed", "item": {"id": "2", "type": "agent_message", "text": "Done."}},
        {"type": "turn.completed", "usage": usage},
    )
    assert not events.failed
    assert events.message == "Done."
    assert events.tool_calls == 1
    assert (events.input_tokens, events.cached_tokens, events.output_tokens) == (24763, 24448, 122)


def test_codex_fails_with_a_provider_s_json() -> None:
    text = json.dumps({"error": {"message": "The prompt is too long", "code": 400}})
    events = read(CodexEvents(), {"type": "turn.failed", "error": {"message": text}})
    assert events.failed
    assert events.ended is None
    assert events.message == "The prompt is too long"


def test_codex_sums_what_its_threads_took(tmp_path: Path) -> None:
    def note(name: str, *totals: int) -> None:
        lines = []
        for taken in totals:
            usage = {"input_tokens": taken, "cached_input_tokens": 0, "output_tokens": 1}
            payload = {"type": "token_count", "info": {"total_token_usage": usage}}
            lines.append(json.dumps({"type": "event_msg", "payload": payload}))
        (folder / name).write_text("\n".join([*lines, ""]))

    folder = tmp_path / ".codex" / "sessions"
    folder.mkdir(parents=True)
    note("rollout-a.jsonl", 1_000_000, 4_000_000)
    note("rollout-b.jsonl", 1000)
    events = CodexEvents()
    events.look(tmp_path)
    assert (events.input_tokens, events.output_tokens) == (4_001_000, 2)
    # Who writes less into a file, or removes it, has no tokens back.
    note("rollout-a.jsonl", 5)
    (folder / "rollout-b.jsonl").unlink()
    note("rollout-c.jsonl", -7_000_000)
    events.look(tmp_path)
    usage = {"input_tokens": 4_000_000, "cached_input_tokens": 0, "output_tokens": 1}
    read(events, {"type": "turn.completed", "usage": usage})
    assert (events.input_tokens, events.output_tokens) == (4_001_000, 2)


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("Reconnecting... 1/5 (exceeded retry limit, last status: 429; retrying in 200ms)", None),
        ("Missing environment variable: `OPENAI_API_KEY`.", "refused"),
        ("stream disconnected before completion: error sending request", "unreachable"),
    ],
)
def test_codex_s_errors_are_the_end_in_silence_only(text: str, ended: str | None) -> None:
    item = {"id": "item_1", "type": "command_execution", "command": "ls"}
    events = read(CodexEvents(), {"type": "error", "message": text})
    assert not events.is_over()
    past(events, 10)
    assert (events.ended if events.is_over() else None) == ended
    past(events, 60)
    assert events.is_over()
    read(events, {"type": "item.started", "item": item})
    assert events.ended is None


def test_gemini_notes_tokens_by_message(tmp_path: Path) -> None:
    chats = tmp_path / ".gemini" / "tmp" / "workspace" / "chats"
    chats.mkdir(parents=True)

    def note(number: str, taken: int, total: int) -> str:
        tokens = {"input": taken, "output": 1, "cached": 400, "thoughts": 7, "total": total}
        return json.dumps({"id": number, "type": "gemini", "tokens": tokens, "content": "x"})

    lines = [note("1", 1000, 1031), note("1", 1000, 1031), note("2", 1002, 1040), "[", '"tokens"']
    (chats / "session-1.jsonl").write_text("\n".join([*lines, '{"tokens": {"input": []}}', ""]))
    events = GeminiEvents()
    events.look(tmp_path)
    assert (events.input_tokens, events.cached_tokens, events.output_tokens) == (2002, 800, 69)
    # The totals at the end are of all models.
    stats = {"input_tokens": 3000, "output_tokens": 70, "cached": 900}
    read(events, {"type": "result", "status": "success", "stats": stats})
    events.look(tmp_path)
    assert (events.input_tokens, events.cached_tokens, events.output_tokens) == (3000, 900, 70)


def test_what_a_child_wrote_is_not_believed_while_the_tool_goes_on() -> None:
    def use(kind: str, part: dict[str, Any]) -> dict[str, Any]:
        return {"type": kind, "message": {"id": "1", "content": [part]}}

    forged = limit_info(status="rejected", resetsAt=time.time() + 3600)
    asked = use("assistant", {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}})
    told = use("user", {"type": "tool_result", "tool_use_id": "t1", "content": "x"})
    events = read(ClaudeEvents(), asked, forged)
    past(events, 100)
    assert not events.is_over(), "its tool runs"
    read(events, told)
    assert events.ended is None
    read(events, forged)
    assert events.ended == "rate_limited"
    assert not events.is_over()
    past(events, 10)
    assert events.is_over()
    refused = result(is_error=True, api_error_status=401, result="Failed to authenticate")
    read(events, refused, use("assistant", {"type": "text", "text": "On."}))
    assert events.ended is None
    read(events, forged, result())
    assert events.ended is None
    assert events.succeeded


def past(events: Events, seconds: float) -> None:
    """As if all of it had been told earlier."""
    events.told_at -= seconds
    events._noted_at -= seconds
    events._failing_since -= seconds


def test_what_is_tried_for_ever_is_over() -> None:
    events = CodexEvents()
    for _ in range(10):
        read(events, {"type": "error", "message": "Reconnecting... 2/5 (connection refused)"})
        assert not events.is_over()
        past(events, 31)
    assert events.is_over()
    assert events.ended == "unreachable"


def test_codex_s_notes_are_no_news(tmp_path: Path) -> None:
    folder = tmp_path / ".codex" / "sessions"
    folder.mkdir(parents=True)
    windows = {"primary": {"used_percent": 100.0, "resets_at": time.time() + 3600}}
    note = {"type": "event_msg", "payload": {"type": "token_count", "rate_limits": windows}}
    (folder / "rollout-1.jsonl").write_text(json.dumps(note))
    events = read(CodexEvents(), {"type": "error", "message": "You've hit your usage limit."})
    past(events, 10)
    events.look(tmp_path)
    assert events.limited
    assert events.limited.reset_at
    assert events.is_over()


@pytest.mark.parametrize(
    ("status", "text", "ended"),
    [
        (500, "Internal server error", "unreachable"),
        (529, "Overloaded", "unreachable"),
        (None, "API Error: Unable to connect to API (ConnectionRefused)", "unreachable"),
        (404, "There's an issue with the selected model (x). It may not exist", "refused"),
        (400, "The prompt is too long", None),
    ],
)
def test_outages_are_told_from_refusals(status: int, text: str, ended: str | None) -> None:
    events = read(ClaudeEvents(), result(is_error=True, api_error_status=status, result=text))
    assert events.ended == ended
    assert events.no_model == (status == 404)


def test_gemini_tells_some_limits_on_standard_error_only() -> None:
    events = GeminiEvents()
    events.stderr("Attempt 1 failed: quota. Your quota will reset after 2h1m30s.")
    assert events.limited
    assert events.limited.reset_at == pytest.approx(time.time() + 7290, abs=5)
    events = GeminiEvents()
    events.stderr("You exceeded your quota. Suggested retry after 14400s.")
    assert events.limited
    assert events.limited.reset_at == pytest.approx(time.time() + 14400, abs=5)
    events = GeminiEvents()
    events.stderr("Suggested retry after 20s.")
    assert events.limited is None, "that it can wait for"


def test_gemini_tells_everything_at_the_end() -> None:
    def said(text: str, **more: Any) -> dict[str, Any]:
        return {"type": "message", "role": "assistant", "content": text, **more}

    stats = {"total_tokens": 12, "input_tokens": 10, "output_tokens": 2, "cached": 4}
    events = read(
        GeminiEvents(),
        {"type": "message", "role": "user", "content": "Do it."},
        said("I ", delta=True),
        said("look.", delta=True),
        {"type": "tool_use", "tool_name": "run_shell_command", "tool_id": "1", "parameters": {}},
        {"type": "tool_result", "tool_id": "1", "status": "success", "output": ""},
        said("Do", delta=True),
        said("ne.", delta=True),
        {"type": "result", "status": "success", "stats": stats},
    )
    assert events.message == "Done."
    assert events.tool_calls == 1
    assert (events.input_tokens, events.cached_tokens, events.output_tokens) == (10, 4, 2)
    error = {"type": "FatalQuotaError", "message": "You have exhausted your daily quota"}
    events = read(GeminiEvents(), {"type": "result", "status": "error", "error": error})
    assert events.limited


@pytest.mark.parametrize("text", ["[API Error: 429 Rate limit reached]", "[API Error: 401 no]"])
@pytest.mark.parametrize("is_new", [True, False])
def test_qwen_hides_errors_in_its_answer(text: str, is_new: bool) -> None:
    new = {"is_error": True, "subtype": "error_during_execution", "error": {"message": text}}
    new["result"] = None
    old = {"result": text, "usage": {"input_tokens": 10, "output_tokens": 0}}
    events = read(QwenEvents(), result(**(new if is_new else old)))
    assert events.failed
    assert (events.limited is not None) == ("429" in text)
    assert events.refused == ("401" in text)
    assert events.message == text


def test_qwen_s_model_may_speak_of_errors() -> None:
    text = "[API Error: 429 Rate limit reached]"
    for words in (text, f"{text} is what it says"):
        assert read(QwenEvents(), result(result=words)).ended is None
        message = {"id": "1", "content": [{"type": "text", "text": words}]}
        message["usage"] = {"input_tokens": 9, "output_tokens": 5}
        events = read(QwenEvents(), {"type": "assistant", "message": message})
        assert read(events, result(result=words)).ended is None
    # It worked before.
    message = {"id": "1", "content": [{"type": "text", "text": "I look."}]}
    message["usage"] = {"input_tokens": 9, "output_tokens": 5}
    events = read(QwenEvents(), {"type": "assistant", "message": message}, result(result=text))
    assert events.ended == "rate_limited"


def test_qwen_s_log_is_believed_of_now_only(tmp_path: Path) -> None:
    folder = tmp_path / ".qwen" / "debug"
    folder.mkdir(parents=True)

    def stamp(at: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S.500Z", time.gmtime(at))

    def record(at: float) -> str:
        return (
            f"{stamp(at)} [WARN] [RETRY] Attempt 1 failed with status 429. Retrying after explicit "
            "delay of 3600000ms... {\n  kind: 1\n}\n"
        )

    now = time.time()
    other = f"{stamp(now)} [DEBUG] [SHELL] x\n"
    idle = f"{stamp(now)} [DEBUG] [SLEEP_INHIBITOR] Sleep inhibitor exited\n"
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}
    for log, before, is_believed in (
        (other + record(now), [], True),
        (record(now) + idle, [], True),
        (record(now) + other, [], False),
        (record(now - 100), [{"type": "system"}], False),
        (record(now + 100), [], False),
        (record(now), [{"type": "assistant", "message": {"id": "1", "content": [call]}}], False),
    ):
        (folder / "1.txt").write_text(log)
        events = read(QwenEvents(), *before)
        events.look(tmp_path)
        assert (events.limited is not None) == is_believed, log


def test_qwen_waits_where_only_its_log_tells(tmp_path: Path) -> None:
    folder = tmp_path / ".qwen" / "debug"
    folder.mkdir(parents=True)
    now = time.strftime("%Y-%m-%dT%H:%M:%S.500Z", time.gmtime())
    line = f"{now} [WARN] [RETRY] Attempt 1 failed with status 429. Retrying after explicit delay"
    (folder / "1.txt").write_text(f"{line} of 5000ms... {{\n")
    events = QwenEvents()
    events.look(tmp_path)
    assert events.limited is None
    (folder / "1.txt").write_text(f"x\n{line} of 3600000ms... {{\n  kind: 1\n}}\n")
    events.look(tmp_path)
    assert events.limited
    assert events.limited.reset_at == pytest.approx(time.time() + 3600, abs=5)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "message", "usage", "item", "content", "id", "stats", "status"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_TYPES = ["assistant", "result", "rate_limit_event", "item.completed", "turn.completed", "error"]


@given(_JSON, st.sampled_from([*_TYPES, "turn.failed", "event_msg", "message", "tool_use"]))
def test_no_line_breaks_a_reader(found: Any, kind: str) -> None:
    for reader in ALL:
        events = reader()
        shaped = {**found, "type": kind} if isinstance(found, dict) else found
        events.line(json.dumps(shaped))
        events.line("{" * 5000)
        events.stderr(str(found))
        assert events.usage(1.0).input_tokens >= 0

"""One question to one model through DSPY: transport, adapter, and what came back as our own errors.

Imported only when something is asked. Retries, waiting and money are `llm`'s: DSPy neither
retries nor caches here, and its prices are those it ships with. An answer is what was asked for
and nothing else: DSPy would repair what is cut off and guess at what is wrong.
"""

import datetime
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Else DSPy fetches the newest prices from the network at the first answer.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")

import dspy
import pydantic
from dspy import lm15
from dspy.clients import costs, model_metadata
from dspy.clients.engines import lm15_engine
from dspy.utils import exceptions

from fc_resources.errors import InterruptedRunError, PermanentError, StopError, one_line
from fc_resources.ledger import Usage
from fc_resources.llm import Backend, FailingError, ForbiddenError, LimitedError, NonsenseError

#: How DSPy separates fields; a pull request that writes it would forge one.
_OPENING, _CLOSING = re.compile(r"\[(?=\s*\[\s*#)"), re.compile(r"(?<=#)(\s*\])(?=\s*\])")
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCED = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)
_SHOWN = 200
_LOOK_S = 0.2
#: Where its errors begin to explain DSPy's own Python to the reader.
_ADVICE = re.compile(
    r"(credential came from|To fix|pass api_key=|Retry with backoff|\n).*", re.DOTALL
)
_MASKED = re.compile(r"\S*\*{3,}\S*")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_KEYS = {
    "portkey": "PORTKEY_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "dspy": "DSPY_API_KEY and DSPY_API_BASE",
}

# What a model answers is told by our errors; DSPy's own notices would repeat it per item.
logging.getLogger("dspy").setLevel(logging.ERROR)


class Model:
    """A model behind DSPy, for all threads. `StopError` when it cannot be configured.

    `timeout_s` is for a whole question; `stop` ends waiting for an answer at once.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        max_tokens: int,
        temperature: float,
        timeout_s: float,
        stop: threading.Event,
    ) -> None:
        self._backend = backend
        self._timeout_s = timeout_s
        self._stop = stop
        self._adapter = _Strict()
        try:
            engine = _Engine(backend, timeout_s)
            self._lm = _lm(engine, temperature, max_tokens)
        except (exceptions.DSPyError, lm15.LM15Error, ValueError) as error:
            raise StopError(f"DSPY_MODEL cannot be used: {self._clean(error)}") from None
        self._engine = engine

    @property
    def has_price(self) -> bool:
        """Whether DSPy knows what a token costs."""
        resolution = self._engine.resolution
        info = model_metadata.model_info(resolution.provider, resolution.model) or {}
        return all(info.get(f"{kind}_cost_per_token") for kind in ("input", "output"))

    def greet(self, charge: Callable[[Usage], None]) -> dict[str, Any]:
        """Any answer at all, in as few tokens as it takes."""
        return {"answer": self._in_time(lambda: self._lm("Answer with the word OK."), charge)}

    def ask(
        self,
        signature: type[dspy.Signature],
        inputs: Mapping[str, Any],
        charge: Callable[[Usage], None],
    ) -> dict[str, Any]:
        """The output fields of a signature; `charge` is called for every answer, usable or not.

        Raises the errors of `llm`, `PermanentError` for a question that the model does not take.
        """
        given = {name: _harmless(value) for name, value in inputs.items()}

        def predict() -> dict[str, Any]:
            with dspy.context(lm=self._lm, adapter=self._adapter, max_trace_size=0):
                prediction = dspy.Predict(signature)(**given)
            return {name: getattr(prediction, name) for name in signature.output_fields}

        return self._in_time(predict, charge)

    def _in_time(self, question: Callable[[], Any], charge: Callable[[Usage], None]) -> Any:
        """The answer, waited for in another thread: DSPy's time-out begins anew with every byte.

        A question that is given up goes on there until its connection ends, and is charged then.
        """
        answers: list[Any] = []
        ended = threading.Event()

        def run() -> None:
            here = self._engine.here
            here.charge, here.since, here.ends = charge, time.monotonic(), []
            try:
                answers.append(question())
            except Exception as error:
                answers.append(error)
            if unusual := set(here.ends) - {"stop"}:
                why = f"cut off ({', '.join(map(str, unusual))})"
                answers[:] = [NonsenseError(f"{why}; DSPY_MAX_TOKENS may be too small")]
            ended.set()

        threading.Thread(target=run, name="model", daemon=True).start()
        until = time.monotonic() + self._timeout_s
        while not ended.wait(_LOOK_S):
            if self._stop.is_set():
                raise InterruptedRunError("stopped while asking a model; run again with --resume")
            if time.monotonic() > until:
                raise FailingError(f"no answer within {self._timeout_s:g} s (FC_LLM_TIMEOUT_S)")
        [answer] = answers
        if isinstance(answer, Exception):
            raise self._translated(answer) from None
        return answer

    def _translated(self, error: Exception) -> Exception:
        """DSPy's error as what it means for the next question."""
        said = self._clean(error)
        match error:
            case exceptions.LMAuthError() if error.status == 403:
                return ForbiddenError(f"refuses: {said}; see to {_KEYS[self._backend.kind]}")
            case exceptions.LMAuthError():
                return StopError(f"refuses the key: {said}; see to {_KEYS[self._backend.kind]}")
            case exceptions.LMBillingError():
                return StopError(f"its quota is spent: {said}")
            case exceptions.LMUnsupportedModelError() | exceptions.LMConfigurationError():
                return StopError(f"{said}; see to DSPY_MODEL and DSPY_API_BASE")
            case exceptions.LMRateLimitError():
                return LimitedError(said, _wait_s(error))
            # Anthropic's ways to say that the model does not exist, and that nobody paid.
            case exceptions.LMInvalidRequestError() if error.status == 404:
                return StopError(f"{said}; see to DSPY_MODEL and DSPY_API_BASE")
            case exceptions.LMInvalidRequestError() if "credit balance" in error.message:
                return StopError(f"its quota is spent: {said}")
            case exceptions.LMInvalidRequestError() | exceptions.LMUnsupportedFeatureError():
                return PermanentError(f"the model does not take the question: {said}")
            case exceptions.LMUnexpectedError():  # a body that is JSON and no answer
                return NonsenseError(f"not an answer: {said}")
            case exceptions.AdapterParseError():
                return NonsenseError(f"not what was asked for: {error.lm_response!r}")
            case exceptions.LMError():
                return FailingError(said)
        return error

    def _clean(self, error: Exception) -> str:
        """One line of an error, without keys: some servers and clients quote them."""
        status = getattr(error, "status", None)
        text = _ADVICE.sub("", str(getattr(error, "message", "") or error)).strip(" .;:-")
        if self._backend.key:
            text = text.replace(self._backend.key, "***")
        text = one_line(ValueError(_MASKED.sub("***", text) or type(error).__name__), _SHOWN)
        return f"status {status}: {text}" if status else text


class _Engine:
    """DSPy's own engine, with what every answer took told before anybody reads it."""

    def __init__(self, backend: Backend, timeout_s: float) -> None:
        self.here = threading.local()
        providers: tuple[lm15.ProviderDefinition, ...] = ()
        self.model = backend.model
        if backend.kind == "portkey":
            headers = (("x-portkey-api-key", backend.key or ""),)
            access = lm15.AccessPolicy("portkey", base_url=backend.url, headers=headers)
            providers = (lm15.ProviderDefinition.chat(access, compat=lm15.OpenAIChatCompat()),)
            self.model = f"portkey/{backend.model}"
        probe = lm15_engine.LM15Engine(lm15.RouterConfig(env={}, providers=providers))
        try:
            self.resolution = probe.resolve(self.model)
        except lm15.LM15Error:
            if backend.url is None:
                raise
            # A name of its own, such as Qwen/Qwen3-8B: an address means OpenAI's format.
            self.model = f"openai/{backend.model}"
            self.resolution = probe.resolve(self.model)
        provider = self.resolution.provider
        config: dict[str, Any] = {"providers": providers}
        if backend.url:
            config["base_urls"] = {provider: backend.url}
        if backend.key or backend.url:  # a server of one's own gets nobody else's key
            config["api_keys"] = {provider: backend.key or "none"}
        timeouts = lm15_engine.timeouts_for(timeout_s)
        self._inner = lm15_engine.LM15Engine(lm15.RouterConfig(timeouts=timeouts, **config))

    def complete(self, request: lm15.Request) -> lm15.Response:
        try:
            response = self._inner.complete(request)
        except lm15.LM15Error:
            raise
        except Exception:
            # An answer that DSPy stumbles over is paid for, and nobody knows how much.
            self.here.charge(Usage(seconds=time.monotonic() - self.here.since, is_told=False))
            raise
        provider, now = self.resolution.provider, time.monotonic()
        dollars, _ = costs.estimate_cost(
            response, provider=provider, requested_model=self.resolution.model, request=request
        )
        used = response.usage
        cached, written = used.cache_read_tokens or 0, used.cache_write_tokens or 0
        # Anthropic counts what it has in its cache beside the input, others within it.
        beside = cached + written if "anthropic" in provider else 0
        is_told = used.input_tokens is not None and used.output_tokens is not None
        took = Usage(
            input_tokens=(used.input_tokens or 0) + beside,
            cached_tokens=cached,
            output_tokens=used.output_tokens or 0,
            dollars=dollars if is_told else None,
            seconds=now - self.here.since,
            is_told=is_told,
        )
        self.here.since = now
        self.here.ends.append(response.finish_reason)
        self.here.charge(took)
        return response


class _LM(dspy.LM):
    """An LM with an engine of ours, that keeps no prompts in memory."""

    def __init__(self, able: dspy.LM, *arguments: Any, **options: Any) -> None:
        self._able = able
        super().__init__(*arguments, **options)

    @property
    def supports_response_schema(self) -> bool:
        return self._able.supports_response_schema

    @property
    def supported_params(self) -> set[str]:
        return self._able.supported_params

    def update_history(self, entry: dict[str, Any]) -> None:
        pass


def _lm(engine: _Engine, temperature: float, max_tokens: int) -> _LM:
    """The LM of an engine; models that take no temperature are given none."""
    # What a gateway can do is what the model behind it can, which its name may tell.
    able = dspy.LM(engine.model.replace("portkey/", "openai/", 1), engine="lm15")
    options = {"max_tokens": max_tokens, "engine": engine, "num_retries": 0, "cache": False}
    try:
        return _LM(able, engine.model, temperature=temperature, **options)
    except exceptions.LMConfigurationError:
        return _LM(able, engine.model, temperature=None, **options)


class _Strict(dspy.JSONAdapter):
    """Takes one JSON object, maybe between fences, whose fields have the declared types.

    What open models think aloud comes before it and counts for nothing.
    """

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        text = _THOUGHT.sub("", completion or "").strip()
        fields: dict[str, Any] = {n: (f.annotation, f) for n, f in signature.output_fields.items()}
        shape = pydantic.create_model("Answer", **fields)
        try:
            found = json.loads(fenced[1] if (fenced := _FENCED.match(text)) else text)
            if not isinstance(found, dict):
                raise ValueError("no JSON object")
            # True would pass as 1.0.
            if wrong := [n for n in fields if isinstance(found.get(n), bool)]:
                raise ValueError(f"{wrong[0]} is {found[wrong[0]]}")
            return shape.model_validate(found).model_dump()
        except (ValueError, RecursionError) as error:
            said = one_line(ValueError(text), _SHOWN)
            where = f"{_where(error)}: {said}"
            raise exceptions.AdapterParseError("JSONAdapter", signature, where) from None  # pyright: ignore[reportArgumentType] -- the class, as DSPy itself passes


def _where(error: Exception) -> str:
    if isinstance(error, pydantic.ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}, {first['msg']}"
    return one_line(error, _SHOWN)


def _harmless(value: Any) -> Any:
    """Text that can be sent and neither begins nor ends a field."""
    if not isinstance(value, str):
        return value
    sendable = value.encode("utf-8", "replace").decode("utf-8")
    return _CLOSING.sub(r"\1 ", _OPENING.sub("[ ", sendable))


def _wait_s(error: exceptions.LMRateLimitError) -> float | None:
    """When a limit ends: as the answer says, else by the first reset that its headers name."""
    if error.retry_after is not None:
        return error.retry_after
    headers: Mapping[str, Sequence[str]] = getattr(error, "rate_limit_headers", None) or {}
    resets = [_seconds(value) for n, values in headers.items() if "reset" in n for value in values]
    return min((seconds for seconds in resets if seconds is not None), default=None)


def _seconds(text: str) -> float | None:
    """`6m0s`, `20ms`, a number of seconds, or a time in ISO 8601."""
    match = _DURATION.fullmatch(text)
    if text and match:
        hours, minutes, seconds, thousandths = (float(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + seconds + thousandths / 1000
    try:
        return min(float(text), 86_400.0)
    except ValueError:
        pass
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())

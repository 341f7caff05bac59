"""One question to one model through DSPY: transport, adapter, and what came back as our own errors.

Imported only when something is asked. Retries, waiting and money are `llm`'s: DSPy neither
retries nor caches here, and its prices are those it ships with.
"""

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# Else DSPy fetches the newest prices from the network at the first answer.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")

import dspy
import pydantic
from dspy import lm15
from dspy.clients import backend_selection, model_metadata
from dspy.utils import exceptions

from fc_resources.errors import PermanentError, StopError, one_line
from fc_resources.ledger import Usage
from fc_resources.llm import Backend, FailingError, LimitedError, NonsenseError

#: How DSPy separates fields; a pull request that writes it would forge one.
_MARKER = re.compile(r"\[\[\s*##|##\s*\]\]")
_SHOWN = 200

# What a model answers is told by our errors; DSPy's own notices would repeat it per item.
logging.getLogger("dspy").setLevel(logging.ERROR)


class Model:
    """A model behind DSPy, for all threads. `StopError` when it cannot be configured."""

    def __init__(
        self, backend: Backend, *, max_tokens: int, temperature: float, timeout_s: float
    ) -> None:
        self._lm = _lm(backend, temperature, max_tokens=max_tokens, timeout=timeout_s)
        self._adapter = dspy.JSONAdapter()

    @property
    def has_price(self) -> bool:
        """Whether DSPy knows what a token costs."""
        resolution = backend_selection.select_backend(self._lm).resolution
        provider, _, model = self._lm.model.partition("/")
        known = getattr(resolution, "provider", provider)
        return bool(model_metadata.model_info(known, model))

    @contextlib.contextmanager
    def charging(self, charge: Callable[[Usage], None]) -> Iterator[None]:
        """Have `charge` called in this thread for every answer, usable or not."""
        self._lm.here.charge, self._lm.here.since, self._lm.here.ends = charge, time.monotonic(), []
        yield

    def greet(self) -> dict[str, Any]:
        """Any answer at all, in as few tokens as it takes."""
        with _translated():
            return {"answer": self._lm("Answer with the word OK.")}

    def ask(self, signature: type[dspy.Signature], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The output fields of a signature. Raises the errors of `llm` and `PermanentError`."""
        given = {name: _harmless(value) for name, value in inputs.items()}
        with _translated(), dspy.context(lm=self._lm, adapter=self._adapter, max_trace_size=0):
            prediction = dspy.Predict(signature)(**given)
        # DSPy repairs what was cut off, so that half an answer can look like a whole one.
        if unusual := set(self._lm.here.ends) - {"stop"}:
            raise NonsenseError(f"cut off ({', '.join(map(str, unusual))})")
        return _valid(signature, prediction)


def _valid(signature: type[dspy.Signature], prediction: dspy.Prediction) -> dict[str, Any]:
    """The answer's fields; DSPy sees to their types, but not to the bounds declared for them."""
    fields: dict[str, Any] = {n: (f.annotation, f) for n, f in signature.output_fields.items()}
    answer = {name: getattr(prediction, name, None) for name in fields}
    try:
        return pydantic.create_model("Answer", **fields).model_validate(answer).model_dump()
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        said = one_line(ValueError(str(first["input"])), _SHOWN)
        where = ".".join(map(str, first["loc"]))
        raise NonsenseError(f"not what was asked for: {where} {said!r}, {first['msg']}") from None


class _Charged(dspy.LM):
    """An LM that tells what each answer took, and keeps no history of prompts in memory."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.here = threading.local()

    def update_history(self, entry: dict[str, Any]) -> None:
        usage, now = entry["usage"] or {}, time.monotonic()
        details = usage.get("prompt_tokens_details") or {}
        took = Usage(
            input_tokens=usage.get("prompt_tokens") or 0,
            cached_tokens=details.get("cached_tokens") or 0,
            output_tokens=usage.get("completion_tokens") or 0,
            dollars=entry["cost"],
            seconds=now - self.here.since,
        )
        self.here.since = now
        self.here.ends.append(getattr(entry["response"], "finish_reason", None))
        self.here.charge(took)


def _lm(backend: Backend, temperature: float, **options: Any) -> _Charged:
    """The LM of a backend; models that take no temperature are given none."""
    # DSPy's other engine fetches, logs and retries by itself.
    options |= {"engine": "lm15", "num_retries": 0, "cache": False}
    if backend.url:
        options["api_base"] = backend.url
    if backend.key or backend.url:  # a server of one's own has no key, and gets nobody else's
        options["api_key"] = backend.key or "none"
    try:
        model = _routed(backend)
        try:
            lm = _Charged(model, temperature=temperature, **options)
        except exceptions.LMConfigurationError:
            lm = _Charged(model, temperature=None, **options)
        backend_selection.select_backend(lm)
    except (exceptions.DSPyError, lm15.LM15Error, ValueError) as error:
        raise StopError(f"model {backend.model} cannot be used: {one_line(error)}") from None
    return lm


def _routed(backend: Backend) -> str:
    """The model's name as DSPy routes it."""
    if backend.kind == "portkey":
        access = lm15.AccessPolicy(
            "portkey",
            base_url=backend.url,
            headers=(("x-portkey-api-key", backend.key or ""),),
        )
        definition = lm15.ProviderDefinition.chat(access, compat=lm15.OpenAIChatCompat())
        lm15.register_provider(definition, replace=True)
        return f"portkey/{backend.model}"
    if backend.url is None:
        return backend.model
    try:
        probe = dspy.LM(backend.model, engine="lm15")
        backend_selection.select_backend(probe)
    except (exceptions.DSPyError, lm15.LM15Error, ValueError):
        # A name of its own, such as Qwen/Qwen3-8B: whoever gives an address means OpenAI's format.
        return f"openai/{backend.model}"
    return backend.model


def _harmless(value: Any) -> Any:
    """Text that can be sent and does not end its field."""
    if not isinstance(value, str):
        return value
    sendable = value.encode("utf-8", "replace").decode("utf-8")
    return _MARKER.sub(lambda match: match[0].replace("##", "#"), sendable)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """DSPy's errors as what they mean for the next question; their texts may quote prompts."""
    try:
        yield
    except (exceptions.LMAuthError, exceptions.LMBillingError) as error:
        raise StopError(f"refuses the key or its quota is spent: {_said(error)}") from None
    except (
        exceptions.LMUnsupportedModelError,
        exceptions.LMConfigurationError,
        exceptions.LMUnsupportedFeatureError,
    ) as error:
        raise StopError(_said(error)) from None
    except exceptions.LMRateLimitError as error:
        raise LimitedError(_said(error), error.retry_after) from None
    except exceptions.LMInvalidRequestError as error:
        # Anthropic's ways to say that the model does not exist, and that nobody paid.
        if error.status == 404 or "credit balance" in error.message:
            raise StopError(_said(error)) from None
        raise PermanentError(f"the model refuses the question: {_said(error)}") from None
    except exceptions.AdapterParseError as error:
        said = one_line(ValueError(str(error.lm_response)), _SHOWN)
        raise NonsenseError(f"not what was asked for: {said!r}") from None
    except exceptions.LMError as error:
        raise FailingError(_said(error)) from None


def _said(error: exceptions.DSPyError) -> str:
    status = f"status {error.status}: " if error.status else ""
    return status + one_line(ValueError(error.message or type(error).__name__), _SHOWN)

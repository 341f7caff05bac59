"""Language models: which one is asked, what its answers take, and when asking has to stop.

How a question reaches a model is `llm_dspy`'s, imported only once there is something to ask; what
is asked and what an answer means are the stages'. Without a model an `Llm` is false.
"""

import dataclasses
import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fc_resources.errors import (
    InterruptedRunError,
    PermanentError,
    StopError,
    TransientError,
    UnavailableError,
    UsageError,
)
from fc_resources.ledger import Ledger, Usage
from fc_resources.settings import Settings

if TYPE_CHECKING:
    import dspy

    from fc_resources.llm_dspy import Model

#: Taken when there is a key of Anthropic's and no DSPY_MODEL: small, as most questions are.
_ANTHROPIC = "anthropic/claude-haiku-4-5"
_PORTKEY_URL = "https://api.portkey.ai/v1"
_TRIES = 4
#: A model asked the same again seldom answers better, and each answer costs.
_NONSENSE_TRIES = 2
#: Items in a row that found no model: it is down, and the ones left would only wait as long.
_MOST_IN_A_ROW = 5


@dataclasses.dataclass(frozen=True)
class Backend:
    """A model as its user names it, and how to reach it; `kind` is portkey, anthropic or dspy."""

    kind: str
    model: str
    key: str | None = dataclasses.field(default=None, repr=False)
    url: str | None = None

    @property
    def name(self) -> str:
        """The model as it is stored with what it answered, such as `openai/gpt-5-mini`."""
        return f"portkey/{self.model}" if self.kind == "portkey" else self.model


class LimitedError(TransientError):
    """The model asks to wait; `after_s` says how long, None if it does not."""

    def __init__(self, text: str, after_s: float | None) -> None:
        super().__init__(text)
        self.after_s = after_s


class FailingError(TransientError):
    """No answer: a time-out, a broken connection, a fault of the server."""


class NonsenseError(PermanentError):
    """An answer without the fields that were asked for, or a refusal to give them."""


def backend(settings: Settings) -> Backend | None:
    """Portkey, else Anthropic, else `DSPY_*`; None if none of them is configured.

    Anthropic's key in the environment does not overrule a `DSPY_MODEL` of somebody else.
    """
    model, url = settings.dspy_model, settings.dspy_api_base
    if settings.portkey_api_key:
        if model is None:
            raise UsageError("PORTKEY_API_KEY is set; DSPY_MODEL has to name a model, such as "
                             "@openai/gpt-5-mini")  # fmt: skip
        key = settings.portkey_api_key.get_secret_value()
        return Backend("portkey", model, key, url or _PORTKEY_URL)
    if settings.anthropic_api_key and (model or _ANTHROPIC).startswith(("anthropic/", "claude")):
        name = model or _ANTHROPIC
        name = name if "/" in name else f"anthropic/{name}"
        return Backend("anthropic", name, settings.anthropic_api_key.get_secret_value(), url)
    if model is None:
        return None
    secret = settings.dspy_api_key
    return Backend("dspy", model, secret.get_secret_value() if secret else None, url)


class Llm:
    """A model for all threads of a process; nothing is opened before the first question.

    `budget` in dollars is for the life of the object, which is a run; `prices` are dollars per
    million tokens of input and output where none are known.
    """

    def __init__(
        self,
        backend: Backend | None,
        ledger: Ledger,
        *,
        max_tokens: int = 16_000,
        temperature: float = 0.0,
        budget: float | None = None,
        prices: tuple[float, float] | None = None,
        timeout_s: float = 180,
        max_wait_s: float = 900,
        concurrent: int = 8,
        backoff_s: float = 2.0,
        stop: threading.Event | None = None,
    ) -> None:
        self._backend = backend
        self._ledger = ledger
        self._how = {"max_tokens": max_tokens, "temperature": temperature, "timeout_s": timeout_s}
        self._budget = budget
        self._prices = prices
        self._max_wait_s = max_wait_s
        self._backoff_s = backoff_s
        self._lines = threading.Semaphore(concurrent)
        self._stop = stop or threading.Event()
        #: Held while the first question is asked: one check is enough for all threads.
        self._first = threading.RLock()
        self._mutex = threading.Lock()
        self._model: Model | None = None
        self._spent = 0.0
        self._in_a_row = 0
        self._ended: StopError | None = None
        self._checked = False

    @classmethod
    def of(cls, settings: Settings, ledger: Ledger, stop: threading.Event) -> "Llm":
        """The model of these settings."""
        prices = settings.fc_llm_usd_per_mtok
        given, taken = map(float, prices.split(",")) if prices else (0.0, 0.0)
        return cls(
            backend(settings),
            ledger,
            max_tokens=settings.dspy_max_tokens,
            temperature=settings.dspy_temperature,
            budget=settings.fc_llm_budget_usd,
            prices=(given, taken) if prices else None,
            timeout_s=settings.fc_llm_timeout_s,
            max_wait_s=settings.fc_llm_max_wait_s,
            concurrent=settings.fc_llm_concurrent,
            stop=stop,
        )

    def __bool__(self) -> bool:
        """Whether a model is configured."""
        return self._backend is not None

    @property
    def name(self) -> str:
        """The backend's name; `UsageError` without one."""
        if self._backend is None:
            raise UsageError("no model is configured; set DSPY_MODEL")
        return self._backend.name

    def check(self) -> None:
        """Have the model answer once, before a stage relies on it; `StopError` if it does not."""
        with self._first:
            if self._checked:
                return
            try:
                self._question(lambda model: model.greet(), "check", "check")
            except (TransientError, PermanentError) as error:
                raise self._end(f"model {self.name} does not answer: {error}") from None
            self._checked = True

    def ask(
        self,
        signature: "type[dspy.Signature]",
        inputs: Mapping[str, Any],
        *,
        stage: str,
        item: str,
        fresh: bool = False,
    ) -> dict[str, Any]:
        """The output fields of a DSPy signature, validated by their types.

        `stage` and `item` are what the answer is charged to. What was answered before is not
        asked again, unless `fresh`. Raises `UnavailableError` for a
        model that is down or rate limited for too long, `PermanentError` for one that answers
        nonsense or refuses, and `StopError` if nothing more can be asked: its key is refused,
        quota or budget is spent, or it has been down for many items.
        """
        key = self._key(signature, inputs)
        known = None if fresh else self._ledger.answer(key)
        if known is not None:
            return json.loads(known)
        self.check()
        with self._lines:
            try:
                answer = self._question(lambda model: model.ask(signature, inputs), stage, item)
            except UnavailableError as error:
                self._in_a_row += 1
                if self._in_a_row >= _MOST_IN_A_ROW:
                    raise self._end(
                        f"model {self.name} failed {self._in_a_row} items in a row: {error}; "
                        "run again with --resume when it is back"
                    ) from None
                raise
        self._in_a_row = 0
        self._ledger.keep_answer(key, json.dumps(answer))
        return answer

    def _key(self, signature: "type[dspy.Signature]", inputs: Mapping[str, Any]) -> str:
        """What an answer rests on: the model, how it is asked, the question, what it is about."""
        question = [signature.instructions, signature.model_json_schema()]
        asked = [self.name, self._how["temperature"], question, dict(inputs)]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def _question(
        self, question: "Callable[[Model], dict[str, Any]]", stage: str, item: str
    ) -> dict[str, Any]:
        """Ask until there is an answer: waiting for a limit is no try, a failing server is."""
        model, since = self._loaded(), time.monotonic()
        failed = nonsense = 0
        while True:
            self._wait_for_pauses(since)
            self._refuse_to_go_on()
            try:
                with model.charging(lambda usage: self._charge(usage, stage, item)):
                    return question(model)
            except NonsenseError as error:
                nonsense += 1
                if nonsense == _NONSENSE_TRIES:
                    raise PermanentError(
                        f"model {self.name} answered {nonsense} times: {error}"
                    ) from error
            except LimitedError as error:
                if error.after_s is not None:
                    until = time.time() + error.after_s
                    self._ledger.pause(f"model {self.name}", until, str(error))
                    continue
                failed = self._again(failed, error)
            except FailingError as error:
                failed = self._again(failed, error)
            except StopError as error:
                raise self._end(f"model {self.name}: {error}") from None

    def _again(self, failed: int, error: TransientError) -> int:
        """Count one more failure and wait; `UnavailableError` after the last."""
        failed += 1
        if failed == _TRIES:
            raise UnavailableError(f"model {self.name} failed {failed} times: {error}") from error
        self._sleep(self._backoff_s * 2 ** (failed - 1) * random.uniform(0.5, 1.5))
        return failed

    def _loaded(self) -> "Model":
        with self._first:
            if self._model is None:
                if self._backend is None:
                    raise UsageError("no model is configured; set DSPY_MODEL")
                # It takes a second to import, and most commands ask nothing.
                from fc_resources.llm_dspy import Model

                self._model = Model(self._backend, **self._how)
                if self._budget is not None and not (self._prices or self._model.has_price):
                    raise self._end(
                        f"FC_LLM_BUDGET_USD is set and no price of {self.name} is known; set "
                        "FC_LLM_USD_PER_MTOK to its dollars per million tokens, input,output"
                    )
            return self._model

    def _charge(self, usage: Usage, stage: str, item: str) -> None:
        if self._prices:
            given, taken = self._prices
            dollars = (usage.input_tokens * given + usage.output_tokens * taken) / 1e6
            usage = dataclasses.replace(usage, dollars=dollars)
        self._ledger.spend(stage, item, self.name, usage)
        with self._mutex:
            self._spent += usage.dollars or 0.0

    def _refuse_to_go_on(self) -> None:
        if self._stop.is_set():
            raise InterruptedRunError("stopped while asking a model; run again with --resume")
        if self._ended is not None:
            raise self._ended
        if self._budget is not None and self._spent >= self._budget:
            raise self._end(
                f"{self._spent:.4f} dollars are spent on {self.name}, FC_LLM_BUDGET_USD is "
                f"{self._budget:g}; run again with --resume to go on"
            )

    def _end(self, why: str) -> StopError:
        """Nobody asks any more in this process: each would only fail the same way.

        Raised without a cause: a run is told the innermost one.
        """
        self._ended = StopError(why)
        return self._ended

    def _wait_for_pauses(self, since: float) -> None:
        """Wait for as long as the model asked any process of this home to."""
        while pause := self._ledger.pauses().get(f"model {self.name}"):
            left = pause.until - time.time()
            if time.monotonic() - since + left > self._max_wait_s:
                raise UnavailableError(
                    f"model {self.name} is limited for {left:.0f} s more, FC_LLM_MAX_WAIT_S is "
                    f"{self._max_wait_s:g}: {pause.reason}"
                )
            # Not all at once when it is over.
            self._sleep(max(0.0, left) + random.uniform(0, 1))

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)
        self._refuse_to_go_on()

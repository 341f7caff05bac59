"""Language models: which one is asked, what its answers take, and when asking has to stop.

How a question reaches a model is `llm_dspy`'s, imported only once there is something to ask; what
is asked and what an answer means are the stages'. Without a model an `Llm` is false.
"""

import dataclasses
import functools
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

    _Question = Callable[[Model, Callable[[Usage], None]], dict[str, Any]]

#: Taken when there is a key of Anthropic's and no DSPY_MODEL: small, as most questions are.
_ANTHROPIC = "anthropic/claude-haiku-4-5"
_PORTKEY_URL = "https://api.portkey.ai/v1"
_TRIES = 4
#: A model asked the same again seldom answers better, and each answer costs.
_NONSENSE_TRIES = 2
#: Items in a row that found no model: it is down, and the ones left would only wait as long.
_MOST_IN_A_ROW = 5
#: Questions without one usable answer since the start: it would answer none of them.
_MOST_USELESS = 10
_LOOK_S = 0.5
#: Nobody is believed who wants to be left alone for longer.
_LONGEST_PAUSE_S = 86_400.0


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


class LimitedTooLongError(UnavailableError):
    """The model asks to wait longer than `max_wait_s`: it is there, and not for now."""


class ForbiddenError(PermanentError):
    """The model refuses this question, or any: a question that is harmless will tell."""


class FailingError(TransientError):
    """No answer: a time-out, a broken connection, a fault of the server."""


class NonsenseError(PermanentError):
    """An answer without the fields that were asked for, or a refusal to give them."""


def backend(settings: Settings) -> Backend | None:
    """Portkey, else Anthropic, else `DSPY_*`; None if none of them is configured.

    Anthropic's key in the environment does not overrule a `DSPY_MODEL` of somebody else.
    """
    model, url = settings.dspy_model, settings.dspy_api_base
    if settings.portkey_api_key and model:
        return Backend(
            "portkey", model, settings.portkey_api_key.get_secret_value(), url or _PORTKEY_URL
        )
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
        self._unpriced = False
        self._in_a_row = 0
        self._useless = 0
        self._answered = False
        #: What this run paid for anew, and what it got no usable answer to: stages may run twice.
        self._fresh: set[str] = set()
        self._given_up: dict[str, PermanentError] = {}
        self._ended: StopError | None = None
        self._checked = False

    @classmethod
    def of(
        cls, settings: Settings, ledger: Ledger, stop: threading.Event, backoff_s: float = 2.0
    ) -> "Llm":
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
            backoff_s=backoff_s,
            stop=stop,
        )

    def __bool__(self) -> bool:
        """Whether a model is configured."""
        return self._backend is not None

    @property
    def name(self) -> str:
        """The backend's name; `UsageError` without one."""
        return self._there.name

    @property
    def _there(self) -> Backend:
        if self._backend is None:
            raise UsageError("no model is configured; set DSPY_MODEL")
        return self._backend

    @functools.cached_property
    def _pause(self) -> str:
        """Whose limits they are: of a model at an address for a key."""
        there = self._there
        account = hashlib.sha256(f"{there.url} {there.key}".encode()).hexdigest()[:8]
        return f"model {self.name} {account}"

    def check(self) -> None:
        """Have the model answer once, before a stage relies on it; `StopError` if it does not."""
        with self._first:
            if self._checked:
                return
            try:
                self._greet()
            except (TransientError, PermanentError) as error:
                raise self._end(
                    f"{error}; nothing was asked yet, see to DSPY_MODEL and DSPY_API_BASE",
                    error.until,
                ) from None
            self._checked = True

    def _greet(self) -> None:
        self._question(lambda model, charge: model.greet(charge), "check", "check")

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
        asked again, unless `fresh`, and then once in a run. Raises `UnavailableError` for a model
        that is down or limited for too long, `PermanentError` for one that answers nonsense or
        refuses, and `StopError` if nothing more can be asked: its key is refused, quota or budget
        is spent, it is down for many items, or answers none.
        """
        key = self._key(signature, inputs)
        if key in self._given_up:
            raise self._given_up[key]
        known = None if fresh and key not in self._fresh else self._ledger.answer(key)
        if known is not None:
            return json.loads(known)
        self.check()
        try:
            with self._lines:
                answer = self._question(lambda m, c: m.ask(signature, inputs, c), stage, item)
        except LimitedTooLongError:
            raise
        except UnavailableError as error:
            self._in_a_row += 1
            if self._in_a_row < _MOST_IN_A_ROW:
                raise
            raise self._end(
                f"model {self.name} failed {self._in_a_row} items in a row: {error}; run again "
                "with --resume when it is back"
            ) from None
        except PermanentError as error:
            self._given_up[key] = error
            self._useless += 1
            if self._answered or self._useless < _MOST_USELESS:
                raise
            raise self._end(
                f"model {self.name} gave no usable answer to {self._useless} questions, so no more "
                f"are asked: {error}"
            ) from None
        self._in_a_row, self._answered = 0, True
        self._fresh.add(key)
        self._ledger.keep_answer(key, json.dumps(answer))
        return answer

    def _key(self, signature: "type[dspy.Signature]", inputs: Mapping[str, Any]) -> str:
        """What an answer rests on: the model, how it is asked, the question, what it is about."""
        question = [signature.instructions, signature.model_json_schema()]
        asked = [self.name, self._how["temperature"], question, dict(inputs)]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def _question(self, question: "_Question", stage: str, item: str) -> dict[str, Any]:
        """Ask until there is an answer: waiting for a limit is no try, a failing server is."""
        model, since = self._loaded(), time.monotonic()
        failed = nonsense = limited = 0
        while True:
            self._refuse_to_go_on()
            self._wait_for_pauses(since)
            try:
                return question(model, lambda usage: self._charge(usage, stage, item))
            except NonsenseError as error:
                nonsense += 1
                if nonsense == _NONSENSE_TRIES:
                    raise PermanentError(
                        f"model {self.name} answered {nonsense} times: {error}"
                    ) from error
            except ForbiddenError as error:
                if stage == "check":
                    raise self._end(f"model {self.name} {error}") from None
                self._greet()
                raise PermanentError(f"model {self.name} {error}, but not others") from error
            except LimitedError as error:
                limited += 1
                grown = min(60, self._backoff_s * 2**limited)
                # A limit that is over at once would be met as often as a request takes.
                wait = max(grown if error.after_s is None else error.after_s, self._backoff_s / 2)
                until = time.time() + min(wait, _LONGEST_PAUSE_S)
                self._ledger.pause(self._pause, until, str(error))
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
                # It takes a second to import, and most commands ask nothing.
                from fc_resources.llm_dspy import Model

                self._model = Model(self._there, **self._how, stop=self._stop)
                if self._budget is not None and not (self._prices or self._model.has_price):
                    raise self._end(
                        f"FC_LLM_BUDGET_USD is set and no price of {self.name} is known; set "
                        "FC_LLM_USD_PER_MTOK to its dollars per million tokens, input,output"
                    )
            return self._model

    def _charge(self, usage: Usage, stage: str, item: str) -> None:
        if self._prices and usage.is_told:
            given, taken = self._prices
            dollars = (usage.input_tokens * given + usage.output_tokens * taken) / 1e6
            usage = dataclasses.replace(usage, dollars=dollars)
        self._ledger.spend(stage, item, self.name, usage)
        with self._mutex:
            self._spent += usage.dollars or 0.0
            self._unpriced |= usage.dollars is None

    def _refuse_to_go_on(self) -> None:
        if self._stop.is_set():
            raise InterruptedRunError("stopped while asking a model; run again with --resume")
        if self._ended is not None:
            raise self._ended
        if self._budget is not None and self._unpriced:
            raise self._end(
                f"an answer of {self.name} has no price, because it tells no tokens or is of "
                "another tier, so FC_LLM_BUDGET_USD cannot be kept; unset it to go on"
            )
        if self._budget is not None and self._spent >= self._budget:
            raise self._end(
                f"{self._spent:.4f} dollars are spent on {self.name}, FC_LLM_BUDGET_USD is "
                f"{self._budget:g}; run again with --resume to go on"
            )

    def _end(self, why: str, until: float | None = None) -> StopError:
        """Nobody asks any more in this process: each would only fail the same way.

        Raised without a cause: a run is told the innermost one.
        """
        self._ended = StopError(why, until=until)
        return self._ended

    def _wait_for_pauses(self, since: float) -> None:
        """Wait for as long as the model asked any process of this home to."""
        while pause := self._ledger.pauses().get(self._pause):
            left = pause.until - time.time()
            if time.monotonic() - since + left > self._max_wait_s:
                raise LimitedTooLongError(
                    f"model {self.name} is limited for {left:.0f} s more, FC_LLM_MAX_WAIT_S is "
                    f"{self._max_wait_s:g}: {pause.reason}",
                    until=pause.until,
                )
            # Not all at once when it is over.
            self._sleep(max(0.0, left) + random.uniform(0, min(1.0, self._backoff_s)))

    def _sleep(self, seconds: float) -> None:
        """Wait, unless asking has to stop meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._stop.wait(min(left, _LOOK_S))
            self._refuse_to_go_on()

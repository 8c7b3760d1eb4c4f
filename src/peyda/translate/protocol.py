"""What a translation engine is: texts in, one outcome for each text out.

Owns the protocol, its records and the stable codes of what can go wrong with one text. When to try again, how fast and
with how many threads is the job's business (`peyda.translate.job`); an engine makes one attempt and says what came of
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Protocol

from peyda.errors import ConfigError, EngineError

FAILURES: Mapping[str, str] = MappingProxyType(
    {
        "no_text": "there is nothing to translate in this row",
        "too_long": "the text is longer than the engine takes",
        "rate_limited": "the service asks for fewer requests",
        "server_error": "the service has failed inside",
        "timeout": "the service did not answer in time",
        "unreachable": "the service cannot be reached",
        "broken_off": "the service broke off in the middle of its answer",
        "not_json": "the service answered with something that is not its format (a web page?)",
        "half_answer": "the answer ends early",
        "bad_format": "the answer is not in the form that was asked for",
        "wrong_count": "the answer has another number of translations than there were texts",
        "empty_answer": "the translation is empty",
        "refused": "the service refuses this text",
        "crashed": "the engine failed in an unforeseen way",
        "not_translated": "no translation was made: the table changed during the run",
    }
)
"""Code → sentence. Codes are stable: they are written to tables and counted."""

SERVICE_FAILURES = frozenset({"rate_limited", "server_error", "timeout", "unreachable", "broken_off", "not_json"})
"""Codes that say more about the service than about the text: many in a row stop a run."""


class TranslationStopped(EngineError):
    """The engine must not be asked any further (banned, bad key, no such model); what is done is kept."""


@dataclass(frozen=True, slots=True)
class Translated:
    """A translation, as the engine gave it; never blank."""

    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """No translation.

    Attributes:
        code: One of `FAILURES`.
        detail: What happened, in a few words; holds no secret and no address.
        may_pass: Whether another attempt may succeed.
        wait_s: Seconds to wait before it, where the service said so.
    """

    code: str
    detail: str = ""
    may_pass: bool = False
    wait_s: float = 0.0

    def __post_init__(self) -> None:
        if self.code not in FAILURES:
            raise ValueError(f"unknown failure code {self.code!r}")

    @property
    def is_service(self) -> bool:
        """Whether this says more about the service than about the text."""
        return self.code in SERVICE_FAILURES

    def __str__(self) -> str:
        """What a table's error column holds: "code: sentence", one line."""
        return f"{self.code}: {' '.join(self.detail.split()) or FAILURES[self.code]}"


Outcome = Translated | Failed


class Engine(Protocol):
    """English texts to Persian ones.

    Attributes:
        label: Short name with the model, such as "openai:gpt-4o-mini": the `engine` column of a table.
        identity: Everything that changes translations (model, version, prompt, search): the cache's key.
        longest_text: Longest text in characters; longer ones are not sent.
        batch_size: Texts in one call, at most.
        concurrency: Calls at a time that are reasonable; 1 for an engine that uses all cores itself.
        calls_per_s: Calls a second that are reasonable; None where only the machine limits them.
    """

    label: str
    identity: str
    longest_text: int
    batch_size: int
    concurrency: int
    calls_per_s: float | None

    def translate(self, texts: Sequence[str]) -> list[Outcome]:
        """One attempt; thread-safe where `concurrency` is above 1.

        Args:
            texts: At most `batch_size` non-blank texts of at most `longest_text` characters.

        Returns:
            One outcome for each text, in order.

        Raises:
            TranslationStopped: No further call should be made.
        """
        ...

    def close(self) -> None:
        """Let go of connections, threads and memory. May be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What a person chose; None means the engine's own default.

    Attributes:
        model: A model's name at the service, or a model directory.
        base_url: Address of the service.
        api_key: Secret for it; never stored nor shown.
        timeout_s: Longest wait for one answer, seconds.
        batch_size: Texts in one call.
        beam_size: Width of the search for the best translation; 1 is greedy.
        device: "cpu", "cuda", "auto".
        threads: Threads of a local engine.
        prompt: Further instructions for an engine that takes them.
    """

    model: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    timeout_s: float | None = None
    batch_size: int | None = None
    beam_size: int | None = None
    device: str | None = None
    threads: int | None = None
    prompt: str | None = None

    def only(self, engine: str, *known: str) -> None:
        """Refuse what `engine` would ignore.

        Raises:
            ConfigError: An option is set that is not among `known`.
        """
        given = [one.name for one in fields(self) if getattr(self, one.name) is not None]
        if unknown := [name for name in given if name not in known]:
            raise ConfigError(
                f"the engine {engine} has no option {', '.join(_flag(name) for name in unknown)}",
                hint=f"it has: {', '.join(_flag(name) for name in known) or 'none'}",
            )

    def __repr__(self) -> str:
        """Without the secret."""
        shown = ", ".join(
            f"{one.name}={'…' if one.name == 'api_key' else repr(getattr(self, one.name))}"
            for one in fields(self)
            if getattr(self, one.name) is not None
        )
        return f"EngineOptions({shown})"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-").removesuffix("-s")

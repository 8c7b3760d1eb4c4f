"""When texts are tried, tried again, held back and given up, on a clock that jumps instead of waiting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from peyda.errors import ConfigError
from peyda.translate import Failed, Outcome, RetryPolicy, Translated, TranslationStopped
from peyda.translate.schedule import Item, Schedule

POLICY = RetryPolicy(tries=5, backoff_s=1.0, longest_wait_s=100.0, budget_s=1_000.0, patience=3)


class Clock:
    """Seconds that pass only when somebody waits for them."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now


class JumpingSchedule(Schedule):
    clock: Clock

    def _wait(self, seconds: float | None) -> None:
        assert seconds is not None, "would wait for ever: nothing is in flight"
        self.clock.waits.append(seconds)
        self.clock.now += seconds


def items(count: int) -> Iterator[Item]:
    return (Item(bytes([n]), f"text {n}") for n in range(count))


def schedule(
    count: int, *, batch_size: int = 4, policy: RetryPolicy = POLICY, calls_per_s: float | None = None
) -> JumpingSchedule:
    clock = Clock()
    made = JumpingSchedule(
        items(count), batch_size=batch_size, policy=policy, calls_per_s=calls_per_s, jitter=lambda: 1.0, clock=clock
    )
    made.clock = clock
    return made


def sources(batch: Sequence[Item] | None) -> list[str]:
    assert batch is not None
    return [item.source.removeprefix("text ") for item in batch]


def good(batch: Sequence[Item]) -> list[Outcome]:
    return [Translated("متن")] * len(batch)


def bad(
    batch: Sequence[Item], code: str = "server_error", *, wait_s: float = 0.0, may_pass: bool = True
) -> list[Outcome]:
    return [Failed(code, may_pass=may_pass, wait_s=wait_s)] * len(batch)


def test_every_text_once_in_order_and_then_the_end() -> None:
    plan = schedule(10)
    seen = []
    while (batch := plan.take()) is not None:
        seen.append(sources(batch))
        assert [item for item, _ in plan.settle(batch, good(batch))] == batch
    assert seen == [list("0123"), list("4567"), list("89")]
    assert plan.take() is None
    assert plan.finish() == []
    assert plan.clock.waits == []


def test_nothing_to_do() -> None:
    assert schedule(0).take() is None


def test_back_off_doubles_and_batches_halve_until_the_text_is_alone() -> None:
    plan = schedule(1, policy=RetryPolicy(tries=5, backoff_s=1.0, patience=0))
    while (batch := plan.take()) is not None:
        assert plan.settle(batch, bad(batch)) == []
    assert plan.clock.waits == pytest.approx([1.0, 2.0, 4.0, 8.0])
    ((item, failed),) = plan.finish()
    assert item.tried == 5
    assert isinstance(failed, Failed)
    assert failed.code == "server_error"


def test_a_bad_text_ends_up_alone_and_the_others_get_through() -> None:
    plan = schedule(16, batch_size=16)
    sizes, decided = [], {}
    while (batch := plan.take()) is not None:
        sizes.append(len(batch))
        has_bad = "13" in sources(batch)
        outcomes = bad(batch, "wrong_count") if has_bad else good(batch)
        decided.update({item.source: outcome for item, outcome in plan.settle(batch, outcomes)})
    assert len(decided) == 16
    assert [source for source, outcome in decided.items() if isinstance(outcome, Failed)] == ["text 13"]
    assert sizes[0] == 16
    assert min(sizes) == 1
    assert sum(plan.clock.waits) < POLICY.wait_s(4), "a wrong answer is asked for again at once, in a smaller batch"


def test_while_the_service_fails_no_fresh_text_is_begun() -> None:
    plan = schedule(40, batch_size=1)
    first = plan.take()
    assert sources(first) == ["0"]
    plan.settle(first or [], bad(first or []))
    again = plan.take()
    assert sources(again) == ["0"], "the text that failed, after its wait; not the next one"
    assert plan.clock.waits == [1.0]
    plan.settle(again or [], good(again or []))
    assert sources(plan.take()) == ["1"]


def test_a_text_at_fault_does_not_hold_up_the_others() -> None:
    plan = schedule(3, batch_size=1)
    batch = plan.take() or []
    assert plan.settle(batch, bad(batch, "empty_answer")) == []
    assert sources(plan.take()) == ["1"]
    assert plan.clock.waits == []


def test_what_a_service_asks_for_holds_for_all() -> None:
    plan = schedule(3, batch_size=1)
    first, second = plan.take() or [], plan.take() or []
    plan.settle(second, good(second))
    plan.settle(first, bad(first, "rate_limited", wait_s=30.0))
    third = plan.take() or []
    assert plan.clock.waits == [30.0]
    assert sources(third) == ["0"]


def test_a_service_that_asks_for_too_much_ends_the_run() -> None:
    plan = schedule(3)
    batch = plan.take() or []
    assert plan.settle(batch, bad(batch, "rate_limited", wait_s=3_600.0)) == []
    assert plan.take() is None
    with pytest.raises(TranslationStopped, match="3,600 seconds"):
        plan.finish()


def test_an_outage_ends_the_run_and_blames_no_text() -> None:
    plan = schedule(100, batch_size=1)
    calls = 0
    while (batch := plan.take()) is not None:
        calls += 1
        assert plan.settle(batch, bad(batch)) == []
    assert calls == POLICY.patience * POLICY.tries
    with pytest.raises(TranslationStopped, match="3 texts in a row"):
        plan.finish()


def test_texts_that_the_service_chokes_on_are_given_up_when_others_succeed() -> None:
    plan = schedule(12, batch_size=1)
    decided = []
    while (batch := plan.take()) is not None:
        chokes = int(sources(batch)[0]) % 2 == 0
        decided += plan.settle(batch, bad(batch) if chokes else good(batch))
    decided += plan.finish()
    assert len(decided) == 12
    assert sum(isinstance(outcome, Failed) for _, outcome in decided) == 6


def test_a_service_that_takes_no_text_at_all_ends_even_a_short_run() -> None:
    plan = schedule(2, batch_size=1)
    while (batch := plan.take()) is not None:
        plan.settle(batch, bad(batch, "unreachable"))
    with pytest.raises(TranslationStopped, match="2 texts in a row") as caught:
        plan.finish()
    assert "--patience 0" in caught.value.hint


def test_a_failure_for_good_is_not_tried_again() -> None:
    plan = schedule(1)
    batch = plan.take() or []
    ((_, failed),) = plan.settle(batch, bad(batch, "refused", may_pass=False))
    assert isinstance(failed, Failed)
    assert plan.take() is None


def test_the_budget_in_seconds_ends_tries_early() -> None:
    plan = schedule(1, policy=RetryPolicy(tries=50, backoff_s=1.0, budget_s=10.0, patience=0))
    while (batch := plan.take()) is not None:
        plan.settle(batch, bad(batch))
    assert sum(plan.clock.waits) <= 10.0
    ((item, _),) = plan.finish()
    assert item.tried == 4


def test_the_rate_is_kept() -> None:
    plan = schedule(5, batch_size=1, calls_per_s=2.0)
    begun = plan.clock.now
    while (batch := plan.take()) is not None:
        plan.settle(batch, good(batch))
    assert plan.clock.now - begun == pytest.approx(2.0), "five calls, four intervals of half a second, and no more"


def test_an_error_in_the_table_is_raised_at_the_end() -> None:
    def broken() -> Iterator[Item]:
        yield Item(b"0", "text")
        raise ValueError("line 2 is broken")

    plan = Schedule(broken(), batch_size=1, policy=POLICY)
    batch = plan.take() or []
    assert len(plan.settle(batch, good(batch))) == 1
    assert plan.take() is None
    with pytest.raises(ValueError, match="line 2"):
        plan.finish()


def test_stopping_hands_out_nothing_more_and_keeps_no_suspects() -> None:
    plan = schedule(9, batch_size=1, policy=RetryPolicy(tries=1, patience=5))
    first, second = plan.take() or [], plan.take() or []
    assert plan.settle(first, bad(first)) == []
    plan.stop()
    assert plan.settle(second, good(second)), "an answer that was on its way counts, and clears the suspicion"
    assert plan.take() is None
    assert plan.is_stopped
    assert plan.finish() == []


def test_jitter_halves_at_most_and_never_undercuts_what_was_asked_for() -> None:
    policy = RetryPolicy(backoff_s=2.0, longest_wait_s=60.0)
    assert policy.wait_s(3, jitter=0.0) == 4.0
    assert policy.wait_s(3, jitter=1.0) == 8.0
    assert policy.wait_s(1, jitter=0.0, asked_s=45.0) == 45.0
    assert policy.wait_s(1_000, jitter=1.0) == 60.0


def test_a_policy_without_tries_is_refused() -> None:
    with pytest.raises(ConfigError):
        RetryPolicy(tries=0)

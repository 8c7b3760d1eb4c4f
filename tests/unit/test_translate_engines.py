"""What is particular to one engine: prompts and replies, Google's answers, language tokens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.translation_models import BUILDERS, build_nllb, build_opus
from tests.translation_service import TranslationService, persian

from peyda.errors import ConfigError, ModelError
from peyda.translate import EngineOptions, Failed, Translated, TranslationStopped, open_engine
from peyda.translate.google import _shape_failure
from peyda.translate.openai import _checked
from peyda.translate.wire import Answer, checked_address, retry_after_s


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is on this machine, whatever proxy the environment names."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def service() -> Iterator[TranslationService]:
    with TranslationService() as running:
        yield running


def chat(service: TranslationService, **options: Any) -> Any:
    return open_engine("openai", EngineOptions(**{"model": "m", "base_url": service.address, **options}))


def reply(*entries: tuple[Any, Any], wrap: str = "{}") -> str:
    content = json.dumps({"translations": [{"id": number, "fa": text} for number, text in entries]}, ensure_ascii=False)
    return wrap.replace("{}", content)


@pytest.mark.parametrize(
    "wrap",
    [
        "{}",
        "```json\n{}\n```",
        "<think>Two captions, {1: x}.</think>\n{}",
        "Here you are:\n{}\nAnything else?",
        "  ```\n{}\n```  ",
    ],
)
def test_a_reply_is_found_in_what_models_put_around_it(wrap: str) -> None:
    assert _checked(reply((2, "ب"), (1, "الف"), wrap=wrap), 2) == ["الف", "ب"]


def test_a_bare_list_and_numbers_as_text_are_fine() -> None:
    assert _checked('[{"id": "1", "fa": "الف"}]', 1) == ["الف"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (reply((1, "a")), "wrong_count"),
        (reply((1, "a"), (2, "b"), (3, "c")), "wrong_count"),
        (reply((1, "a"), (1, "b")), "wrong_count"),
        (reply((0, "a"), (1, "b")), "wrong_count"),
        (reply((1, "a"), (True, "b")), "bad_format"),
        (reply((1, "a"), (2, ["b"])), "bad_format"),
        (reply((1, "a"), (None, "b")), "bad_format"),
        (reply((1, "a"), ("9" * 5_000, "b")), "bad_format"),
        ('{"translations": {"1": "a", "2": "b"}}', "bad_format"),
        ('{"translations": ["a", "b"]}', "bad_format"),
        ("I cannot help with that.", "bad_format"),
        (reply((1, "a"), (2, "b"))[:-9], "bad_format"),
        ("[" * 100_000, "bad_format"),
    ],
)
def test_a_reply_that_cannot_be_trusted_is_thrown_away_whole(content: str, code: str) -> None:
    failed = _checked(content, 2)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.may_pass) == (code, True)


def test_a_blank_translation_fails_alone(service: TranslationService) -> None:
    assert _checked(reply((1, None), (2, "b")), 2) == ["", "b"]


class Canned:
    """Stands for the wire: gives one answer after the other, and keeps the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.payloads: list[Any] = []

    def post(self, _address: str, payload: Any) -> Answer:
        self.payloads.append(payload)
        return self.answers.pop(0)


def canned_engine(*answers: tuple[int, str]) -> tuple[Any, Canned]:
    engine = open_engine("openai", EngineOptions(model="m", base_url="http://127.0.0.1:9"))
    wire = Canned(*(Answer(status, 0.0, body.encode()) for status, body in answers))
    engine._wire = wire
    return engine, wire


def message(content: object, reason: str = "stop", **more: object) -> str:
    return json.dumps({"choices": [{"message": {"content": content, **more}, "finish_reason": reason}]})


@pytest.mark.parametrize(
    ("status", "body", "code", "may_pass"),
    [
        (200, message(None, "content_filter"), "refused", True),
        (200, message(None, refusal="no"), "refused", True),
        (200, message(reply((1, "a")), "length"), "half_answer", True),
        (200, message(""), "empty_answer", True),
        (200, message(["parts"]), "empty_answer", True),
        (200, '{"choices": []}', "half_answer", True),
        (200, "null", "not_json", True),
        (400, '{"error": {"message": "context length exceeded"}}', "refused", True),
        (413, "", "refused", True),
        (418, "", "refused", True),
        (529, "", "server_error", True),
    ],
)
def test_answers_of_chat_services(status: int, body: str, code: str, may_pass: bool) -> None:
    engine, _ = canned_engine((status, body))
    outcomes = engine.translate(["a", "b"])
    assert [(outcome.code, outcome.may_pass) for outcome in outcomes] == [(code, may_pass)] * 2


def test_a_text_that_is_refused_alone_is_refused_for_good() -> None:
    engine, _ = canned_engine((400, '{"error": {"message": "flagged"}}'), (200, message(None, "content_filter")))
    assert engine.translate(["a"]) == [Failed("refused", "flagged")]
    assert engine.translate(["a"])[0].may_pass is False


@pytest.mark.parametrize("status", [301, 307, 401, 402, 403, 404])
def test_statuses_that_no_further_try_can_change_end_the_run(status: int) -> None:
    engine, _ = canned_engine((status, '{"error": {"message": "sk-secret is wrong"}}'))
    with pytest.raises(TranslationStopped, match=str(status)) as caught:
        engine.translate(["a"])
    assert caught.value.hint
    assert "secret" not in caught.value.message


def test_a_used_up_quota_is_no_rate_limit() -> None:
    engine, _ = canned_engine((429, '{"error": {"code": "insufficient_quota"}}'))
    with pytest.raises(TranslationStopped, match="quota"):
        engine.translate(["a"])


def test_a_service_that_refuses_every_request_is_left(service: TranslationService) -> None:
    engine, wire = canned_engine(*[(400, '{"error": {"message": "unknown field"}}')] * 60)
    assert all(engine.translate(["a"]) == [Failed("refused", "unknown field")] for _ in range(49))
    with pytest.raises(TranslationStopped, match="unknown field"):
        engine.translate(["a"])
    assert len(wire.payloads) == 50


def test_a_model_with_one_temperature_is_asked_without() -> None:
    good = (200, message(reply((1, "الف"))))
    engine, wire = canned_engine((400, '{"error": {"message": "temperature: only 1"}}'), good, good)
    assert engine.translate(["a"]) == [Translated("الف")]
    assert engine.translate(["a"]) == [Translated("الف")]
    assert ["temperature" in payload for payload in wire.payloads] == [True, False, False]


def test_the_prompt_numbers_the_captions_and_takes_instructions() -> None:
    engine, wire = canned_engine((200, message(reply((1, "الف"), (2, "ب")))))
    engine.translate(['say "hi"', "b"])
    system, user = wire.payloads[0]["messages"]
    assert json.loads(user["content"]) == {"captions": [{"id": 1, "en": 'say "hi"'}, {"id": 2, "en": "b"}]}
    assert '{"translations"' in system["content"]
    plain = open_engine("openai", EngineOptions(model="m", base_url="http://127.0.0.1:9"))
    formal = open_engine("openai", EngineOptions(model="m", base_url="http://127.0.0.1:9", prompt="Be formal."))
    assert formal._prompt.endswith("Be formal.")
    assert plain.identity != formal.identity


def test_the_key_is_sent_and_is_in_no_identity(service: TranslationService) -> None:
    engine = chat(service, api_key="sk-secret")
    engine.translate(["a"])
    assert service.keys == {"Bearer sk-secret"}
    assert "secret" not in engine.identity + engine.label


def test_key_model_and_address_are_checked_before_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="name of a model"):
        open_engine("openai", EngineOptions(api_key="k"))
    with pytest.raises(ConfigError, match="needs a key"):
        open_engine("openai", EngineOptions(model="m"))
    with pytest.raises(ConfigError, match="characters"):
        open_engine("openai", EngineOptions(model="m", api_key="k\n"))
    for address in ("ftp://x", "x", "http://", "http://a b", "http://a:port"):
        with pytest.raises(ConfigError, match="no web address"):
            open_engine("openai", EngineOptions(model="m", base_url=address))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
    assert "http://127.0.0.1:9/v1|" in open_engine("openai", EngineOptions(model="m")).identity


def test_retry_after_reads_numbers_and_dates() -> None:
    assert retry_after_s("120") == 120.0
    assert retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT") == 0.0
    assert retry_after_s("Fri, 01 Jan 2100 00:00:00 GMT") > 1e6
    assert [retry_after_s(value) for value in ("", "-5", "1.5x", "٣")] == [0.0] * 4
    assert checked_address("https://host/v1/") == "https://host/v1"


GOOD = [[["سگ ", "a dog ", None], ["می‌دود", "runs", None], [None, None, "sag"]], None, "en"]


def test_googles_pieces_must_cover_the_text() -> None:
    assert _shape_failure(json.dumps(GOOD).encode(), "a dog runs") is None
    assert _shape_failure(json.dumps([[["سگ"]]]).encode(), "a dog runs") is None, "no English side, nothing to compare"
    half = [[GOOD[0][0]], None, "en"]
    failed = _shape_failure(json.dumps(half).encode(), "a dog runs")
    assert failed is not None
    assert failed.code == "half_answer"


@pytest.mark.parametrize(
    "data",
    [None, [], [None], {"error": "x"}, [[None, ["a", "b"]]], [[[5, "a"]]], [[[None, "a dog runs"]]], [[[]]], "text", 7],
)
def test_googles_odd_answers_are_no_translations(data: object) -> None:
    failed = _shape_failure(json.dumps(data).encode(), "a dog runs")
    assert isinstance(failed, Failed)
    assert failed.may_pass


def test_googles_robot_check_with_a_good_status_is_a_ban() -> None:
    with pytest.raises(TranslationStopped, match="robot"):
        _shape_failure(b"<html>please solve this CAPTCHA</html>", "a")


def test_google_never_gives_the_input_back_as_a_translation(service: TranslationService) -> None:
    engine = open_engine("google", EngineOptions(base_url=service.address))
    try:
        service.plan = ["error", "ok"]
        first, second = engine.translate(["a dog", "a dog"])
        assert isinstance(first, Failed), "googletrans alone would answer 'a dog' here"
        assert second == Translated(persian("a dog"))
    finally:
        engine.close()


@pytest.mark.parametrize("family", BUILDERS)
def test_language_tokens_stand_where_each_family_wants_them(tmp_path: Path, family: str) -> None:
    directory = BUILDERS[family](tmp_path / "model")
    engine = open_engine("ctranslate2", EngineOptions(model=str(directory), threads=1))
    outcomes = engine.translate(["red dog runs", "ball", "snow ball"])
    assert outcomes == [Translated("قرمز سگ می\u200cدود"), Translated("توپ"), Translated("برف توپ")]
    assert engine.label == "ctranslate2:model"
    engine.close()


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"source_token": ""}, "سگ می\u200cدود"), ({"target_token": ""}, "eng_Latn قرمز سگ می\u200cدود")],
)
def test_the_models_notice_a_missing_token(tmp_path: Path, change: dict[str, str], expected: str) -> None:
    """The test above proves something only if a wrong token shows."""
    import dataclasses

    engine: Any = open_engine("ctranslate2", EngineOptions(model=str(build_nllb(tmp_path / "m")), threads=1))
    tokens = dataclasses.replace(engine._tokens, **change)
    engine._tokens = dataclasses.replace(
        tokens, pieces=dataclasses.replace(tokens.pieces, decode=lambda pieces: " ".join(pieces).replace("▁", ""))
    )
    assert engine.translate(["red dog runs"]) == [Translated(expected)]
    engine.close()


def test_another_model_or_search_has_another_identity(tmp_path: Path) -> None:
    first, second = build_nllb(tmp_path / "a" / "m"), build_nllb(tmp_path / "b" / "m", sharp=11.0)
    copied = tmp_path / "c" / "m"
    shutil.copytree(first, copied)
    found = []
    for options in ({"model": first}, {"model": second}, {"model": copied}, {"model": first, "beam_size": 1}):
        engine = open_engine("ctranslate2", EngineOptions(**{**options, "model": str(options["model"])}))
        found.append(engine.identity)
        engine.close()
    assert found[0] == found[2]
    assert len({found[0], found[1], found[3]}) == 3


def test_a_text_of_too_many_tokens_is_refused_and_the_others_are_not(tmp_path: Path) -> None:
    engine = open_engine("ctranslate2", EngineOptions(model=str(build_nllb(tmp_path / "m")), threads=1))
    long, short, odd = engine.translate([" ".join(["dog"] * 900), "dog", " ".join(["dog"] * 100)])
    assert isinstance(long, Failed)
    assert long.code == "too_long"
    assert "902 tokens" in long.detail
    assert short == Translated("سگ")
    assert isinstance(odd, Failed), "more positions than this model has: it fails alone"
    assert odd.code == "crashed"
    engine.close()


def test_directories_that_are_no_translation_models(tmp_path: Path) -> None:
    def opened(directory: Path) -> None:
        open_engine("ctranslate2", EngineOptions(model=str(directory)))

    with pytest.raises(ConfigError, match="model directory"):
        open_engine("ctranslate2", EngineOptions())
    with pytest.raises(ModelError, match=r"no model\.bin"):
        opened(tmp_path)
    directory = build_opus(tmp_path / "german", targets=[">>deu<<", ">>nld<<"])
    with pytest.raises(ModelError, match="does not translate into Persian: it knows >>deu<<, >>nld<<"):
        opened(directory)
    directory = build_nllb(tmp_path / "bare")
    (directory / "tokenizer.json").rename(directory / "gone.json")
    with pytest.raises(ModelError, match="no tokenizer"):
        opened(directory)
    (directory / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read"):
        opened(directory)
    (directory / "tokenizer.json").unlink()
    (directory / "gone.json").rename(directory / "tokenizer.json")
    (directory / "model.bin").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be loaded"):
        opened(directory)
    (directory / "shared_vocabulary.json").write_text('{"a": 1}')
    with pytest.raises(ModelError, match="no list of words"):
        opened(directory)

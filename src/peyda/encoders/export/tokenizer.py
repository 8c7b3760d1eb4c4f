"""Tokenizers as `tokenizer.json`: from transformers, from sentencepiece, and from open_clip's own.

Padding and truncation are left out of the file: the loader does both. Whatever is written here is compared, id by id,
with what the model's own library makes of the probe texts (`peyda.encoders.export.parity`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peyda.encoders.export.sources import Source
from peyda.encoders.export.towers import TokenizerFiles, loading, quiet_transformers, require
from peyda.errors import ModelError

_UNLIMITED = 100_000  # transformers says 1e30 where a tokenizer knows no limit


def load_tokenizer(source: Source) -> Any:
    """The tokenizer of transformers, right-padding: that is how every family here was trained or does not care.

    Raises:
        ModelError: It cannot be read.
    """
    transformers = require("transformers", "reading a tokenizer")
    with quiet_transformers(), loading(f"the tokenizer of {source.label}"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(source.files), trust_remote_code=False)
    tokenizer.padding_side = "right"
    return tokenizer


def hf_tokenizer_files(tokenizer: Any, context_length: int, folder: Path | None = None) -> TokenizerFiles:
    """Files for a tokenizer of transformers.

    Raises:
        ModelError: It has neither a fast form, nor a sentencepiece model to make one from.
    """

    def reference(texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(list(texts), truncation=True, max_length=context_length)["input_ids"]
        return ids

    if getattr(tokenizer, "is_fast", False):
        document = tokenizer.backend_tokenizer.to_str()
    elif folder is not None and (folder / "tokenizer.json").is_file():
        document = (folder / "tokenizer.json").read_text(encoding="utf-8")
    else:
        document = _from_sentencepiece(tokenizer)
    return TokenizerFiles(_bare(document), _config(tokenizer, context_length), reference)


def _config(tokenizer: Any, context_length: int) -> dict[str, Any]:
    return {
        "pad_token": str(tokenizer.pad_token),
        "model_max_length": context_length,
        "tokenizer_class": type(tokenizer).__name__,
    }


def _bare(document: str) -> str:
    value = json.loads(document)
    value["padding"] = value["truncation"] = None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def own_limit(tokenizer: Any) -> int | None:
    """Tokens that the tokenizer says a text may have; None where it does not say."""
    limit = int(min(getattr(tokenizer, "model_max_length", None) or _UNLIMITED, _UNLIMITED))
    return None if limit >= _UNLIMITED else limit


def _from_sentencepiece(tokenizer: Any) -> str:
    """A unigram sentencepiece model whose texts end with `eos_token`: SigLIP's, which has no fast form."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    path = getattr(tokenizer, "vocab_file", None)
    if not path or not tokenizer.eos_token:
        raise ModelError(
            f"the tokenizer {type(tokenizer).__name__} has no fast form", hint="its repository needs a tokenizer.json"
        )
    proto = require("sentencepiece.sentencepiece_model_pb2", "reading a sentencepiece model").ModelProto()
    proto.ParseFromString(Path(path).read_bytes())
    if proto.trainer_spec.model_type != 1:
        raise ModelError(f"the sentencepiece model of {type(tokenizer).__name__} is not of the unigram kind")
    pieces = [(one.piece, one.score) for one in proto.pieces]
    fast = Tokenizer(models.Unigram(pieces, proto.trainer_spec.unk_id, proto.trainer_spec.byte_fallback))
    steps: list[Any] = [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if proto.normalizer_spec.precompiled_charsmap:
        steps.insert(0, normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap))
    fast.normalizer = normalizers.Sequence(steps)
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    eos = str(tokenizer.eos_token)
    fast.post_processor = processors.TemplateProcessing(
        single=["$A", eos], special_tokens=[(eos, tokenizer.convert_tokens_to_ids(eos))]
    )
    return str(fast.to_str())


def open_clip_bpe_files(tokenizer: Any, context_length: int) -> TokenizerFiles:
    """Files for open_clip's `SimpleTokenizer`, the byte-level BPE of OpenAI's CLIP, which exists as code alone."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    fast = Tokenizer(models.BPE(dict(tokenizer.encoder), merges, end_of_word_suffix="</w>"))
    fast.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = (tokenizer.decoder[one] for one in (tokenizer.sot_token_id, tokenizer.eot_token_id))
    fast.post_processor = processors.TemplateProcessing(
        single=[start, "$A", end], special_tokens=[(start, tokenizer.sot_token_id), (end, tokenizer.eot_token_id)]
    )

    def reference(texts: Sequence[str]) -> list[list[int]]:
        rows = tokenizer(list(texts), context_length=context_length)
        ends = (rows == tokenizer.eot_token_id).int().argmax(dim=1)
        return [row[: end + 1].tolist() for row, end in zip(rows, ends.tolist(), strict=True)]

    config = {"pad_token": tokenizer.decoder[0], "model_max_length": context_length, "tokenizer_class": "CLIPTokenizer"}
    return TokenizerFiles(_bare(fast.to_str()), config, reference)

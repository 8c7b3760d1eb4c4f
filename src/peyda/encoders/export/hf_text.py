"""Text towers from a folder: transformers encoders and how they pool, dual models, M-CLIP, sentence-transformers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from peyda.encoders.directory import read_json
from peyda.encoders.export.hf_image import pooled
from peyda.encoders.export.hf_loading import DUAL, load_config, load_weights, read_state_dict
from peyda.encoders.export.licences import read_licence
from peyda.encoders.export.plan import Pooling
from peyda.encoders.export.sources import Source
from peyda.encoders.export.tokenizer import hf_tokenizer_files, load_tokenizer, own_limit
from peyda.encoders.export.towers import TorchTextTower, loading, quiet_transformers, require
from peyda.errors import ModelError

_LONGEST = 512
_KINDS = "text towers are encoders such as RoBERTa, BERT and XLM-R, M-CLIP, and the halves of CLIP and SigLIP models"
# Dense layers of sentence-transformers name their activation by its torch class.
_ACTIVATIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU}


class _Features(nn.Module):
    """The text half of a dual model, or a text model that pools by itself: CLIP at the end of the text, SigLIP last."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, text: Tensor) -> Tensor:
        encode = getattr(self.model, "get_text_features", self.model)
        return pooled(encode(input_ids=text.long()))


class _Masked(nn.Module):
    """The text half of a dual model whose text tower has to be told what is padding."""

    def __init__(self, model: nn.Module, pad_id: int) -> None:
        super().__init__()
        self.model = model
        self.pad_id = pad_id

    def forward(self, text: Tensor) -> Tensor:
        return pooled(self.model.get_text_features(input_ids=text.long(), attention_mask=(text != self.pad_id).long()))


class PooledText(nn.Module):
    """A transformer encoder, its token states pooled, and what comes behind: a linear map, or nothing."""

    def __init__(self, encoder: nn.Module, pooling: str, pad_id: int, head: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.pad_id = pad_id
        self.head = head or nn.Identity()

    def forward(self, text: Tensor) -> Tensor:
        """Int[b, tokens] to Float32[b, dim]."""
        mask = (text != self.pad_id).long()
        output = self.encoder(input_ids=text.long(), attention_mask=mask)
        if self.pooling == "pooler":
            rows = pooled(output)
        elif self.pooling == "cls":
            rows = output.last_hidden_state[:, 0]
        else:
            weights = mask.unsqueeze(-1).float()
            rows = (output.last_hidden_state * weights).sum(1) / weights.sum(1).clamp(min=1)
        result: Tensor = self.head(rows)
        return result


def load_hf_text_tower(source: Source, pooling: Pooling, context_length: int | None) -> TorchTextTower:
    """The text half of a folder: of a dual model, or all of a text model.

    Args:
        source: Its folder.
        pooling: For a plain encoder: "auto" takes its pooler where it was trained with one, otherwise the mean.
        context_length: Instead of what the model says.

    Raises:
        ModelError: It holds no text model, or one that cannot be exported.
    """
    if (source.files / "modules.json").is_file():
        return _sentence_transformer(source, context_length)
    if read_json(source.files / "config.json").get("model_type") == "M-CLIP":
        return _m_clip(source, context_length)
    config = load_config(source)
    text = getattr(config, "text_config", config)
    if config.model_type in DUAL or text.model_type in ("clip_text_model", "siglip_text_model", "siglip2_text_model"):
        return _of_dual_model(source, config, text, context_length)
    return _plain_encoder(source, config, pooling, context_length)


def _of_dual_model(source: Source, config: Any, text: Any, context_length: int | None) -> TorchTextTower:
    tokenizer = load_tokenizer(source)
    model = load_weights(source, config)
    is_siglip = text.model_type.startswith("siglip")
    limit = int(getattr(text, "max_position_embeddings", _LONGEST))
    length = limit if is_siglip else _length(context_length, tokenizer, limit)
    if is_siglip and context_length not in (None, limit):
        raise ModelError(f"{source.label} reads exactly {limit} tokens; --context-length cannot change that")
    pad_id = _pad_id(tokenizer, source)
    # CLIP looks back only, from the end of the text: it never sees padding. SigLIP does see it, and wants to.
    sees_padding = not is_siglip and not text.model_type.startswith("clip")
    module = _Masked(model, pad_id) if sees_padding else _Features(model)
    text_config: dict[str, Any] = {}
    if text.model_type == "siglip_text_model" and not getattr(tokenizer, "is_fast", False):
        text_config["tokenizer_kwargs"] = {"clean": "canonicalize"}  # its tokenizer is code that drops punctuation
    files = hf_tokenizer_files(tokenizer, length, source.folder)
    return TorchTextTower(
        module, files, length, pad_id, is_siglip, text_config, source.label, read_licence(source.files)
    )


def _plain_encoder(source: Source, config: Any, pooling: Pooling, context_length: int | None) -> TorchTextTower:
    tokenizer = load_tokenizer(source)
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{source.label} ({config.model_type}) is an encoder with a decoder, which is no text tower", hint=_KINDS
        )
    has_pooler = any("pooler.dense" in key for key in _weight_names(source))
    chosen = ("pooler" if has_pooler else "mean") if pooling == "auto" else pooling
    if chosen == "pooler" and not has_pooler:
        raise ModelError(f"{source.label} has no trained pooler", hint="--pooling mean or --pooling cls")
    model = load_weights(source, config, optional=() if chosen == "pooler" else ("pooler.",))
    length = _length(context_length, tokenizer, _positions(config))
    pad_id = _pad_id(tokenizer, source)
    module = PooledText(model, chosen, pad_id)
    files = hf_tokenizer_files(tokenizer, length, source.folder)
    return TorchTextTower(
        module, files, length, pad_id, False, {"hf_pooler_type": chosen}, source.label, read_licence(source.files)
    )


def _m_clip(source: Source, context_length: int | None) -> TorchTextTower:
    """Carlsson et al., Cross-lingual and Multilingual CLIP (LREC 2022): mean of token states, then a linear map."""
    raw = read_json(source.files / "config.json")
    transformers = require("transformers", f"reading {source.label}")
    tensors = read_state_dict(source)
    base = str(raw.get("modelBase", ""))
    with quiet_transformers(), loading(f"{base}, which {source.label} is built on"):
        config = _known_base(transformers, base) or transformers.AutoConfig.from_pretrained(
            base, trust_remote_code=False
        )
        encoder = transformers.AutoModel.from_config(config, attn_implementation="eager").float().eval()
    with loading(source.label):
        head = nn.Linear(int(raw["transformerDimensions"]), int(raw["numDims"]))
        head.load_state_dict({key: tensors[f"LinearTransformation.{key}"] for key in ("weight", "bias")})
        own = {
            key.removeprefix("transformer."): value for key, value in tensors.items() if key.startswith("transformer.")
        }
        missing, unexpected = encoder.load_state_dict(own, strict=False)
    lacking = [key for key in missing if not key.startswith("pooler.") and not key.endswith("position_ids")]
    surplus = [key for key in unexpected if not key.startswith("pooler.") and not key.endswith("position_ids")]
    if lacking or surplus:
        raise ModelError(f"the weights of {source.label} do not fit {base}: {', '.join((lacking + surplus)[:4])}")
    tokenizer = load_tokenizer(source)
    length = _length(context_length, tokenizer, _positions(config))
    pad_id = _pad_id(tokenizer, source)
    module = PooledText(encoder, "mean", pad_id, head.eval())
    files = hf_tokenizer_files(tokenizer, length, source.folder)
    return TorchTextTower(
        module, files, length, pad_id, False, {"hf_pooler_type": "mean"}, source.label, read_licence(source.files)
    )


def _known_base(transformers: Any, name: str) -> Any | None:
    """Configurations of the encoders that the published M-CLIP models stand on, so that they need not be fetched."""
    sizes = {"xlm-roberta-base": (768, 12), "xlm-roberta-large": (1024, 24)}
    short = name.rsplit("/", 1)[-1]
    if Path(name).is_dir():
        return None
    if short in sizes:
        hidden, layers = sizes[short]
        return transformers.XLMRobertaConfig(
            vocab_size=250_002,
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            intermediate_size=4 * hidden,
            max_position_embeddings=514,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            pad_token_id=1,
        )
    if short == "LaBSE":
        return transformers.BertConfig(vocab_size=501_153)
    return None


def _sentence_transformer(source: Source, context_length: int | None) -> TorchTextTower:
    """The format of sentence-transformers: an encoder, a pooling, perhaps dense layers, in numbered folders."""
    with loading(f"modules.json of {source.label}"):
        kinds = _modules(source)

    def part(path: str) -> Source:
        return Source(f"{source.label}/{path}".rstrip("/"), folder=source.files / path)

    at = part(kinds[0][1])
    pooling: Pooling = next((_pooling_of(part(path)) for kind, path in kinds if kind == "Pooling"), "mean")
    layers: list[nn.Module] = [_dense(part(path)) for kind, path in kinds if kind == "Dense"]
    others = {kind for kind, _ in kinds} - {"Transformer", "Pooling", "Dense", "Normalize"}
    if kinds[0][0] != "Transformer" or others:
        raise ModelError(f"{source.label} has modules that are not supported: {', '.join(sorted(others)) or kinds[0]}")
    limit_file = at.files / "sentence_bert_config.json"
    limit = read_json(limit_file).get("max_seq_length") if limit_file.is_file() else None
    tower = _plain_encoder(at, load_config(at), pooling, context_length or limit)
    if layers:
        tower.module.head = nn.Sequential(*layers)
    return dataclasses.replace(tower, label=source.label, licence=read_licence(source.files))


def _modules(source: Source) -> list[tuple[str, str]]:
    found = json.loads((source.files / "modules.json").read_text(encoding="utf-8"))
    return [(str(one["type"]).rsplit(".", 1)[-1], str(one.get("path", ""))) for one in found]


def _pooling_of(source: Source) -> Pooling:
    raw = read_json(source.files / "config.json")
    chosen = raw.get("pooling_mode") or [
        key for key, value in raw.items() if key.startswith("pooling_mode_") and value is True
    ]
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    if names in (["pooling_mode_mean_tokens"], ["mean"]):
        return "mean"
    if names in (["pooling_mode_cls_token"], ["cls"]):
        return "cls"
    raise ModelError(f"the pooling {', '.join(map(str, names)) or 'of none'} is not supported, only mean and cls")


def _dense(source: Source) -> nn.Module:
    raw = read_json(source.files / "config.json")
    tensors = read_state_dict(source)
    with loading(f"the dense layer in {source.label}"):
        layer = nn.Linear(int(raw["in_features"]), int(raw["out_features"]), bias=bool(raw.get("bias", True)))
        layer.load_state_dict({key.removeprefix("linear."): value for key, value in tensors.items()})
        activation = str(raw.get("activation_function", "torch.nn.modules.activation.Tanh")).rsplit(".", 1)[-1]
        return nn.Sequential(layer, _ACTIVATIONS[activation]()).eval()


def _weight_names(source: Source) -> list[str]:
    """Names of the tensors in a folder; of safetensors without reading them."""
    for stem in ("model.safetensors", "pytorch_model.bin"):
        index = source.files / f"{stem}.index.json"
        if index.is_file():
            with loading(f"{stem} of {source.label}"):
                return list(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    if (source.files / "model.safetensors").is_file():
        with (
            loading(f"model.safetensors of {source.label}"),
            require("safetensors", "reading weights").safe_open(
                str(source.files / "model.safetensors"), framework="pt"
            ) as file,
        ):
            return list(file.keys())
    return list(read_state_dict(source))


def _positions(config: Any) -> int:
    """Tokens that the position table has room for; RoBERTa and its kin count from behind the padding id."""
    limit = int(getattr(config, "max_position_embeddings", None) or _LONGEST)
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet"):
        limit -= int(config.pad_token_id or 0) + 1
    return limit


def _length(asked: int | None, tokenizer: Any, positions: int) -> int:
    if asked is not None:
        if asked > positions:
            raise ModelError(f"a text can have at most {positions} tokens here, not {asked}")
        return asked
    return min(own_limit(tokenizer) or _LONGEST, positions, _LONGEST)


def _pad_id(tokenizer: Any, source: Source) -> int:
    if tokenizer.pad_token_id is None:
        raise ModelError(f"the tokenizer of {source.label} has no padding token")
    return int(tokenizer.pad_token_id)

"""Small models with random weights, in the very files that model hubs serve, of every family that can be exported.

Weights are large enough for embeddings to differ from input to input: with the usual initialisation all of them look
alike, and a broken export would pass for a good one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEXTS = [
    "سگ در برف می‌دود و گربه روی میز خوابیده است",
    "دو کودک با توپ قرمز در پارک بازی می کنند",
    "مردی با عینک کنار دوچرخه ایستاده و پشت سرش کوه است",
    "غروب آفتاب بر فراز دریا و قایق های ماهیگیری",
    "a dog runs on the beach while two children play football in the rain",
    "a street full of people and cars in the middle of an old city at night",
]
WIDTH = 32
IMAGE_SIZE = 32
_TEXT = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 82,
    "initializer_range": 0.5,
}
_VISION = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": IMAGE_SIZE,
    "patch_size": 8,
    "initializer_range": 0.5,
}
CLIP_PREPROCESSOR = {
    "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": IMAGE_SIZE},
}
SIGLIP_PREPROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "SiglipImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
}


def enliven(model: Any, seed: int = 0) -> Any:
    """Random weights of a size that makes embeddings differ; norms get weights and biases of their own, too."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim < 2:
                value.copy_(0.2 * noise + (1.0 if name.endswith("weight") else 0.0))
            else:
                value.copy_(noise * (0.7 if "emb" in name or "probe" in name else 1.4 / value.shape[-1] ** 0.5))
    return model.eval()


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def write_card(folder: Path, licence: str) -> None:
    (folder / "README.md").write_text(f"---\nlanguage: fa\nlicense: {licence}\ntags:\n- clip\n---\n# A model\n")


def _bpe(specials: list[str], *, byte_level: bool, suffix: str = "") -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a byte-pair encoding of `TEXTS`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(**({"end_of_word_suffix": suffix} if suffix else {})))
    tokenizer.pre_tokenizer = (
        pre_tokenizers.ByteLevel(add_prefix_space=False) if byte_level else pre_tokenizers.Metaspace()
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet() if byte_level else []
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=specials,
        initial_alphabet=alphabet,
        show_progress=False,
        **({"end_of_word_suffix": suffix} if suffix else {}),
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab = dict(model["vocab"])
    if suffix:  # a lone byte may end a word
        for char in alphabet:
            vocab.setdefault(char + suffix, len(vocab))
    return vocab, [tuple(merge) for merge in model["merges"]]


def roberta_tokenizer() -> Any:
    import transformers

    vocab, merges = _bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], byte_level=True)
    return transformers.RobertaTokenizer(vocab=vocab, merges=merges, model_max_length=80)


def clip_tokenizer() -> Any:
    import transformers

    vocab, merges = _bpe([], byte_level=True, suffix="</w>")
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocab[token] = len(vocab)
    return transformers.CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)


def bert_tokenizer() -> Any:
    import transformers

    words = sorted({word for text in TEXTS for word in text.lower().split()})
    letters = sorted({letter for word in words for letter in word})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *letters, *(f"##{letter}" for letter in letters)]
    vocab = {piece: at for at, piece in enumerate(dict.fromkeys(pieces))}
    return transformers.BertTokenizer(vocab=vocab, model_max_length=64)


def xlm_roberta_tokenizer() -> Any:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(TEXTS, trainers.UnigramTrainer(vocab_size=300, show_progress=False, unk_token="<unk>"))
    pieces = [tuple(one) for one in json.loads(trained.to_str())["model"]["vocab"] if one[0] != "<unk>"]
    specials = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab = [*specials, *pieces, ("<mask>", 0.0)]
    return transformers.XLMRobertaTokenizer(vocab=vocab, model_max_length=64)


def nllb_tokenizer() -> Any:
    import transformers

    vocab, merges = _bpe(["<s>", "<pad>", "</s>", "<unk>"], byte_level=False)
    for token in ("eng_Latn", "pes_Arab", "<mask>"):
        vocab[token] = len(vocab)
    return transformers.NllbTokenizer(
        vocab=vocab, merges=merges, src_lang="eng_Latn", extra_special_tokens=["eng_Latn", "pes_Arab"]
    )


def gemma_tokenizer() -> Any:
    """SigLIP 2's: byte fallback, an end of text, no beginning."""
    import transformers
    from tokenizers import processors

    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocab, merges = _bpe(specials, byte_level=False)
    tokenizer = transformers.Siglip2Tokenizer(vocab=vocab, merges=merges, model_max_length=64, padding_side="right")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=["$A", "<eos>"], special_tokens=[("<eos>", vocab["<eos>"])]
    )
    return tokenizer


def write_siglip_tokenizer(folder: Path) -> int:
    """SigLIP's: a sentencepiece model and nothing faster; returns its size."""
    import sentencepiece
    import transformers

    path = folder / "spiece.model"
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS * 20),
            model_writer=file,
            vocab_size=150,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            model_type="unigram",
            hard_vocab_limit=False,
            minloglevel=2,
        )
    tokenizer = transformers.SiglipTokenizer(vocab_file=str(path), model_max_length=16)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def save(folder: Path, model: Any, tokenizer: Any = None, preprocessor: Any = None, licence: str = "mit") -> Path:
    """A repository of the hub: weights, configuration, tokenizer, preprocessing, card."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    if preprocessor is not None:
        write_json(folder / "preprocessor_config.json", preprocessor)
    write_card(folder, licence)
    return folder


def roberta_text(folder: Path, *, pooler: bool = True) -> Path:
    """As arman-aminian/farsi-image-search-text and SajjadAyoubi/clip-fa-text."""
    import transformers

    tokenizer = roberta_tokenizer()
    config = transformers.RobertaConfig(**_TEXT, vocab_size=len(tokenizer), pad_token_id=1, type_vocab_size=1)
    return save(folder, enliven(transformers.RobertaModel(config, add_pooling_layer=pooler)), tokenizer)


def clip_vision(folder: Path, *, projection: int = 0, seed: int = 1) -> Path:
    """As SajjadAyoubi/clip-fa-vision; with a projection, as a `CLIPVisionModelWithProjection`."""
    import transformers

    if projection:
        config = transformers.CLIPVisionConfig(**_VISION, projection_dim=projection)
        model = transformers.CLIPVisionModelWithProjection(config)
    else:
        model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**_VISION))
    save(folder, enliven(model, seed), preprocessor=CLIP_PREPROCESSOR, licence="apache-2.0")
    _as_published(folder)
    return folder


def _as_published(folder: Path) -> None:
    """The names of an image tower's weights as the hub has them: they come from versions that put a prefix before."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    is_part = ("vision_model.", "visual_projection.")
    tensors = {key if key.startswith(is_part) else f"vision_model.{key}": value for key, value in tensors.items()}
    tensors["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def clip(folder: Path) -> Path:
    import transformers

    tokenizer = clip_tokenizer()
    text = {
        **_TEXT,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = transformers.CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=24)
    return save(folder, enliven(transformers.CLIPModel(config)), tokenizer, CLIP_PREPROCESSOR)


def siglip(folder: Path) -> Path:
    """The first SigLIP; its tokenizer is a sentencepiece model, and drops punctuation."""
    import transformers

    folder.mkdir(parents=True)
    size = write_siglip_tokenizer(folder)
    text = {
        **_TEXT,
        "vocab_size": size,
        "max_position_embeddings": 16,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    config = transformers.SiglipConfig(text_config=text, vision_config=_VISION)
    return save(folder, enliven(transformers.SiglipModel(config)), None, SIGLIP_PREPROCESSOR, "apache-2.0")


def siglip2(folder: Path, *, naflex: bool = False) -> Path:
    """As google/siglip2-base-patch16-224, whose model type is SigLIP's; or NaFlex, which is one of its own."""
    import transformers

    tokenizer = gemma_tokenizer()
    text = {
        **_TEXT,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
    }
    if naflex:
        vision = {key: value for key, value in _VISION.items() if key != "image_size"} | {"num_patches": 16}
        model = transformers.Siglip2Model(transformers.Siglip2Config(text_config=text, vision_config=vision))
    else:
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=_VISION))
    return save(folder, enliven(model), tokenizer, SIGLIP_PREPROCESSOR, "apache-2.0")


def vision_text_dual_encoder(folder: Path) -> Path:
    import transformers

    tokenizer = bert_tokenizer()
    text = transformers.BertConfig(**_TEXT, vocab_size=len(tokenizer))
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        transformers.ViTConfig(**_VISION), text, projection_dim=24
    )
    preprocessor = SIGLIP_PREPROCESSOR | {"image_processor_type": "ViTImageProcessor", "size": IMAGE_SIZE}
    return save(folder, enliven(transformers.VisionTextDualEncoderModel(config)), tokenizer, preprocessor)


def m_clip(folder: Path, base: Path, *, dim: int = 24, as_pickle: bool = True) -> Path:
    """As M-CLIP/XLM-Roberta-Large-Vit-B-32: its own class, a pickle of tensors; `base` becomes the encoder it names."""
    import torch
    import transformers
    from safetensors.torch import save_file

    tokenizer = xlm_roberta_tokenizer()
    config = transformers.XLMRobertaConfig(**_TEXT, vocab_size=len(tokenizer), pad_token_id=1, type_vocab_size=1)
    base.mkdir(parents=True)
    config.save_pretrained(base)
    encoder = enliven(transformers.XLMRobertaModel(config))
    head = enliven(torch.nn.Linear(WIDTH, dim), 5)
    tensors = {f"transformer.{key}": value.contiguous() for key, value in encoder.state_dict().items()}
    tensors["transformer.embeddings.position_ids"] = torch.arange(82)[None]  # files of older versions have it
    tensors |= {f"LinearTransformation.{key}": value for key, value in head.state_dict().items()}
    folder.mkdir(parents=True)
    if as_pickle:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors")
    tokenizer.save_pretrained(folder)
    write_json(
        folder / "config.json",
        {
            "architectures": ["MultilingualCLIP"],
            "modelBase": str(base),
            "model_type": "M-CLIP",
            "numDims": dim,
            "transformerDimensions": WIDTH,
        },
    )
    return folder


def sentence_transformer(folder: Path, *, dim: int = 24) -> Path:
    """As sentence-transformers/clip-ViT-B-32-multilingual-v1: encoder, mean, and a dense layer without activation."""
    import torch
    import transformers
    from safetensors.torch import save_file

    tokenizer = bert_tokenizer()
    config = transformers.DistilBertConfig(
        dim=WIDTH, n_layers=2, n_heads=4, hidden_dim=64, vocab_size=len(tokenizer), max_position_embeddings=64
    )
    at = folder / "0_Transformer"
    save(at, enliven(transformers.DistilBertModel(config)), tokenizer)
    write_json(at / "sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": False})
    kinds = ["Transformer", "Pooling", "Dense"]
    write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": f"{i}_{kind}", "type": f"sentence_transformers.models.{kind}"}
            for i, kind in enumerate(kinds)
        ],
    )
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{one}": one == "mean_tokens" for one in ("cls_token", "mean_tokens", "max_tokens")}
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": WIDTH, **modes})
    (folder / "2_Dense").mkdir()
    settings = {"in_features": WIDTH, "out_features": dim, "bias": False}
    write_json(folder / "2_Dense/config.json", settings | {"activation_function": "torch.nn.modules.linear.Identity"})
    layer = enliven(torch.nn.Linear(WIDTH, dim, bias=False), 6)
    save_file({"linear.weight": layer.weight.detach()}, folder / "2_Dense/model.safetensors")
    write_card(folder, "apache-2.0")
    return folder


OPEN_CLIP_VISION = {"image_size": IMAGE_SIZE, "layers": 2, "width": 64, "patch_size": 8}


def open_clip_config(kind: str, folder: Path) -> dict[str, Any]:
    """The configuration of a small open_clip model; tokenizers, and what `hf_model_name` names, go to `folder`."""
    if kind == "clip":
        text: dict[str, Any] = {"context_length": 77, "vocab_size": 49408, "width": WIDTH, "heads": 4, "layers": 2}
        return {"embed_dim": 24, "vision_cfg": OPEN_CLIP_VISION, "text_cfg": text}
    if kind == "siglip":
        tokenizer = gemma_tokenizer()
        tokenizer.save_pretrained(folder)
        text = {
            "context_length": 16,
            "vocab_size": len(tokenizer),
            "hf_tokenizer_name": "timm/ViT-B-16-SigLIP2",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "width": WIDTH,
            "heads": 4,
            "layers": 2,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        }
        vision = {
            "image_size": 160,  # what this model of timm's own tests is made for
            "timm_model_name": "test_vit",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
        }
        return {"embed_dim": 24, "init_logit_bias": -10, "custom_text": True, "vision_cfg": vision, "text_cfg": text}
    encoder = folder / "encoder"
    encoder.mkdir(parents=True)
    text = {"hf_model_name": str(encoder), "hf_tokenizer_name": f"some/{kind}"}
    if kind == "nllb":
        _nllb_encoder(encoder, folder)
        text |= {"hf_proj_type": "linear", "hf_pooler_type": "cls_pooler"}
    else:
        _xlm_roberta_encoder(encoder, folder)
        text |= {"hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler", "context_length": 64}
    return {"embed_dim": 24, "vision_cfg": OPEN_CLIP_VISION, "text_cfg": text}


def _nllb_encoder(encoder: Path, folder: Path) -> None:
    import transformers

    tokenizer = nllb_tokenizer()
    tokenizer.save_pretrained(folder)
    transformers.M2M100Config(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=90,
        pad_token_id=1,
    ).save_pretrained(encoder)


def _xlm_roberta_encoder(encoder: Path, folder: Path) -> None:
    import transformers

    tokenizer = xlm_roberta_tokenizer()
    tokenizer.save_pretrained(folder)
    transformers.XLMRobertaConfig(
        **_TEXT, vocab_size=len(tokenizer), pad_token_id=1, type_vocab_size=1
    ).save_pretrained(encoder)


def open_clip_repository(folder: Path, kind: str, *, as_pickle: bool = False, licence: str = "mit") -> Path:
    """A repository in open_clip's hub format: open_clip_config.json and its weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    config = open_clip_config(kind, folder)
    write_json(folder.parent / f"tiny-{kind}.json", config)
    open_clip.add_model_config(folder.parent / f"tiny-{kind}.json")
    model = enliven(open_clip.create_model(f"tiny-{kind}", pretrained_hf=False))
    preprocess = open_clip.get_model_preprocess_cfg(model)
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    if as_pickle:
        torch.save(tensors, folder / "open_clip_pytorch_model.bin")
    else:
        save_file(tensors, folder / "open_clip_model.safetensors")
    write_json(
        folder / "open_clip_config.json",
        {"model_cfg": config, "preprocess_cfg": {key: preprocess[key] for key in ("mean", "std", "interpolation")}},
    )
    write_card(folder, licence)
    return folder

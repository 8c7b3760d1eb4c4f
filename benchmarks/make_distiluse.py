"""A sentence-transformers directory of distiluse's shape with random weights: for speed only, its scores say nothing.

    python benchmarks/make_distiluse.py OUT        # needs sentence-transformers, transformers and torch
    python benchmarks/bench_quality.py score TABLE --scorer OUT

Shape: distiluse-base-multilingual-cased-v2 (Reimers and Gurevych 2020, https://arxiv.org/abs/2004.09813), the encoder
that the original project scores with: DistilBERT of 6 layers × 768, mean pooling, a map to 512. The tokenizer is that
of the embedded scorer, so that sentences have as many tokens as real ones have.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
from transformers import DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

from peyda.encoders.registry import embedded_models_dir

LONGEST = 128


def main() -> None:
    """Write the directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=768)
    options = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(embedded_models_dir() / "mini-scorer/tokenizer.json"),
        model_max_length=LONGEST, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
    )  # fmt: skip
    config = DistilBertConfig(
        vocab_size=len(tokenizer), n_layers=options.layers, dim=options.width, hidden_dim=4 * options.width,
        n_heads=max(1, options.width // 64), pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        DistilBertModel(config).save_pretrained(folder)
        tower = Transformer(folder, max_seq_length=LONGEST)
    pooling = Pooling(options.width)
    dense = Dense(options.width, 512, activation_function=torch.nn.Tanh())
    SentenceTransformer(modules=[tower, pooling, dense], device="cpu").save(str(options.out))


if __name__ == "__main__":
    main()

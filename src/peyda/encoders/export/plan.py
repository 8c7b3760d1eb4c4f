"""What is to be exported, and what came of it: records without any library behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Pooling = Literal["auto", "mean", "cls", "pooler"]
POOLINGS: tuple[Pooling, ...] = ("auto", "mean", "cls", "pooler")
PERSIAN = "pes_Arab"  # Western Persian among the languages of NLLB (FLORES-200)
MAX_COSINE_DISTANCE = 1e-3


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What to export and how.

    Args:
        text: Source of the text tower (`peyda.encoders.export.sources`).
        image: Source of the image tower; the same as `text` for one model with both.
        out: The model directory to write; it must not exist, or be empty.
        name: Of the model; from its source when empty.
        is_int8: Store the linear layers and the word table in 8 bits.
        pooling: How token states become one vector, for text encoders that do not say; "auto" takes what the files say.
        preprocess: One of `peyda.encoders.export.preprocess.PRESETS`, for image towers that come without their
            preprocessing or with a wrong one; empty reads the file that came with the model.
        context_length: Tokens of a text that are read; None for what the model says.
        language: Language token of NLLB text towers.
        licence: What to record instead of what the model card says.
    """

    text: str
    image: str
    out: Path
    name: str = ""
    is_int8: bool = False
    pooling: Pooling = "auto"
    preprocess: str = ""
    context_length: int | None = None
    language: str = PERSIAN
    licence: str = ""


@dataclass(frozen=True, slots=True)
class TowerParity:
    """Cosine distance of the written tower's embeddings from torch's, over the probe inputs."""

    inputs: int
    mean: float
    worst: float


@dataclass(frozen=True, slots=True)
class Int8Report:
    """What 8 bits changed: megabytes, and the cosine of the embeddings with the float ones."""

    float_bytes: int
    int8_bytes: int
    text_cosine_mean: float
    text_cosine_worst: float
    image_cosine_mean: float
    image_cosine_worst: float
    recall: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written."""

    directory: Path
    name: str
    embed_dim: int
    image_size_px: int
    context_length: int
    size_bytes: int
    licence: str
    is_non_commercial: bool
    text_parity: TowerParity
    image_parity: TowerParity
    int8: Int8Report | None = None
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping."""
        return asdict(self) | {"directory": str(self.directory)}

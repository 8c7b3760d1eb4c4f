"""Other people's models as model directories: Hugging Face pairs, M-CLIP, and open_clip models, exported to ONNX.

`peyda models export` stands on it. Sources are read from a hub, a mirror (`HF_ENDPOINT`) or a local folder; towers run
in torch once, are exported, compared with the exported file on real inputs, and only then take their place. Code that a
model brings along is never run, nor is a pickle loaded. `plan`, `sources` and `licences` stand on nothing; the other
modules import torch, onnx, transformers or open_clip, which the extra `peyda[export]` brings.
"""

from peyda.encoders.export.plan import ExportPlan, ExportReport, Int8Report, TowerParity

__all__ = ["ExportPlan", "ExportReport", "Int8Report", "TowerParity"]

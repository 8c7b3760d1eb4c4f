"""The model card of an exported model: where it came from, its licence, and what was checked."""

from __future__ import annotations

from collections.abc import Sequence

from peyda.encoders.export.plan import ExportReport


def model_card(report: ExportReport, sources: Sequence[str]) -> str:
    """Markdown with the metadata header that model hubs read."""
    ids = [source.removeprefix("hf:").partition("@")[0] for source in sources if source.startswith("hf:")]
    header = ["---", "language: [fa, en]", "pipeline_tag: zero-shot-image-classification", "tags: [clip, onnx, peyda]"]
    if report.licence and " + " not in report.licence:
        header.append(f"license: {report.licence}")
    if ids:
        header += ["base_model:", *(f"- {one}" for one in ids)]
    licence = report.licence or "not stated by its source"
    if report.is_non_commercial:
        licence += " — **no commercial use**"
    lines = [
        *header,
        "---",
        "",
        f"# {report.name}",
        "",
        f"A dual encoder exported to ONNX by `peyda models export` from {' and '.join(sources)}.",
        "The weights are those of its authors; nothing was trained here.",
        "",
        f"- Licence: {licence}",
        f"- Embedding: {report.embed_dim} dimensions",
        f"- Reads photographs at {report.image_size_px} px, and texts of up to {report.context_length} tokens",
        f"- Largest cosine distance from torch: {report.text_parity.worst:.1e} of {report.text_parity.inputs} texts,",
        f"  {report.image_parity.worst:.1e} of {report.image_parity.inputs} photographs",
    ]
    if report.int8 is not None:
        one = report.int8
        lines.append(
            f"- 8 bits: {one.float_bytes / 1e6:.1f} MB became {one.int8_bytes / 1e6:.1f} MB; mean cosine with the float"
            f" model {one.text_cosine_mean:.4f} (texts), {one.image_cosine_mean:.4f} (photographs)"
        )
        if one.recall:
            lines += ["", *_recall_table(one.recall)]
    return "\n".join([*lines, ""])


def _recall_table(recall: dict[str, object]) -> list[str]:
    rows = {key: value for key, value in recall.items() if isinstance(value, dict)}
    names = list(next(iter(rows.values()))) if rows else []
    return [
        f"Text to image on {recall.get('dataset', 'the given captions')}, {recall.get('queries', 0)} queries:",
        "",
        f"| weights | {' | '.join(f'Acc@{k}' for k in names)} |",
        f"|---|{'---|' * len(names)}",
        *(f"| {label} | {' | '.join(f'{float(row[k]):.3f}' for k in names)} |" for label, row in rows.items()),
    ]

"""What `import peyda` gives, and what it must not cost."""

from __future__ import annotations

import json
import subprocess
import sys

import peyda

PUBLIC = [
    "ConfigError",
    "DataError",
    "EngineError",
    "Gallery",
    "GalleryBusy",
    "GalleryCorrupt",
    "GalleryError",
    "GalleryMismatch",
    "GalleryNotFound",
    "GalleryTooNew",
    "Hit",
    "ImageRefused",
    "ModelError",
    "PeydaError",
    "QueryError",
    "ServerError",
    "StorageError",
    "__version__",
    "load_encoder",
    "normalize",
]


def _in_fresh_python(code: str) -> object:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_the_public_names_are_pinned() -> None:
    assert peyda.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(peyda))


def test_every_public_name_resolves_to_where_it_lives() -> None:
    import peyda.client
    import peyda.encoders
    import peyda.errors
    import peyda.persian
    import peyda.types

    assert peyda.Gallery is peyda.client.Gallery
    assert peyda.load_encoder is peyda.encoders.load_encoder
    assert peyda.normalize is peyda.persian.normalize
    assert peyda.Hit is peyda.types.Hit
    for name in PUBLIC:
        assert getattr(peyda, name) is not None
        if name.endswith(("Error", "Refused")) or (name.startswith("Gallery") and name != "Gallery"):
            assert getattr(peyda, name) is getattr(peyda.errors, name)


def test_every_error_of_the_tree_is_public() -> None:
    import peyda.errors

    tree = {name for name, value in vars(peyda.errors).items() if isinstance(value, type)}
    assert tree <= set(PUBLIC)


def test_a_name_that_is_not_there() -> None:
    assert not hasattr(peyda, "galery")
    assert (
        _in_fresh_python(
            "import json, peyda\ntry: peyda.galery\nexcept AttributeError as error: print(json.dumps(str(error)))"
        )
        == "module 'peyda' has no attribute 'galery'"
    )


def test_importing_peyda_loads_nothing_heavy() -> None:
    heavy = ["numpy", "torch", "onnxruntime", "PIL", "tokenizers", "sqlite3", "qdrant_edge", "click", "rich", "fastapi"]
    loaded = _in_fresh_python(f"import json, sys, peyda; print(json.dumps([m for m in {heavy} if m in sys.modules]))")
    assert loaded == []


def test_a_star_import_and_errors_alone_stay_light() -> None:
    loaded = _in_fresh_python(
        "import json, sys, peyda; peyda.PeydaError, peyda.normalize, peyda.__version__\n"
        "print(json.dumps([m for m in ('numpy', 'torch', 'onnxruntime', 'PIL') if m in sys.modules]))"
    )
    assert loaded == []


def test_opening_a_gallery_loads_no_model() -> None:
    loaded = _in_fresh_python(
        "import json, sys, peyda; peyda.Gallery, peyda.load_encoder\n"
        "print(json.dumps([m for m in ('torch', 'onnxruntime', 'tokenizers', 'fastapi', 'rich', 'http.client') "
        "if m in sys.modules]))"
    )
    assert loaded == []

"""Where a model comes from: the grammar of SOURCE, and a folder on this machine for what it names.

```text
hf:OWNER/NAME[@REVISION]       a repository of the hub, or of the mirror that HF_ENDPOINT names
open_clip:ARCH:PRETRAINED      weights that the library open_clip knows by name; PRETRAINED may be a file
a directory                    what a hub repository holds, as downloaded
```

A pair of towers is written `TEXT+IMAGE`. Files are picked so that nothing is fetched twice: safetensors before pickles,
and no copies for other frameworks.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from peyda.encoders.directory import read_json
from peyda.errors import ModelError

HUB, OPEN_CLIP = "hf:", "open_clip:"
OPEN_CLIP_CONFIG = "open_clip_config.json"
EXTRA_HINT = "pip install 'peyda[export]'"
_HUB_HINT = (
    "check the network; HF_ENDPOINT=https://… names a mirror of the hub, and a folder that holds the files of the"
    " repository can be given in place of hf:…"
)
_UNUSED_FOLDERS = {"onnx", "openvino", "coreml", "tf", "flax", "gguf", "runs", "checkpoints"}
_WEIGHTS = re.compile(r"(open_clip_)?(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)")
_OTHER_FILES = re.compile(r".*\.(json|model|txt)|README\.md|LICEN[CS]E.*")


@dataclass(frozen=True, slots=True)
class Source:
    """One place that a tower, or both, can be read from.

    Exactly one of the two is meant: `folder` holds the files, or open_clip is to be asked for `architecture` with
    `pretrained`. `label` is how it is named in records: never a path of this machine, but for its last part.
    """

    label: str
    folder: Path | None = None
    architecture: str = ""
    pretrained: str = ""

    @property
    def files(self) -> Path:
        """The folder.

        Raises:
            ModelError: It is none.
        """
        if self.folder is None:
            raise ModelError(f"{self.label} is no folder of files", hint="hf:OWNER/NAME or a folder is needed here")
        return self.folder

    @property
    def is_open_clip(self) -> bool:
        """Whether open_clip reads it; a folder with the files of both libraries is read by transformers."""
        if self.folder is None:
            return True
        return (self.folder / OPEN_CLIP_CONFIG).is_file() and not _has_transformers_weights(self.folder)


def split_pair(source: str) -> tuple[str, str]:
    """`TEXT+IMAGE` in two; one source twice when it is no pair.

    >>> split_pair("hf:a/text+hf:b/vision")
    ('hf:a/text', 'hf:b/vision')
    >>> split_pair("hf:a/clip")
    ('hf:a/clip', 'hf:a/clip')
    """
    if Path(source).is_dir():  # a folder may have a plus in its name
        return source, source
    for at in (match.start() for match in re.finditer(r"\+", source)):
        text, image = source[:at], source[at + 1 :]
        if text and (image.startswith((HUB, OPEN_CLIP)) or Path(image).is_dir()):
            return text, image
    return source, source


def default_name(text: str, image: str) -> str:
    """A name for the model: the last part of its source; of a pair, what both names begin with.

    >>> default_name("hf:a/farsi-image-search-text", "hf:a/farsi-image-search-vision")
    'farsi-image-search'
    >>> default_name("open_clip:ViT-B-32:openai", "open_clip:ViT-B-32:openai")
    'ViT-B-32__openai'
    """
    first, second = _short_name(text), _short_name(image)
    pairs = zip(first, second, strict=False)
    common = "".join(a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)).rstrip("-_. ")
    chosen = common if len(common) > 3 else f"{first}-{second}"
    return re.sub(r"[^\w.-]+", "-", chosen).strip("-.") or "model"


def _short_name(source: str) -> str:
    if source.startswith(OPEN_CLIP) and not Path(source.removeprefix(OPEN_CLIP)).is_dir():
        architecture, _, pretrained = source.removeprefix(OPEN_CLIP).partition(":")
        tag = Path(pretrained).stem
        return f"{architecture}__{tag}" if tag else architecture
    last = source.removeprefix(HUB).removeprefix(OPEN_CLIP).rstrip("/").rsplit("/", 1)[-1]
    return last.partition("@")[0]


def open_source(text: str) -> Source:
    """Read one SOURCE; a repository of the hub is fetched into the hub library's own cache first.

    Raises:
        ModelError: It names nothing, or the hub cannot give it.
    """
    if text.startswith(HUB):
        name, _, revision = text.removeprefix(HUB).partition("@")
        if not re.fullmatch(r"[\w.-]+/[\w.-]+|[\w.-]+", name):
            raise ModelError(f"{text} names no repository", hint="write hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
        return Source(label=f"{HUB}{name}" + (f"@{revision}" if revision else ""), folder=_fetch(name, revision))
    rest = text.removeprefix(OPEN_CLIP)
    if Path(rest).is_dir():
        return Source(label=Path(rest).resolve().name, folder=Path(rest))
    if text.startswith(OPEN_CLIP):
        architecture, _, pretrained = rest.partition(":")
        if not architecture or not pretrained:
            raise ModelError(f"{text} is incomplete", hint="write open_clip:ARCH:PRETRAINED, as in ViT-B-32:openai")
        shown = Path(pretrained).name if Path(pretrained).is_file() else pretrained
        return Source(f"{OPEN_CLIP}{architecture}:{shown}", architecture=architecture, pretrained=pretrained)
    raise ModelError(
        f"{text} is neither a directory nor a source",
        hint="write hf:OWNER/NAME, open_clip:ARCH:PRETRAINED, the path of a folder, or TEXT+IMAGE",
    )


def _has_transformers_weights(folder: Path) -> bool:
    config = folder / "config.json"
    if not config.is_file() or "model_type" not in read_json(config):
        return False
    return any(
        (folder / f"{stem}{end}").is_file()
        for stem in ("model.safetensors", "pytorch_model.bin")
        for end in ("", ".index.json")
    )


def wanted_files(names: Sequence[str]) -> list[str]:
    """Which files of a repository an export reads.

    >>> wanted_files(["config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "onnx/model.onnx"])
    ['config.json', 'model.safetensors']
    """
    paths = [PurePosixPath(name) for name in names]
    skipped = _UNUSED_FOLDERS | {".."}
    kept = [path for path in paths if not skipped & set(path.parts[:-1]) and len(path.parts) <= 2]
    weights = [path for path in kept if _WEIGHTS.fullmatch(path.name)]
    own = [path for path in weights if not path.name.startswith("open_clip_")]
    top_level = {path.name for path in kept if len(path.parts) == 1}
    if OPEN_CLIP_CONFIG in top_level and (not own or "config.json" not in top_level):
        weights = [path for path in weights if path.name.startswith("open_clip_")] or weights
    else:
        weights = own
    tensors = {path.parent for path in weights if path.suffix == ".safetensors"}
    weights = [path for path in weights if path.suffix == ".safetensors" or path.parent not in tensors]
    others = [path for path in kept if _OTHER_FILES.fullmatch(path.name)]
    return [str(path) for path in paths if path in weights or path in others]


def fetch_card(name: str) -> Path | None:
    """The folder of a repository's README.md, fetched; None where it cannot be had: a licence can be asked for."""
    import huggingface_hub

    try:
        with hub_errors(f"hf:{name}"):
            path: str = huggingface_hub.hf_hub_download(
                name, "README.md", endpoint=os.environ.get("HF_ENDPOINT") or None
            )
    except ModelError:
        return None
    return Path(path).parent


def _fetch(name: str, revision: str) -> Path:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ModelError(f"hf:{name} needs the package huggingface_hub", hint=EXTRA_HINT) from error
    endpoint = os.environ.get("HF_ENDPOINT") or None
    with hub_errors(f"hf:{name}"):
        try:
            info = huggingface_hub.HfApi(endpoint=endpoint).model_info(name, revision=revision or None)
        except huggingface_hub.errors.OfflineModeIsEnabled:
            found: str = huggingface_hub.snapshot_download(name, revision=revision or None, local_files_only=True)
            return Path(found)
        files = wanted_files([one.rfilename for one in info.siblings or []])
        if not any(_WEIGHTS.fullmatch(PurePosixPath(file).name) for file in files):
            raise ModelError(
                f"hf:{name} holds no torch weights", hint="an ONNX export of it may be pulled: peyda models list"
            )
        paths = [
            huggingface_hub.hf_hub_download(name, file, revision=info.sha or revision or None, endpoint=endpoint)
            for file in files
        ]
    return Path(paths[0]).parents[len(PurePosixPath(files[0]).parts) - 1]


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Turn what the hub's library raises into a `ModelError` that says what to do."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{what} is gated: its owner asks for consent",
            hint="agree on its page of the hub, then set HF_TOKEN to a token of yours",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(f"{what} is not on the hub, or private", hint="check its name, or set HF_TOKEN") from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{what} has no such revision", hint="leave out @REVISION for the newest") from error
    except ModelError:
        raise
    except Exception as error:  # the library's HTTP client raises classes of its own, and was another one before
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
            raise
        raise ModelError(f"{what} cannot be fetched: {' '.join(str(error).split())[:200]}", hint=_HUB_HINT) from error

"""Sample photographs that scikit-image and scikit-learn install; nothing is downloaded.

Only photographs are listed: test patterns, scans and renderings of those packages are not. Titles and licences are
those of `skimage/data/_fetchers.py` and `sklearn/datasets/images/README.txt`. The packages are located, never
imported, so that their own large requirements are not loaded.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass

from peyda.demo.tour import Credit, make_folder, write_credits, write_photo
from peyda.errors import DataError

_SKIMAGE = ("skimage", "data")
_SKLEARN = ("sklearn", "datasets", "images")
_CC0 = "CC0 1.0"
_PUBLIC_DOMAIN = "public domain"
_NO_RESTRICTIONS = "no known copyright restrictions"
_CC_BY = "CC BY 2.0"


@dataclass(frozen=True, slots=True)
class Sample:
    """One photograph: the package folder it lies in, its file, what to call it, and its terms."""

    place: tuple[str, ...]
    file: str
    title: str
    author: str
    licence: str


SAMPLES = (
    Sample(_SKIMAGE, "astronaut.png", "The astronaut Eileen Collins", "NASA", _PUBLIC_DOMAIN),
    Sample(_SKIMAGE, "brick.png", "A brick wall", "CC0Textures", _CC0),
    Sample(_SKIMAGE, "camera.png", "A man with a camera on a tripod", "Lav Varshney", _CC0),
    Sample(_SKIMAGE, "chelsea.png", "Chelsea the cat", "Stefan van der Walt", _CC0),
    Sample(_SKIMAGE, "coffee.png", "A cup of coffee", "Rachel Michetti", _CC0),
    Sample(_SKIMAGE, "coins.png", "Greek coins from Pompeii", "Brooklyn Museum", _NO_RESTRICTIONS),
    Sample(_SKIMAGE, "grass.png", "Grass", "linolafett", _CC0),
    Sample(_SKIMAGE, "gravel.png", "Gravel", "CC0Textures", _CC0),
    Sample(_SKIMAGE, "hubble_deep_field.jpg", "The Hubble extreme deep field", "NASA", _PUBLIC_DOMAIN),
    Sample(
        _SKIMAGE,
        "motorcycle_left.png",
        "A motorcycle in a garage",
        "Middlebury stereo benchmark 2014",
        "as distributed with scikit-image",
    ),
    Sample(_SKIMAGE, "rocket.jpg", "A Falcon 9 rocket before its launch", "SpaceX", _PUBLIC_DOMAIN),
    Sample(_SKLEARN, "china.jpg", "A tower of the Summer Palace, Beijing", "danielbuechele", _CC_BY),
    Sample(_SKLEARN, "flower.jpg", "A dahlia", "vultilion", _CC_BY),
)


def copy_samples(folder: str) -> list[Credit]:
    """Copy the samples that are installed into `folder`, with `LICENSES.csv`; files already there are left alone.

    Returns:
        The credits of the photographs in `folder`.

    Raises:
        DataError: Neither package is installed.
        StorageError: The folder cannot be written.
    """
    make_folder(folder)
    installed: list[Credit] = []
    for sample in SAMPLES:
        path = _locate(sample)
        if path is None:
            continue
        if not _is_copied(path, os.path.join(folder, sample.file)):
            write_photo(folder, sample.file, _read(path))
        installed.append(
            Credit(
                sample.file, sample.title, sample.author, sample.licence, f"Python package {_PACKAGES[sample.place]}"
            )
        )
    if not installed:
        raise DataError(
            "no sample photographs are installed",
            hint="Run `pip install scikit-image scikit-learn`, or try your own: `peyda demo --photos DIR`.",
        )
    write_credits(folder, installed)
    return installed


_PACKAGES = {_SKIMAGE: "scikit-image", _SKLEARN: "scikit-learn"}


def _locate(sample: Sample) -> str | None:
    spec = importlib.util.find_spec(sample.place[0])  # a top-level name: finding it imports nothing
    for root in (spec.submodule_search_locations if spec else None) or ():
        path = os.path.join(root, *sample.place[1:], sample.file)
        if os.path.isfile(path):
            return path
    return None


def _is_copied(path: str, copy: str) -> bool:
    try:
        return os.path.getsize(path) == os.path.getsize(copy)
    except OSError:
        return False


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DataError(
            f"cannot read the sample photograph {path}: {error.strerror}",
            hint="Install its package again: `pip install --force-reinstall scikit-image scikit-learn`.",
        ) from error

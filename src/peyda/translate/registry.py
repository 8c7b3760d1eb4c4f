"""The engines by name. An engine's module is imported when it is opened, so that none costs those who use another.

A new engine is a module with `open_engine(options) -> Engine` and one line here. An engine from outside is given to
`peyda.translate.translate_table` as an object.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from types import MappingProxyType

from peyda.errors import ConfigError
from peyda.translate.protocol import Engine, EngineOptions

ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "mini": "this project's own translator: inside the package, no network",
        "google": "Google's public page through googletrans: no key, but it bans (pip install 'peyda[google]')",
        "openai": "a chat model at any OpenAI-compatible address, a local one included",
        "ctranslate2": "NLLB, MADLAD or opus-mt from a directory, no network (pip install 'peyda[ctranslate2]')",
    }
)
"""Name → what it is. The engine `x` is opened by `peyda.translate.x.open_engine`."""


def open_engine(name: str, options: EngineOptions | None = None) -> Engine:
    """Open an engine by its name.

    Args:
        name: One of `ENGINES`.
        options: What a person chose; the engine's defaults when None.

    Raises:
        ConfigError: No such engine, an option that it does not have, a library that is not installed, no key.
        ModelError: A model that cannot be used.
    """
    if name not in ENGINES:
        close = difflib.get_close_matches(name, ENGINES, n=1)
        guess = f"Did you mean {close[0]}? " if close else ""
        raise ConfigError(f"there is no translation engine {name!r}", hint=f"{guess}Known ones: {', '.join(ENGINES)}.")
    module_name = f"peyda.translate.{name}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        others = ", ".join(one for one in ENGINES if one != name)
        raise ConfigError(f"this build of Peyda has no engine {name}", hint=f"Others: {others}.") from error
    engine: Engine = module.open_engine(options or EngineOptions())
    return engine

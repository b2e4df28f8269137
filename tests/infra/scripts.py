"""Python files of infra/, which are no package."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType


def module_of(path: Path) -> ModuleType:
    """The file as a module, whatever its name ends in."""
    name = "_".join(path.parts[-2:]).replace(".", "_")
    spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module

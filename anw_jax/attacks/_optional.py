"""Libraries that a single attack needs."""

import importlib
import types


def libraries(needed_by: str, extra: str, *names: str) -> list[types.ModuleType]:
    """The modules, imported when they are needed.

    Args:
      needed_by: what the error calls the attack.
      extra: of the package, which installs them.
      *names: of the modules.

    Raises:
      ImportError: if one is missing; says how to install it.
    """
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise ImportError(
            f"{needed_by} needs {error.name}, which is not installed: "
            f"pip install '.[{extra}]' in the checkout"
        ) from error

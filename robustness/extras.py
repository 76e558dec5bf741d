"""Optional dependencies: a missing one is a one-line error that names the extra."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from robustness.errors import UsageError


def require_installed(user: str, modules: Iterable[str], extra: str) -> None:
    """Check that optional libraries are installed, without importing them.

    Args:
        user: Subject of the error message, such as ``evalset hf:DIR``.
        modules: The import names of the libraries.
        extra: The extra of this distribution that installs them.

    Raises:
        UsageError: A library is missing.
    """
    for module in modules:
        spec = find_spec(module)
        if spec is None or spec.origin is None:  # a plain folder of that name
            raise UsageError(
                f"{user} needs {module}, which is not installed:"
                f" pip install 'robustness-gate[{extra}]'"
            )

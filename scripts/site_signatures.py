"""Extension of griffe for the site: signatures as they are at run time, where a decorator lists the options.

Everything else in the reference is read without importing it.
"""

from __future__ import annotations

import inspect
from typing import Any

import griffe

KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: griffe.ParameterKind.positional_only,
    inspect.Parameter.POSITIONAL_OR_KEYWORD: griffe.ParameterKind.positional_or_keyword,
    inspect.Parameter.VAR_POSITIONAL: griffe.ParameterKind.var_positional,
    inspect.Parameter.KEYWORD_ONLY: griffe.ParameterKind.keyword_only,
    inspect.Parameter.VAR_KEYWORD: griffe.ParameterKind.var_keyword,
}


class RuntimeSignatures(griffe.Extension):
    """Replace ``**options`` by the options that `list_options` puts into a function's signature."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Import the function if it has the decorator, and take over its parameters."""
        if not any("list_options" in str(decorator.value) for decorator in func.decorators):
            return
        signature = inspect.signature(griffe.dynamic_import(func.path))
        func.parameters = griffe.Parameters(
            *(
                griffe.Parameter(
                    entry.name,
                    annotation=None if entry.annotation is entry.empty else str(_written(entry.annotation)),
                    kind=KINDS[entry.kind],
                    default=None if entry.default is entry.empty else repr(entry.default),
                )
                for entry in signature.parameters.values()
            )
        )


def _written(annotation: Any) -> Any:
    """Return the annotation as written in the code; a TypedDict wraps it."""
    return getattr(annotation, "__forward_arg__", annotation)

"""An application whose description in OpenAPI says what is answered, and no more."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

__all__ = ["AsDescribed"]

_NEVER = "422"
_ITS_SCHEMAS = ("HTTPValidationError", "ValidationError")


class AsDescribed(FastAPI):
    """FastAPI without its own answer to wrong parameters, as here that is another, and described."""

    def openapi(self) -> dict[str, Any]:
        """Return the description, which is made once."""
        made = self.openapi_schema is not None
        described = super().openapi()
        if not made:
            for path in described["paths"].values():
                for operation in path.values():
                    operation["responses"].pop(_NEVER, None)
            for name in _ITS_SCHEMAS:
                described["components"]["schemas"].pop(name, None)
        return described

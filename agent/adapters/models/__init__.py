"""Model packages: a model with what it says of itself, and golden inputs with what comes out of them."""

from agent.adapters.models.package import (
    ModelPackage,
    examine_package,
    is_package,
    open_package,
    package_digest,
)

__all__ = ["ModelPackage", "examine_package", "is_package", "open_package", "package_digest"]

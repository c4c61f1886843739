"""Source text to the ES module that an instance loads. Knows esbuild; knows nothing of workerd or the store."""

from isolet.compile.bundle import Compiler
from isolet.compile.esbuild import Bundle

__all__ = ["Bundle", "Compiler"]

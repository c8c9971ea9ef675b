"""Models in ONNX files, run by ONNX Runtime, which is imported when the first one is loaded."""

from agent.adapters.onnx.load import load_model

__all__ = ["load_model"]

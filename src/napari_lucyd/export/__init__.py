"""Models for other programs: ONNX files and bioimage.io packages."""

from napari_lucyd.export.onnx_file import export_model, graph_from_description, write_onnx

__all__ = ["export_model", "graph_from_description", "write_onnx"]

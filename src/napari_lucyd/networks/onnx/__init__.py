"""Networks of other makers, as ONNX graphs: their reach, and their run by onnxruntime."""

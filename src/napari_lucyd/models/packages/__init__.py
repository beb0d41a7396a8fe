"""Packages of the bioimage.io model zoo that restore images, as models.

Nothing in a package is run but its ONNX graph, by onnxruntime, which computes and cannot do anything else.
TorchScript may hold a program, and a state dict needs the Python code of its network: both are refused.
"""

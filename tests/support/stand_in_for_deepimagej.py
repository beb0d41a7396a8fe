"""Stands in for deepImageJ in a test of the macro: runs a package as its command "DeepImageJ Run" does.

Called with the options of the command. As in deepImageJ 3, the model's first input gets the image, and a
result is named after the image and the output.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import tifffile


def main(options: str) -> None:
    """Run the model of ``model_path`` on ``input_path``, and save each output in ``output_folder``."""
    given = dict(re.findall(r"(\w+)=(?:\[([^\]]*)\])", options))
    model, image = Path(given["model_path"]), Path(given["input_path"])
    described = json.loads((model / "rdf.yaml").read_text("utf-8"))
    (only,) = described["inputs"]
    values = tifffile.imread(image)
    assert values.dtype == np.float32
    axes = [axis.get("id", axis["type"]) for axis in only["axes"]]
    assert axes[:2] == ["batch", "channel"] and len(axes) == values.ndim + 2
    session = onnxruntime.InferenceSession(model / described["weights"]["onnx"]["source"])
    names = [entry["id"] for entry in described["outputs"]]
    results = session.run(names, {only["id"]: values[None, None]})
    title = image.name.split(" ")[0].removesuffix(".tif")
    for name, result in zip(names, results, strict=True):
        tifffile.imwrite(Path(given["output_folder"]) / f"{title}_{name}.tif", result[0, 0], imagej=True)


if __name__ == "__main__":
    main(sys.argv[1])

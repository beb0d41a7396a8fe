// Restore a TIFF stack with an exported model in Node, without Python:
//
//   lucyd export lucyd -o lucyd.onnx
//   npm install onnxruntime-web
//   node restore_with_onnxruntime.mjs lucyd.onnx stack.tif restored.tif 2.5 1.3 1.3
//
// The last numbers are the width of the blur (σ in voxels along Z, Y, X), which only models such as lucyd take.
// onnxruntime-node has the same functions, and is faster. The TIFF modules are those of the documentation's
// browser page.

import { openAsBlob, readFileSync, writeFileSync } from "node:fs";
import * as onnxruntime from "onnxruntime-web";
import { openTiff, readStack } from "../docs/browser/tiff_reader.mjs";
import { writeTiff } from "../docs/browser/tiff_writer.mjs";

const [modelFile, stackFile, outFile, ...sigmas] = process.argv.slice(2);

const session = await onnxruntime.InferenceSession.create(readFileSync(modelFile));
const tiff = await openTiff(await openAsBlob(stackFile));
const { data, shape } = await readStack(tiff);

// Batch and channel lead; a model of planes has no Z.
const sizes = shape[0] === 1 ? shape.slice(1) : shape;
const inputs = { image: new onnxruntime.Tensor("float32", data, [1, 1, ...sizes]) };
if (session.inputNames.includes("blur_sigma")) {
  inputs.blur_sigma = new onnxruntime.Tensor("float32", Float32Array.from(sigmas.map(Number)), [sizes.length]);
}
const { output } = await session.run(inputs);

const blob = writeTiff(output.data, shape, tiff.voxelSize);
writeFileSync(outFile, new Uint8Array(await blob.arrayBuffer()));
console.log(JSON.stringify({ saved: outFile, shape }));

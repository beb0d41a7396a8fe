// Measures the memory that WebAssembly takes for an image, beside what the page says:
// node memory.mjs LIMITS MODEL NAME SIZE…

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

// The runtime keeps its memory to itself, so that is caught when it is made.
let memory;
const Original = WebAssembly.Memory;
WebAssembly.Memory = function (...details) {
  memory = new Original(...details);
  return memory;
};

const ort = await import("./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs");
const [limits, model, name, ...sizes] = process.argv.slice(2);
const { bytesNeeded } = await import(pathToFileURL(limits));
const shape = sizes.map(Number);
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(model), { executionProviders: ["wasm"] });
const image = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, index) => 50 + (index % 97));
const feeds = { image: new ort.Tensor("float32", image, [1, 1, ...shape]) };
if (session.inputNames.includes("blur_sigma")) {
  feeds.blur_sigma = new ort.Tensor("float32", new Float32Array(shape.length).fill(1.5), [shape.length]);
}
await session.run(feeds);
process.stdout.write(JSON.stringify({ used: memory.buffer.byteLength, said: bytesNeeded(name, shape) }));
process.exit(0);

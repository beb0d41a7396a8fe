// Tries the models of the browser page by WebGPU, in a headless Chromium that computes it in software:
//
//   make docs && node scripts/browser/try_webgpu.mjs CHROMIUM [build]
//
// It prints for each model how far WebGPU is from WebAssembly, as a share of the range, or why it failed.
// Decision 16 has the answers.

import { existsSync, createReadStream, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";

const [program, build = "build"] = process.argv.slice(2);
const packages = resolve(build, "npm", "node_modules");
const { chromium } = createRequire(join(packages, "x.js"))("playwright-core");
const FLAGS = [
  "--no-sandbox", "--no-first-run", "--disable-background-networking",
  "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan",
];
const FOLDERS = { runtime: join(packages, "onnxruntime-web", "dist"), models: resolve(build, "browser", "models") };
const TYPES = { ".mjs": "text/javascript", ".wasm": "application/wasm" };

const server = createServer((request, answer) => {
  const [, folder, name] = request.url.split("/");
  const file = FOLDERS[folder] && join(FOLDERS[folder], name);
  answer.setHeader("content-type", TYPES[extname(request.url)] ?? "text/html");
  if (file && existsSync(file)) createReadStream(file).pipe(answer);
  else answer.end("<p>");
}).listen(0, "127.0.0.1");

async function compare([model, runtime]) {
  if (!(await navigator.gpu?.requestAdapter())) return "this browser has no WebGPU adapter";
  const onnxruntime = await import(`/runtime/${runtime}`);
  onnxruntime.env.wasm.numThreads = 1;
  const sizes = model.includes("planes") ? [16, 16] : [2, 8, 8];
  const image = Float32Array.from({ length: sizes.reduce((a, b) => a * b) }, (_, k) => 100 + ((k * 7919) % 997));
  const found = [];
  for (const provider of ["wasm", "webgpu"]) {
    try {
      const options = { executionProviders: [provider], logSeverityLevel: 4 };
      const session = await onnxruntime.InferenceSession.create(`/models/${model}.onnx`, options);
      const inputs = { image: new onnxruntime.Tensor("float32", image, [1, 1, ...sizes]) };
      if (session.inputNames.includes("blur_sigma")) {
        inputs.blur_sigma = new onnxruntime.Tensor("float32", new Float32Array(sizes.length).fill(1.5), [sizes.length]);
      }
      found.push((await session.run(inputs)).output.data);
    } catch (error) {
      return `${provider} failed: ${error.message ?? error}`;
    }
  }
  const [a, b] = found;
  const range = a.reduce((m, v) => Math.max(m, v), -Infinity) - a.reduce((m, v) => Math.min(m, v), Infinity);
  return (a.reduce((most, value, k) => Math.max(most, Math.abs(value - b[k])), 0) / range).toExponential(1);
}

const profile = mkdtempSync(join(tmpdir(), "webgpu-"));
const browser = await chromium.launchPersistentContext(profile, { executablePath: program, headless: true, args: FLAGS });
try {
  for (const runtime of ["ort.min.mjs", "ort.webgpu.min.mjs"]) {
    for (const model of ["planes", "lucyd-planes", "general", "lucyd"]) {
      const page = await browser.newPage();
      await page.goto(`http://127.0.0.1:${server.address().port}/`);
      console.log(`${runtime}, ${model}:`, await page.evaluate(compare, [model, runtime]));
      await page.close();
    }
  }
} finally {
  await browser.close();
  server.close();
  rmSync(profile, { recursive: true, force: true });
}

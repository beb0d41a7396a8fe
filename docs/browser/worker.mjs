// Runs a model in a thread of its own. So the page stays usable, and ending the thread frees its memory.
//
// It receives { kind: "load", runtime, model, threads } once, then { kind: "run", image, shape, sigmas }, and
// answers with { kind: "loaded" }, { kind: "done", parts, seconds } or { kind: "failed", stage, reason }.

let runtime;
let session;

self.onmessage = async ({ data: message }) => {
  try {
    if (message.kind === "load") {
      await load(message);
      self.postMessage({ kind: "loaded" });
    } else {
      const { parts, seconds } = await run(message);
      const buffers = Object.values(parts).map((part) => part.buffer);
      self.postMessage({ kind: "done", parts, seconds }, buffers);
    }
  } catch (error) {
    self.postMessage({ kind: "failed", stage: message.kind, reason: String(error?.message ?? error) });
  }
};

async function load(message) {
  runtime = await import(message.runtime);
  runtime.env.wasm.numThreads = message.threads;
  session = await runtime.InferenceSession.create(message.model, { executionProviders: ["wasm"] });
}

async function run({ image, shape, sigmas }) {
  const feeds = { image: new runtime.Tensor("float32", image, [1, 1, ...shape]) };
  if (session.inputNames.includes("blur_sigma")) {
    feeds.blur_sigma = new runtime.Tensor("float32", Float32Array.from(sigmas), [sigmas.length]);
  }
  const started = performance.now();
  const results = await session.run(feeds);
  const seconds = (performance.now() - started) / 1000;
  const parts = Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, tensor.data]));
  return { parts, seconds };
}

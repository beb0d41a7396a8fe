// One worker with one model: load, run, end.

const MISSING =
  "The runtime could not be loaded, so nothing can be computed here. It is the package onnxruntime-web, which is part " +
  "of the published site; this copy of the site may have been built without it, or the connection broke. ";

export class RestorerError extends Error {}

export class Restorer {
  constructor() {
    this.worker = new Worker(new URL("worker.mjs", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.#answer(data);
    // This is called if the worker cannot start at all.
    this.worker.onerror = (event) => this.#answer({ kind: "failed", stage: "load", reason: event.message ?? "" });
  }

  /** Load the runtime and a model; both are addresses. */
  load(runtime, model) {
    // Threads need shared memory. Browsers allow it only to isolated pages.
    const threads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency ?? 1, 8) : 1;
    return this.#ask({ kind: "load", runtime, model, threads });
  }

  /** Restore an image: { parts: {output, …}, seconds }. The image is copied. */
  run(image, shape, sigmas) {
    return this.#ask({ kind: "run", image, shape, sigmas });
  }

  /** End at once, also in the middle of a run. */
  end() {
    this.worker.terminate();
    this.reject?.(new RestorerError("cancelled"));
  }

  #ask(message) {
    return new Promise((resolve, reject) => {
      Object.assign(this, { resolve, reject });
      this.worker.postMessage(message);
    });
  }

  #answer(answer) {
    if (answer.kind !== "failed") this.resolve?.(answer);
    else if (answer.stage === "load") this.reject?.(new RestorerError(`${MISSING}(${answer.reason})`));
    else this.reject?.(new RestorerError(runError(answer.reason)));
  }
}

function runError(reason) {
  // A number alone is the address of a C++ exception: there was not enough memory.
  const memory = /memory|alloc|^\d+$/i.test(reason);
  return memory ? "The browser has too little memory for this image. Cut out a part." : `The run failed: ${reason}`;
}

// The page: the user drops a file, reads its size and time, and restores, looks at and saves it.

import { bytesNeeded, inWords, refusal, secondsFor, timeInWords, TRIAL } from "./limits.mjs";
import { showPictures } from "./planes.mjs";
import { Restorer, RestorerError } from "./restorer.mjs";
import { openTiff, readStack, TiffError } from "./tiff_reader.mjs";
import { scaledTo16Bits, writeTiff } from "./tiff_writer.mjs";

const here = (name) => new URL(name, import.meta.url).href;
const element = (id) => document.getElementById(`lucyd-${id}`);
const TITLES = {
  image: "image", first_estimate: "first estimate", output: "output",
  correction_mask: "correction mask", update_term: "update term",
};

let catalogue; // models.json, from the build of the site
let opened; // { tiff, name } of the file
let loaded; // { restorer, model, trialSeconds }
let result; // { parts, shape, voxelSize, name }
let attempt = 0; // counts the changes of file or method, so that late answers are dropped

function say(id, text, isError = false) {
  element(id).textContent = text;
  element(id).classList.toggle("lucyd-error", isError);
}

function sayError(id, error) {
  const expected = error instanceof TiffError || error instanceof RestorerError;
  say(id, expected ? error.message : `Something unexpected happened: ${error.message}`, true);
}

/** Shape of the model's input: [Z, Y, X], or [Y, X] if there is one plane. */
function shapeOf({ width, height, sizes }) {
  return sizes.Z > 1 ? [sizes.Z, height, width] : [height, width];
}

function modelFor({ sizes }) {
  return catalogue.methods[element("method").value][sizes.Z > 1 ? "stack" : "plane"];
}

async function open(file, name) {
  const mine = ++attempt;
  endWorker();
  element("result").hidden = true;
  element("run").disabled = true;
  say("estimate", "");
  try {
    const tiff = await openTiff(file);
    if (mine !== attempt) return;
    opened = { tiff, name };
    const { sizes } = tiff;
    for (const [axis, id] of [["C", "channel"], ["T", "time"]]) {
      element(`${id}-field`).hidden = sizes[axis] === 1;
      Object.assign(element(id), { max: sizes[axis], value: 1 });
    }
    element("sigma-z-field").hidden = sizes.Z === 1;
    say("file", fileInWords(tiff, name));
    await prepare();
  } catch (error) {
    opened = undefined;
    sayError("file", error);
  }
}

function fileInWords({ width, height, sizes, type, voxelSize }, name) {
  const size = sizes.Z > 1 ? `${sizes.Z} planes of ${width} × ${height} pixels` : `${width} × ${height} pixels`;
  const more = [["C", "channels"], ["T", "times"]].filter(([axis]) => sizes[axis] > 1);
  const { z, y, x } = voxelSize;
  const voxel = x ? `voxel ${[z, y, x].filter(Boolean).map((length) => length.toPrecision(3)).join(" × ")} µm` : "";
  return [`${name}: ${size}`, ...more.map(([axis, word]) => `${sizes[axis]} ${word}`), type, voxel].filter(Boolean).join(", ");
}

/** Show the sizes, load runtime and model, and estimate the time of the run. */
async function prepare() {
  const mine = ++attempt;
  endWorker();
  element("sigmas").hidden = !catalogue.methods[element("method").value].blur;
  if (!opened) return;
  element("run").disabled = true;
  const shape = shapeOf(opened.tiff);
  const model = modelFor(opened.tiff);
  const refused = refusal(model, shape);
  if (refused) return say("estimate", refused, true);
  const memory = `It needs ${inWords(bytesNeeded(model, shape))} of memory`;
  const bytes = catalogue.runtime.bytes + catalogue.models[model].bytes;
  say("estimate", `${memory}. Loading the runtime and the model (${inWords(bytes)}) …`);
  try {
    const restorer = new Restorer();
    loaded = { restorer, model };
    await restorer.load(here(catalogue.runtime.file), here(catalogue.models[model].file));
    if (mine !== attempt) return;
    loaded.trialSeconds = await trial(restorer, shape.length);
    if (mine !== attempt) return;
    const seconds = secondsFor(shape, TRIAL.slice(-shape.length), loaded.trialSeconds);
    say("estimate", `${memory} and about ${timeInWords(seconds)} on this computer.`);
    element("run").disabled = false;
  } catch (error) {
    if (mine === attempt) sayError("estimate", error);
  }
}

/** Run a small image twice: the first run includes the browser's compilation. */
async function trial(restorer, dimension) {
  const shape = TRIAL.slice(-dimension);
  const image = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, index) => 100 + (index % 97));
  await restorer.run(image, shape, shape.map(() => 1.5));
  return (await restorer.run(image, shape, shape.map(() => 1.5))).seconds;
}

function endWorker() {
  loaded?.restorer.end();
  loaded = undefined;
}

function sigmas(dimension) {
  const values = ["z", "y", "x"].slice(-dimension).map((axis) => element(`sigma-${axis}`).valueAsNumber);
  if (values.every((value) => value >= 0 && value <= 3)) return values;
  throw new RestorerError("Enter each width of the blur as a number from 0 to 3 voxels.");
}

async function run() {
  const mine = ++attempt;
  const { tiff, name } = opened;
  const shape = shapeOf(tiff);
  let widths;
  try {
    widths = element("sigmas").hidden ? [] : sigmas(shape.length);
  } catch (error) {
    return sayError("progress", error);
  }
  element("run").disabled = true;
  element("cancel").hidden = false;
  element("result").hidden = true;
  const started = performance.now();
  const clock = setInterval(() => {
    say("progress", `Running for ${timeInWords((performance.now() - started) / 1000)} …`);
  }, 500);
  say("progress", "Reading the file …");
  try {
    const stack = await readStack(tiff, chosen("channel"), chosen("time"));
    if (!stack.data.every(Number.isFinite)) {
      throw new TiffError("The image has voxels without a value (NaN or infinite). Fill them first.");
    }
    const { parts, seconds } = await loaded.restorer.run(stack.data, shape, widths);
    if (mine !== attempt) return;
    result = { parts: { image: stack.data, ...parts }, shape: stack.shape, voxelSize: tiff.voxelSize, name };
    say("progress", `Done in ${timeInWords(seconds)}: ${(stack.data.length / 1e6).toFixed(2)} million voxels.`);
    showResult();
  } catch (error) {
    if (mine !== attempt) return;
    sayError("progress", error);
    // A worker that failed may not work again.
    if (error instanceof RestorerError) await prepare();
  } finally {
    clearInterval(clock);
    element("cancel").hidden = true;
    if (mine === attempt) element("run").disabled = false;
  }
}

function chosen(id) {
  const { valueAsNumber: value, max } = element(id);
  if (value >= 1 && value <= Number(max)) return Math.round(value) - 1;
  throw new TiffError(`Choose the ${id} from 1 to ${max}.`);
}

async function cancel() {
  say("progress", "Cancelled.");
  await prepare();
}

function showResult() {
  const names = ["image", "first_estimate", "output"].filter((name) => result.parts[name]);
  const pictures = names.map((name) => ({ title: TITLES[name], data: result.parts[name] }));
  const show = showPictures(element("pictures"), pictures, result.shape);
  const slider = element("plane");
  Object.assign(slider, { max: result.shape[0], value: Math.ceil(result.shape[0] / 2) });
  element("plane-field").hidden = result.shape[0] === 1;
  slider.oninput = () => {
    element("plane-number").textContent = `${slider.value} of ${result.shape[0]}`;
    show(slider.valueAsNumber - 1);
  };
  slider.oninput();
  const parts = Object.keys(TITLES).filter((name) => name !== "image" && result.parts[name]);
  element("part").replaceChildren(...parts.map((name) => new Option(TITLES[name], name, name === "output", name === "output")));
  element("result").hidden = false;
}

function save() {
  const part = element("part").value;
  const values = result.parts[part];
  const as16Bits = element("format").value === "uint16";
  const { data, calibration } = as16Bits ? scaledTo16Bits(values) : { data: values, calibration: null };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(writeTiff(data, result.shape, result.voxelSize, calibration));
  link.download = `${result.name.replace(/(\.ome)?\.tiff?$/i, "")}-${part.replace("_", "-")}${as16Bits ? "-16-bit" : ""}.tif`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  say(
    "saved",
    calibration
      ? `Saved ${link.download}: 16 bits. A value v stands for ${calibration.offset.toPrecision(6)} + ` +
          `${calibration.step.toPrecision(6)} · v in the units of the image; ImageJ knows this from the file.`
      : `Saved ${link.download}: float32, in the units of the image.`,
  );
}

async function openSample() {
  try {
    const answer = await fetch(here(catalogue.sample.file));
    if (!answer.ok) throw new RestorerError(`The sample is not part of this copy of the site (${answer.status}).`);
    await open(await answer.blob(), "sample.tif");
  } catch (error) {
    sayError("file", error);
  }
}

function connect() {
  const drop = element("drop");
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("lucyd-over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("lucyd-over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("lucyd-over");
    const [file] = event.dataTransfer.files;
    if (file) open(file, file.name);
  });
  element("choose").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) open(file, file.name);
  });
  element("sample").addEventListener("click", openSample);
  element("method").addEventListener("change", prepare);
  element("run").addEventListener("click", run);
  element("cancel").addEventListener("click", cancel);
  element("save").addEventListener("click", save);
}

async function start() {
  try {
    const answer = await fetch(here("models.json"));
    if (!answer.ok) throw new RestorerError(`This copy of the site has no models (${answer.status}). Build it with make docs.`);
    catalogue = await answer.json();
    if (!catalogue.runtime) {
      throw new RestorerError(
        "This copy of the site was built without the runtime (onnxruntime-web), so nothing can be computed here. " +
          "Build it with make docs on a computer that can load npm packages.",
      );
    }
    connect();
    element("controls").disabled = false;
    say("file", "No file yet.");
  } catch (error) {
    sayError("file", error);
  }
}

start();

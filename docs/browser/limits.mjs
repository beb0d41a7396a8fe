// Memory and time of a run, from the size of the image.

// Borders are continued inside the model, by about this many voxels along each axis.
const MARGIN = 56;
// WebAssembly can use 4 GB. The runtime takes a part of it, and the allocator leaves gaps.
export const MOST_BYTES = 3.4e9;
// The memory that the models need for each voxel of the continued image; a test measures it.
export const BYTES_A_VOXEL = { lucyd: 90, "lucyd-planes": 340, general: 230, planes: 230 };
// A volume of this shape is run first, to learn how fast this computer is.
export const TRIAL = [8, 24, 24];

/** The number of voxels of an image [Z, Y, X] or [Y, X] with its continued borders. */
export function continuedVoxels(shape) {
  return shape.reduce((product, size) => product * (size + MARGIN), 1);
}

/** Bytes that WebAssembly needs to restore an image. */
export function bytesNeeded(model, shape) {
  return continuedVoxels(shape) * BYTES_A_VOXEL[model];
}

/** Estimate the seconds for an image from the time that another one took. */
export function secondsFor(shape, trialShape, trialSeconds) {
  return (trialSeconds * continuedVoxels(shape)) / continuedVoxels(trialShape);
}

/** The reason why an image cannot be restored here, or an empty text. */
export function refusal(model, shape) {
  const [height, width] = shape.slice(-2);
  if (height < 8 || width < 8) return `The image has ${width} × ${height} pixels; the model needs at least 8 × 8.`;
  const needed = bytesNeeded(model, shape);
  if (needed <= MOST_BYTES) return "";
  return (
    `The image needs ${inWords(needed)} of memory here, and a web page can use about ${inWords(MOST_BYTES)}. ` +
    `${largest(model, shape)} Cut out a part, or use napari-lucyd, which computes in tiles.`
  );
}

function largest(model, shape) {
  const planes = shape.length === 3 ? [shape[0] + MARGIN] : [];
  const area = MOST_BYTES / BYTES_A_VOXEL[model] / (planes[0] ?? 1);
  const side = Math.floor(Math.sqrt(area) - MARGIN);
  const size = `${side} × ${side} pixels`;
  if (side < 8) return "It has too many planes.";
  return shape.length === 3 ? `With ${shape[0]} planes, the limit is ${size}.` : `The limit is ${size}.`;
}

/** Write a number of bytes for people. */
export function inWords(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${Math.round(bytes / 1e6)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`;
}

/** Write a time for people. */
export function timeInWords(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

// Writes a stack as a TIFF file that ImageJ, napari and other programs open: one page a plane, uncompressed.

const ENTRIES = 13;
const DIRECTORY = 2 + ENTRIES * 12 + 4;

/**
 * Write a stack as a Blob.
 *
 * `data` is a Float32Array, or a Uint16Array with `calibration` {offset, step}: a voxel of value v stands for
 * offset + step · v. `shape` is [Z, Y, X]. `voxelSize` is {z, y, x} in µm, each null if it is unknown.
 */
export function writeTiff(data, shape, voxelSize = {}, calibration = null) {
  const [planes, height, width] = shape;
  const size = data.BYTES_PER_ELEMENT;
  const described = new TextEncoder().encode(description(planes, voxelSize, calibration) + "\0");
  const resolutionAt = 8 + described.length + (described.length % 2);
  const directoriesAt = resolutionAt + 16;
  const dataAt = directoriesAt + planes * DIRECTORY + ((planes * DIRECTORY) % 4);
  const view = new DataView(new ArrayBuffer(dataAt));
  view.setUint16(0, 0x4949);
  view.setUint16(2, 42, true);
  view.setUint32(4, directoriesAt, true);
  new Uint8Array(view.buffer).set(described, 8);
  for (const [index, length] of [voxelSize.x, voxelSize.y].entries()) {
    view.setUint32(resolutionAt + index * 8, length ? Math.round(1e6 / length) : 1, true);
    view.setUint32(resolutionAt + index * 8 + 4, length ? 1e6 : 1, true);
  }
  const bytes = width * height * size;
  for (let plane = 0; plane < planes; plane++) {
    const at = directoriesAt + plane * DIRECTORY;
    const entries = [
      [256, 4, 1, width],
      [257, 4, 1, height],
      [258, 3, 1, size * 8],
      [259, 3, 1, 1],
      [262, 3, 1, 1],
      [270, 2, described.length, 8],
      [273, 4, 1, dataAt + plane * bytes],
      [277, 3, 1, 1],
      [278, 4, 1, height],
      [279, 4, 1, bytes],
      [282, 5, 1, resolutionAt],
      [283, 5, 1, resolutionAt + 8],
      [339, 3, 1, size === 4 ? 3 : 1],
    ];
    view.setUint16(at, ENTRIES, true);
    entries.forEach(([tag, type, count, value], index) => {
      const entry = at + 2 + index * 12;
      view.setUint16(entry, tag, true);
      view.setUint16(entry + 2, type, true);
      view.setUint32(entry + 4, count, true);
      view.setUint32(entry + 8, value, true);
    });
    view.setUint32(at + DIRECTORY - 4, plane + 1 < planes ? at + DIRECTORY : 0, true);
  }
  return new Blob([view.buffer, littleEndian(data)], { type: "image/tiff" });
}

function description(planes, { z, x }, calibration) {
  const lines = ["ImageJ=1.53t", `images=${planes}`, `slices=${planes}`, "loop=false"];
  if (x) lines.push("unit=micron");
  if (z) lines.push(`spacing=${z}`);
  // ImageJ's function 0 is a straight line.
  if (calibration) lines.push("cf=0", `c0=${calibration.offset}`, `c1=${calibration.step}`, "vunit=intensity");
  return lines.join("\n") + "\n";
}

// Browsers run on little-endian machines, so the bytes in memory have the file's order already.
function littleEndian(data) {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) throw new Error("This machine is big-endian.");
  return data;
}

/** Scale floats to 16 bits over their whole range, as { data, calibration }. */
export function scaledTo16Bits(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const step = high > low ? (high - low) / 65535 : 1;
  return { data: Uint16Array.from(values, (value) => Math.round((value - low) / step)), calibration: { offset: low, step } };
}

// Decompresses the strips and tiles of a TIFF file, and adds up their differences.

export const COMPRESSIONS = { 1: "none", 5: "lzw", 8: "deflate", 32946: "deflate" };

/** Decompress a segment of a file; `size` is the number of bytes that it has afterwards. */
export async function decompress(raw, compression, size) {
  const kind = COMPRESSIONS[compression];
  if (kind === "none") return new Uint8Array(raw);
  if (kind === "lzw") return lzw(new Uint8Array(raw), size);
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const CLEAR = 256;
const END = 257;

/** Decode TIFF's LZW: codes of 9 to 12 bits, highest bit first, one code earlier than in GIF. */
export function lzw(source, size) {
  const result = new Uint8Array(size);
  // An entry of the table is a place in the result: its bytes are there already.
  const starts = new Int32Array(4097);
  const lengths = new Int32Array(4097);
  let filled = 0;
  let next = END + 1;
  let width = 9;
  let previous = -1;
  for (let bit = 0; bit + width <= source.length * 8 && filled < size; ) {
    const at = bit >> 3;
    const bits = (source[at] << 16) | ((source[at + 1] ?? 0) << 8) | (source[at + 2] ?? 0);
    const code = (bits >> (24 - (bit & 7) - width)) & ((1 << width) - 1);
    bit += width;
    if (code === END) break;
    if (code === CLEAR) {
      next = END + 1;
      width = 9;
      previous = -1;
      continue;
    }
    if (code > next || (code === next && previous < 0)) throw new Error("a code that is not in the table");
    const start = filled;
    if (previous >= 0) {
      // The new entry: the last one, and the first byte of this one, which follows it in the result.
      starts[next] = start - lengthOf(lengths, previous);
      lengths[next] = lengthOf(lengths, previous) + 1;
      next++;
    }
    if (code < CLEAR) result[filled++] = code;
    else for (let index = 0; index < lengths[code]; index++) result[filled++] = result[starts[code] + index];
    previous = code;
    if (next + 1 >= 1 << width && width < 12) width++;
  }
  if (filled < size) throw new Error("too few bytes");
  return result;
}

function lengthOf(lengths, code) {
  return code < CLEAR ? 1 : lengths[code];
}

/** Add up differences in place, as tag 317 says; returns whether the bytes are in little order now. */
export function applyPredictor(bytes, predictor, width, rows, size, little) {
  if (predictor === 2) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const [read, write] = { 1: ["getUint8", "setUint8"], 2: ["getUint16", "setUint16"], 4: ["getUint32", "setUint32"] }[size];
    for (let row = 0; row < rows; row++) {
      for (let column = 1; column < width; column++) {
        const at = (row * width + column) * size;
        view[write](at, view[read](at, little) + view[read](at - size, little), little);
      }
    }
  } else if (predictor === 3) {
    // For floats, the differences are those of bytes. A row has all the highest bytes first.
    const line = new Uint8Array(width * size);
    for (let row = 0; row < rows; row++) {
      const target = bytes.subarray(row * line.length, (row + 1) * line.length);
      for (let index = 1; index < line.length; index++) target[index] += target[index - 1];
      line.set(target);
      for (let column = 0; column < width; column++) {
        for (let byte = 0; byte < size; byte++) target[column * size + byte] = line[byte * width + column];
      }
    }
    return false;
  }
  return little;
}

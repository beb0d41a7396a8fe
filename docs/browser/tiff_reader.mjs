// Reads stacks from TIFF files: classic and BigTIFF, of ImageJ, OME or plain; strips or tiles; uncompressed,
// deflate or LZW. Runs in browsers and in Node. The file is read piece by piece, so a large one need not fit in memory.

import { applyPredictor, decompress, COMPRESSIONS } from "./tiff_segments.mjs";

export class TiffError extends Error {}

const TYPE_SIZES = { 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8 };
const TAGS = {
  254: "subfileType", 256: "width", 257: "height", 258: "bits", 259: "compression", 270: "description",
  273: "offsets", 277: "samples", 278: "rowsPerStrip", 279: "counts", 282: "resolution", 296: "resolutionUnit",
  317: "predictor", 322: "tileWidth", 323: "tileHeight", 324: "offsets", 325: "counts", 339: "sampleFormat",
};
const WINDOW = 1 << 16;
const MOST_PAGES = 100000;

/** Bytes of a file by position; neighbouring small reads share one access. */
class Bytes {
  constructor(blob) {
    this.blob = blob;
    this.start = 0;
    this.window = new ArrayBuffer(0);
  }

  async read(position, length) {
    if (position + length > this.blob.size) {
      throw new TiffError("The file ends too early. It may be incomplete; copy or save it again.");
    }
    if (length > WINDOW) return this.blob.slice(position, position + length).arrayBuffer();
    if (position < this.start || position + length > this.start + this.window.byteLength) {
      this.start = position;
      this.window = await this.blob.slice(position, position + WINDOW).arrayBuffer();
    }
    return this.window.slice(position - this.start, position - this.start + length);
  }
}

/**
 * Read the description of a TIFF file, and no voxel.
 *
 * Returns { bytes, little, type, width, height, sizes: {Z, C, T}, order, voxelSize, pages }. `voxelSize` is
 * {z, y, x} in µm, each null where the file has none. `pageOf` finds the page of a plane.
 */
export async function openTiff(blob) {
  const bytes = new Bytes(blob);
  const { little, big, first } = await readHeader(bytes);
  const pages = [];
  for (let position = first; position !== 0; ) {
    const { page, next } = await readDirectory(bytes, position, little, big);
    // Thumbnails and smaller copies of the image are marked with the lowest bit.
    if (!(page.subfileType & 1)) pages.push(page);
    if (pages.length > MOST_PAGES) throw new TiffError(`The file has more than ${MOST_PAGES} pages.`);
    position = next;
  }
  if (!pages.length) throw new TiffError("The file has no image.");
  const [{ width, height, description }] = pages;
  for (const page of pages) checkPage(page, pages[0]);
  const tiff = { bytes, little, type: typeOf(pages[0]), width, height, description, pages };
  Object.assign(tiff, axesOf(tiff));
  if (tiff.sizes.Z * tiff.sizes.C * tiff.sizes.T !== tiff.pages.length) {
    const { Z, C, T } = tiff.sizes;
    throw new TiffError(`The file says Z ${Z}, C ${C}, T ${T}, but has ${tiff.pages.length} page${tiff.pages.length === 1 ? "" : "s"}.`);
  }
  tiff.voxelSize = voxelSizeOf(tiff);
  return tiff;
}

/** Read one channel at one time as { data: Float32Array, shape: [Z, Y, X] }; both are counted from 0. */
export async function readStack(tiff, channel = 0, time = 0) {
  const { width, height, sizes } = tiff;
  const data = new Float32Array(sizes.Z * height * width);
  for (let z = 0; z < sizes.Z; z++) {
    const target = data.subarray(z * height * width, (z + 1) * height * width);
    await readPage(tiff, tiff.pages[pageOf(tiff, z, channel, time)], target);
  }
  return { data, shape: [sizes.Z, height, width] };
}

function pageOf(tiff, z, channel, time) {
  const index = { Z: z, C: channel, T: time };
  let page = 0;
  let step = 1;
  for (const axis of tiff.order) {
    page += index[axis] * step;
    step *= tiff.sizes[axis];
  }
  return page;
}

async function readHeader(bytes) {
  const view = new DataView(await bytes.read(0, Math.min(16, bytes.blob.size)));
  const mark = view.byteLength >= 8 ? view.getUint16(0) : 0;
  const little = mark === 0x4949;
  const version = mark === 0x4949 || mark === 0x4d4d ? view.getUint16(2, little) : 0;
  if (version !== 42 && version !== 43) throw new TiffError("This is not a TIFF file.");
  const big = version === 43;
  return { little, big, first: big ? Number(view.getBigUint64(8, little)) : view.getUint32(4, little) };
}

async function readDirectory(bytes, position, little, big) {
  const [countSize, entrySize, fieldSize] = big ? [8, 20, 8] : [2, 12, 4];
  const number = (view, at) => (big ? Number(view.getBigUint64(at, little)) : view.getUint32(at, little));
  const head = new DataView(await bytes.read(position, countSize));
  const count = big ? Number(head.getBigUint64(0, little)) : head.getUint16(0, little);
  const size = count * entrySize;
  const view = new DataView(await bytes.read(position + countSize, size + fieldSize));
  const page = {
    subfileType: 0, bits: [1], compression: 1, samples: 1, predictor: 1, sampleFormat: [1], description: "",
  };
  for (let entry = 0; entry < size; entry += entrySize) {
    const name = TAGS[view.getUint16(entry, little)];
    const type = view.getUint16(entry + 2, little);
    if (!name || !TYPE_SIZES[type]) continue;
    const length = number(view, entry + 4);
    const total = length * TYPE_SIZES[type];
    const field = entry + entrySize - fieldSize;
    const values =
      total <= fieldSize
        ? new DataView(view.buffer, view.byteOffset + field, fieldSize)
        : new DataView(await bytes.read(number(view, field), total));
    const found = type === 2 ? text(values, length) : numbers(values, type, length, little);
    page[name] = typeof found === "string" || LISTS.has(name) ? found : found[0];
  }
  return { page, next: number(view, size) };
}

const LISTS = new Set(["offsets", "counts", "bits", "sampleFormat"]);

function text(view, length) {
  const raw = new Uint8Array(view.buffer, view.byteOffset, length);
  return new TextDecoder().decode(raw).replace(/\0+$/, "");
}

function numbers(view, type, length, little) {
  const size = TYPE_SIZES[type];
  return Array.from({ length }, (_, index) => {
    const at = index * size;
    if (type === 3 || type === 8) return view.getUint16(at, little);
    if (type === 4 || type === 9 || type === 13) return view.getUint32(at, little);
    if (type >= 16) return Number(view.getBigUint64(at, little));
    if (type === 5 || type === 10) return view.getUint32(at, little) / view.getUint32(at + 4, little);
    if (type === 11) return view.getFloat32(at, little);
    if (type === 12) return view.getFloat64(at, little);
    return view.getUint8(at);
  });
}

function checkPage(page, first) {
  if (!page.offsets || !page.counts) throw new TiffError("A page of the file has no data.");
  if (page.samples !== 1) {
    throw new TiffError("This is a colour (RGB) image. Save its channels as a grey-scale stack.");
  }
  const same = page.width === first.width && page.height === first.height && typeOf(page) === typeOf(first);
  if (!same) throw new TiffError("The pages of the file differ in size or type, so they are no stack.");
  if (!COMPRESSIONS[page.compression]) {
    throw new TiffError(
      `The file is compressed in a way that this page cannot read (number ${page.compression}). ` +
        "Save it uncompressed, or with deflate or LZW.",
    );
  }
}

function typeOf(page) {
  const kind = { 1: "uint", 2: "int", 3: "float" }[page.sampleFormat[0]] ?? "unknown";
  const type = `${kind}${page.bits[0]}`;
  if (!READERS[type]) throw new TiffError(`The voxels are ${type}; this page reads 8, 16 and 32 bits, and float.`);
  return type;
}

const READERS = {
  uint8: (view, at) => view.getUint8(at),
  int8: (view, at) => view.getInt8(at),
  uint16: (view, at, little) => view.getUint16(at, little),
  int16: (view, at, little) => view.getInt16(at, little),
  uint32: (view, at, little) => view.getUint32(at, little),
  int32: (view, at, little) => view.getInt32(at, little),
  float32: (view, at, little) => view.getFloat32(at, little),
  float64: (view, at, little) => view.getFloat64(at, little),
};

// ImageJ counts channels first, then Z, then time. OME files state the order.
function axesOf(tiff) {
  const { description, pages } = tiff;
  const ome = description.match(/<(?:\w+:)?Pixels\s[^>]*>/)?.[0];
  if (ome) {
    const size = (axis) => Number(ome.match(new RegExp(`Size${axis}="(\\d+)"`))?.[1] ?? 1);
    const order = ome.match(/DimensionOrder="XY([ZCT]{3})"/)?.[1] ?? "ZCT";
    if ((description.match(/<(?:\w+:)?Image\s/g) ?? []).length > 1) {
      throw new TiffError("The file has several images. Save the one that you want by itself.");
    }
    return { ome, order, sizes: { Z: size("Z"), C: size("C"), T: size("T") } };
  }
  if (!description.startsWith("ImageJ=")) return { order: "ZCT", sizes: { Z: pages.length, C: 1, T: 1 } };
  const size = (name) => Number(description.match(new RegExp(`^${name}=(\\d+)`, "m"))?.[1] ?? 1);
  const images = size("images");
  if (images > pages.length) tiff.pages = contiguous(pages[0], images, tiff);
  const sizes = { Z: size("slices"), C: size("channels"), T: size("frames") };
  if (sizes.Z * sizes.C * sizes.T === 1) sizes.Z = tiff.pages.length;
  return { order: "CZT", sizes };
}

// ImageJ may describe the first page only; the others follow it without a gap.
function contiguous(page, images, { width, height, type }) {
  const size = width * height * (Number(type.match(/\d+/)[0]) / 8);
  return Array.from({ length: images }, (_, index) => ({
    ...page, compression: 1, predictor: 1, rowsPerStrip: height, counts: [size], offsets: [page.offsets[0] + index * size],
  }));
}

const MICROMETRES = { "µm": 1, "μm": 1, um: 1, micron: 1, microns: 1, micrometer: 1, nm: 1e-3, mm: 1e3, cm: 1e4, inch: 25400 };

function voxelSizeOf({ description, pages, ome }) {
  const none = { z: null, y: null, x: null };
  if (ome) {
    const read = (axis) => {
      const value = Number(ome.match(new RegExp(`PhysicalSize${axis}="([^"]+)"`))?.[1]);
      const unit = ome.match(new RegExp(`PhysicalSize${axis}Unit="([^"]+)"`))?.[1] ?? "µm";
      const size = value * (MICROMETRES[unit.replace("&#181;", "µ").replace("&#xB5;", "µ")] ?? NaN);
      return size > 0 ? size : null;
    };
    return { z: read("Z"), y: read("Y"), x: read("X") };
  }
  if (!description.startsWith("ImageJ=")) return none;
  const unit = description.match(/^unit=(.*)$/m)?.[1].trim().replace("\\u00B5", "µ");
  const length = MICROMETRES[unit];
  if (!length) return none;
  const inPlane = pages[0].resolution > 0 ? length / pages[0].resolution : null;
  const spacing = Number(description.match(/^spacing=(.*)$/m)?.[1]) * length;
  return { z: spacing > 0 ? spacing : null, y: inPlane, x: inPlane };
}

async function readPage(tiff, page, target) {
  const { width, height, type, little } = tiff;
  const tiled = page.tileWidth !== undefined;
  const across = tiled ? page.tileWidth : width;
  const down = tiled ? page.tileHeight : Math.min(page.rowsPerStrip ?? height, height);
  const columns = Math.ceil(width / across);
  const size = Number(type.match(/\d+/)[0]) / 8;
  const read = READERS[type];
  for (let segment = 0; segment < page.offsets.length; segment++) {
    const top = Math.floor(segment / columns) * down;
    const left = (segment % columns) * across;
    const rows = tiled ? down : Math.min(down, height - top);
    const raw = await tiff.bytes.read(page.offsets[segment], page.counts[segment]);
    let content;
    try {
      content = await decompress(raw, page.compression, rows * across * size);
    } catch {
      throw new TiffError("The file is damaged: a part of it cannot be decompressed.");
    }
    if (content.byteLength < rows * across * size) throw new TiffError("The file is damaged: a part is too short.");
    const order = applyPredictor(content, page.predictor, across, rows, size, little);
    const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
    for (let row = 0; row < Math.min(rows, height - top); row++) {
      for (let column = 0; column < Math.min(across, width - left); column++) {
        target[(top + row) * width + left + column] = read(view, (row * across + column) * size, order);
      }
    }
  }
}

// Writes a stack of raw float32 with the site's writer, as float32 and as 16 bits:
// node write_tiffs.mjs WRITER RAW Z Y X OUT_FLOAT OUT_16

import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [writer, raw, z, y, x, outFloat, out16] = process.argv.slice(2);
const { scaledTo16Bits, writeTiff } = await import(pathToFileURL(writer));
const values = new Float32Array(new Uint8Array(readFileSync(raw)).buffer);
const shape = [z, y, x].map(Number);
const save = async (file, blob) => writeFileSync(file, new Uint8Array(await blob.arrayBuffer()));
await save(outFloat, writeTiff(values, shape, { z: 0.3, y: 0.1, x: 0.1 }));
const { data, calibration } = scaledTo16Bits(values);
await save(out16, writeTiff(data, shape, {}, calibration));
process.stdout.write(JSON.stringify(calibration));

// Reads TIFF files with the site's reader: node read_tiffs.mjs READER FILE… ; voxels go to FILE.raw, facts to stdout.

import { openAsBlob, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [reader, ...files] = process.argv.slice(2);
const { openTiff, readStack } = await import(pathToFileURL(reader));
const facts = {};
for (const file of files) {
  try {
    const tiff = await openTiff(await openAsBlob(file));
    const { sizes, type, voxelSize } = tiff;
    const { data, shape } = await readStack(tiff, sizes.C - 1, sizes.T - 1);
    writeFileSync(`${file}.raw`, data);
    facts[file] = { sizes, type, voxelSize, shape };
  } catch (error) {
    facts[file] = { error: error.message, kind: error.constructor.name };
  }
}
process.stdout.write(JSON.stringify(facts));

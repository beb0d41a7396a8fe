// Drives the browser page as a visitor does, in a headless Chromium. Started by test_browser_page.py:
//
//   node drive_page.mjs CHROMIUM PROFILE REQUEST.json
//
// The request has the page's address and a list of steps; what was seen is printed as JSON.

import { readFileSync, writeFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [program, profile, requestFile] = process.argv.slice(2);
const request = JSON.parse(readFileSync(requestFile, "utf8"));
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

const browser = await chromium.launchPersistentContext(profile, {
  executablePath: program, headless: true, args: FLAGS, viewport: { width: 1280, height: 1400 }, acceptDownloads: true,
});
const seen = { requests: [], errors: [], texts: [], saved: [] };
const page = await browser.newPage();
page.setDefaultTimeout(request.timeout ?? 240000);
page.on("request", (sent) => seen.requests.push({ method: sent.method(), url: sent.url() }));
page.on("pageerror", (error) => seen.errors.push(String(error)));
page.on("console", (line) => line.type() === "error" && seen.errors.push(line.text()));

const id = (name) => `#lucyd-${name}`;
const steps = {
  open: ({ url }) => page.goto(url),
  block: ({ pattern }) => page.route(pattern, (route) => route.abort()),
  choose: ({ file }) => page.setInputFiles(id("choose"), file),
  // A real drop: the browser's own event, with a file in it.
  drop: async ({ file, name }) => {
    const content = readFileSync(file).toString("base64");
    await page.evaluate(async ([selector, encoded, title]) => {
      const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], title));
      document.querySelector(selector).dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
    }, [id("drop"), content, name]);
  },
  click: ({ target }) => page.click(id(target)),
  set: ({ target, value }) => page.fill(id(target), String(value)),
  select: ({ target, value }) => page.selectOption(id(target), value),
  // Until a text of the page matches.
  wait: ({ target, text }) =>
    page.waitForFunction(
      ([selector, pattern]) => new RegExp(pattern).test(document.querySelector(selector).textContent),
      [id(target), text],
    ),
  enabled: ({ target }) => page.waitForSelector(`${id(target)}:enabled`),
  text: async ({ target }) => seen.texts.push(await page.textContent(id(target))),
  evaluate: async ({ code }) => seen.texts.push(await page.evaluate(code)),
  save: async ({ target, file }) => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(id(target))]);
    await download.saveAs(file);
    seen.saved.push(download.suggestedFilename());
  },
  screenshot: ({ target, file }) => page.locator(id(target)).screenshot({ path: file }),
};

try {
  for (const { kind, ...details } of request.steps) {
    try {
      await steps[kind](details);
    } catch (error) {
      const said = await page.locator("[id^=lucyd-][role=status]").allTextContents();
      throw new Error(`${kind} ${JSON.stringify(details)}: ${error.message}\nThe page said: ${JSON.stringify(said)}`);
    }
  }
} catch (error) {
  seen.failure = String(error);
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(seen));

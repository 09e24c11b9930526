// Plays an HLS ladder in headless Chromium with hls.js and prints what it saw as JSON.
//
//   node play.mjs MASTER_PLAYLIST NODE_MODULES CHROMIUM
//
// One pass in which the player chooses the variant, then one pass per variant. Each plays from start to end without a
// seek; only the rate is raised. Everything is served from this process on the loopback interface.

import { createServer } from "node:http";
import { readFile, realpath } from "node:fs/promises";
import path from "node:path";

import { launch } from "./chromium.mjs";

const [master, modules, chromium] = process.argv.slice(2);
const root = await realpath(path.dirname(master));

/** Longest time one pass may take, in milliseconds. */
const PASS_LIMIT = 60_000;

const TYPES = { ".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t" };
const PAGE = `<!doctype html><link rel="icon" href="data:,"><video muted playsinline></video><script src="/hls.js"></script>`;

/** The file that a request names, if it lies in the folder. */
async function published(name) {
  const file = await realpath(path.join(root, decodeURIComponent(name)));
  if (!file.startsWith(root + path.sep)) throw new Error("outside of the folder");
  return { body: await readFile(file), type: TYPES[path.extname(file)] ?? "application/octet-stream" };
}

async function answer(url) {
  if (url.pathname === "/") return { body: PAGE, type: "text/html" };
  if (url.pathname === "/hls.js") {
    return { body: await readFile(path.join(modules, "hls.js/dist/hls.min.js")), type: "text/javascript" };
  }
  return published(url.pathname.replace(/^\/hls\//, ""));
}

const server = createServer(async (request, response) => {
  try {
    const { body, type } = await answer(new URL(request.url, "http://localhost"));
    response.writeHead(200, { "content-type": type }).end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const origin = `http://127.0.0.1:${server.address().port}`;

/** Runs in the page: plays the ladder at a level (-1: the player chooses) and reports. */
async function pass({ source, level, limit }) {
  const video = document.querySelector("video");
  const hls = new Hls({ maxBufferLength: 600, maxMaxBufferLength: 600, startLevel: level });
  const errors = [];
  const fragments = new Set();
  const happened = (event) => new Promise((resolve) => hls.once(event, (_, data) => resolve(data)));
  let whole = false;
  hls.on(Hls.Events.ERROR, (_, data) => {
    // With everything in the buffer a pause is the machine's; a gap shows in the buffered ranges.
    if (whole && data.details === Hls.ErrorDetails.BUFFER_STALLED_ERROR) return;
    errors.push(`${data.fatal ? "fatal" : "minor"} ${data.details}: ${data.error}`);
  });
  hls.on(Hls.Events.FRAG_BUFFERED, (_, data) => fragments.add(data.frag.sn));
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("the pass takes too long")), limit));
  const play = async () => {
    const parsed = happened(Hls.Events.MANIFEST_PARSED);
    const complete = happened(Hls.Events.BUFFER_EOS);
    hls.loadSource(source);
    const { levels } = await parsed;
    if (level >= 0) hls.currentLevel = level;
    hls.attachMedia(video);
    // Played from the buffer, so that a busy machine cannot stall what is whole.
    await complete;
    whole = true;
    const ended = new Promise((resolve) => video.addEventListener("ended", resolve, { once: true }));
    video.playbackRate = 4;
    await video.play();
    await ended;
    return levels.length;
  };
  const levels = await Promise.race([play(), late]).catch((error) => (errors.push(String(error)), 0));
  const quality = video.getVideoPlaybackQuality();
  const buffered = Array.from(video.buffered, (_, i) => [video.buffered.start(i), video.buffered.end(i)]);
  const report = {
    level, buffered, errors,
    ended: video.ended, duration: video.duration || 0, position: video.currentTime, fragments: fragments.size,
    width: video.videoWidth, frames: quality.totalVideoFrames, dropped: quality.droppedVideoFrames,
  };
  hls.destroy();
  return { levels, report };
}

const browser = await launch(modules, chromium);

async function visit(level) {
  const page = await browser.newPage();
  const messages = [];
  page.on("console", (message) => message.type() === "error" && messages.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => messages.push(`page: ${error}`));
  await page.goto(origin);
  const source = `${origin}/hls/${path.basename(master)}`;
  const { levels, report } = await page.evaluate(pass, { source, level, limit: PASS_LIMIT });
  report.errors.push(...messages);
  await page.close();
  return { levels, report };
}

try {
  const { levels, report } = await visit(-1);
  const passes = [report];
  for (let level = 0; level < levels; level++) passes.push((await visit(level)).report);
  console.log(JSON.stringify({ levels, passes }));
} finally {
  await browser.close();
  server.close();
}

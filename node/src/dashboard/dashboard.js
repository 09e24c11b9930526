"use strict";

const REFRESH_MS = 1000;
const byId = (id) => document.getElementById(id);
const seconds = (ms) => (ms === null ? "" : (ms / 1000).toFixed(1));

function element(tag, text) {
  const node = document.createElement(tag);
  node.textContent = text;
  return node;
}

function row(cells) {
  const node = document.createElement("tr");
  node.append(...cells.map((cell) => element("td", cell ?? "")));
  return node;
}

function playlist(path) {
  const item = document.createElement("li");
  item.append(element("code", path));
  return item;
}

function draw(picture) {
  byId("title").textContent = picture.title || "Framemill";
  byId("totals").replaceChildren(
    ...Object.entries(picture.totals).flatMap(([name, value]) => [element("dt", name), element("dd", value)]),
  );
  byId("playlists").replaceChildren(...picture.playlists.map(playlist));
  byId("orchestrators").replaceChildren(
    ...Object.entries(picture.orchestrators).map(([address, o]) =>
      row([address, o.segments, o.rejected, o.fees_wei, o.note]),
    ),
  );
  byId("segments").replaceChildren(
    ...picture.segments
      .toReversed()
      .map((s) =>
        row([
          s.stream,
          s.sequence,
          s.orchestrator,
          seconds(s.time_in_ms),
          seconds(s.time_out_ms),
          s.verdict,
          s.renditions,
          s.tickets,
          s.failures.join("; "),
        ]),
      ),
  );
}

async function refresh() {
  try {
    const answer = await fetch("api/board", { cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    draw(await answer.json());
    byId("state").textContent = "live";
  } catch (error) {
    byId("state").textContent = `no connection to the node (${error.message})`;
  }
  setTimeout(refresh, REFRESH_MS);
}

refresh();

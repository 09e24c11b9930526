// The board as it stands, kept up to date by server-sent events. Only what has changed is sent; after a pause the node is
// told what is known, and sends the rest.

import { useEffect, useState } from "preact/hooks";
import type { BoardChange, Job, Orchestrator, Segment, Stream, Transcoder } from "./types";

/** As many as the node keeps. */
const MAX_SEGMENTS = 500;
const MAX_STREAMS = 256;
const MAX_JOBS = 200;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

export type Link = "connecting" | "live" | "lost";

export interface Board {
  title: string;
  notReady: string[];
  totals: Record<string, string>;
  streams: Map<string, Stream>;
  /** Oldest first. */
  segments: Map<string, Segment>;
  orchestrators: Map<string, Orchestrator>;
  transcoders: Map<string, Transcoder>;
  jobs: Map<string, Job>;
}

const empty = (): Board => ({
  title: "",
  notReady: [],
  totals: {},
  streams: new Map(),
  segments: new Map(),
  orchestrators: new Map(),
  transcoders: new Map(),
  jobs: new Map(),
});

let board = empty();
let link: Link = "connecting";
let known: { epoch: string; revision: number } | null = null;
let pause = FIRST_PAUSE_MS;
let told = false;
const listeners = new Set<() => void>();

/** Many changes come in one frame; the page is drawn once. */
function tell() {
  if (told) return;
  told = true;
  requestAnimationFrame(() => {
    told = false;
    for (const listener of listeners) listener();
  });
}

function put<T>(into: Map<string, T>, rows: T[], key: (row: T) => string) {
  for (const row of rows) into.set(key(row), row);
}

/** Drops the oldest, those first that are over. */
function trim<T>(map: Map<string, T>, most: number, isOver: (row: T) => boolean = () => true) {
  for (const pass of [isOver, () => true]) {
    for (const [key, row] of map) {
      if (map.size <= most) return;
      if (pass(row)) map.delete(key);
    }
  }
}

function apply(change: BoardChange) {
  if (change.whole) board = empty();
  board.title = change.title;
  board.notReady = change.not_ready;
  board.totals = change.totals;
  put(board.streams, change.streams, (row) => row.name);
  put(board.segments, change.segments, (row) => `${row.stream}/${row.sequence}`);
  put(board.orchestrators, change.orchestrators, (row) => row.address);
  put(board.transcoders, change.transcoders, (row) => row.peer);
  put(board.jobs, change.jobs, (row) => `${row.session}/${row.sequence}`);
  trim(board.segments, MAX_SEGMENTS);
  trim(board.streams, MAX_STREAMS, (stream) => stream.ended);
  trim(board.jobs, MAX_JOBS);
  known = { epoch: change.epoch, revision: change.revision };
}

function connect() {
  const query = known ? `?epoch=${encodeURIComponent(known.epoch)}&since=${known.revision}` : "";
  const source = new EventSource(`events${query}`);
  source.addEventListener("board", (event) => {
    apply(JSON.parse((event as MessageEvent<string>).data) as BoardChange);
    link = "live";
    pause = FIRST_PAUSE_MS;
    tell();
  });
  source.onerror = () => {
    // The browser's own retry keeps an even pace and would forget what is known.
    source.close();
    link = "lost";
    tell();
    setTimeout(connect, pause * (0.75 + Math.random() / 2));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  };
}

/** Begins to listen; once for the page's life. */
export function start() {
  connect();
}

/** The board and whether it is up to date; draws again when either changes. */
export function useLive(): { board: Board; link: Link } {
  const [, draw] = useState(0);
  useEffect(() => {
    const listener = () => draw((times) => times + 1);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
  return { board, link };
}

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { usePolled } from "./api";
import { start, useLive } from "./live";
import { Disputes } from "./pages/disputes";
import { Earnings } from "./pages/earnings";
import { OneStream } from "./pages/stream";
import { Orchestrators } from "./pages/orchestrators";
import { Staking } from "./pages/stake";
import { Streams } from "./pages/streams";
import { Work } from "./pages/work";
import type { NodeInfo, PageName } from "./types";
import { Badge, Waiting } from "./ui";
import "./style.css";

const NODE_POLL_MS = 10_000;
const THEMES = ["auto", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

const TITLES: Record<PageName, string> = {
  streams: "Streams",
  orchestrators: "Orchestrators",
  work: "Work",
  earnings: "Earnings and tickets",
  stake: "Stake and delegate",
  disputes: "Disputes",
};

interface Place {
  page: string;
  name: string | null;
}

/** Where the address leads: `#/streams/cam` and the like. */
function place(): Place {
  const [page = "", name] = location.hash.replace(/^#\/?/, "").split("/");
  try {
    return { page, name: name ? decodeURIComponent(name) : null };
  } catch {
    return { page, name: null };
  }
}

function usePlace(): Place {
  const [here, go] = useState(place);
  useEffect(() => {
    const moved = () => go(place());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return here;
}

function storedTheme(): Theme {
  try {
    return THEMES.find((theme) => theme === localStorage.getItem("theme")) ?? "auto";
  } catch {
    return "auto";
  }
}

function ThemeChoice() {
  const [theme, set] = useState<Theme>(storedTheme);
  useEffect(() => {
    document.documentElement.dataset["theme"] = theme;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // A browser that keeps nothing shows the theme for as long as the page is open.
    }
  }, [theme]);
  return (
    <label class="theme">
      Theme{" "}
      <select value={theme} onChange={(event) => set(event.currentTarget.value as Theme)}>
        {THEMES.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  );
}

function Link() {
  const { board, link } = useLive();
  const ready = board.notReady.length === 0;
  return (
    <p class="link" role="status">
      {link === "live" ? <Badge tone="good">connected</Badge> : <Badge tone={link === "lost" ? "bad" : "calm"}>{link === "lost" ? "no connection to the node" : "connecting"}</Badge>}{" "}
      {link === "live" && (ready ? <Badge tone="good">ready</Badge> : <Badge tone="warn">not ready: {board.notReady.join("; ")}</Badge>)}
    </p>
  );
}

function Page({ info, here }: { info: NodeInfo; here: Place }) {
  switch (here.page) {
    case "streams":
      return here.name ? <OneStream name={here.name} hasPlayer={info.has_player} /> : <Streams />;
    case "orchestrators":
      return <Orchestrators />;
    case "work":
      return <Work />;
    case "earnings":
      return <Earnings />;
    case "stake":
      return info.chain ? <Staking chain={info.chain} /> : null;
    case "disputes":
      return <Disputes />;
    default:
      return null;
  }
}

function App() {
  const { value: info, error } = usePolled<NodeInfo>("api/node", NODE_POLL_MS);
  const asked = usePlace();
  const heading = useRef<HTMLHeadingElement>(null);
  const moved = useRef(false);
  const first = info?.pages[0];
  const known = info?.pages.some((page) => page === asked.page);
  const here = known || !first ? asked : { page: first, name: null };
  const title = here.page === "streams" && here.name ? `Stream ${here.name}` : (TITLES[here.page as PageName] ?? "Framemill");
  useEffect(() => {
    document.title = `${title} – ${info?.title ?? "Framemill"}`;
  }, [title, info?.title]);
  useEffect(() => {
    // Who moves through the pages by keyboard or ear lands at the new page's beginning.
    if (moved.current) heading.current?.focus();
    moved.current = true;
  }, [here.page, here.name]);
  const skip = (event: Event) => {
    event.preventDefault();
    heading.current?.focus();
  };
  return (
    <>
      <a class="skip" href="#content" onClick={skip}>
        Skip to the content
      </a>
      <header>
        <div class="bar">
          <p class="brand">{info?.title ?? "Framemill"}</p>
          <Link />
          <ThemeChoice />
        </div>
        <nav aria-label="Pages">
          <ul>
            {info?.pages.map((page) => (
              <li key={page}>
                <a href={`#/${page}`} aria-current={here.page === page ? "page" : undefined}>
                  {TITLES[page]}
                </a>
              </li>
            ))}
          </ul>
        </nav>
      </header>
      <main id="content">
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {info ? <Page info={info} here={here} /> : <Waiting error={error} />}
      </main>
      <footer>
        <p>
          Framemill {info?.version} · <a href="metrics">metrics</a> · <a href="readyz">readiness</a> · <a href="licenses.md">licences of what is bundled</a>
        </p>
      </footer>
    </>
  );
}

const root = document.getElementById("page");
if (root) {
  start();
  render(<App />, root);
}

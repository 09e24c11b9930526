import { useEffect, useRef, useState } from "preact/hooks";

/** Longest pause before a playlist that is not there yet is asked for again. */
const RETRY_MS = 4_000;

interface Level {
  index: number;
  name: string;
}

/** Plays a master playlist by hls.js, which is loaded when a stream is looked at. */
export function Player({ source, name }: { source: string; name: string }) {
  const video = useRef<HTMLVideoElement>(null);
  const chosen = useRef<((level: number) => void) | null>(null);
  const [levels, setLevels] = useState<Level[]>([]);
  const [level, setLevel] = useState(-1);
  const [told, tell] = useState("loading");

  useEffect(() => {
    let over = false;
    let end = () => {};
    const open = async () => {
      const { default: Hls } = await import("hls.js/light");
      const target = video.current;
      if (over || !target) return;
      if (!Hls.isSupported()) {
        tell("this browser cannot play HLS");
        return;
      }
      // Without a worker: it would need scripts from blobs.
      const hls = new Hls({ enableWorker: false });
      hls.on(Hls.Events.MANIFEST_PARSED, (_, data) => {
        setLevels(data.levels.map((found, index) => ({ index, name: `${found.height}p, ${Math.round(found.bitrate / 1_000)} kbit/s` })));
        tell("ready");
      });
      hls.on(Hls.Events.LEVEL_SWITCHED, (_, data) => tell(`showing ${hls.levels[data.level]?.height ?? "?"}p`));
      let timer = 0;
      hls.on(Hls.Events.ERROR, (_, data) => {
        if (!data.fatal) return;
        tell(`waiting for the stream (${data.details})`);
        if (data.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
        else timer = window.setTimeout(() => hls.loadSource(source), RETRY_MS);
      });
      hls.loadSource(source);
      hls.attachMedia(target);
      chosen.current = (wanted) => {
        hls.currentLevel = wanted;
      };
      end = () => {
        clearTimeout(timer);
        hls.destroy();
      };
    };
    void open();
    return () => {
      over = true;
      end();
    };
  }, [source]);

  const choose = (event: Event) => {
    const wanted = Number((event.currentTarget as HTMLSelectElement).value);
    setLevel(wanted);
    chosen.current?.(wanted);
  };
  return (
    <div class="player">
      <video ref={video} controls muted playsInline aria-label={`Stream ${name}`} />
      <div class="controls">
        <label>
          Rendition{" "}
          <select value={level} onChange={choose}>
            <option value={-1}>automatic</option>
            {levels.map((found) => (
              <option key={found.index} value={found.index}>
                {found.name}
              </option>
            ))}
          </select>
        </label>
        <span role="status">{told}</span>
      </div>
    </div>
  );
}

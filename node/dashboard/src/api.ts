import { useEffect, useState } from "preact/hooks";

export interface Answer<T> {
  value: T | null;
  error: string | null;
}

export async function ask<T>(path: string): Promise<T> {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) {
    const said = (await answer.text()).trim();
    throw new Error(said || `the node answered ${answer.status}`);
  }
  return (await answer.json()) as T;
}

/** Asks again after each pause, for as long as it is shown. What was answered last stays while the node is away. */
export function usePolled<T>(path: string | null, pauseMs: number, again = 0): Answer<T> {
  const [state, set] = useState<Answer<T> & { path: string | null }>({ value: null, error: null, path });
  useEffect(() => {
    if (path === null) return;
    let timer = 0;
    let over = false;
    const round = async () => {
      try {
        const value = await ask<T>(path);
        if (!over) set({ value, error: null, path });
      } catch (error) {
        if (!over) set((old) => ({ value: old.path === path ? old.value : null, error: (error as Error).message, path }));
      }
      if (!over) timer = window.setTimeout(round, pauseMs);
    };
    void round();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [path, pauseMs, again]);
  return state;
}

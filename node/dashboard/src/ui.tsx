import type { ComponentChildren } from "preact";
import { short } from "./format";

export type Tone = "good" | "warn" | "bad" | "calm";

export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** A long hex name, cut for the eye; whole for whoever points at it, copies it or has it read out. */
export function Hex({ value }: { value: string }) {
  return (
    <code class="hex" title={value}>
      <span aria-hidden="true">{short(value)}</span>
      <span class="unseen">{value}</span>
    </code>
  );
}

/** Where somebody says to be reached: any length, one line. */
export function Place({ text }: { text: string }) {
  return (
    <span class="place" title={text}>
      {text}
    </span>
  );
}

export function Figures({ children, label }: { children: ComponentChildren; label: string }) {
  return (
    <dl class="figures" aria-label={label}>
      {children}
    </dl>
  );
}

export function Figure({ name, tone, note, children }: { name: string; tone?: Tone; note?: string; children: ComponentChildren }) {
  return (
    <div class={`figure ${tone ?? ""}`}>
      <dt>{name}</dt>
      <dd>
        {children}
        {note && <small>{note}</small>}
      </dd>
    </div>
  );
}

export interface Column<Row> {
  name: string;
  /** Stands to the right, digits under digits. */
  number?: boolean;
  /** Names the row for who has the table read out. */
  head?: boolean;
  show: (row: Row) => ComponentChildren;
}

interface TableProps<Row> {
  caption: string;
  columns: Column<Row>[];
  rows: Row[];
  name: (row: Row) => string;
  empty: string;
  mark?: (row: Row) => Tone | undefined;
}

/** A table that scrolls sideways by itself where the window is small, by keyboard too. */
export function Table<Row>({ caption, columns, rows, name, empty, mark }: TableProps<Row>) {
  if (rows.length === 0) return <p class="empty">{empty}</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={caption}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th scope="col" key={column.name} class={column.number ? "number" : undefined}>
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={name(row)} class={mark?.(row)}>
              {columns.map((column) => {
                const kind = column.number ? "number" : undefined;
                return column.head ? (
                  <th scope="row" key={column.name} class={kind}>
                    {column.show(row)}
                  </th>
                ) : (
                  <td key={column.name} class={kind}>
                    {column.show(row)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Section({ title, children, note }: { title: string; children: ComponentChildren; note?: ComponentChildren }) {
  const id = title.toLowerCase().replace(/[^a-z]+/g, "-");
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {note && <p class="note">{note}</p>}
      {children}
    </section>
  );
}

/** What went wrong, or that an answer is awaited. */
export function Waiting({ error }: { error: string | null }) {
  return error ? (
    <p class="notice bad" role="alert">
      {error}
    </p>
  ) : (
    <p class="empty" role="status">
      Asking the node…
    </p>
  );
}

/** A share of something as a bar beside its figure. */
export function Share({ of, tone }: { of: number; tone?: Tone }) {
  const width = Math.round(Math.min(1, Math.max(0, of)) * 100);
  return (
    <svg class={`share ${tone ?? ""}`} viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
      <rect class="ground" x="0" y="0" width="100" height="8" />
      <rect class="bar" x="0" y="0" width={width} height="8" />
    </svg>
  );
}

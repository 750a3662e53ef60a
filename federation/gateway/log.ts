// Lines on standard error, in the form that the other processes of the mesh write.

export interface Log {
  debug(event: string, fields?: Record<string, unknown>): void;
  info(event: string, fields?: Record<string, unknown>): void;
  warning(event: string, fields?: Record<string, unknown>): void;
  error(event: string, fields?: Record<string, unknown>): void;
}

const LEVELS = ["debug", "info", "warning", "error"];

/** A log whose lines are JSON, or for people; what is less severe than `level` is left out. */
export function createLog(level: string, asJson: boolean): Log {
  const least = Math.max(0, LEVELS.indexOf(level));
  const at = (name: string) => (event: string, fields: Record<string, unknown> = {}) => {
    if (LEVELS.indexOf(name) < least) return;
    const timestamp = new Date().toISOString();
    const line = asJson
      ? JSON.stringify({ ...fields, event, level: name, timestamp, service: "gateway" })
      : [`${timestamp} [${name.padEnd(8)}] ${event}`, ...Object.entries(fields).map(shown)].join(" ");
    process.stderr.write(`${line}\n`);
  };
  return { debug: at("debug"), info: at("info"), warning: at("warning"), error: at("error") };
}

function shown([name, value]: [string, unknown]): string {
  return `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`;
}

// The supergraph, read from a file that may change while the gateway runs.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";

import type { Log } from "./log.ts";

const CHECK = path.join(import.meta.dirname, "check.ts");
const CHECK_TIMEOUT_MS = 30_000; // one takes a second (a guess)
const PANIC = /panicked at [^\n]*\n([^\n]*)/; // and the line that says why

/** Nothing is known of a text: it is looked at again. */
class Unchecked extends Error {}

/**
 * Reads the file whenever it is asked, and gives the last supergraph that was good.
 *
 * The router's own watching of files dies of a malformed one and misses changes after a rename.
 */
export class SupergraphFile {
  readonly #path: string;
  readonly #log: Log;
  #good = "";
  #bad = "";
  #version = "";

  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }

  /** A name of the one that was read last. */
  get version(): string {
    return this.#version;
  }

  /** The supergraph as SDL. Throws when there never was a good one. */
  async read(): Promise<string> {
    let text = "";
    try {
      text = await readFile(this.#path, "utf8");
      if (this.#good && (text === this.#good || text === this.#bad)) return this.#good;
      await check(text);
    } catch (error) {
      const reason = String(error instanceof Error ? error.message : error).split("\n", 1)[0];
      if (!this.#good) throw new Error(`${this.#path}: ${reason}`, { cause: error });
      this.#log.error("supergraph not taken up, the last good one stays", { reason });
      if (!(error instanceof Unchecked)) this.#bad = text;
      return this.#good;
    }
    if (this.#good) this.#log.info("supergraph changed");
    this.#good = text;
    this.#bad = "";
    this.#version = createHash("sha256").update(text).digest("hex").slice(0, 16);
    return text;
  }
}

/** Rejects for a text that queries could not be planned by, which may end the process it is in. */
function check(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { timeout: CHECK_TIMEOUT_MS };
    const child = execFile(process.execPath, [CHECK], options, (error, _said, complaint) => {
      if (!error) return resolve();
      const reason = PANIC.exec(complaint)?.[1] ?? complaint.trim();
      reject(reason ? new Error(reason) : new Unchecked("it could not be checked"));
    });
    // Who ends before all is read has said why.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(text);
  });
}

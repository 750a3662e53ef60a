// The supergraph, read from a file that may change while the gateway runs.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

import { QueryPlanner } from "@graphql-hive/router-query-planner";
import { buildASTSchema, parse } from "graphql";

import type { Log } from "./log.ts";

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
      check(text);
    } catch (error) {
      const reason = String(error instanceof Error ? error.message : error).split("\n", 1)[0];
      if (!this.#good) throw new Error(`${this.#path}: ${reason}`, { cause: error });
      this.#log.error("supergraph not taken up, the last good one stays", { reason });
      this.#bad = text;
      return this.#good;
    }
    if (this.#good) this.#log.info("supergraph changed");
    this.#good = text;
    this.#bad = "";
    this.#version = createHash("sha256").update(text).digest("hex").slice(0, 16);
    return text;
  }
}

/** Throws when the text is none that queries could be planned by. */
function check(text: string): void {
  const schema = buildASTSchema(parse(text, { noLocation: true }), { assumeValidSDL: true });
  if (!schema.getQueryType()) throw new Error("it has no Query");
  if (!schema.getType("join__Graph")) throw new Error("it is no supergraph: it names no subgraphs");
  new QueryPlanner(text);
}

// Request bodies, counted while they come in, whatever their headers say.
import type { IncomingMessage } from "node:http";

import { Refusal } from "./errors.ts";

/** Reads bodies that are kept in memory, all of them together no more than a budget. */
export class Bodies {
  readonly #budget: number;
  #held = 0;

  /** `budget` in bytes. */
  constructor(budget: number) {
    this.#budget = budget;
  }

  /**
   * Use a body of at most `limit` bytes; it counts until `use` has ended. Throws Refusal for one
   * that is longer, and when others need the memory.
   */
  async read<T>(
    request: IncomingMessage,
    limit: number,
    use: (body: Buffer) => Promise<T>,
  ): Promise<T> {
    if (Number(request.headers["content-length"] ?? 0) > limit) throw tooLarge(limit);
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of request.iterator({ destroyOnReturn: false })) {
        const { length } = chunk as Buffer;
        bytes += length;
        this.#held += length;
        if (bytes > limit) throw tooLarge(limit);
        if (this.#held > this.#budget) {
          throw new Refusal("OVERLOADED", "too many uploads at once", { status: 503 });
        }
        chunks.push(chunk as Buffer);
      }
      return await use(Buffer.concat(chunks, bytes));
    } finally {
      this.#held -= bytes;
    }
  }
}

function tooLarge(limit: number): Refusal {
  return new Refusal("BAD_REQUEST", `the body has more than ${limit} bytes`, {
    status: 413,
    field: "body",
    limit: String(limit),
  });
}

// What one execution asks of our subgraphs at the same moment, in one request: they are one process,
// and each request costs both sides more than what is in it.
import type { Call } from "./call.ts";
import type { Asked, SubgraphAnswer, Subgraphs } from "./subgraphs.ts";

const MAX_LENGTH = 1_000_000; // more goes out by itself: subgraphs take two million bytes

interface Part extends Asked {
  body: string;
  /** How much time its subgraph is given, whatever is left of the call's. */
  timeoutMs: number;
  resolve(answer: SubgraphAnswer): void;
  reject(reason: unknown): void;
}

/** Of one call. */
export class Together {
  readonly #subgraphs: Subgraphs;
  readonly #call: Call;
  #parts: Part[] = [];
  #isDue = false;

  constructor(subgraphs: Subgraphs, call: Call) {
    this.#subgraphs = subgraphs;
    this.#call = call;
    call.whenSettled(() => this.#send());
  }

  /**
   * As Subgraphs.post, with all else that is asked before the event loop turns. What `canWait` goes
   * out with the next that cannot, or when there is no next one.
   */
  post(name: string, body: string, timeoutMs: number, canWait: boolean): Promise<SubgraphAnswer> {
    return new Promise((resolve, reject) => {
      this.#parts.push({ name, body, timeoutMs, resolve, reject });
      if (canWait || this.#isDue) return;
      this.#isDue = true;
      setImmediate(() => this.#send());
    });
  }

  #send(): void {
    const waiting = this.#parts;
    this.#parts = [];
    this.#isDue = false;
    for (const parts of grouped(waiting)) void this.#sent(parts);
  }

  async #sent(parts: readonly Part[]): Promise<void> {
    const timeoutMs = Math.min(parts[0]?.timeoutMs ?? Infinity, this.#call.remainingMs());
    try {
      const answers = parts.length > 1 && (await this.#subgraphs.ask(parts, this.#call, timeoutMs));
      if (answers) parts.forEach((part, index) => part.resolve(answers[index] as SubgraphAnswer));
      else for (const part of parts) this.#alone(part, timeoutMs);
    } catch (error) {
      for (const part of parts) part.reject(error);
    }
  }

  #alone({ name, body, resolve, reject }: Part, timeoutMs: number): void {
    this.#subgraphs.post(`/${name}`, body, this.#call, timeoutMs).then(resolve, reject);
  }
}

/** Those that may take as long as each other, and are not too long together. */
function grouped(parts: readonly Part[]): Part[][] {
  const groups: Part[][] = [];
  const lengths = new Map<Part[], number>();
  for (const part of parts) {
    const fits = (group: Part[]) =>
      group[0]?.timeoutMs === part.timeoutMs &&
      (lengths.get(group) ?? 0) + part.body.length <= MAX_LENGTH;
    let group = groups.find(fits);
    if (!group) groups.push((group = []));
    group.push(part);
    lengths.set(group, (lengths.get(group) ?? 0) + part.body.length);
  }
  return groups;
}

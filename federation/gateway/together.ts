// What one execution asks of our subgraphs at the same moment, in one request: they are one process,
// and each request costs both sides more than what is in it.
import type { Call } from "./call.ts";
import type { Asked, SubgraphAnswer, Subgraphs } from "./subgraphs.ts";

const MAX_BYTES = 1_000_000; // more goes out by itself: subgraphs take two million
const MAX_WAIT_MS = 20; // for the next question: the planner comes with it some milliseconds later (a guess)

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
  #waiting: NodeJS.Timeout | undefined;

  constructor(subgraphs: Subgraphs, call: Call) {
    this.#subgraphs = subgraphs;
    this.#call = call;
    call.whenSettled(() => this.#send());
  }

  /**
   * As Subgraphs.post, with all else that is asked before the event loop turns. What `canWait` goes
   * out with the next that cannot, or soon by itself.
   */
  post(name: string, body: string, timeoutMs: number, canWait: boolean): Promise<SubgraphAnswer> {
    return new Promise((resolve, reject) => {
      this.#parts.push({ name, body, timeoutMs, resolve, reject });
      if (this.#isDue) return;
      if (canWait) return void (this.#waiting ??= setTimeout(() => this.#send(), MAX_WAIT_MS));
      this.#isDue = true;
      setImmediate(() => this.#send());
    });
  }

  #send(): void {
    const waiting = this.#parts;
    this.#parts = [];
    this.#isDue = false;
    clearTimeout(this.#waiting);
    this.#waiting = undefined;
    for (const parts of grouped(waiting)) void this.#sent(parts);
  }

  async #sent(parts: readonly Part[]): Promise<void> {
    const timeoutMs = Math.min(parts[0]?.timeoutMs ?? Infinity, this.#call.remainingMs());
    try {
      const answers = parts.length > 1 && (await this.#subgraphs.ask(parts, this.#call, timeoutMs));
      if (answers) parts.forEach((part, index) => part.resolve(answers[index] as SubgraphAnswer));
      else for (const part of parts) this.#alone(part);
    } catch (error) {
      for (const part of parts) part.reject(error);
    }
  }

  #alone({ name, body, timeoutMs: givenMs, resolve, reject }: Part): void {
    const timeoutMs = Math.min(givenMs, this.#call.remainingMs());
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
      (lengths.get(group) ?? 0) + Buffer.byteLength(part.body) <= MAX_BYTES;
    let group = groups.find(fits);
    if (!group) groups.push((group = []));
    group.push(part);
    lengths.set(group, (lengths.get(group) ?? 0) + Buffer.byteLength(part.body));
  }
  return groups;
}

// Identical requests that come while the first of them is executed share its result.

interface Flight<T> {
  result: Promise<T>;
  deadline: number;
  waiting: number;
  isOver: boolean;
  abort: AbortController;
}

// How much earlier a flight may end than who joins it would have to wait (a guess): its subgraphs
// were told its deadline, so whoever has longer starts one of their own.
const SLACK_MS = 1_000;

/** A flight goes on, and who joined it can wait no longer. */
export class Late extends Error {}

export class Flights<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /**
   * The result of the flight that is under way, or of one that `start` begins. A flight belongs to
   * nobody: it is aborted when the last who waits has left. Rejects with the signal's reason, and
   * with Late at the caller's `deadline` when that is before the flight's.
   */
  async join(
    key: string,
    deadline: number,
    signal: AbortSignal,
    start: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    let flight = this.#flights.get(key);
    if (!flight || flight.deadline + SLACK_MS < deadline) flight = this.#begin(key, deadline, start);
    flight.waiting += 1;
    // Who began it has an answer at the deadline that the subgraphs were told, with what is there.
    const late = new AbortController();
    const waitMs = Math.max(0, Math.ceil(deadline - performance.now()));
    const timer =
      deadline < flight.deadline ? setTimeout(() => late.abort(new Late()), waitMs) : undefined;
    try {
      return await orAborted(flight.result, AbortSignal.any([signal, late.signal]));
    } finally {
      clearTimeout(timer);
      flight.waiting -= 1;
      if (flight.waiting === 0) {
        this.#end(key, flight);
        if (!flight.isOver) flight.abort.abort();
      }
    }
  }

  #begin(key: string, deadline: number, start: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const abort = new AbortController();
    const result = start(abort.signal);
    const flight = { result, deadline, waiting: 0, isOver: false, abort };
    this.#flights.set(key, flight);
    const end = () => {
      flight.isOver = true;
      this.#end(key, flight);
    };
    flight.result.then(end, end);
    return flight;
  }

  #end(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}

/** A promise's result, unless the signal is first. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason as Error);
    signal.addEventListener("abort", leave, { once: true });
    const stay = () => signal.removeEventListener("abort", leave);
    promise.then(resolve, reject).finally(stay);
  });
}

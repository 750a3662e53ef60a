// What the gateway's process uses. prom-client's own set wakes the loop a hundred times a second to
// see how late it is, 0.6 % of a core; what Node counts anyhow costs nothing until somebody asks.
import { performance } from "node:perf_hooks";

import { Counter, Gauge, type Registry } from "prom-client";

/** Measure the process: its CPU, its memory, and how busy its event loop is. */
export function measureProcess(registry: Registry): void {
  const registers = [registry];
  counter("process_cpu_seconds_total", "CPU seconds, of the system's too", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  counter(
    "nodejs_eventloop_active_seconds_total",
    "Seconds that the event loop did not wait",
    () => performance.eventLoopUtilization().active / 1000,
  );
  gauge("process_resident_memory_bytes", "Memory", () => process.memoryUsage.rss());
  gauge("nodejs_heap_used_bytes", "Memory of the heap", () => process.memoryUsage().heapUsed);
  const startedS = Date.now() / 1000 - process.uptime();
  gauge("process_start_time_seconds", "When it was started, since 1970", () => startedS);

  function counter(name: string, help: string, now: () => number): void {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(now());
      },
    });
  }

  function gauge(name: string, help: string, now: () => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(now());
      },
    });
  }
}

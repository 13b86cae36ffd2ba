/// <reference lib="deno.worker" />
// What runs in the Workers of a sweep: one trial after another, by a module's train().
import { runTrial, type TrialJob, type WorkerReply } from "./_trial.ts";

let trial = new AbortController();
const reply = (message: WorkerReply) => self.postMessage(message);

self.onmessage = async ({ data }: MessageEvent<TrialJob & { module: string } | "stop">) => {
  if (data === "stop") return trial.abort(new DOMException("the trial is stopped", "AbortError"));
  trial = new AbortController();
  let loaded = false;
  try {
    const { train } = await import(data.module);
    if (typeof train !== "function") throw new Error("it exports no function train");
    loaded = true;
    const report = (...at: [step: number, value: number]) => reply({ report: at });
    reply({ value: await runTrial(train, data, trial.signal, report) });
  } catch (error) {
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    reply({ error: { message, stack }, loaded });
  }
};

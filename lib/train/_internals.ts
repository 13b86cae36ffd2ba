import type { Trainer } from "./trainer.ts";
import type { TrainerOptions } from "./options.ts";

/** What trainer.ts lets other files here do, and nobody else. */
export const internals = {} as {
  /** What a trainer was made with. */
  optionsOf<Input, Output, Target>(
    trainer: Trainer<Input, Output, Target>,
  ): TrainerOptions<Output, Target>;
};

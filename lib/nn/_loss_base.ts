import { formatCall } from "../core/describe.ts";

/**
 * What the classes of losses have in common: options that stay, and print.
 *
 * ```ts
 * import { nn } from "@cudeno/cudeno";
 * console.log(new nn.HuberLoss({ delta: 2 })); // HuberLoss({ delta: 2 })
 * ```
 */
export abstract class LossBase<O extends object> {
  /**
   * As they were given.
   *
   * @ignore
   */
  protected readonly options: O;

  /** Takes options that have been checked, or will be. */
  constructor(options: O) {
    this.options = options;
  }

  /** The call that makes it; console.log shows that. */
  toString(): string {
    return formatCall(this.constructor.name, [], Object.fromEntries(Object.entries(this.options)));
  }

  // The name of a method has to be plain for an importer's isolatedDeclarations.
  static {
    Object.defineProperty(this.prototype, Symbol.for("Deno.customInspect"), {
      value(this: LossBase<object>): string {
        return `${this}`;
      },
    });
  }
}

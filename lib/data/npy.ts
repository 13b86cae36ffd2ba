import type { Tensor } from "../tensor.ts";
import { loadNpy, loadNpz, type NpyOptions, type Source } from "../io/npy.ts";
import type { StateDict } from "../nn/module.ts";

/**
 * Reads a .npy file, NumPy's format of one array, as {@linkcode io.loadNpy} does.
 *
 * ```ts
 * import { data, io, tensor } from "@cudeno/cudeno";
 * const bytes = await io.toNpy(tensor([[1, 2], [3, 4]])); // or a path
 * console.log((await data.npy(bytes)).shape); // [2, 2]
 * ```
 */
export const npy: (source: Source, options?: NpyOptions) => Promise<Tensor> = loadNpy;

/**
 * Reads a .npz file, NumPy's format of named arrays, as {@linkcode io.loadNpz} does.
 *
 * ```ts
 * import { data, io, tensor } from "@cudeno/cudeno";
 * const bytes = await io.toNpz({ x: tensor([[1, 2]]), y: tensor([0]) }); // or a path
 * const { x, y } = await data.npz(bytes);
 * const set = new data.TensorDataset(x!, y!);
 * console.log(set.length); // 1
 * ```
 */
export const npz: (source: Source, options?: NpyOptions) => Promise<StateDict> = loadNpz;

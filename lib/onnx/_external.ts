// Tensors whose data lie in files beside the model.
import { replaceFile, withFile } from "../io/_files.ts";
import { DataError } from "../native/errors.ts";
import { quote } from "./graph.ts";
import type { Draft, Message } from "./_schema.ts";

/** All tensors of a graph, also those of attributes and of graphs within. */
export function* tensorsOf(graph: Message<"Graph">): Generator<Message<"Tensor">> {
  yield* graph.initializer;
  for (const { attribute } of graph.node) {
    for (const { t, tensors, g, graphs } of attribute) {
      if (t) yield t;
      yield* tensors;
      for (const inner of g ? [g, ...graphs] : graphs) yield* tensorsOf(inner);
    }
  }
}

/** Reads the data of tensors that lie in files beside the model, at `path`. */
export async function readExternal(
  tensors: Iterable<Message<"Tensor">>,
  path: string | undefined,
  file: string,
): Promise<void> {
  for (const proto of tensors) {
    if (proto.dataLocation !== 1) continue;
    const fault = (message: string) =>
      new DataError(`${file}: the data of ${quote(proto.name ?? "")} ${message}`);
    const entries = new Map(proto.externalData.map(({ key, value }) => [key, value ?? ""]));
    const location = entries.get("location") ?? "";
    if (path === undefined) {
      throw fault(`are in the file ${quote(location)} beside it: load the model by its path`);
    }
    // Not out of the folder, by name or by a link.
    const parts = location.split(/[/\\]/);
    if (
      location === "" || /^([/\\]|[a-z]:)/i.test(location) || parts.includes("..") ||
      location.includes("\0")
    ) {
      throw fault(`are said to be in ${quote(location)}, which is not within the model's folder`);
    }
    const folder = path.replace(/[^/\\]*$/, "") || "./";
    const [real, root] = await Promise.all([
      Deno.realPath(folder + location),
      Deno.realPath(folder),
    ])
      .catch((cause) => {
        throw new DataError(`${file}: ${folder + location} is missing or cannot be read`, {
          cause,
        });
      });
    if (!real.startsWith(root.endsWith("/") ? root : `${root}/`)) {
      throw fault(`are in ${quote(location)}, a link out of the model's folder`);
    }
    await withFile(real, async ({ size, read }) => {
      const number = (key: string, or: number) => {
        const text = entries.get(key);
        const value = text === undefined ? or : /^\d+$/.test(text) ? Number(text) : NaN;
        if (Number.isSafeInteger(value)) return value;
        throw fault(`have the ${key} ${quote(text ?? "")}, which is no size`);
      };
      const begin = number("offset", 0);
      const end = begin + number("length", size - begin);
      if (begin > end || end > size) {
        throw fault(`are bytes ${begin} to ${end} of ${quote(location)}, which has ${size}`);
      }
      proto.rawData = await read(begin, end);
      proto.dataLocation = 0;
    });
  }
}

/** Moves the data of tensors to a file beside the model that goes to `path`. */
export async function writeExternal(
  tensors: readonly Draft<"Tensor">[],
  path: string,
): Promise<void> {
  const location = `${path.replace(/^.*[/\\]/, "")}.data`;
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const tensor of tensors) {
    const data = tensor.rawData!, gap = (64 - data.length % 64) % 64; // so that it may be mapped
    delete tensor.rawData;
    tensor.dataLocation = 1;
    tensor.externalData = Object.entries({ location, offset, length: data.length })
      .map(([key, value]) => ({ key, value: `${value}` }));
    parts.push(data, new Uint8Array(gap));
    offset += data.length + gap;
  }
  await replaceFile(
    `${path}.data`,
    async function* () {
      yield* parts;
    }(),
  );
}

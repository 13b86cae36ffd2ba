// Operators that make elements.
import { sizeOf } from "../../core/shape.ts";
import { full } from "../../create.ts";
import { elements, elementType } from "../_elements.ts";
import { hostLimit } from "../value.ts";
import type { Family, Operator } from "./_operator.ts";

const constant: Operator = (c) => {
  const [attribute] = c.node.attributes;
  const [name, { kind, value }] = attribute ?? c.fail("there is no attribute with a value");
  const list = typeof value === "number" ? [value] : value as readonly number[];
  if (kind === "int" || kind === "float") {
    return c.host(kind === "int" ? "int64" : "float32", [], list);
  }
  if (kind === "ints" || kind === "floats") {
    return c.host(kind === "ints" ? "int64" : "float32", [list.length], list);
  }
  return c.constant(name) ?? c.fail(`${name} is not supported`);
};

const filled: Operator = (c) => {
  const shape = c.numbers(0);
  const like = c.constant("value");
  const [type, value] = [like?.type ?? "float32", like?.numbers()[0] ?? 0];
  const size = sizeOf(shape);
  if (size <= hostLimit && size >= 0) {
    return c.host(type, shape, new Float64Array(size).fill(value));
  }
  return c.as(type, full(shape, value, { dtype: c.place.dtype(type), device: c.place.device }));
};

const range: Operator = (c) => {
  const [start, limit, delta] = [c.number(0), c.number(1), c.number(2)];
  const count = Math.max(0, Math.ceil((limit - start) / delta));
  if (!(count < 2 ** 28)) c.fail(`there are ${count} numbers from ${start} to ${limit}`);
  const { fit } = elements[c.type];
  return c.host(
    c.type,
    [count],
    Float64Array.from({ length: count }, (_, i) => fit(start + i * delta)),
  );
};

const eyeLike: Operator = (c) => {
  const [rows, columns] = c.value(0).shape as [number, number];
  const [code, k] = [c.int("dtype", 0), c.int("k", 0)];
  const data = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    if (i + k >= 0 && i + k < columns) data[i * columns + i + k] = 1;
  }
  return c.host(code === 0 ? c.type : elementType(code)!, [rows, columns], data);
};

// Without training there is nothing to drop.
const dropout: Operator = (c) => {
  if (c.number(2, 0)) c.fail("it is to train, which is not supported");
  const { shape } = c.value(0);
  const options = { dtype: "uint8", device: c.place.device } as const;
  return [c.value(0), c.wants(1) ? c.as("bool", full(shape, 1, options)) : undefined];
};

/** Made elements. */
export const constants: Family = {
  Constant: constant,
  ConstantOfShape: filled,
  Range: range,
  EyeLike: eyeLike,
  Dropout: dropout,
};

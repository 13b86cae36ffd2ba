export * from "./dropout.ts";
export * from "./dropout2d.ts";
export * from "./multinomial.ts";

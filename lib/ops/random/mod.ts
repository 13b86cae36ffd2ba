export * from "./dropout.ts";

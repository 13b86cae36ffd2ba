// Images of an IDX file, each read from disk as it is asked for: a data set for bench/loader.ts.
import { data } from "../mod.ts";

export interface IdxSamples {
  /** The plain files. */
  images: string;
  labels: string;
}

export default function idxSamples({ images, labels }: IdxSamples): data.SampleDataset {
  const file = Deno.openSync(images);
  const head = new DataView(new ArrayBuffer(16));
  file.readSync(new Uint8Array(head.buffer));
  const [length, rows, columns] = [4, 8, 12].map((at) => head.getUint32(at));
  const classes = Deno.readFileSync(labels).subarray(8);
  return {
    length: length!,
    classes: 10,
    get(i) {
      const input = new Uint8Array(rows! * columns!);
      file.seekSync(16 + i * input.length, Deno.SeekMode.Start);
      file.readSync(input);
      return { input, target: classes[i]! };
    },
  };
}

// The two networks of char_lm.ts.
import { arange, nn, type Tensor } from "../mod.ts";

/**
 * From character numbers [n, steps] to the logits of the characters that follow, [n, steps,
 * characters].
 */
export class LstmModel extends nn.Module {
  embedding: nn.Embedding;
  lstm: nn.LSTM;
  head: nn.Linear;
  constructor(characters: number, hidden: number, numLayers: number) {
    super();
    this.embedding = new nn.Embedding(characters, hidden);
    this.lstm = new nn.LSTM(hidden, hidden, { numLayers, batchFirst: true, dropout: 0.2 });
    this.head = new nn.Linear(hidden, characters);
  }
  override forward(x: Tensor): Tensor {
    return this.head.forward(this.lstm.forward(this.embedding.forward(x)));
  }
}

/** The same with attention: each character looks at all those before it. */
export class TransformerModel extends nn.Module {
  embedding: nn.Embedding;
  position: nn.Embedding;
  encoder: nn.TransformerEncoder;
  head: nn.Linear;
  constructor(characters: number, hidden: number, layers: number, context: number) {
    super();
    this.embedding = new nn.Embedding(characters, hidden);
    this.position = new nn.Embedding(context, hidden);
    const options = { feedForward: 4 * hidden, normFirst: true, batchFirst: true } as const;
    const layer = () => new nn.TransformerEncoderLayer(hidden, 4, options);
    this.encoder = new nn.TransformerEncoder(Array.from({ length: layers }, layer), {
      norm: new nn.LayerNorm(hidden),
    });
    this.head = new nn.Linear(hidden, characters);
  }
  override forward(x: Tensor): Tensor {
    const places = arange(0, x.shape[1]!, 1, { dtype: "int32" });
    const y = this.embedding.forward(x).add(this.position.forward(places));
    return this.head.forward(this.encoder.forward(y, { causal: true }));
  }
}

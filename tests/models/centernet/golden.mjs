// Makes golden.json: what TensorFlow.js itself computes with the published CenterNet.
//
//   npm install @tensorflow/tfjs@4.22.0 @vladmandic/human@3.3.6 && node golden.mjs > golden.json
//
// No part of the tests' run: it is here so that the numbers can be made again.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const require = createRequire(resolve("package.json"));
const tf = require("@tensorflow/tfjs");
const models = resolve("node_modules/@vladmandic/human/models");

const SIDE = 512;
const SAMPLES = 300;
const STEP = 7919; // a prime: the samples are spread over places and channels alike

// Whole numbers only, so that every language draws the same picture: tests/models/test_centernet.py.
function picture(seed) {
  const pixels = new Uint8Array(SIDE * SIDE * 3);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      for (let c = 0; c < 3; c++) {
        const ground = ((x * (seed + c + 1)) >> 2) + ((y * (seed + 3 - c)) >> 3);
        const dx = x - 170 - 20 * seed, dy = y - 260;
        const inside = dx * dx + 2 * dy * dy < 24000;
        const stripe = ((x ^ y) >> (3 + seed)) & 1;
        const value = inside ? 40 + 60 * c + 50 * stripe : ground;
        pixels[(y * SIDE + x) * 3 + c] = value & 255;
      }
    }
  }
  return pixels;
}

const document = JSON.parse(readFileSync(`${models}/centernet.json`, "utf8"));
const weights = readFileSync(`${models}/centernet.bin`);
await tf.setBackend("cpu");
const model = await tf.loadGraphModel({
  load: async () => ({
    modelTopology: document.modelTopology,
    signature: document.signature,
    format: document.format,
    weightSpecs: document.weightsManifest.flatMap((group) => group.weights),
    weightData: weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.byteLength),
  }),
});

const names = ["tower_0/keypoints", "tower_0/wh", "tower_0/detections"];
const golden = { tfjs: tf.version.tfjs, samples: SAMPLES, step: STEP, pictures: [] };
for (const seed of [0, 1, 2]) {
  const input = tf.tensor4d(Float32Array.from(picture(seed)), [1, SIDE, SIDE, 3]);
  const outputs = model.execute(input, names);
  const [keypoints, wh, detections] = await Promise.all(outputs.map((output) => output.data()));
  const sampled = (data) =>
    Array.from({ length: SAMPLES }, (_, i) => data[(i * STEP) % data.length]);
  golden.pictures.push({
    seed,
    // Samples in TensorFlow's order: [row, column, channel].
    keypoints: sampled(keypoints),
    wh: sampled(wh),
    keypointsSum: keypoints.reduce((sum, value) => sum + value, 0),
    whSum: wh.reduce((sum, value) => sum + value, 0),
    // x1, y1, x2, y2, score, class of the model's own decoding, the best first.
    detections: Array.from({ length: 20 }, (_, i) => [...detections.slice(i * 6, i * 6 + 6)]),
  });
}
process.stdout.write(JSON.stringify(golden, null, 1) + "\n");

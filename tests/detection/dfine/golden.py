"""Makes golden.json and tiny.onnx: what `transformers` itself computes, and a D-FINE for CI.

    pip install torch==2.13.0 torchvision==0.28.0 transformers==5.23.0 onnx==1.23.2 pillow
    python -m tests.detection.dfine.golden

No part of the tests' run: it is here so that the numbers can be made again. All weights are random;
nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from PIL import Image
from transformers import (
    DFineConfig,
    DFineForObjectDetection,
    HGNetV2Config,
    RTDetrImageProcessor,
    RTDetrImageProcessorPil,
)

from tests.detection.dfine.drawing import outputs, picture

HERE = Path(__file__).parent
PHOTOS = HERE.parent / "photos"
SIZES = [(640, 640), (320, 200), (1536, 1024), (1000, 1500), (641, 639), (97, 801)]
EXTREME = [(1536, 3), (2, 1536), (1, 1), (7, 5)]
ORIGINALS = [(640, 427), (8000, 6000), (1, 20_000)]
SAMPLES, STEP = 200, 7919  # a prime: the samples are spread over places and channels alike
THRESHOLD = 0.05
KEPT = 60


def config() -> DFineConfig:
    """A D-FINE with every part of size N, and as few channels as it can be made of."""
    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 8, 16, 16],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 16, 16, 16],
        hidden_sizes=[8, 16, 16, 16],
        embedding_size=8,
        stage_num_blocks=[1, 1, 1, 1],
        stage_downsample=[False, True, True, True],
        stage_light_block=[False, False, True, True],
        stage_kernel_size=[3, 3, 5, 5],
        stage_numb_of_layers=[1, 1, 1, 1],
        out_indices=[3, 4],
        use_learnable_affine_block=True,
    )
    return DFineConfig(
        backbone_config=backbone,
        num_labels=80,
        d_model=16,
        encoder_hidden_dim=16,
        encoder_in_channels=[16, 16],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        encode_proj_layers=[1],
        decoder_in_channels=[16, 16],
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        decoder_layers=2,
        decoder_n_points=[2, 2],
        feat_strides=[16, 32],
        num_feature_levels=2,
        num_queries=300,
        depth_mult=0.34,
        hidden_expansion=0.5,
        lqe_hidden_dim=8,
        max_num_bins=8,
    )


def tiny() -> DFineForObjectDetection:
    """Random weights of a size at which outputs differ: fresh ones give 300 queries that agree."""
    torch.manual_seed(1)
    model = DFineForObjectDetection(config()).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                scale = 1.3 / parameter[0].numel() ** 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model


class Exported(torch.nn.Module):  # type: ignore[misc]
    """A model with the input and outputs that published ONNX files have."""

    def __init__(self, model: DFineForObjectDetection) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Any) -> tuple[Any, Any]:
        found = self.model(pixel_values=pixel_values)
        return found.logits, found.pred_boxes


def export(model: DFineForObjectDetection, target: Path) -> None:
    names = ["pixel_values", "logits", "pred_boxes"]
    torch.onnx.export(
        Exported(model),
        (torch.zeros(1, 3, 640, 640),),
        str(target),
        input_names=names[:1],
        output_names=names[1:],
        dynamic_axes={name: {0: "batch_size"} for name in names},
        opset_version=16,
        dynamo=False,
    )
    written = onnx.load(target)
    for node in written.graph.node:
        node.doc_string = ""
    onnx.save(written, target)


def preprocessed(width: int, height: int) -> dict[str, Any]:
    """The hash of the tensor of the Pillow processor, and samples of torchvision's, in levels."""
    image = Image.fromarray(picture(width, height))
    tensor = RTDetrImageProcessorPil()(images=image, return_tensors="np")["pixel_values"]
    assert tensor.shape == (1, 3, 640, 640)
    assert tensor.dtype == np.float32
    other = RTDetrImageProcessor()(images=image, return_tensors="np")["pixel_values"]
    levels = np.rint(other.ravel()[np.arange(SAMPLES) * STEP % other.size] * 255)
    return {
        "size": [width, height],
        "sha256": hashlib.sha256(tensor.astype("<f4").tobytes()).hexdigest(),
        "torchvision": levels.astype(int).tolist(),
    }


def postprocessed(found: Any, width: int, height: int) -> list[list[float]]:
    """Label, score and box of what the processor makes of outputs, in its order."""
    (result,) = RTDetrImageProcessorPil().post_process_object_detection(
        found, threshold=THRESHOLD, target_sizes=[(height, width)]
    )
    parts = (result["labels"].tolist(), result["scores"].tolist(), result["boxes"].tolist())
    return [
        [label, float(f"{score:.7g}"), *(float(f"{side:.7g}") for side in box)]
        for label, score, box in zip(*parts, strict=True)
    ]


class Outputs:
    """Outputs as a processor takes them."""

    def __init__(self, seed: int) -> None:
        self.logits, self.pred_boxes = map(torch.from_numpy, outputs(seed))


def drawn(seed: int, width: int, height: int) -> dict[str, Any]:
    detections = postprocessed(Outputs(seed), width, height)
    # The order of equal scores is nobody's promise.
    assert all(one[1] > other[1] for one, other in pairwise(detections))
    assert 100 < len(detections) < 300
    return {"seed": seed, "size": [width, height], "detections": detections}


def looked_at(model: DFineForObjectDetection, name: str) -> dict[str, Any]:
    """A photo all the way: processor, model, processor."""
    image = Image.open(PHOTOS / f"{name}.jpg").convert("RGB")
    pixels = RTDetrImageProcessorPil()(images=image, return_tensors="pt")
    with torch.no_grad():
        found = model(**pixels)
    return {"photo": name, "detections": postprocessed(found, *image.size)[:KEPT]}


def main() -> None:
    model = tiny()
    golden = {
        "samples": SAMPLES,
        "step": STEP,
        "preprocessed": [preprocessed(*size) for size in SIZES + EXTREME],
        "postprocessed": [drawn(seed, *size) for seed, size in enumerate(ORIGINALS)],
        "photos": [looked_at(model, name) for name in ("cat", "astronaut")],
    }
    text = json.dumps(golden, separators=(",", ":")).replace('{"', '\n{"')
    (HERE / "golden.json").write_text(text + "\n", "utf-8")
    # At the end: what was exported computes something else afterwards.
    export(model, HERE / "tiny.onnx")


if __name__ == "__main__":
    main()

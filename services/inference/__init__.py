"""Where tensors become tensors: the engine seam, ONNX Runtime behind it, versions of models."""

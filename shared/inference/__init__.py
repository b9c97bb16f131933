"""The inference layer: request in, answer out, over onnxruntime. The only home of numpy and onnxruntime."""

"""Models as ONNX graphs, for runtimes without PyTorch."""

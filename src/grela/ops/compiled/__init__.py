"""Optional C++ kernels for the processor, compiled on first use; equal to the PyTorch forms beside them."""

"""scanlib: compiled, differentiable, memory-frugal sequential loops."""

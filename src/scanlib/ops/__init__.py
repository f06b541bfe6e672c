"""The operation table: one row per operation, in files by family."""

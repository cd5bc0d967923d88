"""Checkpoints of LISA and its successors, as they were published, and their way into ours."""

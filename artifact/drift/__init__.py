"""Streams that change, and who follows them."""

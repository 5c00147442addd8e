"""Networks that read text, and what they are charged for it."""

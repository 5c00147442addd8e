"""What the notebook on cost measures."""

"""What the notebook on convergence measures."""

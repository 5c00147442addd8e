"""What only the artifact uses: data, statistics, the ledger, and what runs and checks the notebooks."""

"""The site's pages: docs/ as it is, and what notebooks, figures, ledger and bibliography give; `make site`."""

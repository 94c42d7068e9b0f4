"""What the product costs, measured beside nginx and a direct connection in one run (docs/bench.md)."""

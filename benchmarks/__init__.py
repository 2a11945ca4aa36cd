"""What the app costs, measured: `python3 dev.py bench` writes RESULTS.md."""

"""Database helpers: compiled reads, copied rows, stored times, cascades, outages."""

"""The database: compiled reads, copied rows, times as columns hold them, cascades, outages."""

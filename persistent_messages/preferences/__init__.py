"""What users choose for each topic: whether its notices are in their inbox, and are mailed."""

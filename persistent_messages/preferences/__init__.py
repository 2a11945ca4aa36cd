"""What users choose for each topic: whether to get it in the inbox and by mail."""

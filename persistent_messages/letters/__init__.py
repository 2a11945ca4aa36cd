"""Messages between users: who may write to whom, sending, replies, reports, forms."""

"""What a page of the inbox shows, bulk actions, and the export of a mailbox."""

"""What each goal saw, planned and did, in a file; and a page that explains such a file."""

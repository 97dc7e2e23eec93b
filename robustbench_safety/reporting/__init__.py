"""What is made of records: files, tables."""

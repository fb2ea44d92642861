"""What is written for people: pictures, tables, pages."""

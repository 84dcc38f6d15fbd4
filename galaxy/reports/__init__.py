"""What is read from run folders and catalogs: tables, figures and comparisons."""

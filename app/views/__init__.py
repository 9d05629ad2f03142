"""Sessions as plain data, tables and plots for the pages."""

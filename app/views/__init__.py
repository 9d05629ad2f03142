"""What the pages show: session state as plain data, tables and plots."""

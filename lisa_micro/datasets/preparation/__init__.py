"""Data sets made ready: converted to records, checked, merged, divided into parts."""

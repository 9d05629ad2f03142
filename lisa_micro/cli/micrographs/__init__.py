"""Commands about one micrograph."""

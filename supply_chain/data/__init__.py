"""From a source to examples that are proven clean."""

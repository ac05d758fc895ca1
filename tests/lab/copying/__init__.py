"""An app that is installed in tests alone: its `migrate` gives an empty database a copy of one that was migrated before."""

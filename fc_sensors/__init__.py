"""What starts work by itself; ticks read the ledger or the calendar, never the warehouse."""

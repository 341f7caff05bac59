"""What starts work by itself; it reads the ledger or the calendar and never opens the warehouse."""

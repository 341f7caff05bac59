"""Stage 7: records of the dataset and where they are published."""

#: Raised when what a record says changes.
RECORDS = "records/2"

"""The headers for operators in C. Where operators are built."""

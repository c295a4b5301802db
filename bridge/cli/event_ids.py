"""Ids of events as an operator types them: whole, or the beginning that `trace` and the log show."""

#: Hexadecimal digits of the shortest beginning.
SHORTEST = 6
#: Hexadecimal digits of a whole id.
WHOLE = 64

"""A year of operation, simulated: what each action costs on a full system, beside an empty one."""

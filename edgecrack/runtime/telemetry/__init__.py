"""How a stream goes: events, counters, the log, the machine, the service manager."""

"""What the kernel tells of clocks, heat and power, and whether the machine is throttled."""

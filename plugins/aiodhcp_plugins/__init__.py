"""Ready-made plugins for aiodhcp, written against its public names only."""

"""``python -m aiodhcp``"""

from aiodhcp.cli import app

app()

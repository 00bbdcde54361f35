"""The server that the README shows, on a host with the ``eth0`` that it serves."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from namespaces import Network, needs

README = Path(__file__).resolve().parents[2] / "README.md"


@needs("udhcpc")
def test_the_server_of_the_readme_gives_a_lease(tmp_path: Path) -> None:
    _, code = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    with Network() as net:
        server, client = net.host("server"), net.host("client")
        net.link(server, "eth0", client, "eth0")
        server.run("ip addr add 192.168.50.1/24 dev eth0")
        running = server.popen_python(code, cwd=tmp_path, stdout=subprocess.PIPE)
        assert running.stdout is not None
        assert running.stdout.readline() == "[]\n"
        client.run("udhcpc -i eth0 -f -q -n -t 10 -T 1 -s /bin/true", timeout=20)
        end = time.monotonic() + 10
        while (shown := running.stdout.readline()) == "[]\n" and time.monotonic() < end:
            pass
        assert shown == "['192.168.50.100']\n"

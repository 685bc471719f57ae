#!/usr/bin/env python3
"""The pages of every daemon: what browsers, Prometheus and hostile strangers get."""

import html.parser
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

from dfs_e2e import BIN, PATIENCE, WAIT_SECONDS, Cluster, main, require, wait_for

c = None


def pages():
    return {name: p["http"] for name, p in c.processes().items()}


def get(address, path, method="GET"):
    request = urllib.request.Request(f"http://{address}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as reply:
            return reply.status, dict(reply.headers), reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def samples(text):
    """Parses the text format strictly: HELP, TYPE, then the samples of that name, each label set once."""
    found, family, kinds = {}, None, {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            require(family not in kinds and len(line.split(None, 3)) == 4, f"twice, or without help: {line}")
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            require(name == family and kind in ("counter", "gauge"), line)
            require((kind == "counter") == name.endswith("_total"), f"the name does not suit a {kind}: {line}")
            kinds[name] = kind
        else:
            match = re.fullmatch(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+\})? (-?[0-9.e+-]+)', line)
            require(match and match[1] == family and family in kinds, f"not a sample of {family}: {line}")
            require((match[1], match[2]) not in found, f"twice: {line}")
            found[match[1], match[2]] = float(match[3])
    return found


class Parser(html.parser.HTMLParser):
    """Well-formed, and nothing from elsewhere."""
    VOID = {"meta", "br", "link", "img"}

    def __init__(self):
        super().__init__()
        self.open = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        require(tag not in ("script", "img", "link", "iframe"), f"<{tag}> on the page")
        require(not any(k in ("src", "href") for k, _ in attrs), f"an outside asset: {attrs}")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        require(self.open and self.open.pop() == tag, f"</{tag}> does not match")

    def handle_data(self, data):
        self.text += data + " "


def text_of(page):
    parser = Parser()
    parser.feed(page)
    parser.close()
    require(parser.open == [], f"left open: {parser.open}")
    return parser.text


def test_health():
    for name, address in pages().items():
        require(get(address, "/healthz")[::2] == (200, "ok\n"), f"{name} /healthz")
        wait_for(f"{name} to be ready", lambda: get(address, "/readyz")[0] == 200)


def test_metrics():
    c.run("put", "-", "/counted", stdin=os.urandom(300_000))
    c.run("cat", "/counted")
    for name, address in pages().items():
        status, headers, text = get(address, "/metrics?name=x")
        require(status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4"), f"{name}: {headers}")
        found = samples(text)
        require(found["process_resident_memory_bytes", None] > 1 << 20, f"{name}: memory")
        require(found["process_open_fds", None] > 3, f"{name}: descriptors")
        require(abs(found["process_start_time_seconds", None] - time.time()) < 24 * 3600, f"{name}: start")
    leader = samples(get(pages()["namenode-1"], "/metrics")[2])
    require(leader["dfs_namenode_is_leader", None] == 1, "it leads")
    require(leader["dfs_namespace_files", None] == 1, "one file")
    require(leader["dfs_datanodes", '{state="live"}'] == 2, "two datanodes")
    require(leader["dfs_namenode_requests_total", '{method="open_session"}'] >= 1, "requests by method")
    stored = [samples(get(pages()[f"datanode-{i}"], "/metrics")[2]) for i in (1, 2)]
    require(all(s["dfs_datanode_stored_bytes_total", None] == 300_000 for s in stored), "bytes stored")
    require(sum(s["dfs_datanode_served_bytes_total", None] for s in stored) == 300_000, "bytes served")


def test_status_page():
    text = text_of(get(pages()["namenode-1"], "/")[2])
    for word in ("Namenode 1", "Healthy", "Datanodes", "live", "leader"):
        require(word in text, f"{word!r} is not on the page: {text}")
    text = text_of(get(pages()["datanode-1"], "/")[2])
    for word in ("In service", "registered", f"{c.dir}/datanode-1/data"):
        require(word in text, f"{word!r} is not on the page: {text}")
    c.run("dev", "kill", c.dir, "datanode-2")
    leader = pages()["namenode-1"]
    wait_for("the page to tell of the dead datanode", lambda: "1 datanode is dead" in text_of(get(leader, "/")[2]))
    c.run("dev", "revive", c.dir, "datanode-2")
    wait_for("the page to be calm again", lambda: "Healthy" in text_of(get(leader, "/")[2]))


def test_head_and_errors():
    address = pages()["namenode-1"]
    status, headers, body = get(address, "/healthz", "HEAD")
    require(status == 200 and body == "" and headers["Content-Length"] == "3", f"HEAD: {headers}")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        status, headers, _ = get(address, "/", method)
        require(status == 405 and headers["Allow"] == "GET, HEAD", method)
    for path in ("/nope", "/../../etc/passwd", "/%2e%2e/etc/passwd", "/metrics/"):
        require(get(address, path)[0] == 404, path)
    headers = get(address, "/")[1]
    require(headers["X-Content-Type-Options"] == "nosniff" and "default-src 'none'" in headers["Content-Security-Policy"],
            f"{headers}")


def raw(address, data):
    """What comes back for bytes that no browser sends."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=WAIT_SECONDS) as s:
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            reply = b""
            while more := s.recv(65536):
                reply += more
        except OSError:  # cut off in the middle: ECONNRESET, EPIPE, ENOTCONN
            return b""
        return reply


def test_hostile_requests():
    for address in (pages()["namenode-1"], pages()["datanode-1"]):
        require(raw(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200"), "a plain request")
        for hostile, codes in ((b"\x00\xff" * 1000, (b"400",)),
                               (b"GET / HTTP/9.9\r\n\r\n", (b"400",)),
                               (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", (b"400",)),
                               (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", (b"431", b"400")),
                               (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", (b"431",)),
                               (b"GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nx", (b"413", b"400")),
                               (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\nx", (b"413", b"400"))):
            reply = raw(address, hostile)
            require(reply == b"" or reply.split(b" ")[1] in codes, f"{hostile[:40]!r}: {reply[:60]!r}")
        require(raw(address, b"GET / HT") == b"", "half a request")
    # More connections than are served, all silent: those that come later are closed, and nobody dies.
    address = pages()["namenode-1"]
    host, port = address.rsplit(":", 1)
    silent = [socket.create_connection((host, int(port))) for _ in range(200)]
    c.run("ls", "/")
    for s in silent:
        s.close()
    wait_for("pages after a flood", lambda: get_or_none(address) == 200)
    require(all(p["state"] == "running" for p in c.processes().values()), "a daemon died")


def get_or_none(address):
    try:
        return get(address, "/healthz")[0]
    except OSError:
        return None


def test_many_readers():
    address = pages()["namenode-1"]
    failures = []

    def read():
        for _ in range(20):
            if get(address, "/metrics")[0] != 200:
                failures.append(address)
    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    require(failures == [], "readers at the same time")


def test_port_in_use():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        daemon = os.path.join(BIN, "dfs-datanode")
        run = subprocess.run([daemon, "--cluster.id=" + "a" * 36, f"--storage.volumes={c.work}/dn",
                              "--namenodes.addresses=127.0.0.1:1", "--listen.block=127.0.0.1:0",
                              f"--listen.http=127.0.0.1:{port}"], capture_output=True, text=True, check=False,
                             timeout=WAIT_SECONDS)
        require(run.returncode == 1 and "listen.http" in run.stderr and str(port) in run.stderr, f"{run}")


def test_in_a_browser():
    browser = shutil.which("chromium")
    if browser is None:
        print("no chromium here: not looked at in a browser")
        return
    for width, shown in ((1200, "wide"), (390, "phone")):
        picture = f"{c.work}/{shown}.png"
        subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},1400",
                        f"--screenshot={picture}", f"http://{pages()['namenode-1']}/"],
                       check=True, capture_output=True, timeout=WAIT_SECONDS * PATIENCE)
        require(os.path.getsize(picture) > 10_000, f"the picture of {shown} is empty")
        keep = os.environ.get("DFS_TEST_PICTURES")
        if keep:
            shutil.copy(picture, keep)


if __name__ == "__main__":
    with Cluster(namenodes=1, datanodes=2) as cluster:
        c = cluster
        main(test_health, test_metrics, test_status_page, test_head_and_errors, test_hostile_requests,
             test_many_readers, test_port_in_use, test_in_a_browser)

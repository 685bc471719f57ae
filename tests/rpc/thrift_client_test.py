"""A stock Python Thrift client (TFramedTransport, TCompactProtocol) against our port, over a Unix socket.

usage: thrift_client_test.py GENERATED_CODE SERVER_PROGRAM
Exits with 77 (SKIPPED for ctest) when Thrift's Python module is not installed.
"""
import os
import subprocess
import sys
import tempfile
import unittest

GENERATED, SERVER = sys.argv[1], sys.argv[2]
try:
    from thrift.protocol.TCompactProtocol import TCompactProtocol
    from thrift.Thrift import TApplicationException, TMessageType
    from thrift.transport.TSocket import TSocket
    from thrift.transport.TTransport import TFramedTransport, TTransportException
except ImportError as missing:
    print(f"SKIPPED: Thrift's Python module is not installed ({missing}); apt install python3-thrift")
    sys.exit(77)

sys.path.insert(0, GENERATED)
from dfs_idl import ClientService  # noqa: E402
from dfs_idl.ttypes import (  # noqa: E402
    DfsError, ListDirectoryRequest, Ref, StatFsRequest, StatRequest)


class StockClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="dfsthrift")
        cls.path = os.path.join(cls.directory.name, "s")
        cls.server = subprocess.Popen(
            [SERVER, cls.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert cls.server.stdout.readline() == "READY\n"

    @classmethod
    def tearDownClass(cls):
        cls.server.stdin.close()
        code = cls.server.wait(timeout=240)
        cls.server.stdout.close()
        cls.directory.cleanup()
        assert code == 0, f"the server ended with {code}"

    def setUp(self):
        self.socket = TSocket(unix_socket=self.path)
        self.socket.setTimeout(240_000)
        self.transport = TFramedTransport(self.socket)
        self.protocol = TCompactProtocol(self.transport)
        self.client = ClientService.Client(self.protocol)
        self.transport.open()

    def tearDown(self):
        self.transport.close()

    def test_call_and_reply(self):
        for i in range(200):
            path = b"/a/\xff" + b"x" * i
            reply = self.client.stat(StatRequest(ref=Ref(inode=i, path=path), follow=True))
            self.assertEqual(reply.attr.inode, i + 1)
            self.assertEqual(reply.attr.size, len(path))
            self.assertEqual(reply.symlink_target, path)
            self.assertEqual(reply.attr.uid, os.getuid())
            self.assertEqual(reply.attr.mode, 0o644)

    def test_declared_error(self):
        with self.assertRaises(DfsError) as caught:
            self.client.stat(StatRequest(ref=Ref(path=b"/missing")))
        self.assertEqual(caught.exception.code, 1)
        self.assertEqual(caught.exception.message, "/missing: no such file")
        self.assertEqual(caught.exception.posix_errno, 2)
        self.assertEqual(caught.exception.retry_after_ms, 5)
        self.assertEqual(caught.exception.leader_hint, "x:1")
        self.assertIsNotNone(self.client.stat_fs(StatFsRequest()))  # the connection goes on

    def test_large_reply(self):
        reply = self.client.list_directory(ListDirectoryRequest(max_entries=20_000))
        self.assertEqual(len(reply.entries), 20_000)
        self.assertEqual(reply.entries[19_999].name, b"entry-19999")

    def test_large_request(self):
        path = b"p" * 3_000_000
        self.assertEqual(self.client.stat(StatRequest(ref=Ref(path=path))).attr.size, len(path))

    def test_empty_arguments(self):
        self.assertIsNotNone(self.client.stat_fs(None))

    def test_pipelined_calls_answer_in_order(self):
        for i in range(50):
            self.client.send_stat(StatRequest(ref=Ref(inode=i, path=b"")))
        for i in range(50):
            self.assertEqual(self.client.recv_stat().attr.inode, i + 1)

    def test_unknown_method(self):
        self.protocol.writeMessageBegin("format_everything", TMessageType.CALL, 7)
        self.protocol.writeStructBegin("args")
        self.protocol.writeFieldStop()
        self.protocol.writeStructEnd()
        self.protocol.writeMessageEnd()
        self.transport.flush()
        _, kind, _ = self.protocol.readMessageBegin()
        self.assertEqual(kind, TMessageType.EXCEPTION)
        error = TApplicationException()
        error.read(self.protocol)
        self.protocol.readMessageEnd()
        self.assertEqual(error.type, TApplicationException.UNKNOWN_METHOD)
        self.assertIsNotNone(self.client.stat_fs(StatFsRequest()))

    def test_nonsense_closes_only_this_connection(self):
        self.socket.write(b"\x00\x00\x00\x08\x82\x21\x01\x04stat")
        with self.assertRaises((TTransportException, OSError)):
            if not self.socket.read(1):
                raise TTransportException()
        other = TFramedTransport(TSocket(unix_socket=self.path))
        other.open()
        self.assertIsNotNone(ClientService.Client(TCompactProtocol(other)).stat_fs(StatFsRequest()))
        other.close()


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])

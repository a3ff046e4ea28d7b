"""Content codings: of the mock's answers, where each piece can be read as soon as it has come, and
of request bodies."""

import ctypes
import gzip
import zlib

ZSTD_FLUSH, ZSTD_END = 1, 2


class Plain:
    name = None

    def piece(self, data):
        return data

    def end(self):
        return b""


class Gzip:
    name = "gzip"

    def __init__(self):
        self._deflate = zlib.compressobj(wbits=31)

    def piece(self, data):
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def end(self):
        return self._deflate.flush()


class _Buffer(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t)]


def zstd_library():
    """The library that dpkg itself needs: Python has none before 3.14."""
    library = ctypes.CDLL("libzstd.so.1")
    buffer = ctypes.POINTER(_Buffer)
    for name in ("ZSTD_createCCtx", "ZSTD_createDCtx"):
        getattr(library, name).restype = ctypes.c_void_p
    for name in ("ZSTD_freeCCtx", "ZSTD_freeDCtx"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.ZSTD_compressBound.restype = ctypes.c_size_t
    library.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
    library.ZSTD_compressStream2.restype = ctypes.c_size_t
    library.ZSTD_compressStream2.argtypes = [ctypes.c_void_p, buffer, buffer, ctypes.c_int]
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    library.ZSTD_decompressStream.argtypes = [ctypes.c_void_p, buffer, buffer]
    return library


class Zstd:

    name = "zstd"

    def __init__(self):
        self._library = zstd_library()
        self._context = self._library.ZSTD_createCCtx()

    def _compress(self, data, how):
        room = ctypes.create_string_buffer(self._library.ZSTD_compressBound(len(data)) + 64)
        source = ctypes.create_string_buffer(data, len(data))
        target = _Buffer(ctypes.addressof(room), len(room), 0)
        given = _Buffer(ctypes.addressof(source), len(data), 0)
        left = self._library.ZSTD_compressStream2(self._context, target, given, how)
        assert left == 0 and given.pos == len(data), left
        return room.raw[:target.pos]

    def piece(self, data):
        return self._compress(data, ZSTD_FLUSH)

    def end(self):
        last = self._compress(b"", ZSTD_END)
        self._library.ZSTD_freeCCtx(self._context)
        return last


def coder(name):
    return {None: Plain, "gzip": Gzip, "zstd": Zstd}[name]()


def encoded(name, data):
    code = coder(name)
    return code.piece(data) + code.end()


def decoded(name, data):
    if not name:
        return data
    return gzip.decompress(data) if name == "gzip" else _zstd_decoded(data)


def _zstd_decoded(data):
    library = zstd_library()
    context = library.ZSTD_createDCtx()
    room = ctypes.create_string_buffer(1 << 20)
    source = ctypes.create_string_buffer(data, len(data))
    given = _Buffer(ctypes.addressof(source), len(data), 0)
    pieces = []
    left = 1
    while given.pos < given.size or left:
        target = _Buffer(ctypes.addressof(room), len(room), 0)
        left = library.ZSTD_decompressStream(context, target, given)
        assert left < 1 << 31 and (target.pos or given.pos < given.size or not left), "no zstd frame"
        pieces.append(room.raw[:target.pos])
    library.ZSTD_freeDCtx(context)
    return b"".join(pieces)
